"""How much a run may take: never less than it does, asked for before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nas
from nas.budget import Budget
from nas.errors import RunError
from nas.export.formats import code
from nas.methods.protocol.search_method import MethodDisk
from nas.options import SearchOptions
from nas.pipeline import disk
from nas.run import files, read_run
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import loop as training

from ..small_space import listed, small_space

OPTIONS = SearchOptions.of(
    space="small",
    trials=4,
    epochs=2,
    finalists=2,
    finalist_epochs=2,
    batch_size=256,
    strategy="single-path",
    threads=1,
    device="cpu",
    onnx=False,
)
BUDGET = Budget.parse("50kFLOPs")


@pytest.mark.parametrize("budgets", [[], ["40kFLOPs"], ["25kFLOPs"], ["3kparams"], ["40kFLOPs", "3kparams"]])
def test_no_member_has_more_parameters_than_is_said(budgets: list[str]) -> None:
    space = small_space()
    sampler = BudgetSampler(space, [Budget.parse(text) for text in budgets])
    costs = [sampler.costs.cost(point) for point in listed(space)]
    most = max(cost.params for cost in costs if sampler.contains(cost))
    assert most <= disk.most_params(sampler) <= 1.25 * most


def test_trainings_side_by_side_take_room_each_but_never_more_than_there_are() -> None:
    own = MethodDisk(training=10, kept=1, each=3, trainings=4)
    assert [own.most_training(at_once) for at_once in (0, 1, 2, 4, 64)] == [10, 10, 13, 19, 19]


def test_files_with_several_names_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c").write_bytes(b"x" * 500)
    assert disk.folder_bytes(tmp_path) == 1500


def test_too_little_room_is_refused_before_there_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1_000_000)
    out = tmp_path / "runs" / "a"
    with pytest.raises(RunError, match=r"runs/a may take \d+ MB, but only 1 MB are free\. Free some space") as caught:
        nas.search(small_space(), budgets=[BUDGET], options=OPTIONS.replaced(out=str(out)))
    assert "\n" not in str(caught.value)
    assert not out.parent.exists()


def test_what_a_run_holds_already_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "held").write_bytes(b"x" * 5000)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1000)
    assert disk.check_room(tmp_path, 6000) == 1000
    with pytest.raises(RunError, match="Free some space"):
        disk.check_room(tmp_path, 6001)


def test_room_is_looked_for_where_the_folder_will_be(tmp_path: Path) -> None:
    assert disk.free_bytes(tmp_path / "not" / "there" / "yet") > 0


def test_a_run_takes_no_more_than_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, most = tmp_path / "run", [0]
    monkeypatch.setattr(disk, "_FIXED", 1_500_000)
    # A checkpoint after every step, so that there are as many at once as there can be.
    monkeypatch.setattr(training, "_CAUTION", 0.0)
    monkeypatch.setattr(training, "_FIRST_S", -1.0)
    replacing = files.replacing

    @contextmanager
    def watched(path: Path) -> Iterator[Path]:
        with replacing(path) as temporary:
            yield temporary
            most[0] = max(most[0], disk.folder_bytes(out))

    monkeypatch.setattr(code, "check_code", lambda *_: 0.0)
    for module in ("nas.run.files", "nas.training.checkpoint", "nas.export.folder", "nas.export.formats.onnx"):
        monkeypatch.setattr(f"{module}.replacing", watched)
    nas.search(small_space(), budgets=[BUDGET], options=OPTIONS.replaced(out=str(out)))
    said = read_run(out).manifest["disk_bytes"]
    assert 0 < most[0] <= max(said.values())
    assert disk.folder_bytes(out) <= said["export"]
