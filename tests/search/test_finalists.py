"""Who is trained, and who wins, on trials made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.data import open_data
from nas.jobs.training import Beginnings
from nas.pipeline import finalists
from nas.pipeline.finalists import Finalist, _drop_shorter, _Record, on_front, ranking
from nas.pipeline.portfolio import Pick
from nas.progress import Silent
from nas.run.events import FinalistEpoch
from nas.training import Recipe, fresh_network, train_network
from nas.training.checkpoint import newest
from nas.training.evaluation import standard_error

from .block_cases import few_images
from .trial_cases import trial


def finalist(number: int, accuracy: float, macs: int, test: float = 0.5, score: float = 0.5) -> Finalist:
    network: Any = None
    ran = {"epochs": 1, "validation_accuracy": accuracy, "test_accuracy": test, "network": network}
    return Finalist(trial=trial(number, score, macs), **ran)


def test_the_front_is_those_that_no_other_beats_in_accuracy_and_cost() -> None:
    ranked = [finalist(0, 0.9, 50), finalist(1, 0.85, 60), finalist(2, 0.8, 30), finalist(3, 0.7, 30)]
    assert on_front(ranked) == [True, False, True, False]


def test_a_front_may_be_over_several_costs() -> None:
    ranked = [finalist(0, 0.9, 50), finalist(1, 0.85, 60), finalist(2, 0.8, 70)]
    params = (30, 20, 25)
    ranked = [
        replace(each, trial=replace(each.trial, cost=replace(each.trial.cost, params=count)))
        for each, count in zip(ranked, params, strict=True)
    ]
    assert on_front(ranked, ["macs"]) == [True, False, False]
    assert on_front(ranked, ["macs", "params"]) == [True, True, False]


def test_of_two_as_accurate_the_one_that_is_cheaper_by_the_objective_is_on_the_front() -> None:
    dear, cheap = finalist(0, 0.9, 1), finalist(1, 0.9, 2)
    dear, cheap = (
        replace(each, trial=replace(each.trial, cost=replace(each.trial.cost, params=params)))
        for each, params in ((dear, 5), (cheap, 3))
    )
    assert on_front([dear, cheap], ["params"]) == [False, True]


def test_a_front_over_latency_is_of_those_measured() -> None:
    ranked, networks = [finalist(0, 0.9, 1), finalist(1, 0.8, 2)], map(nas.load_architecture, ("resnet18", "resnet26"))
    ranked = [
        replace(
            each, trial=replace(each.trial, architecture=network, cost=replace(each.trial.cost, latency_s=predicted))
        )
        for each, network, predicted in zip(ranked, networks, (0.2, 0.1), strict=True)
    ]
    assert on_front(ranked, ["latency_s"]) == [True, True]
    measured = {each.trial.architecture.digest: seconds for each, seconds in zip(ranked, (0.1, 0.3), strict=True)}
    assert on_front(ranked, ["latency_s"], latencies=measured) == [True, False]


def test_a_cheapest_best_network_is_the_front_alone() -> None:
    assert on_front([finalist(0, 0.9, 10), finalist(1, 0.9, 20), finalist(2, 0.8, 30)]) == [True, False, False]


def test_a_finalist_without_a_score_is_left_out_of_the_ranking() -> None:
    finalists = [finalist(i, 0.0, macs=100 - i, test=0.1 * i, score=0.2 + 0.05 * i) for i in range(9)]
    unscored = replace(finalists[0], trial=trial(20, None, 7), test_accuracy=0.99)
    assert ranking([*finalists, unscored], seed=0) == ranking(finalists, seed=0)


@pytest.mark.parametrize(("accuracy", "images", "error"), [(0.5, 100, 0.05), (0.8, 288, 0.02366), (1.0, 60, 0.01626)])
def test_the_standard_error_is_that_of_a_share(accuracy: float, images: int, error: float) -> None:
    assert math.isclose(standard_error(accuracy, images), error, abs_tol=1e-5)


def test_the_ranking_holds_scores_and_baselines_against_test_accuracies() -> None:
    finalists = [finalist(i, 0.0, macs=100 - i, test=0.1 * i, score=0.2 + 0.05 * i) for i in range(9)]
    found = ranking(finalists, seed=0)
    assert found["n"] == 9
    assert math.isclose(found["score"]["spearman"], 1)
    assert math.isclose(found["macs"]["spearman"], -1)
    assert found["verdict"].startswith("the score")


def test_few_finalists_are_too_few_to_judge() -> None:
    few = [finalist(i, 0.0, macs=100 + i, test=0.1 * i) for i in range(7)]
    assert ranking(few, seed=0)["verdict"] == "too few to judge"


def test_a_rival_does_not_go_on_from_a_calibration_with_another_schedule(tmp_path: Path) -> None:
    data = open_data(few_images(tmp_path / "few.npz")).load(resolution=8, seed=0)
    network = fresh_network(nas.load_architecture("resnet18").with_channels(1).with_classes(3).at_resolution(8), seed=0)
    train_network(network, data, Recipe(epochs=2), progress=Silent(), folder=tmp_path / "kept")
    assert newest(tmp_path / "kept") is not None
    _drop_shorter(tmp_path / "kept", 2)
    assert newest(tmp_path / "kept") is not None
    _drop_shorter(tmp_path / "kept", 5)
    assert not (tmp_path / "kept").exists()
    _drop_shorter(tmp_path / "none", 5)


def test_a_training_whose_checkpoint_is_gone_says_that_it_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = trial(1, 0.5, 100), trial(2, 0.5, 200, nas.load_architecture("resnet18"))
    notes: list[str] = []
    kinds = {FinalistEpoch: [SimpleNamespace(digest=each.architecture.digest, epoch=3) for each in (first, second)]}
    run: Any = SimpleNamespace(events=lambda kind: kinds.get(kind, []))
    context: Any = SimpleNamespace(run=run, finalists_folder=tmp_path, progress=SimpleNamespace(note=notes.append))
    monkeypatch.setattr(
        finalists, "newest", lambda folder: folder if folder.name == first.architecture.digest else None
    )
    record = _Record(
        context, [Pick(trial=first, chosen_by="score"), Pick(trial=second, chosen_by="params")], Beginnings()
    )
    record.tell_lost()
    assert notes == ["Finalist 2 of 2 (trial 2) trains again from the start: its checkpoint after epoch 3 is gone"]
