"""Truth tables: what is read, judged and refused; and the published tables where they are at hand."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.benchmark.codecs import decode
from nas.benchmark.metrics import judge
from nas.benchmark.ranking import rank
from nas.benchmark.tables import read_table
from nas.errors import DataError, OptionError
from nas.methods.counted import COUNTS
from nas.methods.features import kinds
from nas.spaces import Genotype, StageChoice

TRUTH = Path(__file__).resolve().parents[3] / "shared" / "truth"
needs_tables = pytest.mark.skipif(not TRUTH.is_dir(), reason="the published tables are not here")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def nats(space: Any, *widths: int) -> Any:
    return space.decode(Genotype((widths[0],), tuple(StageChoice("C", w, 1, ()) for w in widths[1:])))


@pytest.mark.parametrize(
    ("widths", "params"),
    [((8, 8, 8, 8, 8), 11_714), ((8, 8, 16, 40, 40), 107_826), ((64, 64, 64, 64, 64), 713_674)],
)
def test_the_size_space_counts_what_its_authors_published(widths: tuple[int, ...], params: int) -> None:
    space = nas.load_space("nats-size")
    assert space.size() == 8**5
    assert nas.cost(nats(space, *widths)).params == params


def test_baselines_of_a_network() -> None:
    space = nas.load_space("nats-size")
    architecture = nats(space, 8, 16, 24, 32, 40)
    found = {name: of(architecture) for name, of in COUNTS.items()}
    cost = nas.cost(architecture)
    assert (found["params"], found["macs"]) == (cost.params, cost.macs)
    assert found["depth"] == 4
    assert found["channels"] == 120
    assert found["log_channels"] == pytest.approx(math.log(8 * 16 * 24 * 32 * 40))
    assert found["convolutions"] == 1


def test_hybrids_are_told_apart_by_what_their_stages_do() -> None:
    space = nas.load_space("coatnet-small")
    for layout, letters in (("CCCC", "CCCC"), ("CCAA", "CCAA"), ("AAAA", "AAAA")):
        architecture = space.decode(space.sample_genotype(random.Random(0), layout))
        depths = [len(stage.layers) for stage in architecture.stages]
        assert kinds(architecture) == letters
        convolving = sum(depth for depth, letter in zip(depths, layout, strict=True) if letter == "C")
        assert COUNTS["convolutions"](architecture) == pytest.approx(convolving / sum(depths))


def test_knowing_the_better_op_alone_is_worth_nothing_within_kinds() -> None:
    rng = random.Random(0)
    groups = ["CC"] * 20 + ["AA"] * 20 + ["CA"] * 3
    truth = [rng.random() + (group == "CC") for group in groups]
    only_op = [float(group == "CC") + 0.001 * rng.random() for group in groups]
    found = judge(only_op, truth, kinds=groups)
    assert found.spearman is not None
    assert found.within_kind_spearman is not None
    assert found.spearman > 0.6 > 0.3 > abs(found.within_kind_spearman)
    # Groups of fewer than four say nothing.
    assert judge(truth, truth, kinds=groups).within_kind_spearman == pytest.approx(1)
    assert judge(truth[-3:], truth[-3:], kinds=groups[-3:]).within_kind_spearman is None
    assert judge(truth, truth).within_kind_spearman is None
    assert found.within_kind_low is not None
    assert found.within_kind_high is not None
    assert found.within_kind_low < found.within_kind_spearman < found.within_kind_high
    assert found.within_band_low is None


def test_a_perfect_score_is_one_everywhere_and_a_failed_one_is_left_out() -> None:
    rng = random.Random(0)
    truth = [rng.random() for _ in range(60)]
    macs, params = ([rng.random() for _ in truth] for _ in range(2))
    found = judge([*truth[:-1], math.nan], truth, macs=macs, params=params, seconds=2.0)
    assert (found.n, found.failed, found.seconds) == (59, 1, 2.0)
    for figure in (
        found.spearman,
        found.kendall,
        found.pearson,
        found.within_band_spearman,
        found.low,
        found.within_band_low,
    ):
        assert figure == pytest.approx(1)
    missed = max(truth) - max(truth[:-1])
    assert found.top_k_regret == pytest.approx({"1": missed, "5": missed, "10": missed, "50": missed})
    # The best of all has no score, and is missed all the same.
    assert judge([math.nan, 0.9, 0.8], [1.0, 0.5, 0.4]).top_k_regret == {"1": 0.5}


def test_fewer_than_eight_networks_have_no_interval() -> None:
    truth = [0.1 * i for i in range(8)]
    assert judge(truth, truth).low == pytest.approx(1)
    few = judge(truth[:7], truth[:7], kinds=["C"] * 7, macs=truth[:7])
    assert few.spearman == pytest.approx(1)
    assert (few.low, few.high, few.within_band_low, few.within_kind_low) == (None, None, None, None)


def test_a_score_that_is_the_baseline_in_disguise_is_seen_through() -> None:
    rng = random.Random(1)
    macs = [rng.random() for _ in range(200)]
    truth = [m + 0.3 * rng.random() for m in macs]
    disguised = [m + 0.02 * rng.random() for m in macs]
    found = judge(disguised, truth, macs=macs)
    assert found.spearman is not None
    assert found.spearman > 0.9
    assert found.partial_spearman_given_macs is not None
    assert abs(found.partial_spearman_given_macs) < 0.25
    assert found.partial_spearman_given_params is None
    assert found.partial_spearman_given_both is None


def test_a_score_that_adds_up_both_baselines_is_seen_through_by_both_alone() -> None:
    rng = random.Random(2)
    macs, params = ([rng.random() for _ in range(300)] for _ in range(2))
    pairs = list(zip(macs, params, strict=True))
    truth, disguised = ([m + p + 0.5 * rng.random() for m, p in pairs] for _ in range(2))
    found = judge(disguised, truth, macs=macs, params=params)
    assert found.partial_spearman_given_macs is not None
    assert found.partial_spearman_given_macs > 0.7
    assert found.partial_spearman_given_both is not None
    assert abs(found.partial_spearman_given_both) < 0.3


def test_columns_are_ranked_without_a_space(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "truth,good,bad\n" + "".join(f"{i},{i * i},{-i}\n" for i in range(30)))
    found = rank(table, truth_column="truth", score_columns=["good", "bad"])
    assert found.scorers["good"].spearman == pytest.approx(1)
    assert found.scorers["bad"].spearman == pytest.approx(-1)
    assert not found.baselines_known
    json.dumps(found.to_dict(), allow_nan=False)


def test_with_a_space_the_baselines_stand_beside(tmp_path: Path) -> None:
    space, rng = nas.load_space("coatnet-small"), random.Random(0)
    members = [space.sample(rng) for _ in range(12)]
    rows = "".join(f'{nas.cost(m).params},"{json.dumps(m.to_dict()).replace(chr(34), chr(34) * 2)}"\n' for m in members)
    table = written(tmp_path / "t.csv", "accuracy,architecture\n" + rows)
    found = rank(table, space=space)
    assert found.scorers["params"].spearman == pytest.approx(1)
    assert set(found.scorers) == {"params", "macs", "depth", "channels", "log_channels", "convolutions"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has 0 rows"),
        ("accuracy\n", "has 0 rows"),
        ("accuracy,accuracy\n1,2\n", "same name"),
        ("accuracy,s\n1,2\n3\n", "line 3: 1 cells"),
        ("accuracy,s\n1,x\n3,4\n", "line 2: s must be a number"),
        ("accuracy,s\n\n1,x\n3,4\n", "line 3: s must be a number"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_by_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        rank(written(tmp_path / "t.csv", text), score_columns=["s"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_an_infinite_truth_is_refused_and_an_unknown_one_left_out(cell: str, tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "accuracy,s\n1,1\n,2\n3,3\nnan,4\n4,5\n")
    assert rank(table, score_columns=["s"]).n == 3
    table = written(tmp_path / "t.csv", f"accuracy,s\n1,1\n,2\n{cell},3\n4,5\n")
    with pytest.raises(DataError) as caught:
        rank(table, score_columns=["s"])
    assert str(caught.value).startswith(f"{table}, line 4: accuracy must be finite, but is '{cell}'. ")
    assert "--truth-column" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_columns_are_answered_with_the_nearest(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "index,cifar_gt\n1,2\n3,4\n"))
    with pytest.raises(OptionError, match="did you mean 'cifar_gt'"):
        table.truth_column("cifar_gd")
    with pytest.raises(OptionError, match="Which column of .* holds accuracies"):
        table.truth_column(None)


@pytest.mark.parametrize("arch", ["8:8:8:8:9", "9:8:8:8:8", "1000000:8:8:8:8", "0:8:8:8:8", "8:8:8:8", "8:8:8:8:8:8"])
def test_rows_of_another_space_are_refused(arch: str, tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", f"arch,cifar10_test\n8:8:8:8:8,80\n{arch},81\n")
    with pytest.raises(DataError, match=f"line 3: '{arch}' is no architecture of nats-size"):
        rank(table, space=nas.load_space("nats-size"))


@pytest.mark.parametrize("name", ["autoformer", "coatnet-small", "nats-size"])
def test_cells_nested_too_deep_to_read_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"line 2: .* is no architecture of {name}") as caught:
        decode(nas.load_space(name), ("[" * 100_000,), "here")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@needs_tables
def test_published_supernets_have_their_published_kendall() -> None:
    columns = ["oneshot_supernet_acc", "fewshot_supernet_acc"]
    found = rank(TRUTH / "nb201_supernet_scores.csv", truth_column="cifar10_gt", score_columns=columns)
    assert [round(found.scorers[name].kendall or 0, 3) for name in columns] == [0.485, 0.551]


@needs_tables
def test_every_network_of_the_published_size_table_is_counted_to_the_digit() -> None:
    table, space = read_table(TRUTH / "nats_size_cifar10.csv"), nas.load_space("nats-size")
    rows = random.Random(0).sample(range(len(table)), 400)
    params, macs = (table.numbers(name, "") for name in ("params_c10", "mmacs_32"))
    for row in rows:
        cost = nas.cost(nats(space, *map(int, table.columns["arch"][row].split(":"))))
        assert cost.params == params[row]
        assert round(cost.macs / 1e6, 4) == pytest.approx(macs[row], abs=1e-4)


AUTOFORMERS = {
    # Each layer's ratios and heads as its authors' repository has them; millions of parameters that they published.
    "tiny": (192, [3.5, 3.5, 3.0, 3.5, 3.0, 3.0, 4.0, 4.0, 3.5, 4.0, 3.5, 4.0, 3.5], "3333333333433", 5.7),
    "small": (384, [3.0, 3.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.5, 4.0], "6657555667767", 22.9),
}


def transformer(width: int, ratios: list[float], heads: str) -> str:
    numbers = [int(head) for head in heads]
    return json.dumps({"hidden_dim": width, "depth": len(ratios), "mlp_ratio": ratios, "num_heads": numbers})


@pytest.mark.parametrize("name", AUTOFORMERS)
def test_the_published_autoformers_are_read_as_members(name: str) -> None:
    width, ratios, heads, millions = AUTOFORMERS[name]
    space = nas.load_space("autoformer")
    (found,) = decode(space, (transformer(width, ratios, heads),), "here")
    assert space.contains(found)
    by_hand = 3 * 16 * 16 * width + width + width + 197 * width + 2 * width + 1000 * width + 1000
    for ratio, inner in zip(ratios, (64 * int(head) for head in heads), strict=True):
        hidden = int(ratio * width)
        by_hand += 4 * width + 3 * (width + 1) * inner + (inner + 1) * width
        by_hand += (width + 1) * hidden + (hidden + 1) * width
    assert nas.cost(found).params == by_hand
    # The published figures may count the relative positions, 7,680 a layer, which are not in the space.
    assert by_hand / 1e6 == pytest.approx(millions, rel=0.015)


def test_a_deit_counts_as_in_the_zoo() -> None:
    (found,) = decode(nas.load_space("autoformer"), (transformer(192, [4.0] * 12, "3" * 12),), "here")
    assert nas.cost(found).params == nas.cost(nas.load_architecture("deit_tiny")).params


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192", "a mapping of"),
        ('{"hidden_dim": 192}', "a mapping of"),
        (transformer(192, [4.0] * 12, "8" * 12), "8 heads"),
        (transformer(200, [4.0] * 12, "3" * 12), "width 200"),
        (transformer(192, [4.0] * 5, "3" * 5), "5 layers"),
        (transformer(192, [4.0] * 12, "3" * 11), "lists 11 num_heads and 12 mlp_ratio"),
        (transformer(192, [4.0] * 12, "3" * 12).replace("12", "13", 1), "of 13 layers it lists 12"),
        (transformer(192, [4.0] * 12, "3" * 12).replace("192", "[192]"), "not in the space"),
    ],
)
def test_other_transformers_are_refused(text: str, words: str) -> None:
    with pytest.raises(DataError, match="line 2: .* is no architecture of autoformer") as caught:
        decode(nas.load_space("autoformer"), (text,), "here")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pit", "nats-size", "autoformer", "mbconv", "coatnet-small"])
def test_architectures_as_this_program_writes_them_are_read_in_every_space(name: str) -> None:
    space = nas.load_space(name)
    network = space.sample(random.Random(0))
    assert decode(space, [json.dumps(network.to_dict())], "here") == [network]


def test_rows_that_are_left_out_are_not_decoded(tmp_path: Path) -> None:
    widths = [":".join(random.Random(i).choices(["8", "16", "24", "32"], k=5)) for i in range(12)]
    rows = [f"{text},{50 + i}" for i, text in enumerate(widths)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["arch,accuracy", *rows[:3], ",", *rows[3:]]) + "\n")
    assert rank(path, space=nas.load_space("nats-size")).n == 12


@needs_tables
def test_every_published_transformer_is_a_member_and_ranked_beside_the_baselines() -> None:
    table, space = TRUTH / "autoformer_vit_200.csv", nas.load_space("autoformer")
    found = decode(space, read_table(table).columns["arch_json"], "the table")
    assert len({member.digest for member in found}) == len(found) == 100
    assert all(space.contains(member) for member in found)
    judged = rank(table, space=space, truth_column="c100_base_acc")
    assert judged.n == 100
    assert judged.baselines_known
    # In this table the larger ones are not the better ones.
    assert (judged.scorers["params"].spearman or 0) < -0.3
