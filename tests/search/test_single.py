"""`nas train` stopped and started again: it goes on, and its history has the epochs before."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import nas
from nas.export import winner
from nas.options import SearchOptions
from nas.progress import Silent
from nas.searching import train
from nas.training import loop as training

from ..small_space import small_space

OPTIONS = SearchOptions(
    space="small",
    data="digits",
    finalist_epochs=3,
    batch_size=256,
    threads=1,
    device="cpu",
    onnx=False,
)


class Interrupt(Silent):
    """Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        self._left -= n if "loss" in figures else 0
        if self._left == 0:
            raise KeyboardInterrupt


def test_a_training_that_goes_on_has_the_history_of_all_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winner, "check_code", lambda *_: 0.0)
    monkeypatch.setattr(training, "_FIRST_S", 1e9)  # no checkpoint but those at the end of the first epoch and of all
    space = small_space()
    smallest = min((space.sample(random.Random(seed)) for seed in range(20)), key=lambda a: nas.cost(a).macs)
    whole, again = tmp_path / "whole", tmp_path / "again"
    expected = train(smallest, out=whole, options=OPTIONS)
    # Four steps an epoch: in the third, so that the second is told of twice.
    with pytest.raises(KeyboardInterrupt):
        train(smallest, out=again, options=OPTIONS, progress=Interrupt(10))
    assert sorted(path.name for path in (again / "checkpoints").iterdir())[-1] == "step-00000010.safetensors"
    found = train(smallest, out=again, options=OPTIONS)
    assert {**found, "out": ""} == {**expected, "out": ""}
    histories = [json.loads((out / "training.json").read_text())["history"] for out in (whole, again)]
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]
    assert [row["epoch"] for row in histories[1]] == [1, 2, 3]
