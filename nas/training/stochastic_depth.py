"""Stochastic depth by hooks, so that the operators, their counts and their exports know nothing of it."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import nn

from nas.networks.network import Network
from nas.networks.residual_branches import residual_branches


class StochasticDepth:
    """Drops residual branches of a network in training mode, for some images of a batch each.

    The rate rises linearly from none in the first layer to `rate` in the last (Huang et al. 2016, arXiv:1603.09382);
    what is kept is scaled up by 1 / (1 - rate), so that nothing changes in eval mode.
    """

    def __init__(self, network: Network, rate: float, *, seed: int) -> None:
        self._seed, self._rng = seed, random.Random()
        self._hooks = [
            branch.mixer.register_forward_hook(_Dropped(rate * depth, self._rng))
            for depth, branch in residual_branches(network.stages)
            if rate * depth > 0
        ]

    def begin(self, step: int) -> None:
        """Makes what follows depend on the seed and the step's number alone."""
        self._rng.seed(f"stochastic depth-{self._seed}-{step}")

    def remove(self) -> None:
        """Leaves the network as it was."""
        for hook in self._hooks:
            hook.remove()


class _Dropped:
    def __init__(self, rate: float, rng: random.Random) -> None:
        self._rate, self._rng = rate, rng

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> torch.Tensor | None:
        # Several streams, or a branch that gives zero, have no one map to drop.
        if not module.training or not isinstance(output, torch.Tensor) or output.ndim == 0:
            return None
        kept = [float(self._rng.random() >= self._rate) / (1 - self._rate) for _ in range(len(output))]
        factors = torch.tensor(kept, dtype=output.dtype, device=output.device)
        return output * factors.view(-1, *[1] * (output.ndim - 1))
