"""Training that begins with given weights: which tensors fit a network, and which start at random."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from nas.errors import TrainingError
from nas.networks.channels import first_weights
from nas.networks.network import Network, resize_tables
from nas.training.weights_file import first_not_finite, shape_text

LEAST_FITTING = 0.5
"""Share of a network's tensors before its head that given weights must have, or they are those of another network."""
_HEAD = "head."
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What given weights had for a network.

    Attributes:
        taken: Names of the tensors that were copied, resized or averaged.
        averaged: Names of those of them that read images of other channels, and the number of these.
        fresh: Names of the network's tensors that stay random, other than those of a new head.
        new_head: Names of the head's tensors that stay random, as they are for other classes.
        unused: Names of given tensors that the network does not have.
    """

    taken: tuple[str, ...]
    averaged: tuple[tuple[str, int], ...]
    fresh: tuple[str, ...]
    new_head: tuple[str, ...]
    unused: tuple[str, ...]

    def notes(self, source: str) -> list[str]:
        """Returns a line for each kind of tensor that was not copied."""
        lines, own = [], len(self.taken) + len(self.fresh) + len(self.new_head)
        if self.new_head:
            lines.append(f"The head is new: {_some(self.new_head)} in {source} are for other classes")
        for name, channels in self.averaged:
            lines.append(f"{name} is averaged over the {channels} channels that it has in {source}")
        if self.fresh:
            lines.append(f"{len(self.fresh)} of {own} tensors are not in {source}, left random: {_some(self.fresh)}")
        if self.unused:
            lines.append(f"{len(self.unused)} tensors of {source} are not in this network: {_some(self.unused)}")
        return lines


def start_from(
    network: Network, weights: Mapping[str, torch.Tensor], *, source: str, replaced: Collection[str] = ()
) -> Started:
    """Copies the tensors of a state dict that fit into `network`; position tables are resized by their modules, and
    weights that read images of other channels are averaged.

    Args:
        source: Names the weights in messages.
        replaced: Names of tensors to leave random, though they may fit: those of a head for other classes.

    Raises:
        TrainingError: If they hold a number that is not finite, or most of the network's tensors are missing from them
            or differ in shape.
    """
    spoiled = first_not_finite(weights)
    if spoiled is not None:
        raise TrainingError(f"{source} holds numbers that are not finite, in {spoiled}. Give other weights.")
    try:
        given = resize_tables(dict(weights), network)
    except (RuntimeError, ValueError):  # a position table of another rank or type
        given = dict(weights)
    read = first_weights(network, given)
    given |= read
    own = network.state_dict()
    fitting = {name for name, value in own.items() if name in given and given[name].shape == value.shape}
    taken = [name for name in own if name in fitting and name not in replaced]
    missing = [name for name in own if name not in {*taken} and not name.endswith(_COUNTER)]
    _check_fitting(own, given, missing, source)
    network.load_state_dict({name: given[name] for name in taken}, strict=False)
    new_head = tuple(name for name in missing if name.startswith(_HEAD) and name in given)
    return Started(
        taken=tuple(taken),
        averaged=tuple((name, weights[name].shape[1]) for name in read),
        fresh=tuple(name for name in missing if name not in new_head),
        new_head=new_head,
        unused=tuple(name for name in given if name not in own),
    )


def _check_fitting(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], missing: list[str], source: str
) -> None:
    """Refuses weights that fit less than `LEAST_FITTING` of the tensors before the head."""
    body = [name for name in own if not name.startswith(_HEAD) and not name.endswith(_COUNTER)]
    lacking = [name for name in missing if not name.startswith(_HEAD)]
    if len(body) - len(lacking) >= LEAST_FITTING * len(body):
        return
    name = lacking[0]
    how = f"is {shape_text(own[name])} here and {shape_text(given[name])} there" if name in given else "is not there"
    raise TrainingError(
        f"{source} holds the weights of another network: {len(lacking)} of {len(body)} tensors before the head are "
        f"missing or differ in shape ({name} {how}). Give the weights of the same architecture."
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
