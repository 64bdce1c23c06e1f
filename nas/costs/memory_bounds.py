"""What a space's decisions say of the memory of its networks: from below for each of them, from above for all."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from nas.costs.memory import WALKS, images
from nas.costs.memory_walk import Form, form_bytes, form_of
from nas.costs.space_costs import CostGraph, Option, SpaceCosts
from nas.setting import DTYPE_BYTES, Setting
from nas.spaces import END, START, LayerChoice, Node

_LAYOUTS = (torch.channels_last, torch.contiguous_format)


class _Part(NamedTuple):
    """Memory of the part of a network that a decision adds: weights, and activations while it runs."""

    weights: int
    least: int
    most: int


_NOTHING = _Part(0, 0, 0)


class MemoryBounds:
    """Bounds of the peak memory of a space's networks in a setting.

    The peak is the sum of all weights and the largest of what the parts need while they run, of which a decision
    knows its own: the image, its input, and what it makes. That depends on how its input lies, channels last or not,
    which earlier decisions settle; the less and the more of both are the bounds. Where a stage has a choice per layer,
    what the stage holds over its layers (its input) is left out from below.

    Attributes:
        per_param: Bytes that each parameter of the network adds.
    """

    def __init__(self, costs: SpaceCosts, setting: Setting) -> None:
        self.per_param = DTYPE_BYTES[setting.dtype]
        self._costs, self._setting = costs, setting
        given = costs.space.input
        self._image, _ = images(given.channels, given.resolution, setting.dtype, setting.batch)
        self._parts: dict[Any, _Part] = {}

    def least(self, node: Node, option: Option) -> int:
        """Returns the least that the whole network holds beside its weights while the decision's part runs."""
        return self._part(node, option).least

    def most(self) -> int:
        """Returns what no network of the space exceeds, and the largest comes close to."""
        graphs = [self._costs.graph(layout) for layout in self._costs.space.layouts]
        found = max(self._most_of(graph) for graph in graphs if graph.nodes)
        WALKS.save()
        return found

    # -- inside -------------------------------------------------------------------------------------------------

    def _most_of(self, graph: CostGraph) -> int:
        """The heaviest path through every decision, with the most activations beside it."""
        before, after = {START: 0}, {END: 0}
        for node in graph.nodes[:-1]:
            for option in graph.options[node]:
                heavier = before[node] + self._part(node, option).weights
                before[option.node] = max(heavier, before.get(option.node, 0))
        most, held = 0, self._most_held(graph)
        for node in reversed(graph.nodes[:-1]):
            after[node] = 0
            for option in graph.options[node]:
                part = self._part(node, option)
                after[node] = max(after[node], part.weights + after[option.node])
                beside = part.most + (held.get(node.stage, 0) if node.placed else 0)
                most = max(most, before[node] + part.weights + after[option.node] + beside)
        return most

    def _most_held(self, graph: CostGraph) -> dict[int, int]:
        """The most that a stage with a choice per layer holds over its layers, from its first, by the stage."""
        held: dict[int, int] = {}
        for node in graph.nodes[:-1]:
            for option in graph.options[node]:
                if isinstance(option.choice, LayerChoice) and not node.placed:
                    held[node.stage] = max(held.get(node.stage, 0), self._part(node, option).most)
        return held

    def _part(self, node: Node, option: Option) -> _Part:
        key = (node.stage, node.source, node.width, option.choice)
        if key not in self._parts:
            self._parts[key] = self._bounded(node, option)
        return self._parts[key]

    def _bounded(self, node: Node, option: Option) -> _Part:
        found = self._costs.part(node, option.choice)
        if found is None:
            return _NOTHING
        config, shape = found
        dtype, image = self._setting.dtype, form_bytes(self._image, self._setting.dtype)
        if node == START:
            walk = WALKS.part(config, shape, self._image, dtype)
            return _Part(walk.weights, image + walk.peak, image + walk.peak)
        walks = [(form, WALKS.part(config, shape, form, dtype)) for form in self._forms(shape.tensor)]
        sums = [image + form_bytes(form, dtype) + walk.peak for form, walk in walks]
        return _Part(walks[0][1].weights, min(sums), max(sums))

    def _forms(self, shape: tuple[int, ...]) -> list[Form]:
        whole = (self._setting.batch, *shape)
        forms = [
            form_of(torch.empty(whole, dtype=self._image.dtype, device="meta", memory_format=layout))
            for layout in _LAYOUTS
        ]
        return list(dict.fromkeys(forms))
