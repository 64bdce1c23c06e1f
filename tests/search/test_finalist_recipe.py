"""A search's finalists are trained by the recipe that its options name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.errors import OptionError, RunError
from nas.methods.protocol.plan import epochs_validated
from nas.options import SearchOptions
from nas.progress import Progress
from nas.run import read_run
from nas.run.events import FinalistEpoch, FinalistTrained
from nas.training.checkpoint import newest, read_facts
from tests.notes import Interrupt

from ..small_space import small_space

OPTIONS: dict[str, Any] = {
    "space": "small", "trials": 6, "finalists": 1, "finalist_epochs": 2, "method": "params",
    "batch_size": 256, "threads": 1, "device": "cpu", "onnx": False, "seed": 4,
}  # fmt: skip


def search(out: Path, *, progress: Progress | None = None, **given: Any) -> Any:
    options = SearchOptions.of(out=str(out), **{**OPTIONS, **given})
    budgets = [nas.Budget.parse("40kFLOPs")]
    return nas.search(small_space(), budgets=budgets, data="digits", options=options, progress=progress)


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


def test_a_finalist_that_patience_ended_is_recorded_with_the_epochs_that_it_had(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("format: 1\nrecipe: {learning_rate: 0.000001, patience: 1}\n")
    search(tmp_path / "run", recipe=str(mine), finalist_epochs=40)
    run = read_run(tmp_path / "run")
    (trained,) = run.events(FinalistTrained)
    epochs = [event.epoch for event in run.events(FinalistEpoch)]
    assert epochs == [*range(1, len(epochs) + 1)]
    assert trained.epochs == len(epochs) < 40
    assert f"{len(epochs)} epochs" in (tmp_path / "run" / "winners" / "1" / "card.md").read_text()


def test_the_curve_of_a_finalist_is_that_of_the_average_of_its_weights(tmp_path: Path) -> None:
    found: dict[str, dict[int, float | None]] = {}
    for name, values in (("plain", ""), ("averaged", "ema: 0.99"), ("validated", "ema: 0.99, checkpoint: best")):
        mine = tmp_path / f"{name}.yaml"
        mine.write_text(f"format: 1\nrecipe: {{{values}}}\n")
        search(tmp_path / name, recipe=str(mine), finalist_epochs=10)
        events = read_run(tmp_path / name).events(FinalistEpoch)
        due = {event.epoch: event.validation_accuracy for event in events if event.epoch in epochs_validated(10)}
        assert None not in due.values()
        found[name] = due
    assert found["averaged"] == found["validated"]
    assert found["averaged"] != found["plain"], "the weights themselves are the same"


def test_a_recipe_that_cannot_be_read_is_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Unknown recipe 'lng': did you mean 'long'"):
        search(tmp_path / "run", recipe="lng")
    assert not (tmp_path / "run").exists()


def test_a_stopped_search_goes_on_without_its_recipe_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("format: 1\nrecipe: {learning_rate: 0.003}\nsized: [{epochs: 2, recipe: {ema: 0.8}}]\n")
    search(tmp_path / "whole", recipe=str(mine))
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "stopped", progress=Interrupt(3), recipe=str(mine))
    recorded = read_run(tmp_path / "stopped").manifest["recipe"]
    assert recorded["values"] == {"learning_rate": 0.003}
    assert recorded["sized"] == [{"epochs": 2, "images": 0, "recipe": {"ema": 0.8}}]
    mine.unlink()
    nas.resume(tmp_path / "stopped")
    expected, found = (read_run(tmp_path / name).last(FinalistTrained) for name in ("whole", "stopped"))
    assert found is not None
    assert expected is not None
    assert found.learning_rate == 0.003
    assert found.weights_sha256 == expected.weights_sha256


def test_a_run_of_before_recipes_were_recorded_reads_the_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("format: 1\nrecipe: {learning_rate: 0.003}\n")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", progress=Interrupt(3), recipe=str(mine))
    events = tmp_path / "run" / "events.jsonl"
    first, *others = events.read_text().splitlines(keepends=True)
    plain = json.loads(first)
    del plain["recipe"]
    events.write_text(json.dumps(plain) + "\n" + "".join(others))
    mine.write_text("format: 1\nrecipe: {learning_rate: 0.002}\n")
    with pytest.raises(RunError, match="was trained by another recipe"):
        nas.resume(tmp_path / "run")
