"""What deriving needs to know of ops, and how wide things come out: passed in by the ring that has the op library."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from nas.architecture import Architecture, BlockConfig, InputConfig, LayerConfig, StageConfig
from nas.errors import ArchitectureError, SpaceError
from nas.spaces.derive.steps import Steps
from nas.spaces.templates import fill

Shape: TypeAlias = "tuple[Any, ...]"
"""Channels, height, width, tokens beside the map, and the shapes of parallel streams."""


class OpFacts(Protocol):
    """The op library, as far as deriving is concerned."""

    def elastic(self, op: str) -> tuple[str, ...]:
        """The parameters over which a supernet shares the op's weights."""
        ...

    def default(self, op: str, parameter: str) -> Any:
        """A parameter's default; None where the op has no such parameter, or one without a default."""
        ...

    def letter(self, layer: LayerConfig) -> str:
        """A for a layer with attention, M for one with a state-space model, C for one of convolutions alone."""
        ...

    def after(self, part: BlockConfig | StageConfig, shape: Shape) -> Shape:
        """The shape that comes out of a block or a stage. Raises ArchitectureError where it does not fit."""
        ...


class Fitting:
    """Whether templates, filled in, can be built on a map of some shape; every answer is kept.

    Attributes:
        steps: What numbers of the network may be.
    """

    def __init__(self, facts: OpFacts, steps: Steps) -> None:
        self.facts, self.steps = facts, steps
        self._known: dict[Any, Shape | None] = {}

    def block(self, template: dict[str, Any], values: dict[str, Any], shape: Shape) -> Shape | None:
        """The shape after a block; None where it does not fit."""
        try:
            return self._after(BlockConfig.from_dict(fill(template, values)), shape)
        except (SpaceError, ArchitectureError):
            return None

    def layer(self, template: dict[str, Any], values: dict[str, Any], shape: Shape) -> Shape | None:
        """The shape after a layer; None where it does not fit."""
        try:
            layer = LayerConfig.from_dict(fill(template, values))
        except (SpaceError, ArchitectureError):
            return None
        return self._after(StageConfig(layers=(layer,)), shape)

    def layers(self, template: dict[str, Any], values: dict[str, Any], shape: Shape) -> Shape | None:
        """The shape after a run of layers; None where it does not fit."""
        try:
            run = StageConfig.from_dict(fill(template, values))
        except (SpaceError, ArchitectureError):
            return None
        found: Shape | None = shape
        for layer in run.layers:
            found = self._after(StageConfig(layers=(layer,)), found) if found is not None else None
        return found

    def shapes(self, network: Architecture) -> list[Shape]:
        """The shapes after the stem and after every stage.

        Raises:
            ArchitectureError: If the network's parts do not fit one another.
        """
        image: InputConfig = network.input
        found = [self.facts.after(network.stem, (image.channels, image.resolution, image.resolution, 0, ()))]
        for stage in network.stages:
            found.append(self.facts.after(stage, found[-1]))
        return found

    def _after(self, part: BlockConfig | StageConfig, shape: Shape) -> Shape | None:
        key = (part, shape)
        if key not in self._known:
            try:
                self._known[key] = self.facts.after(part, shape)
            except ArchitectureError:
                self._known[key] = None
        return self._known[key]
