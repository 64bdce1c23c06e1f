"""A supernet as plain data and arrays, for processes that score with its weights or train them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nas.data.sharing import Arrays, to_array, to_tensor
from nas.networks.loading import space_from_dict
from nas.networks.supernet import Supernet
from nas.spaces import LayerChoice, StageChoice

_WEIGHTS = "weights/"


def pack_supernet(supernet: Supernet) -> tuple[dict[str, Any], Arrays]:
    """Returns plain data and arrays of a supernet. On a CPU, arrays share its memory."""
    facts = {
        "space": supernet.space.to_dict(),
        "digest": supernet.space.digest,
        "choices": supernet.choices,
        "any_layers": supernet.any_layers,
        "kept_layers": supernet.kept_layers,
    }
    return facts, {_WEIGHTS + name: to_array(value) for name, value in supernet.state_dict().items()}


def unpack_supernet(facts: Mapping[str, Any], arrays: Arrays, *, copied: bool) -> Supernet:
    """Restores a supernet from `pack_supernet`, on the CPU.

    Args:
        copied: Whether it has weights of its own, to be trained. Otherwise they are the arrays, frozen, and only its
            BatchNorm statistics are its own: a forward pass in training mode writes new ones in place, which in shared
            memory would silently change the scores of all other processes.
    """
    space = space_from_dict(facts["space"])
    assert space.digest == facts["digest"], "the space received differs from the space sent"
    stem, *stages = facts["choices"]
    choices = [[tuple(values) for values in stem], *([_choice(fields) for fields in stage] for stage in stages)]
    with torch.device("meta"):
        supernet = Supernet(space, choices=choices, any_layers=facts["any_layers"])
    supernet.kept_layers = {int(stage): [*places] for stage, places in facts["kept_layers"].items()}
    own = {name for name, _ in supernet.named_buffers()}
    state: dict[str, torch.Tensor] = {}
    for name in supernet.state_dict():
        value = to_tensor(arrays[_WEIGHTS + name])
        state[name] = value.clone() if copied or name in own else value
    supernet.load_state_dict(state, assign=True)
    return supernet if copied else supernet.requires_grad_(False).eval()


def _choice(fields: tuple[Any, ...]) -> StageChoice | LayerChoice:
    return LayerChoice(*fields) if len(fields) == len(LayerChoice._fields) else StageChoice(*fields)
