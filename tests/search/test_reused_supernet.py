"""Searching with another run's supernet: what is proposed was trained and is held, all else is refused in one line."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import nas
from nas.budget import Budget, Cost
from nas.errors import BudgetError, RunError
from nas.methods.supernet.reuse import CoveredSampler, SupernetCoverage, check_covered, uncovered
from nas.networks.supernet import Supernet
from nas.run import data_of, read_run
from nas.run.events import SupernetEpoch, SupernetReused, TrialScored, WinnerExported
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import SearchSpace

from ..small_space import listed, small_space
from .kill_cases import Server, assert_same_end, recorded, small_space_file

SPACE = small_space()


def budgets(*texts: str) -> list[Budget]:
    return [Budget.parse(text) for text in texts]


def trained_on(*texts: str, min_share: float = 0.5, space: SearchSpace = SPACE) -> SupernetCoverage:
    sampler = BudgetSampler(space, budgets(*texts), min_share=min_share)
    high = dict(zip(sampler.feasible.metrics, sampler.feasible.bounds, strict=True))
    return SupernetCoverage(
        budgets=texts,
        train_min_share=min_share,
        low={metric: -int(-min_share * bound // 1) for metric, bound in high.items()},
        high=high,
        layouts=sampler.layouts,
        resolution=8,
        train_resolution=8,
        seed=0,
        epochs=1,
        strategy="sandwich",
    )


# -- ranges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "min_share"),
    [
        (["50kFLOPs"], ["40kFLOPs"], 0.75),
        (["50kFLOPs"], ["30kFLOPs"], 0.75),
        (["50kFLOPs"], ["40kFLOPs", "3kparams"], 0.75),
        (["50kFLOPs", "6kparams"], ["30kFLOPs", "4kparams"], 0.5),
        ([], ["40kFLOPs"], 0.75),
    ],
)
def test_exactly_what_was_trained_and_is_in_range_is_drawn(before: list[str], now: list[str], min_share: float) -> None:
    space = small_space()
    trained = trained_on(*before)
    check_covered(trained, budgets(*now), trained.sampler(space), "a")
    sampler = CoveredSampler(space, budgets(*now), min_share=min_share, coverage=trained)
    old, new = trained.sampler(space), BudgetSampler(space, budgets(*now), min_share=min_share)
    costs = [sampler.costs.cost(point) for point in listed(space)]
    assert any(map(sampler.contains, costs))
    for point, cost in zip(listed(space), costs, strict=True):
        # A layout that has members in both ranges only apart is searched for nothing; none here.
        assert sampler.contains(cost) == (old.contains(cost) and new.contains(cost)), space.decode(point)
    rng = random.Random(0)
    assert all(sampler.contains(sampler.sample(rng).cost) for _ in range(50))


@pytest.mark.parametrize(("before", "now"), [(["50kFLOPs"], ["30kFLOPs"]), ([], ["40kFLOPs", "3kparams"])])
def test_the_supernet_holds_weights_for_all_that_can_be_proposed(before: list[str], now: list[str]) -> None:
    space = small_space()
    trained = trained_on(*before)
    supernet = Supernet(space, choices=trained.sampler(space).feasible_choices())
    sampler = CoveredSampler(space, budgets(*now), min_share=0.75, coverage=trained)
    found = [p for p in listed(space) if sampler.contains(sampler.costs.cost(p)) and space.layout(p) in sampler.layouts]
    assert found
    for point in found:
        list(supernet.path(space.decode(point)))


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (["40kFLOPs"], ["50kFLOPs"], "trained on networks of 20KFLOPs to 40KFLOPs. Give --budget 40KFLOPs or less"),
        (["40kFLOPs"], ["16kFLOPs"], "trained on networks of 20KFLOPs to 40KFLOPs, none of them so small"),
        (["40kFLOPs"], ["3kparams"], "--budget bounds no multiply-adds: .* Give --budget 40KFLOPs or less"),
        (["40kFLOPs", "4kparams"], ["36kFLOPs"], "--budget bounds no parameters: .* Give --budget 4Kparams or less"),
        (["40kFLOPs", "4kparams"], ["18kFLOPs", "1.9kparams"], "at least 20KFLOPs or 2Kparams, none of them so small"),
    ],
)
def test_a_budget_that_was_not_trained_for_is_refused_with_the_range(
    before: list[str], now: list[str], said: str
) -> None:
    trained = trained_on(*before)
    with pytest.raises(BudgetError, match=said) as caught:
        check_covered(trained, budgets(*now), trained.sampler(SPACE), "runs/a")
    assert "runs/a" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bound_above_the_whole_space_asks_for_no_more_than_the_space() -> None:
    trained = trained_on("900MFLOPs")
    check_covered(trained, budgets("800MFLOPs"), trained.sampler(SPACE), "a")
    check_covered(trained, budgets("3kparams"), trained.sampler(SPACE), "a")


def test_what_is_left_out_below_the_trained_range_is_said() -> None:
    trained = trained_on("40kFLOPs")
    assert uncovered(trained, budgets("30kFLOPs"), 0.75) is None
    said = uncovered(trained, budgets("24kFLOPs"), 0.75)
    assert said is not None
    assert "20KFLOPs to 40KFLOPs" in said
    assert "24KFLOPs" in said


def test_a_range_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    trained = trained_on("40kFLOPs", "3kparams")
    assert SupernetCoverage.from_dict(trained.to_dict(), tmp_path) == trained
    assert trained.feasible.contains(Cost(macs=40_000, params=1))
    assert not trained.feasible.contains(Cost(macs=40_001, params=1))
    assert not trained.feasible.contains(Cost(macs=19_999, params=1_499))
    with pytest.raises(RunError, match="did not record what its supernet was trained on"):
        SupernetCoverage.from_dict({}, tmp_path)


@pytest.mark.parametrize("change", [{"low": {"mac": 1}}, {"high": {"latency_s": 5}}, {"low": {"macs": 1, "$x": 2}}])
def test_a_range_in_metrics_that_there_are_not_is_damage(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="is damaged: its supernet's coverage is in"):
        SupernetCoverage.from_dict({**trained_on("20KMACs").to_dict(), **change}, tmp_path)


# -- runs -----------------------------------------------------------------------------------------------------


def test_another_budget_is_searched_without_training(server: Server, whole: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(whole, tmp_path / "source"))
    run = tmp_path / "run"
    changes: dict[str, Any] = {"supernet": str(source), "budgets": ["40kFLOPs"], "epochs": None, "strategy": None}
    # The seed decides what is sampled, but data stays divided as the supernet knows it.
    changes["seed"] = 7
    assert server.do("search", run, ("event:trial", 3, "half"), **changes) == -signal.SIGKILL
    [mine], [theirs] = ((path / "supernet").glob("step-*") for path in (run, source))
    assert mine.stat().st_ino == theirs.stat().st_ino
    shutil.rmtree(source)
    assert server.do("resume", run) == 0
    record = read_run(run)
    assert not record.events(SupernetEpoch)
    assert [event.step for event in record.events(SupernetReused)] == [4]
    assert len(record.trials()) == 6
    assert all(30_000 <= trial.cost.macs <= 40_000 for trial in record.trials())
    assert record.manifest["method"]["coverage"] == read_run(whole).manifest["method"]["coverage"]
    assert record.manifest["method"]["coverage"]["seed"] == 0
    tensors = load_file(mine)
    assert all(tensor.equal(tensors[name]) for name, tensor in load_file(whole / "supernet" / mine.name).items())
    assert record.events(WinnerExported)
    # A run that reused a supernet can be a source, and what is proposed twice scores the same.
    again = tmp_path / "again"
    assert server.do("search", again, **{**changes, "supernet": str(run)}) == 0
    assert recorded(read_run(again), TrialScored) == recorded(record, TrialScored)
    assert_same_end(again, again)


def test_a_budget_whose_range_sticks_out_below_is_searched_where_it_was_trained(
    server: Server, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    changes: dict[str, Any] = {"supernet": str(whole), "epochs": None, "strategy": None}
    assert server.do("search", run, budgets=["28kFLOPs"], **changes) == 0
    assert all(25_000 <= trial.cost.macs <= 28_000 for trial in read_run(run).trials())


def other_data(path: Path, classes: int, channels: int, *, named: bool = False) -> str:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20 * classes, 8, 8, channels), dtype=np.uint8)
    names = {"classes": np.array([f"kind {i}" for i in range(classes)])} if named else {}
    np.savez(path, x_train=images, y_train=np.arange(20 * classes) % classes, **names)
    return str(path)


def test_what_does_not_go_with_the_supernet_is_refused_before_there_is_a_folder(
    server: Server, whole: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"supernet": str(whole), "budgets": ["40kFLOPs"], "epochs": None, "strategy": None}
    unfinished = tmp_path / "unfinished"
    assert server.do("search", unfinished, ("event:curve", 2, "after")) == -signal.SIGKILL
    space = tmp_path / "other.yaml"
    small_space_file(space)
    space.write_text(space.read_text().replace("expand_ratio: [1, 2, 3]", "expand_ratio: [1, 2, 4]"))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"budgets": ["55kFLOPs"]}, "trained on networks of 25KFLOPs to 50KFLOPs"),
        ({"supernet": str(unfinished)}, "its supernet is not fully trained. Finish it with nas-search --resume"),
        ({"supernet": str(tmp_path / "gone")}, "There is no run at"),
        ({"space": str(space)}, "its space is"),
        ({"epochs": 3}, "--epochs 3 is an option of training a supernet"),
        ({"train_resolution": 16}, "--train-resolution 16: the supernet"),
        ({"data": other_data(tmp_path / "classes.npz", 3, 1)}, "it was trained on 10 classes, and "),
        ({"data": other_data(tmp_path / "colour.npz", 10, 3)}, "it was trained on 1 channels per pixel, and "),
        ({"data": other_data(tmp_path / "named.npz", 10, 1, named=True)}, "it was trained on other classes than those"),
    ]
    for change, said in refused:
        assert server.do("search", tmp_path / "run", **{**changes, **change}) == 2, server.said
        assert said in server.said
        assert server.said.count("\n") == 0
        assert not (tmp_path / "run").exists()


def test_data_left_out_is_that_of_the_source_run(whole: Path) -> None:
    assert data_of(whole) == "digits"
    with pytest.raises(RunError, match="There is no run"):
        nas.search(SPACE, budgets=budgets("50kFLOPs"), options=nas.SearchOptions.of(space="small", supernet="gone"))
