"""Which units of a network matter most: by the size of their weights, or by what their removal would do to the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from nas.networks.inheritance.couplings import Group

Orders: TypeAlias = "list[tuple[Group, NDArray[np.int64]]]"
"""Groups of units, each with its units from the most important on."""


def by_magnitude(groups: Sequence[Group], parameters: Mapping[str, torch.Tensor]) -> Orders:
    """Orders units by the mean, over the tensors that they lie on, of the norm of their share of each.

    Scales of norms count like weights (network slimming, Liu et al. 2017, arXiv:1708.06519), biases do not. Each
    tensor's norms are divided by their mean, so that no tensor outweighs the others (DepGraph, arXiv:2301.12900).
    """
    return [(group, _falling(_magnitudes(group, parameters))) for group in groups]


def by_taylor(
    groups: Sequence[Group],
    parameters: Mapping[str, torch.Tensor],
    gradients: Sequence[Mapping[str, torch.Tensor]],
) -> Orders:
    """Orders units by the change of the loss that zeroing them is expected to make, to first order.

    That is the square of the sum of weight times gradient over the unit, added up over batches (Molchanov et al. 2019,
    arXiv:1906.10771).

    Args:
        gradients: Of the loss of each batch, by parameter.
    """
    total = [np.zeros(group.size) for group in groups]
    for batch in gradients:
        products = {name: parameters[name].detach() * gradient for name, gradient in batch.items()}
        for change, group in zip(total, groups, strict=True):
            own = np.zeros(group.size)
            for (name, axis), places in group.places.items():
                if name in products:
                    own += _along(products[name], axis)[places].sum(1)
            change += own**2
    return [(group, _falling(change)) for group, change in zip(groups, total, strict=True)]


def _magnitudes(group: Group, parameters: Mapping[str, torch.Tensor]) -> NDArray[np.float64]:
    found = np.zeros(group.size)
    for (name, axis), places in group.places.items():
        if name in parameters and not name.endswith("bias"):
            norms = np.sqrt(_along(parameters[name].detach() ** 2, axis)[places].sum(1))
            found += norms / max(norms.mean(), 1e-12)
    return found


def _along(tensor: torch.Tensor, axis: int) -> NDArray[np.float64]:
    """Sums over all axes but one."""
    others = [each for each in range(tensor.ndim) if each != axis]
    tensor = tensor.cpu().double()  # not every device has float64
    return (tensor.sum(others) if others else tensor).numpy()


def _falling(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")
