"""Layer-wise decay of the learning rate: what lies nearer to the input moves less."""

from __future__ import annotations

import re

from torch import nn

from nas.errors import OptionError
from nas.networks.weight_decay import decay_groups, no_weight_decay

_LAYER = re.compile(r"^stages\.(\d+)\.(?:(transition)\.|layers\.(\d+)\.)")

LayerGroup = tuple[float, list[nn.Parameter], list[nn.Parameter]]
"""The factor of a learning rate, parameters with weight decay, and parameters without."""


def layer_groups(module: nn.Module, decay: float) -> list[LayerGroup]:
    """Returns the trainable parameters of a network by layer: the stem first, the head last, which has factor 1.

    Each layer's factor is `decay` times that of the next; a stage's transition counts as a layer. With `decay` 1, all
    parameters are one group, of any module.

    Raises:
        OptionError: If `decay` is not 1 and the module is not a network of stem, stages and head.
    """
    if decay == 1:
        return [(1.0, *decay_groups(module))]
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    places = {name: _place(name) for name, _ in named}
    order = {place: number for number, place in enumerate(sorted({*places.values()}))}
    spared = no_weight_decay(module)
    groups: list[LayerGroup] = [(decay ** (len(order) - 1 - number), [], []) for number in range(len(order))]
    for name, parameter in named:
        _, decaying, undecayed = groups[order[places[name]]]
        (undecayed if name in spared else decaying).append(parameter)
    return groups


def _place(name: str) -> tuple[int, int]:
    """Returns the stage and layer that a parameter is in, as numbers that grow from stem to head."""
    if name.startswith("stem."):
        return (-1, 0)
    if name.startswith("head."):
        return (1_000_000, 0)
    found = _LAYER.match(name)
    if found is None:
        raise OptionError(
            f"layer_decay is for networks of stem, stages and head, and {name} is in none: leave it at 1."
        )
    return int(found[1]), 0 if found[2] else 1 + int(found[3])
