"""Scorers judged by `nas rank`: every kind on real members and real images."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas.architecture import Architecture
from nas.benchmark.oracle_gp import predict_from_known
from nas.benchmark.ranking import rank
from nas.benchmark.scorers import Scores, make_methods, score_all
from nas.errors import OptionError, RunError
from nas.methods.calibrated import calibration
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler
from nas.methods.counted import COUNTS, CountedMethod
from nas.methods.protocol.ranking import RankingSettings
from nas.methods.zero_cost.aggregated import PARTS
from nas.methods.zero_cost.method import ZeroCostMethod
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.options import METHODS, SearchOptions
from nas.spaces import SearchSpace

from ..small_space import small_space

SPACE = small_space().adapted(num_classes=10, channels=1)


def members(count: int) -> list[Architecture]:
    rng = random.Random(0)
    return list(dict.fromkeys(SPACE.sample(rng) for _ in range(20 * count)))[:count]


def table(path: Path, architectures: list[Architecture]) -> Path:
    rows = [
        f'{nas.cost(each).params},"{json.dumps(each.to_dict()).replace(chr(34), chr(34) * 2)}"'
        for each in architectures
    ]
    path.write_text("\n".join(["accuracy,architecture", *rows]) + "\n")
    return path


def scores(
    name: str,
    architectures: list[Architecture],
    settings: RankingSettings | None = None,
    space: SearchSpace = SPACE,
    **options: Any,
) -> Scores:
    """Those of one method."""
    [method], settings = make_methods([name], settings or RankingSettings(), options)
    return score_all(method, architectures, space, settings)


def test_the_names_that_options_offer_are_those_there_are() -> None:
    by_class = {
        kind: [name for name in METHODS if METHODS[name].load() is kind] for kind in (ZeroCostMethod, CountedMethod)
    }
    assert by_class[ZeroCostMethod] == [*PARTS, *sorted(PROXIES.names())]
    assert by_class[CountedMethod] == [*COUNTS]
    assert set(PARTS["zero-cost"]) == set(PROXIES.names())


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("supernet", "blockwise")])
def test_a_scorer_is_finite_on_members_and_repeatable(name: str, tmp_path: Path) -> None:
    architectures = members(6)
    first = scores(name, architectures, RankingSettings(work=tmp_path / "a"), calibrations=3)
    assert all(map(math.isfinite, first.values)), first.notes
    assert len(set(first.values)) > 1
    assert first.seconds is not None
    # In another folder, so that nothing is looked up.
    second = scores(name, architectures, RankingSettings(work=tmp_path / "b"), calibrations=3)
    assert second.values == pytest.approx(first.values, rel=1e-5, abs=1e-6)


def test_aggregates_do_not_depend_on_the_order() -> None:
    architectures = members(6)
    forward = scores("az-nas", architectures).values
    assert scores("az-nas", architectures[::-1]).values[::-1] == pytest.approx(forward)
    assert all(value < 0 for value in forward)


def test_a_proxy_that_fails_counts_as_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    architectures = members(6)
    sound = scores("zero-cost", architectures).values
    by_dss = scores("dss", architectures).values
    best = max(range(6), key=by_dss.__getitem__)
    made = ProxyValues.value

    def where_dss_says(told: float) -> list[float]:
        """The scores if that is what the proxy makes of the network that is best by it; below 0 for all others."""

        def value(self: ProxyValues, proxy: str, architecture: Architecture) -> float:
            if proxy != "dss":
                return made(self, proxy, architecture)
            failing = architecture.digest == architectures[best].digest
            return told if failing else made(self, proxy, architecture) - by_dss[best]

        monkeypatch.setattr(ProxyValues, "value", value)
        return scores("zero-cost", architectures).values

    found = where_dss_says(math.nan)
    assert found == where_dss_says(min(by_dss) - by_dss[best] - 1)
    # In this one part of the sum from the first of six ranks to the last; the others each win a place.
    assert found[best] == pytest.approx(sound[best] + math.log(1 / 6))
    assert all(found[i] > sound[i] for i in range(6) if i != best)


def test_rows_are_drawn_by_the_seed_and_baselines_stand_beside(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", members(12))
    found = rank(path, space=SPACE, methods=["nwot"], rows=8, settings=RankingSettings(seed=3))
    assert found.n == 8
    assert list(found.scorers) == ["nwot", *COUNTS]
    assert found.scorers["nwot"].failed == 0
    assert found.scorers["params"].spearman == pytest.approx(1)
    again = rank(path, space=SPACE, methods=["nwot"], rows=8, settings=RankingSettings(seed=3))
    assert again.scorers["nwot"].spearman == found.scorers["nwot"].spearman


@pytest.mark.usefixtures("unexported")
def test_the_supernet_of_a_run_scores_as_its_search_did(tmp_path: Path) -> None:
    options = SearchOptions.of(
        space="small", out=str(tmp_path / "run"), epochs=1, trials=4, finalists=1, finalist_epochs=1,
        batch_size=256, threads=1, device="cpu", onnx=False, strategy="single-path",
    )  # fmt: skip
    nas.search(small_space(), budgets=[nas.Budget.parse("40kFLOPs")], data="digits", options=options)
    trials = nas.run.read_run(tmp_path / "run").trials()
    settings = RankingSettings(supernet=str(tmp_path / "run"))
    found = scores("supernet", [trial.architecture for trial in trials], settings, small_space())
    assert found.values == [trial.score for trial in trials]
    architectures, space = [trial.architecture for trial in trials], small_space()
    by_loss = scores("supernet", architectures, settings, space, scorer="loss").values
    assert all(-5 < value < 0 for value in by_loss)
    assert len(set(by_loss)) == len(trials)
    assert len({*found.values}) > 1
    named = scores("supernet", architectures, replace(settings, data="digits"), space)
    assert named.values == found.values
    # Images that say nothing of their classes: what a network gets right there is chance.
    noise = noisy(tmp_path / "noise.npz", classes=10)
    there = scores("supernet", architectures, replace(settings, data=noise), space, scorer="loss").values
    assert all(map(math.isfinite, there))
    assert not {*there} & {*by_loss}
    assert max(there) < math.log(0.1)
    others = noisy(tmp_path / "few.npz", classes=3)
    with pytest.raises(RunError, match="it was trained on 10 classes, and .*few.npz has 3. Give its own data"):
        scores("supernet", architectures, replace(settings, data=others), space)


def noisy(path: Path, classes: int) -> str:
    """Writes grey noise in so many classes."""
    images = np.random.default_rng(0).integers(0, 255, (40 * classes, 8, 8, 1), dtype=np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(40 * classes) % classes)
    return str(path)


def test_what_a_scorer_lacks_is_said_in_one_line(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", members(4))
    with pytest.raises(OptionError, match="--method supernet needs a trained supernet: give --supernet RUN"):
        rank(path, space=SPACE, methods=["supernet"])
    with pytest.raises(OptionError, match="--method blockwise needs trained blocks: give --supernet RUN"):
        rank(path, space=SPACE, methods=["blockwise"])
    with pytest.raises(OptionError, match="did you mean 'nwot'"):
        rank(path, space=SPACE, methods=["nwott"])
    with pytest.raises(OptionError, match="--method calibrated needs --space"):
        rank(path, methods=["params", "calibrated"])
    with pytest.raises(OptionError, match="Nothing to judge"):
        rank(path)
    with pytest.raises(RunError, match="is not a run"):
        rank(path, space=SPACE, methods=["supernet"], settings=RankingSettings(supernet=str(tmp_path)))
    five = [architecture.with_classes(5) for architecture in members(4)]
    with pytest.raises(OptionError, match="has 10 classes, and the table's networks have 5"):
        rank(table(tmp_path / "five.csv", five), space=small_space(), methods=["nwot"])


def test_what_was_computed_is_found_again_and_still_counted(tmp_path: Path) -> None:
    architectures = members(5)
    first = scores("calibrated", architectures, RankingSettings(work=tmp_path), calibrations=3)
    [ledger] = tmp_path.glob("*/numbers.jsonl")
    lines = ledger.read_text().splitlines()
    assert len(lines) == 5 * len(PROXIES.names()) + 3
    assert not list(tmp_path.glob("*/*/")), "checkpoints of what is on record"
    again = scores("calibrated", architectures, RankingSettings(work=tmp_path), calibrations=3)
    assert ledger.read_text().splitlines() == lines
    assert again.values == first.values
    spent = sum(json.loads(line)["seconds"] for line in lines)
    assert again.seconds is not None
    assert again.seconds >= spent > 0
    # A proxy by itself costs what it took, and nothing of the others.
    alone = scores("nwot", architectures, RankingSettings(work=tmp_path))
    known = {entry["digest"]: entry for entry in map(json.loads, lines) if entry["name"] == "nwot"}
    assert alone.values == [float(known[each.digest]["value"]) for each in architectures]
    assert ledger.read_text().splitlines() == lines


def test_a_stopped_training_goes_on_and_all_that_it_cost_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architectures = members(5)
    settings = RankingSettings(work=tmp_path)
    whole = scores("calibrated", architectures, calibrations=2)
    train: Any = calibration.train_network

    def stopped(*given: Any, **named: Any) -> float:
        """Ended by its first checkpoint."""
        after = named["after_save"]

        def end() -> None:
            after()
            raise KeyboardInterrupt

        return train(*given, **{**named, "after_save": end})

    monkeypatch.setattr(calibration, "train_network", stopped)
    with pytest.raises(KeyboardInterrupt):
        scores("calibrated", architectures, settings, calibrations=2)
    [kept] = tmp_path.glob("*/*/cpu-seconds.txt")
    spent = float(kept.read_text())
    assert spent > 0
    kept.write_text("1000 s")
    with pytest.raises(OptionError, match="is damaged: it must hold a number of seconds. Delete"):
        scores("calibrated", architectures, settings, calibrations=2)
    kept.write_text(f"{1000 + spent}")  # as if it had been long
    monkeypatch.undo()
    found = scores("calibrated", architectures, settings, calibrations=2)
    assert found.values == whole.values
    [ledger] = tmp_path.glob("*/numbers.jsonl")
    trained = [entry for entry in map(json.loads, ledger.read_text().splitlines()) if "accuracy" in entry["name"]]
    assert [entry["seconds"] > 1000 for entry in trained] == [True, False]
    assert found.seconds is not None
    assert 1000 < found.seconds < 1000 + 600
    again = scores("calibrated", architectures, settings, calibrations=2)
    assert again.seconds is not None
    assert again.seconds > 1000


def test_trainings_with_varied_images_are_others(tmp_path: Path) -> None:
    architectures = members(4)
    trainings = {"calibrations": 2, "calibration_epochs": 2}
    found = [
        scores("calibrated", architectures, RankingSettings(work=tmp_path, augment=each), **trainings)
        for each in ("none", "auto")
    ]
    assert found[0].values != found[1].values
    [ledger] = tmp_path.glob("*/numbers.jsonl")
    names = [json.loads(line)["name"] for line in ledger.read_text().splitlines()]
    kept = [name for name in names if "accuracy" in name]
    assert kept == 2 * ["accuracy after 2 epochs"] + 2 * ["accuracy after 2 epochs, crop"]  # digits are not mirrored


def test_other_images_and_a_torn_line_are_computed_anew(tmp_path: Path) -> None:
    architectures = members(3)
    scores("nwot", architectures, RankingSettings(work=tmp_path))
    scores("nwot", architectures, RankingSettings(work=tmp_path, seed=1))
    assert len(list(tmp_path.glob("*/numbers.jsonl"))) == 2
    for ledger in tmp_path.glob("*/numbers.jsonl"):
        ledger.write_text(ledger.read_text()[:-20])
    values = scores("nwot", architectures).values
    assert scores("nwot", architectures, RankingSettings(work=tmp_path)).values == values
    assert scores("nwot", architectures, RankingSettings(work=tmp_path)).values == values


def test_known_accuracies_stop_before_they_cost_more_than_the_winner_may() -> None:
    architectures = members(20)
    sizes = [nas.cost(each).params for each in architectures]
    accuracies = [size / max(sizes) / 2 for size in sizes]
    told = {
        bound: predict_from_known(architectures, accuracies, 8, winner_trainings=bound)
        for bound in (3.0, 5.0, math.inf)
    }
    winners = {bound: known.costs[int(np.argmax(known.predicted))] for bound, known in told.items()}
    order = FeatureScaler(FeatureGroups.of(architectures, None)).select(8)
    assert len(told[3.0].rows) < len(told[5.0].rows) < len(told[math.inf].rows) == len(order)
    for bound in (3.0, 5.0):
        seen = len(told[bound].rows)
        assert set(told[bound].rows) == set(order[:seen])
        assert seen == 3 or told[bound].trainings <= bound * winners[bound]
        assert told[bound].trainings + told[bound].costs[order[seen]] > bound * winners[bound]


def test_known_accuracies_are_charged_and_not_judged(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", members(20))
    lines = path.read_text().splitlines()
    largest = max(int(line.split(",")[0]) for line in lines[1:])
    shares = [f"{int(line.split(',')[0]) / largest / 2},{line.partition(',')[2]}" for line in lines[1:]]
    path.write_text("\n".join([lines[0], *shares]) + "\n")
    found = rank(path, space=SPACE, settings=RankingSettings(known=8))
    assert next(iter(found.scorers)) == "known"
    known = found.scorers["known"]
    # As a calibration chooses: as many as cost what eight average ones do.
    scaler = FeatureScaler(FeatureGroups.of(members(20), None))
    assert known.known == len(scaler.select(8)) >= 8
    assert known.known_trainings == pytest.approx(scaler.costs[scaler.select(8)].sum() / scaler.costs.mean())
    assert known.known_trainings <= 8
    assert known.n == 20 - known.known
    assert known.spearman is not None
    assert known.spearman > 0.8
    assert found.scorers["params"].known == 0
    assert found.scorers["params"].known_trainings == 0
    assert found.scorers["params"].n == 20
    with pytest.raises(OptionError, match="--known 19 leaves fewer than two of 20 networks"):
        rank(path, space=SPACE, settings=RankingSettings(known=19))
    with pytest.raises(OptionError, match="--known needs --space"):
        rank(path, score_columns=["accuracy"], settings=RankingSettings(known=4))
    # One network that costs as much as all others: what six of ten cost on average buys nine.
    sizes = nas.load_space("nats-size")
    cheap = sorted({sizes.sample(random.Random(i)) for i in range(300)}, key=lambda each: nas.cost(each).macs)
    with pytest.raises(OptionError, match="--known 6 leaves fewer than two of 10 networks"):
        predict_from_known([*cheap[:9], cheap[-1]], [0.5] * 10, 6)
    losses = path.read_text().replace("\n0.", "\n-0.")
    path.write_text(losses)
    with pytest.raises(OptionError, match="--known needs accuracies from 0 to 1"):
        rank(path, space=SPACE, settings=RankingSettings(known=8))
