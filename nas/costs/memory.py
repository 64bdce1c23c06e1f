"""Peak memory of one inference: weights, and the most of live tensors, exact and without running on data.

    peak_memory(architecture)                  # bytes in float32 at batch 1
    peak_memory(architecture, dtype="int8")    # TinyML's: a byte for each weight and activation

Eager inference of the network as `nas.build` gives it: the image, what a block makes while it runs, and what the
calls around it still hold, which `nas.costs.memory_walk` follows on the meta device. Blocks are walked once and
remembered; a network is put together from them by the frames of `nas.networks.network`: `Stage.forward` holds the
input and what its transition made, a `Layer` its input, whoever calls the network the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture, BlockConfig, BranchConfig, StageConfig
from nas.costs.block_cache import add_cached, cache_key, cannot_run, read_cached, tuples
from nas.costs.count_table import cache_file
from nas.costs.memory_walk import Form, Walk, form_bytes, image_form, walk
from nas.errors import ArchitectureError, OptionError
from nas.networks.network import make_part
from nas.ops import Shape
from nas.registry import unknown
from nas.setting import DTYPE_BYTES, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one inference, in bytes.

    Attributes:
        weights: Parameters and buffers.
        activations: The most of other tensors that is live at once, the images included.
        place: Where that is: "stem", "stage 1" or "head".
        dtype: Of weights and images.
        batch: Images of the inference.
    """

    weights: int
    activations: int
    place: str
    dtype: str
    batch: int

    @property
    def peak(self) -> int:
        return self.weights + self.activations


def peak_memory(architecture: Architecture, dtype: str = "float32", batch: int = 1) -> int:
    """Returns the bytes of weights and of the most tensors that are live at once in eager inference.

    Args:
        dtype: Of weights and images: "float32", "float16", "bfloat16", or "int8", one byte for every number of
            weights and activations.
        batch: Images of one inference.

    Raises:
        ArchitectureError: If the stages do not fit one another, naming the stage and the numbers.
        OptionError: If there is no such dtype.
    """
    return memory_use(architecture, dtype, batch).peak


def measured_memory(architecture: Architecture, setting: Setting) -> int:
    """Returns what a budget on memory bounds."""
    return peak_memory(architecture, setting.dtype, setting.batch)


def memory_use(architecture: Architecture, dtype: str = "float32", batch: int = 1) -> Memory:
    """Returns the same as `peak_memory` in its parts."""
    if dtype not in DTYPE_BYTES:
        raise OptionError(unknown("dtype", dtype, DTYPE_BYTES))
    image, shape = images(architecture.input.channels, architecture.input.resolution, dtype, batch)
    parts: list[tuple[str, BlockConfig | StageConfig]] = [("stem", architecture.stem)]
    parts += [(f"stage {i}", stage) for i, stage in enumerate(architecture.stages, start=1)]
    parts.append(("head", architecture.head))
    own_image, entering = form_bytes(image, dtype), image
    weights = activations = held = 0
    place = ""
    for name, part in parts:
        try:
            found = WALKS.part(part, shape, entering, dtype)
        except ArchitectureError as fault:
            raise ArchitectureError(f"{name} (its input {'x'.join(map(str, shape[:3]))}): {fault}") from None
        weights += found.weights
        if own_image + held + found.peak > activations:
            activations, place = own_image + held + found.peak, name
        # What is on the storage of the images, or of what came before, is held by them.
        held = form_bytes(found.output, dtype) if found.fresh else held
        entering, shape = found.output, found.shape
    return Memory(weights=weights, activations=activations, place=place, dtype=dtype, batch=batch)


def images(channels: int, resolution: int, dtype: str, batch: int = 1) -> tuple[Form, Shape]:
    """Returns the form and the shape of a network's input."""
    shape = Shape(channels, resolution, resolution)
    return image_form((batch, *shape.tensor), dtype), shape


