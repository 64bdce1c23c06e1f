"""Weights that read images, for images of other channels than they were trained on."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nas.networks.network import Network


def for_channels(value: torch.Tensor, channels: int) -> torch.Tensor:
    """Returns weights (out, C, …) for images of so many channels: their mean over channels, scaled so that sums stay.

    A gray image then gives what it gave as a color image of three equal channels.
    """
    shape = (len(value), channels, *value.shape[2:])
    return (value.mean(1, keepdim=True) * (value.shape[1] / channels)).expand(shape)


def first_weights(network: Network, given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the tensors of a state dict that read images, made for the channels of `network`; {} if they fit as is.

    They are those of its stem whose second axis is the image's channels, and that differ in nothing else.
    """
    wanted = network.image_shape[0]
    found: dict[str, torch.Tensor] = {}
    for name, own in network.stem.state_dict(prefix="stem.").items():
        value = given.get(name)
        if value is None or value.ndim != own.ndim or value.shape == own.shape:
            continue
        rest = (value.shape[0], *value.shape[2:]) == (own.shape[0], *own.shape[2:])
        if rest and own.shape[1] == wanted:
            found[name] = for_channels(value, wanted)
    return found
