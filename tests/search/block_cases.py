"""A small space with two blocks, a few images, and block-wise searches of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas import ops
from nas.budget import Budget
from nas.options import SearchOptions
from nas.progress import Silent
from nas.run import RunRecord, read_run
from nas.run.events import CellScored
from nas.spaces import SearchSpace
from nas.spaces.catalog import parse_space

from ..small_space import small_data

BUDGET = Budget.parse("40kFLOPs")
OPTIONS = SearchOptions.of(
    space="small",
    method="blockwise",
    min_share=0.6,
    trials=8,
    epochs=1,
    finalists=1,
    finalist_epochs=1,
    threads=1,
    device="cpu",
    batch_size=32,
    onnx=False,
)


def data() -> dict[str, Any]:
    small = small_data()
    small["layers"]["convolution"]["choices"] = {"kernel_size": [3, 5], "expand_ratio": 1}
    small["layers"]["transformer"]["choices"] = {"expand_ratio": [1, 2]}
    small["stages"][1]["width"] = [8, 12]
    return small


def space() -> SearchSpace:
    return parse_space(data(), ops)


class Stopped(Exception):  # noqa: N818
    """Stands in for a kill."""


class StopAt(Silent):
    """Stops the search where a phase begins or gets on for the nth time."""

    def __init__(self, phase: str, left: int) -> None:
        self._phase, self._left, self._now = phase, left, ""

    def start(self, phase: str, total: int, unit: str) -> None:
        self._now = phase

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        if n and self._now == self._phase:
            self._left -= 1
            if not self._left:
                raise Stopped


def few_images(path: Path) -> str:
    """Writes a file of a few images in three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    pixels = (rng.integers(0, 90, (150, 8, 8)) + 80 * labels[:, None, None]).astype(np.uint8)
    np.savez(path, x_train=pixels[:120], y_train=labels[:120], x_test=pixels[120:], y_test=labels[120:])
    return str(path)


def run_search(out: Path, data: str, progress: Any = None, **options: Any) -> RunRecord:
    asked = OPTIONS.replaced(out=str(out), **options)
    nas.search(space(), budgets=[BUDGET], data=data, options=asked, progress=progress or Silent())
    return read_run(out)


def run_blocks(out: Path, data: str, **options: Any) -> RunRecord:
    """The same up to the trials: blocks are trained, paths scored and the best proposed."""
    try:
        run_search(out, data, StopAt("search", OPTIONS.trials or 1), **options)
    except Stopped:
        return read_run(out)
    raise AssertionError("it was not stopped")


def facts(run: RunRecord) -> list[Any]:
    """All of the trials that a stop must not change."""
    return [replace(trial, seconds=0.0).to_dict() for trial in run.trials()]


def cells(run: RunRecord) -> list[Any]:
    """What the run found of each cell."""
    return [(event.name, event.distances) for event in run.events(CellScored)]