class WalkTable:
    """Walks of branches, blocks and stages by config and input, in memory; of branches and blocks also on disk."""

    def __init__(self) -> None:
        self._blocks: dict[Any, Walk] = {}
        self._stages: dict[Any, Walk] = {}
        self._stored: dict[str, Any] | None = None
        self._fresh: dict[str, Any] = {}

    def part(self, config: BlockConfig | BranchConfig | StageConfig, shape: Shape, entering: Form, dtype: str) -> Walk:
        """Returns the walk of a part of a network for an input of `shape` that lies as `entering` says."""
        if isinstance(config, StageConfig):
            return self._stage(config, shape, entering, dtype)
        key = (config, shape, entering, dtype)
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._load_or_walk(config, shape, entering, dtype)
        return found

    def _stage(self, config: StageConfig, shape: Shape, entering: Form, dtype: str) -> Walk:
        key = (config, shape, entering, dtype)
        found = self._stages.get(key)
        if found is None:
            found = self._stages[key] = self._put_together(config, shape, entering, dtype)
        return found

    def _put_together(self, config: StageConfig, shape: Shape, entering: Form, dtype: str) -> Walk:
        """The walk of a stage from those of its branches; storages are numbered, the input's is 0 and not counted."""
        weights = peak = number = storage = 0
        sizes = {0: 0}
        fresh = False

        def call(part: BlockConfig | BranchConfig, held: Iterable[int]) -> None:
            nonlocal weights, peak, number, storage, fresh, entering, shape
            found = self.part(part, shape, entering, dtype)
            weights += found.weights
            peak = max(peak, sum(sizes[each] for each in {*held, storage}) + found.peak)
            if found.fresh:
                number, fresh = number + 1, True
                storage, sizes[number] = number, form_bytes(found.output, dtype)
            entering, shape = found.output, found.shape

        if config.transition is not None:
            call(config.transition, ())
        transitioned = storage
        for layer in config.layers:
            layer_input = storage
            for branch in layer.branches:
                call(branch, (transitioned, layer_input))
        return Walk(weights, peak, fresh, entering, shape)

    def save(self) -> None:
        """Writes new walks to the user's cache; a cache that cannot be written only costs time."""
        if self._fresh and add_cached(_walks_file(), self._fresh):
            self._fresh.clear()

    def _load_or_walk(self, config: BlockConfig | BranchConfig, shape: Shape, entering: Form, dtype: str) -> Walk:
        if self._stored is None:
            self._stored = read_cached(_walks_file())
        key = cache_key(config, list(shape), _plain(entering), dtype)
        stored = self._stored.get(key)
        if stored is not None:
            weights, peak, fresh, output, made = stored
            return Walk(weights, peak, fresh, _form(output), Shape(*map(tuples, made)))
        try:
            with torch.device("meta"):
                module = make_part(config, shape)
            found = walk(module, entering, dtype)
        except (RuntimeError, IndexError) as fault:  # of torch, as for counts
            raise cannot_run(config, shape, fault) from None
        self._fresh[key] = [found.weights, found.peak, found.fresh, _plain(found.output), list(found.shape)]
        return found


WALKS = WalkTable()


def _plain(form: Form) -> list[Any]:
    return [list(form.shape), list(form.strides), form.offset, form.numbers, str(form.dtype).removeprefix("torch.")]


def _form(plain: list[Any]) -> Form:
    shape, strides, offset, numbers, dtype = plain
    return Form(tuple(shape), tuple(strides), offset, numbers, getattr(torch, dtype))


@lru_cache(maxsize=1)
def _walks_file() -> Path:
    """Returns the file of walks: what they depend on beside the source of counts is their own, and torch."""
    own = Path(__file__).with_name("memory_walk.py").read_bytes() + torch.__version__.encode()
    counts = cache_file()
    return counts.with_name(f"{counts.stem.replace('counts', 'memory')}-{hashlib.sha256(own).hexdigest()[:8]}.json")
