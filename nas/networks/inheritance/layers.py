"""Which layers of a stage matter most, measured: those that change the representation most."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nas.networks.network import Network, Stage
from nas.networks.supernet import may_choose, opens
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
