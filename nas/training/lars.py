"""LARS: momentum with steps in proportion to each tensor's own length (You et al. 2017, arXiv:1708.03888)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

MOMENTUM = "momentum"


class Lars(torch.optim.Optimizer):
    """Momentum steps of decaying parameters, their gradients scaled to `trust` times the tensor's length with decay.

    Parameters that do not decay take plain momentum steps. A tensor whose gradient is None keeps its momentum and is
    left alone.

    Args:
        decaying, spared: As `nas.networks.weight_decay.decay_groups` returns them.
        trust: The length of a step with a learning rate of one, as a share of the tensor's length. You et al. have
            0.001 for trainings of many epochs.
    """

    def __init__(
        self,
        decaying: Iterable[nn.Parameter],
        spared: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust: float = 0.001,
    ) -> None:
        groups = [{"params": list(decaying), "scaled": True}, {"params": list(spared), "scaled": False}]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all tensors that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        change = parameter.grad
        assert change is not None
        if group["scaled"]:
            change = change.add(parameter, alpha=group["weight_decay"])
            length, pull = parameter.norm(), change.norm()
            ratio = torch.where((length > 0) & (pull > 0), group["trust"] * length / pull, torch.ones_like(length))
            change = change.mul_(ratio)
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state[MOMENTUM] = torch.zeros_like(parameter)
        state["step"] += 1
        state[MOMENTUM].mul_(group["momentum"]).add_(change)
        parameter.add_(state[MOMENTUM], alpha=-group["lr"])
