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
        branches = [(rate * depth, branch.mixer) for depth, branch in residual_branches(network.stages)]
        self._drops = [_Dropped(share) for share, _ in branches if share > 0]
        mixers = (mixer for share, mixer in branches if share > 0)
        self._hooks = [mixer.register_forward_hook(drop) for mixer, drop in zip(mixers, self._drops, strict=True)]

    def begin(self, step: int) -> None:
        """Makes what follows depend on the seed and the step's number alone."""
        self._rng.seed(f"stochastic depth-{self._seed}-{step}")

    def draw(self, images: int, device: torch.device) -> None:
        """Draws what the next forward pass in training mode drops, outside it, so that this can be compiled."""
        for drop in self._drops:
            kept = [float(self._rng.random() >= drop.rate) / (1 - drop.rate) for _ in range(images)]
            drop.factors = torch.tensor(kept, device=device)

    def remove(self) -> None:
        """Leaves the network as it was."""
        for hook in self._hooks:
            hook.remove()


class _Dropped:
    """Multiplies what a branch gives by a factor per image.

    Attributes:
        factors: (B,), drawn before every pass.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.factors: torch.Tensor | None = None

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> torch.Tensor | None:
        # Several streams, or a branch that gives zero, have no one map to drop.
        if not module.training or not isinstance(output, torch.Tensor) or output.ndim == 0:
            return None
        assert self.factors is not None, "what a pass drops is drawn before it"
        return output * self.factors.to(output.dtype).view(-1, *[1] * (output.ndim - 1))
