"""What people write in Python: budgets as texts, paths as `Path`, numbers of NumPy, cells that run twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.budget_metrics import METRICS, Metric
from nas.data import open_data
from nas.errors import ArchitectureError, BudgetError, NasError, OptionError, RunError, SpaceError
from nas.options import METHODS, SearchOptions, register_method
from nas.progress import Progress, Silent
from nas.run import read_run
from nas.spaces import SearchSpace

from ..small_space import small_space

BUDGET = nas.Budget.parse("40kFLOPs")
QUICK: dict[str, Any] = {
    "method": "params", "trials": 3, "finalists": 1, "finalist_epochs": 1, "rivals": 0, "batch_size": 256,
    "threads": 1, "device": "cpu", "onnx": False,
}  # fmt: skip


@pytest.fixture
def space() -> SearchSpace:
    return small_space()


def search(
    space: SearchSpace, out: Any, *, budgets: Any = BUDGET, progress: Progress | None = None, **given: Any
) -> nas.SearchResult:
    options = SearchOptions.of(out=out, **{"space": "small", **QUICK, **given})
    return nas.search(space, budgets=budgets, options=options, progress=progress)


# -- budgets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        lambda: [BUDGET],
        lambda: BUDGET,
        lambda: "40kFLOPs",
        lambda: ["40kFLOPs"],
        lambda: (budget for budget in [BUDGET]),
        lambda: map(nas.Budget.parse, ["40kFLOPs"]),
    ],
)
def test_budgets_hold_however_they_are_given(space: SearchSpace, given: Callable[[], Any]) -> None:
    drawn = nas.sample(space, random.Random(0), given())
    assert drawn == nas.sample(space, random.Random(0), [BUDGET])
    assert nas.cost(drawn).macs <= 40_000
    assert nas.dry_run(space, given()) == nas.dry_run(space, [BUDGET])


def test_a_search_is_held_to_budgets_of_a_generator(space: SearchSpace, tmp_path: Path) -> None:
    found = search(space, tmp_path / "run", budgets=(budget for budget in [BUDGET]))
    assert read_run(tmp_path / "run").manifest["budgets"] == [str(BUDGET)]
    assert all(winner.macs <= 40_000 for winner in found.winners)


def test_what_is_no_budget_is_refused(space: SearchSpace) -> None:
    with pytest.raises(BudgetError, match=r"A budget must be a nas.Budget or its text, but got '4000'"):
        nas.sample(space, random.Random(0), [4000])  # type: ignore[list-item]
    with pytest.raises(BudgetError, match=r"setting must be a nas.Setting, but got 'cpu:threads=1'"):
        nas.Budget(metric="latency_s", bound=0.005, setting="cpu:threads=1")  # type: ignore[arg-type]


# -- options --------------------------------------------------------------------------------------------------


def test_paths_and_numbers_of_numpy_are_options(tmp_path: Path) -> None:
    given = {"out": tmp_path, "trials": np.int64(5), "min_share": np.float64(0.5), "early_stopping": np.bool_(False)}
    options = SearchOptions.of(space="small", method="supernet", epochs=np.int64(3), **given)
    options.validate()
    plain = {"out": str(tmp_path), "trials": 5, "min_share": 0.5, "early_stopping": False}
    assert options == SearchOptions.of(space="small", method="supernet", epochs=3, **plain)
    assert SearchOptions.from_dict(options.to_dict()) == options
    assert SearchOptions.of(space="small", epochs=torch.tensor(3)).method == "supernet"


@pytest.mark.parametrize("value", [1, 0, "yes", 0.0])
def test_a_switch_is_true_or_false(value: object) -> None:
    with pytest.raises(OptionError, match="must be true or false"):
        SearchOptions.of(space="small", early_stopping=value).validate()


def test_the_home_folder_is_found(space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    search(space, "~/run")
    assert (tmp_path / "run" / "report.html").is_file()
    assert not (tmp_path / "~").exists()
    assert [winner.digest for winner in nas.resume("~/run").winners]


def test_the_data_of_the_options_are_searched(space: SearchSpace, tmp_path: Path) -> None:
    digits = open_data("digits").load(resolution=8, seed=0, progress=Silent()).train.first(200)
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=digits.images.permute(0, 2, 3, 1).numpy(), y_train=digits.labels.numpy())
    options = SearchOptions.of(space="small", data=file, out=tmp_path / "run", **QUICK)
    nas.search(space, budgets=BUDGET, options=options)
    assert read_run(tmp_path / "run").data == str(file)
    gone = SearchOptions.of(space="small", data=tmp_path / "gone.npz", out=tmp_path / "none", **QUICK)
    with pytest.raises(NasError, match=r"gone\.npz"):
        nas.search(space, budgets=BUDGET, options=gone)
    with pytest.raises(NasError, match=r"gone\.npz"):
        nas.search(space, budgets=BUDGET, options=gone.replaced(data=file), data=tmp_path / "gone.npz")


# -- what the record says of the space ------------------------------------------------------------------------


def said(run: Path) -> tuple[str, str]:
    return (run / "winners" / "1" / "card.md").read_text(), (run / "report.html").read_text()


def test_a_space_of_a_file_is_recorded_by_it_whatever_the_options_name(tmp_path: Path) -> None:
    options = SearchOptions.of(space="coatnet", out=tmp_path / "named", **QUICK)
    nas.search(nas.load_space("coatnet-small"), budgets="1MFLOPs", options=options)
    for text in said(tmp_path / "named"):
        assert "--space coatnet-small" in text
        assert "--space coatnet " not in text


def test_no_command_is_given_for_a_space_that_no_file_holds(space: SearchSpace, tmp_path: Path) -> None:
    search(space, tmp_path / "run")
    for text in said(tmp_path / "run"):
        assert "nas-search --space" not in text
    assert nas.resume(tmp_path / "run").winners


def test_the_name_of_a_space_is_no_space(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"but got 'coatnet-small': read one by nas\.load_space"):
        search("coatnet-small", tmp_path / "run")  # type: ignore[arg-type]


# -- architectures --------------------------------------------------------------------------------------------


def number(value: int) -> Any:
    return np.int64(value)


def test_classes_and_pixels_may_be_numbers_of_numpy() -> None:
    network = nas.load_architecture("coatnet_0")
    assert network.with_classes(number(5)) == network.with_classes(5)
    assert network.with_classes(number(5)).digest == network.with_classes(5).digest
    assert network.at_resolution(number(192)).to_yaml() == network.at_resolution(192).to_yaml()


@pytest.mark.parametrize("classes", ["10", None, 0, 2.0, True])
def test_what_is_no_number_of_classes_is_refused(classes: Any) -> None:
    with pytest.raises(ArchitectureError, match="num_classes must be a whole number from 1 to 1000000, not "):
        nas.load_architecture("coatnet_0").with_classes(classes)


# -- cells that run twice, and threads ------------------------------------------------------------------------


def test_a_method_is_registered_again_by_the_same_definition_alone() -> None:
    def defined() -> type:
        class Mine:
            pass

        return Mine

    class Other:
        pass

    first, second = defined(), defined()
    register_method("mine", first)
    try:
        register_method("mine", second)
        assert METHODS["mine"].method is second
        with pytest.raises(OptionError, match="The name 'mine' is taken by another search method"):
            register_method("mine", Other)
        with pytest.raises(OptionError, match=r"The options of method 'third' must be a subclass of MethodOptions"):
            register_method("third", Other, options=dict)
        assert "third" not in METHODS
    finally:
        METHODS.remove("mine")


def test_a_metric_is_declared_again_by_the_same_units_alone() -> None:
    @dataclass(frozen=True)
    class Counted:
        def __call__(self, network: object) -> int:
            return 1

    def declared(units: dict[str, int], name: str = "rungs") -> Metric:
        return Metric(name=name, noun="rungs", units=units, shown=(("rungs", 1),), whole=True, measure=Counted())

    METRICS.add(declared({"rungs": 1}))
    try:
        METRICS.add(again := declared({"rungs": 1}))
        assert METRICS["rungs"] is again
        with pytest.raises(BudgetError, match="The unit 'rungs' of steps is rungs's: give another"):
            METRICS.add(declared({"rungs": 1}, name="steps"))
    finally:
        del METRICS._items["rungs"], METRICS.units["rungs"]


def test_a_second_search_in_the_process_is_refused_and_threads_are_given_back(
    space: SearchSpace, tmp_path: Path
) -> None:
    refused: list[str] = []

    class Second(Silent):
        def start(self, phase: str, total: int, unit: str) -> None:
            if not refused:
                thread = threading.Thread(target=self._search)
                thread.start()
                thread.join()

        def _search(self) -> None:
            with pytest.raises(RunError) as caught:
                search(space, tmp_path / "second")
            refused.append(str(caught.value))

    before = torch.get_num_threads()
    other = 2 if before != 2 else 1
    search(space, tmp_path / "first", threads=other, progress=Second())
    assert torch.get_num_threads() == before
    assert refused == ["A search or training runs in this process already: wait for it, or start another process."]
    assert not (tmp_path / "second").exists()
    search(space, tmp_path / "second")
