"""A small space with two blocks, a few images, and block-wise searches of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas import ops
from nas.budget import Budget
from nas.catalog import parse_space
from nas.options import SearchOptions
from nas.progress import Silent
from nas.run import RunRecord, read_run
from nas.space import SearchSpace

from ..small_space import small_data

BUDGET = Budget.parse("40kFLOPs")
OPTIONS = SearchOptions(
    space="small",
    aim=0.6,
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


def few_images(path: Path) -> str:
    """Writes a file of a few images in three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    pixels = (rng.integers(0, 90, (150, 8, 8)) + 80 * labels[:, None, None]).astype(np.uint8)
    np.savez(path, x_train=pixels[:120], y_train=labels[:120], x_test=pixels[120:], y_test=labels[120:])
    return str(path)


def run_search(out: Path, strategy: str, data: str, progress: Any = None) -> RunRecord:
    options = replace(OPTIONS, out=str(out), strategy=strategy)
    nas.search(space(), budgets=[BUDGET], data=data, options=options, progress=progress or Silent())
    return read_run(out)
