"""Supernet: shared weights for a whole space, of which every network is a part.

For each place in a network (stem, stage and layer index, head) and each kind of layer there, the supernet stores every
parameter at the largest shape that any member needs. A member's layer is the same class as in a standalone network, a
*skeleton* whose parameters are leaf views of that storage and whose gradients are views of its gradient: no second,
dynamic implementation of any op, and no copy of a weight. Which part a smaller layer uses follows from the shapes: a
prefix along channels, the center along kernels and position tables (weight entanglement as in AutoFormer, Chen et al.
2021, arXiv:2107.00651; centered kernels as in Once-for-All, Cai et al. 2020, arXiv:1908.09791, but without its learned
transforms: a smaller kernel is the center of the larger one as it is).

Layers share weights only where they differ in nothing but their ops' `elastic` parameters, so convolution and
attention, or strides one and two, have weights of their own. Where a prefix of the channels would play another part, as
in groups or behind a concatenation, layers of different widths share nothing either (`stands_alone`).

Gradients and the optimizer: weights that took no part in a step keep `grad = None`, so AdamW leaves them (and its
moments of them) alone. Inside a parameter that took part, the elements outside the part have a zero gradient; AdamW
decays them and lets their momentum run out, as it does for any weight with a zero gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture, BlockConfig, LayerConfig
from nas.networks.network import Network, make_part, shape_after
from nas.networks.shared_weights import SharedWeights, slot_of, stands_alone
from nas.ops import Shape
from nas.spaces import ABSENT, MANY, LayerChoice, SearchSpace


class Supernet(SharedWeights):
    """Supernet that holds the shared weights of all architectures of `space`.

    Args:
        space: Its resolution is the one that the supernet is trained and called at (`space.adapted(resolution=…)`).
        seed: Of the initial weights; torch's global generator is left as it was.
        choices: For the stem, then every stage, the choices to hold weights for (`BudgetSampler.feasible_choices`);
            None holds them all.
        any_layers: Whether members may have any layers of a stage, as `kept_layers` says: then every place of a stage
            holds weights for the choices of shallower members too, which a budget may allow and deeper ones not.

    Attributes:
        choices: Those that it holds weights for, in a fixed order.
        kept_layers: Per stage of the space, from 0, its layers' places from the one that matters most on: a member of
            depth d has the first d of them, in the order of their places. Elsewhere it has the first d places.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        choices: Sequence[Collection[Any]] | None = None,
        any_layers: bool = False,
    ) -> None:
        super().__init__(space)
        kept = _all_choices(space) if choices is None else choices
        # Sets of strings are walked in another order by every process, and the initial weights follow the slots' order.
        self.choices: list[list[Any]] = [sorted(some, key=repr) for some in kept]
        self.any_layers = any_layers
        self.kept_layers: dict[int, list[int]] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for slot, builders in _slots(space, self.choices, any_layers):
                self._allocate(slot, builders)
                config, shape = builders[0].args
                if stands_alone(config.to_dict()):
                    self.alone[slot] = config, shape

    # -- using it -----------------------------------------------------------------------------------------------

    def forward(self, x: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Runs one member on (B, channels, R, R) images; returns (B, num_classes) logits.

        Raises:
            SpaceError: If the architecture needs weights that the supernet does not hold.
        """
        for _, module in self.path(architecture):
            x = module(x)
        return x

    def path(self, architecture: Architecture) -> Iterator[tuple[str, nn.Module]]:
        """Yields the member's modules in order, each with its name in a standalone `Network`.

        In training with gradients enabled, their weights count as taking part in the current step.
        """
        yield from self.walk(architecture, self.skeleton)

    def walk(self, architecture: Architecture, make: Callable[[str, Any, Shape], Any]) -> Iterator[tuple[str, Any]]:
        """Yields what `make` makes of a member's parts in order, each with its name in a standalone `Network`.

        Args:
            make: Takes the part's place, its config and the shape of its input; returns something with a `shape`.
        """
        size = self.space.input.resolution
        stem = make("stem", architecture.stem, Shape(self.space.input.channels, size, size))
        yield "stem", stem
        shape = stem.shape
        for s, (stage, place) in enumerate(zip(architecture.stages, self._places(architecture), strict=True)):
            if stage.transition:
                module = make(f"stage{place + 1}-transition", stage.transition, shape)
                yield f"stages.{s}.transition", module
                shape = module.shape
            depth = len(stage.layers)
            slots = sorted(self.kept_layers.get(place, range(depth))[:depth])
            for i, (layer, slot) in enumerate(zip(stage.layers, slots, strict=True)):
                module = make(f"stage{place + 1}-layer{slot + 1}", layer, shape)
                yield f"stages.{s}.layers.{i}", module
                shape = module.shape
        yield "head", make("head", self.space.head_block(shape.channels), shape)

    def extract(self, architecture: Architecture) -> Network:
        """Returns the member as a standalone network with copies of its weights and BatchNorm statistics.

        Its output equals `forward`'s bit for bit. Recalibrate its BatchNorm before trusting it in eval mode.
        """
        config = architecture.at_resolution(self.space.input.resolution).with_channels(self.space.input.channels)
        config = config.with_classes(self.space.head.get("num_classes"))  # type: ignore[arg-type]
        state: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for prefix, module in self.path(architecture):
                state |= {f"{prefix}.{name}": value.clone() for name, value in module.state_dict().items()}
        with torch.device("meta"):
            network = Network(config.to_dict())
        network.load_state_dict(state, assign=True)
        return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]: not in torch's stubs

    # -- inside --------------------------------------------------------------------------------------------------

    def _places(self, architecture: Architecture) -> Sequence[int]:
        """Returns which stages of the space an architecture's stages are, since stages may be absent."""
        if not any(0 in stage.depths for stage in self.space.stages):
            return range(len(architecture.stages))
        return [i for i, gene in enumerate(self.space.encode(architecture).stages) if gene.depth]


def may_choose(space: SearchSpace, stage: int) -> bool:
    """Returns whether any layers of a stage (from 0) may be left out, and not only its last ones.

    Only where the stage's layers share their choices: else each place has weights for choices of its own.
    """
    found = space.stages[stage]
    return not found.per_layer and not any(op.is_run for op in found.ops) and 0 not in found.depths


def opens(space: SearchSpace, stage: int) -> bool:
    """Returns whether the first layer of a stage differs from the others, so that it always stays."""
    return any(op.first != op.rest for op in space.stages[stage].ops)


def _all_choices(space: SearchSpace) -> list[Collection[Any]]:
    kept: list[set[Any]] = [set(space.stem.combinations)]
    for stage in space.stages:
        every = [] if stage.per_layer else [choice for op in stage.ops for choice in stage.choices(op.letter)]
        kept.append({*every, *([ABSENT] if 0 in stage.depths else [])})
    if any(stage.per_layer for stage in space.stages):
        for edges in space.graph(MANY).edges.values():
            for edge in edges:
                if isinstance(edge.choice, LayerChoice):
                    kept[edge.choice.stage + 1].add(edge.choice)
    return list(kept)


def _slots(space: SearchSpace, kept: Sequence[Collection[Any]], any_layers: bool) -> Iterator[tuple[str, list[Any]]]:
    """Returns every slot with builders of the layers that it may hold, the largest ones first.

    A tensor is taken from the first builder that has it at its largest, so that few are built for real.
    """
    size = space.input.resolution
    entry = Shape(space.input.channels, size, size)
    groups: dict[str, list[Any]] = {}
    seen: set[Any] = set()

    def add(place: str, config: BlockConfig | LayerConfig, shape: Shape) -> None:
        if (place, config, shape) not in seen:
            seen.add((place, config, shape))
            groups.setdefault(slot_of(place, config, shape), []).append(partial(make_part, config, shape))

    for values in sorted(kept[0], key=_greatness, reverse=True):
        add("stem", space.stem_block(values), entry)
    shape = shape_after(space.stem_block(space.stem.combinations[0]), entry)
    # Per source of a map (-1: the stem), its height and width, and its channels from the widest on.
    maps: dict[int, tuple[Any, ...]] = {-1: shape[1:]}
    widths: dict[int, list[int]] = {-1: sorted({space.stem.width(values) for values in kept[0]}, reverse=True)}
    sources = [-1]
    for s, choices in enumerate(kept[1:]):
        walked = any(op.is_run for op in space.stages[s].ops)
        for source in sources if walked else []:
            for place, config, before in _walked(space, s, choices, source, widths[source], maps):
                add(place, config, before)
        for layer, width_in in [] if walked else _entered(space, s, choices, sources, widths):
            before = Shape(width_in, *maps[layer.source])
            transition, config = space.layer_config(layer)
            after = before
            if transition:
                add(f"stage{s + 1}-transition", transition, before)
                after = shape_after(transition, before)
            add(f"stage{s + 1}-layer1", config, after)
            if s not in maps:
                maps[s] = shape_after(config, after)[1:]
        for layer in [] if walked else _further(space, s, choices, any_layers and may_choose(space, s)):
            add(f"stage{s + 1}-layer{layer.place + 1}", space.layer_config(layer)[1], Shape(layer.width, *maps[s]))
        present = {choice.width for choice in choices if choice.op}
        if present:
            widths[s] = sorted(present, reverse=True)
            sources = ([*sources] if ABSENT in choices else []) + [s]
    for source in sources:
        for width in widths[source][:1] if not space.head_varies else widths[source]:
            add("head", space.head_block(width), Shape(width, *maps[source]))
    yield from groups.items()


def _walked(
    space: SearchSpace,
    s: int,
    choices: Collection[Any],
    source: int,
    widths: list[int],
    maps: dict[int, tuple[Any, ...]],
) -> Iterator[tuple[str, BlockConfig | LayerConfig, Shape]]:
    """Yields every block of a stage whose layers come in runs, with its place and the map that it reads.

    Inside a run layers may change the map, and where each stands depends on how long the runs are.
    """
    after: dict[Any, Shape] = {}
    ways = [(choice, width) for choice in choices if choice.op for width in widths]
    for choice, width in sorted(ways, key=lambda way: (way[0].width, way[1], way[0].depth, str(way[0])), reverse=True):
        if not space.follows(width, choice.width, s):
            continue
        stage, shape = space.stage_config(s, choice, source), Shape(width, *maps[source])
        parts: list[tuple[str, BlockConfig | LayerConfig]] = [
            (f"stage{s + 1}-layer{i + 1}", layer) for i, layer in enumerate(stage.layers)
        ]
        for place, config in [(f"stage{s + 1}-transition", stage.transition), *parts] if stage.transition else parts:
            yield place, config, shape
            key = (config, shape)
            if key not in after:
                after[key] = shape_after(config, shape)
            shape = after[key]
        maps.setdefault(s, shape[1:])


def _entered(
    space: SearchSpace, s: int, choices: Collection[Any], sources: list[int], widths: dict[int, list[int]]
) -> Iterator[tuple[LayerChoice, int]]:
    """Yields first layers of a stage with the input widths that they may have, the largest first."""
    for source in sources:
        firsts = [
            LayerChoice(s, 0, source, choice.op, choice.width, choice.params)
            for choice in choices
            if choice.op and (not isinstance(choice, LayerChoice) or (choice.place, choice.source) == (0, source))
        ]
        kinds = {layer: _kind(space, layer) for layer in _in_order(firsts)}

        def input_widths(layer: LayerChoice, of: list[int] = widths[source]) -> list[int]:
            return [width for width in of if space.follows(width, layer.width, s)]

        for layer in _undominated(kinds):
            yield from ((layer, width) for width in input_widths(layer)[:1])
        # A shortcut's projection exists only where the width changes, so every change counts.
        for layer in {(kind, layer.width): layer for layer, kind in kinds.items()}.values():
            yield from ((layer, width) for width in input_widths(layer))


def _further(space: SearchSpace, s: int, choices: Collection[Any], anywhere: bool) -> Iterator[LayerChoice]:
    """Yields layers of a stage after its first that decide the shapes of its weights, the largest ones first.

    Args:
        anywhere: Whether the layers of a shallow member may be at any place of the deepest.
    """
    deepest = max((choice.depth for choice in choices if anywhere and choice.op), default=0)
    least = 2 if opens(space, s) else 1
    for place in range(1, space.stages[s].depths[-1]):
        layers: list[LayerChoice] = []
        for choice in choices:
            if isinstance(choice, LayerChoice):
                layers += [choice] if choice.place == place else []
            elif choice.op and (choice.depth > place or (place < deepest and choice.depth >= least)):
                layers.append(LayerChoice(s, place, s, choice.op, choice.width, choice.params))
        yield from _undominated({layer: _kind(space, layer) for layer in _in_order(layers)})


def _in_order(layers: list[LayerChoice]) -> list[LayerChoice]:
    """Returns each item once, in the same order in every process, which sets of strings do not have."""
    return sorted(set(layers), key=lambda layer: (layer.op, layer.width, str(layer.params)))


def _greatness(values: Sequence[Any]) -> list[float]:
    return [value if isinstance(value, int | float) else 0 for value in values]


def _kind(space: SearchSpace, layer: LayerChoice) -> Any:
    """Returns what layers that share weights have in common: all that is not elastic."""
    return tuple(slot_of("", config, Shape(layer.width, 0, 0)) for config in space.layer_config(layer) if config)


def _undominated(kinds: dict[LayerChoice, Any]) -> list[LayerChoice]:
    """Returns the layers of each kind that no other exceeds in width and every number, in falling order."""
    found: list[tuple[Any, list[float], LayerChoice]] = []
    for layer in sorted(kinds, key=lambda c: (c.width, _greatness(c.params)), reverse=True):
        size = [layer.width, *_greatness(layer.params)]
        if not any(
            kinds[layer] == k and layer.op == other.op and all(a >= b for a, b in zip(larger, size, strict=True))
            for k, larger, other in found
        ):
            found.append((kinds[layer], size, layer))
    return [layer for _, _, layer in found]
