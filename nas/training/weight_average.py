"""Exponential moving average of a network's weights and buffers."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class WeightAverage:
    """A copy of a module whose floating-point state follows the module's, slowly (Polyak and Juditsky 1992).

    Args:
        decay: Share of the average that a step keeps. Step t keeps at most (1 + t) / (10 + t), since an average over
            more steps than were taken would hold the initial weights.

    Attributes:
        module: The average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = deepcopy(module).requires_grad_(False)
        self._decay = decay
        self._pairs = list(zip(self.module.state_dict().values(), module.state_dict().values(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the module's state after step number `step`, counted from 0."""
        new = 1 - min(self._decay, (1 + step) / (10 + step))
        for average, current in self._pairs:
            if average.is_floating_point():
                average.lerp_(current, new)
            else:
                average.copy_(current)
