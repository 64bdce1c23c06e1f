"""A search's finalists are trained by the recipe that its options name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nas
from nas.errors import OptionError
from nas.options import SearchOptions
from nas.run import read_run
from nas.run.events import FinalistEpoch, FinalistTrained
from nas.training.checkpoint import newest, read_facts

from ..small_space import small_space

OPTIONS: dict[str, Any] = {
    "space": "small", "trials": 6, "finalists": 1, "finalist_epochs": 2, "method": "params",
    "batch_size": 256, "threads": 1, "device": "cpu", "onnx": False, "seed": 4,
}  # fmt: skip


def search(out: Path, **given: Any) -> Any:
    options = SearchOptions.of(out=str(out), **{**OPTIONS, **given})
    return nas.search(small_space(), budgets=[nas.Budget.parse("40kFLOPs")], data="digits", options=options)


def test_finalists_follow_a_recipe_file_and_record_its_rate(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("format: 1\nrecipe: {learning_rate: 0.003, ema: 0.9, checkpoint: best}\n")
    search(tmp_path / "run", recipe=str(mine))
    run = read_run(tmp_path / "run")
    (trained,) = run.events(FinalistTrained)
    assert trained.learning_rate == 0.003
    last = newest(tmp_path / "run" / "finalists" / trained.digest)
    assert last is not None
    recipe = read_facts(last)["recipe"]
    assert (recipe["ema"], recipe["checkpoint"]) == (0.9, "best")
    measured = [event.validation_accuracy for event in run.events(FinalistEpoch)]
    assert trained.validation_accuracy == max(value for value in measured if value is not None)
    assert len(measured) == 2


def test_a_recipe_that_cannot_be_read_is_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Unknown recipe 'lng': did you mean 'long'"):
        search(tmp_path / "run", recipe="lng")
    assert not (tmp_path / "run").exists()
