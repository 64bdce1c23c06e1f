"""Which layers of a stage matter most, measured: those that change the representation most."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nas.networks.network import Network, Stage
from nas.spaces import SearchSpace


@torch.no_grad()
def changes(network: Network, x: torch.Tensor) -> list[list[float]]:
    """Returns per stage how much each of its layers changes the map: |layer(x) - x| / |x| over a batch.

    A layer that gives a map of another shape has infinity: no layer could stand in for it.
    """
    found: list[list[float]] = []
    x = network.stem(x)
    for stage in network.stages:
        assert isinstance(stage, Stage)
        x = stage.transition(x)
        found.append([])
        for layer in stage.layers:
            y = layer(x)
            same = y.shape == x.shape
            found[-1].append(float((y - x).norm() / x.norm().clamp_min(1e-12)) if same else float("inf"))
            x = y
    return found


def may_choose(space: SearchSpace, stage: int) -> bool:
    """Returns whether any layers of a stage (from 0) may be left out, and not only its last ones.

    Only where the stage's layers share their choices: else each place has weights for choices of its own.
    """
    found = space.stages[stage]
    return not found.per_layer and not any(op.is_run for op in found.ops) and 0 not in found.depths


def opens(space: SearchSpace, stage: int) -> bool:
    """Returns whether the first layer of a stage differs from the others, so that it always stays."""
    return any(op.first != op.rest for op in space.stages[stage].ops)


def by_change(space: SearchSpace, depths: Sequence[int], changed: list[list[float]]) -> dict[int, list[int]]:
    """Returns per stage of which any layers may be left out its layers, the one to keep longest first.

    Args:
        depths: Of a member, per stage of the space; 0 where it leaves the stage out.
        changed: Of the member's network, as `changes` returns it.
    """
    found: dict[int, list[int]] = {}
    stages = [stage for stage, depth in enumerate(depths) if depth]
    for stage, values in zip(stages, changed, strict=True):
        if may_choose(space, stage) and len(values) > 1:
            first = [0] if opens(space, stage) else []
            rest = [i for i in range(len(values)) if i not in first]
            found[stage] = [*first, *sorted(rest, key=lambda i: (-values[i], i))]
    return found
