"""A tiny space, tiny images and ways to stop a training, for tests of training and scoring."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import nas
from nas.architecture import Architecture
from nas.data import DataInfo, Dataset, Split
from nas.progress import Silent
from nas.spaces import SearchSpace
from nas.training import Recipe
from nas.training.loop import TrainingLoop

SIZE, CLASSES = 8, 3
SPACE = """
format: 2
name: tiny
input: {kind: image, channels: 1, resolution: 8}
stem: {op: conv_stem, width: $width}
stem_choices: {width: [8]}
layers:
  mbconv:
    choices: {kernel_size: [3, 5], expand_ratio: [2, 3]}
    first:
    - norm: {op: batch_norm}
      mixer: {op: mbconv, width: $width, kernel_size: $kernel_size, expand_ratio: $expand_ratio, stride: $stride}
      shortcut: {op: pool_project, width: $width, stride: $stride}
    rest:
    - norm: {op: batch_norm}
      mixer: {op: mbconv, width: $width, kernel_size: $kernel_size, expand_ratio: $expand_ratio}
  transformer:
    choices: {expand_ratio: [1, 2]}
    first:
    - norm: {op: layer_norm}
      mixer: {op: attention, width: $width, head_dim: 8, stride: $stride}
      shortcut: {op: pool_project, width: $width, stride: $stride}
    - norm: {op: layer_norm}
      mixer: {op: feed_forward, expand_ratio: $expand_ratio}
    rest:
    - norm: {op: layer_norm}
      mixer: {op: attention, width: $width, head_dim: 8}
    - norm: {op: layer_norm}
      mixer: {op: feed_forward, expand_ratio: $expand_ratio}
stages:
- {stride: 1, width: [8], depth: [1], ops: {C: mbconv, A: transformer}}
- {stride: 2, width: [8, 16], depth: [1, 2], ops: {C: mbconv, A: transformer}}
rules: {op_order: CA, widths: growing}
head: {op: classifier, num_classes: 3, norm: {op: layer_norm}}
"""


class Stopped(Exception):  # noqa: N818
    """Stands in for a kill."""


class StopAt(Silent):
    """Progress that stops a training once so many steps are done."""

    def __init__(self, step: int) -> None:
        self._left = step

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        self._left -= n
        if n and self._left == 0:
            raise Stopped


class Members:
    """An architecture source without budgets: "largest" and "smallest" are so among a few draws."""

    def __init__(self, space: SearchSpace) -> None:
        self._space, self.layouts = space, space.layouts

    def member(self, rng: random.Random, layout: str) -> Architecture:
        return self._space.decode(self._space.sample_genotype(rng, layout))

    def largest(self, rng: random.Random, layout: str) -> Architecture:
        return max((self.member(rng, layout) for _ in range(4)), key=_size)

    def smallest(self, rng: random.Random, layout: str) -> Architecture:
        return min((self.member(rng, layout) for _ in range(4)), key=_size)


def _size(architecture: Architecture) -> int:
    return nas.cost(architecture).macs


def tiny_space() -> SearchSpace:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.yaml"
        path.write_text(SPACE)
        return nas.load_space(path)


def member(space: SearchSpace, layout: str = "CA", seed: int = 0) -> Architecture:
    return space.decode(space.sample_genotype(random.Random(seed), layout))


def tiny_data(train: int = 48, validation: int = 30, test: int = 30) -> Dataset:
    """Noise whose brightness tells the class."""
    generator = torch.Generator().manual_seed(0)
    counts = tuple(train // CLASSES for _ in range(CLASSES))
    info = DataInfo(
        name="noise",
        kind="npz",
        num_classes=CLASSES,
        class_names=("dark", "grey", "bright"),
        channels=1,
        height=SIZE,
        width=SIZE,
        train_count=train,
        validation_count=validation,
        test_count=test,
        glyphs=True,
        class_counts=counts,
    )
    splits = [_split(count, generator) for count in (train, validation, test)]
    return Dataset(
        info=info,
        resolution=SIZE,
        train=splits[0],
        search_validation=splits[1],
        test=splits[2],
        mean=(0.5,),
        std=(0.25,),
    )


def _split(count: int, generator: torch.Generator) -> Split:
    labels = torch.arange(count) % CLASSES
    noise = torch.randint(0, 60, (count, 1, SIZE, SIZE), generator=generator)
    images = (noise + 90 * labels[:, None, None, None]).to(torch.uint8)
    return Split(images=images.contiguous(memory_format=torch.channels_last), labels=labels)


def recipe(**changes: Any) -> Recipe:
    """Three epochs of four steps on `tiny_data()`, if nothing is changed."""
    return Recipe(**{"epochs": 3, "batch_size": 12, "augment": "crop", "seed": 5, **changes})


def same_tensors(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def plain_loop(
    folder: Path, step: Callable[[int], float] = lambda _: 0.0, data: Dataset | None = None, **fields: Any
) -> TrainingLoop:
    """Twelve steps, in three epochs, that teach nothing; `step` is called with the number of those done."""
    network = torch.nn.Linear(1, 1)

    def graded(images: torch.Tensor, labels: torch.Tensor, done: int) -> float:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return step(done)

    return TrainingLoop(network, data or tiny_data(), recipe(**fields), graded, folder=folder)
