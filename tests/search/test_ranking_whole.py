"""Tables of whole architectures: published networks ranked without a space, and inside their families."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

import nas
from nas.benchmark.metrics import judge
from nas.benchmark.ranking import rank
from nas.cli.main import main
from nas.errors import DataError, OptionError
from nas.methods.protocol.ranking import RankingSettings

from ..small_space import small_space

ZOO = {
    "pit_ti": ("PiT", 73.0),
    "pit_xs": ("PiT", 78.1),
    "pit_s": ("PiT", 80.9),
    "pit_b": ("PiT", 82.0),
    "convnext_tiny": ("ConvNeXt", 82.1),
    "convnext_small": ("ConvNeXt", 83.1),
    "efficientnet_b0": ("EfficientNet", 77.1),
}


def table(path: Path, rows: list[tuple[str, str, float]]) -> Path:
    cells = (f'"{name.replace(chr(34), chr(34) * 2)}",{family},{accuracy}\n' for name, family, accuracy in rows)
    path.write_text("name,family,top1\n" + "".join(cells))
    return path


def zoo_table(path: Path) -> Path:
    return table(path, [(name, *said) for name, said in ZOO.items()])


def test_published_networks_are_counted_and_ranked_inside_families(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = zoo_table(tmp_path / "t.csv")
    found = rank(path, methods=["params"])
    params = found.scorers["params"]
    assert (found.n, found.baselines_known, found.family_column) == (7, True, "family")
    assert params.within_family_spearman == pytest.approx(1)
    # ConvNeXt and EfficientNet have fewer than four.
    assert {name: (each.n, each.spearman) for name, each in params.families.items()} == {"PiT": (4, pytest.approx(1))}
    assert params.spearman is not None
    assert params.spearman < 1
    assert main(["rank", "--truth", str(path), "--arch-column", "name"]) == 0
    text = capsys.readouterr().out
    assert "in families" in text
    assert "Spearman within each family of four or more networks (n)" in text
    assert "PiT (4)" in text
    assert main(["rank", "--truth", str(path), "--method", "macs", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scorers"]["macs"]["families"]["PiT"] == {"n": 4, "spearman": pytest.approx(1)}
    assert document["family_column"] == "family"


def test_paths_are_read_from_the_table_s_folder_on_and_json_too(tmp_path: Path) -> None:
    space, rng, folder = small_space(), random.Random(0), tmp_path / "winners"
    folder.mkdir()
    members = [space.sample(rng) for _ in range(4)]
    (folder / "a.yaml").write_text(members[0].to_yaml())
    (tmp_path / "b.yaml").write_text(members[1].to_yaml())
    texts = ["winners/a.yaml", str(tmp_path / "b.yaml"), *(json.dumps(each.to_dict()) for each in members[2:])]
    path = table(
        tmp_path / "t.csv", [(text, "F", nas.cost(each).params) for text, each in zip(texts, members, strict=True)]
    )
    assert rank(path, arch_column="name").scorers["params"].spearman == pytest.approx(1)


def test_methods_that_look_see_all_networks_at_one_resolution_and_with_the_data_s_classes(tmp_path: Path) -> None:
    rows = [("convnext_atto", "ConvNeXt", 75.7), ("mobilevit_xxs", "MobileViT", 69.0)]
    path = table(tmp_path / "t.csv", rows)
    with pytest.raises(OptionError, match="are for 224, 256 pixels, and .* give --resolution N"):
        rank(path, methods=["nwot"])
    found = rank(path, methods=["nwot"], settings=RankingSettings(resolution=32)).scorers["nwot"]
    assert (found.n, found.failed) == (2, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pit_tj", "No file"),
        ("nowhere/architecture.yaml", "No file"),
        ("{", "Expecting property name"),
        ("pit", "No file"),
    ],
)
def test_a_row_that_is_no_network_is_refused_by_line_with_what_to_do(name: str, words: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [("pit_ti", "PiT", 73.0), (name, "PiT", 75.0)])
    with pytest.raises(DataError) as caught:
        rank(path, methods=["params"])
    said = str(caught.value)
    assert said.startswith(f"{path}, line 3: name {name!r} is no architecture: ")
    assert words in said
    assert said.endswith("or name another column by --arch-column.")
    assert "\n" not in said


def test_a_row_without_a_truth_is_never_read(tmp_path: Path) -> None:
    path = zoo_table(tmp_path / "t.csv")
    path.write_text(path.read_text() + "no such network,PiT,\n")
    assert rank(path, methods=["params"]).n == 7


@pytest.mark.parametrize("name", ["calibrated", "supernet", "blockwise"])
def test_methods_that_need_a_space_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = zoo_table(tmp_path / "t.csv")
    assert main(["rank", "--truth", str(path), "--method", "params", "--method", name]) == 2
    said = capsys.readouterr().err
    assert said == f"--method {name} needs --space: the one that the table's networks are members of.\n"


def test_columns_alone_are_ranked_inside_families_too(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("accuracy,good,kind\n" + "".join(f"{i % 5},{i},{'ab'[i // 5]}\n" for i in range(10)))
    assert rank(path, score_columns=["good"]).family_column is None
    found = rank(path, score_columns=["good"], family_column="kind")
    assert found.scorers["good"].within_family_spearman == pytest.approx(1)
    assert not found.baselines_known
    with pytest.raises(OptionError, match="--family-column kinds: .*did you mean 'kind'"):
        rank(path, score_columns=["good"], family_column="kinds")


def test_a_family_s_figures_leave_out_what_has_no_score() -> None:
    truth = [float(i) for i in range(9)]
    found = judge([math.nan, *truth[1:]], truth, families=["a"] * 5 + ["b"] * 4)
    assert {name: each.n for name, each in found.families.items()} == {"a": 4, "b": 4}
    assert judge(truth, truth, families=[""] * 5 + ["b"] * 4).families.keys() == {"b"}
    constant = judge([1.0] * 4, truth[:4], families=["a"] * 4)
    assert constant.families["a"].spearman is None
    assert constant.within_family_spearman is None
