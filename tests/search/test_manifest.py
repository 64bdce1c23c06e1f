"""What a run keeps of its space, its data and the program: read back as it was, refused where it is another."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.data import DataInfo
from nas.errors import RunError
from nas.methods.protocol.manifest import (
    check_data,
    check_program,
    keep,
    kept_presets,
    kept_space,
    last_written,
    resolved_data,
)
from nas.run import Run
from nas.spaces import SearchSpace, catalog
from nas.training.checkpoint import save_checkpoint

from ..notes import Notes
from ..small_space import small_space

INFO = DataInfo(
    name="x",
    kind="npz",
    num_classes=2,
    class_names=("a", "b"),
    channels=1,
    height=8,
    width=8,
    train_count=20,
    validation_count=0,
    test_count=0,
    glyphs=False,
    class_counts=(10, 10),
)


def made(path: Path, space: SearchSpace, source: str, **changes: Any) -> Run:
    return Run.create(path, {**keep(space, source, INFO), **changes})


@pytest.mark.parametrize("name", [*catalog.space_names(), "small"])
def test_a_space_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    space = small_space() if name == "small" else nas.load_space(name)
    with made(tmp_path / "run", space, name) as run:
        found = kept_space(run)
        assert [a.digest for a in kept_presets(run)] == [nas.load_architecture(p).digest for p in space.presets]
    assert (found.digest, found.layouts, found.size()) == (space.digest, space.layouts, space.size())
    for layout in space.layouts:
        drawn = space.sample_genotype(random.Random(1), layout)
        assert found.sample_genotype(random.Random(1), layout) == drawn
        assert found.decode(drawn) == space.decode(drawn)


def test_a_space_of_ones_own_is_kept_although_its_name_is_another_s(tmp_path: Path) -> None:
    space = nas.load_space("coatnet-small").adapted(resolution=64)
    with made(tmp_path / "run", space, "coatnet-small") as run:
        assert run.manifest["space_source"] is None
        assert kept_space(run).digest == space.digest


def test_a_shipped_space_that_has_changed_is_refused(tmp_path: Path) -> None:
    space = small_space()
    with (
        made(tmp_path / "run", space, "small", space_source="coatnet-small") as run,
        pytest.raises(RunError, match="was made for the search space"),
    ):
        kept_space(run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_count": 21}, "train count was 20, is 21"),
        ({"channels": 3}, "channels was 1, is 3"),
        ({"class_names": ("a", "c")}, "class names differ"),
        ({"class_counts": (11, 9)}, "class counts differ"),
    ],
)
def test_data_that_has_changed_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with made(tmp_path / "run", small_space(), "small") as run:
        check_data(run, INFO, "d.npz")
        with pytest.raises(RunError, match=f"d.npz has changed since .*{said}") as caught:
            check_data(run, replace(INFO, **change), "d.npz")
    assert "\n" not in str(caught.value)


def test_another_torch_is_said_and_other_ops_are_refused(tmp_path: Path) -> None:
    notes = Notes()
    with made(tmp_path / "a", small_space(), "small") as run:
        versions = run.manifest["versions"]
        check_program(run, notes)
        assert notes.notes == []
    with made(tmp_path / "b", small_space(), "small", versions={**versions, "torch": "1.0"}) as run:
        check_program(run, notes)
    assert "made with torch 1.0" in notes.notes[0]
    with (
        made(tmp_path / "c", small_space(), "small", versions={**versions, "ops": "0"}) as run,
        pytest.raises(RunError, match="another version of the ops"),
    ):
        check_program(run, notes)


def test_paths_of_data_do_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolved_data("photos") == str(tmp_path / "photos")
    assert resolved_data("~/photos") == str(tmp_path / "home" / "photos")
    assert resolved_data("/photos") == "/photos"
    for name in ("digits", "hf:cifar10"):
        assert resolved_data(name) == name


@pytest.mark.parametrize("folder", ["supernet", "supernet/block-2", "finalists/a", "calibration/a"])
def test_the_last_checkpoint_is_found_in_whatever_was_trained_last(tmp_path: Path, folder: str) -> None:
    assert last_written(tmp_path) == 0
    module = torch.nn.Linear(1, 1)
    for written, name in ((10.0, "supernet"), (20.0, "supernet/block-1"), (30.0, "finalists/b"), (40.0, folder)):
        save_checkpoint(tmp_path / name / f"step-{written:08.0f}.safetensors", module, None, {"time": written})
        assert last_written(tmp_path) == written


def test_what_is_kept_is_plain_json() -> None:
    kept = keep(small_space(), "small", INFO)
    assert json.loads(json.dumps(kept, allow_nan=False)).keys() == kept.keys()
