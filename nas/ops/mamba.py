"""State-space mixers: a selective scan over the positions of a map, row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.basic import whole
from nas.ops.scopes import Windows
from nas.ops.spec import Shape, op, require

FASTEST, SLOWEST = 1e-3, 1e-1


def linear_scan(decay: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Returns all states of h[t] = decay[t] * h[t - 1] + given[t], h[-1] = 0, along the last axis.

    Pairs of steps are merged into one until one is left, and expanded again: about three multiplications per element
    and 2 log2(L) steps, where a loop would take L. There is no division, so that decays may be arbitrarily small.
    """
    length = given.shape[-1]
    if length == 1:
        return given
    odd = length % 2
    if odd:
        # A step at the end that changes nothing before it.
        decay, given = F.pad(decay, (0, 1)), F.pad(given, (0, 1))
    first, second = given[..., 0::2], given[..., 1::2]
    joined = linear_scan(decay[..., 0::2] * decay[..., 1::2], decay[..., 1::2] * first + second)
    # `joined` has the state after every second step; the others follow from the one before.
    before = F.pad(joined[..., :-1], (1, 0))
    states = torch.stack([decay[..., 0::2] * before + first, joined], -1).flatten(-2)
    return states[..., :length]


def selective_scan(
    x: torch.Tensor,
    step: torch.Tensor,
    rates: torch.Tensor,
    written: torch.Tensor,
    read: torch.Tensor,
    passed: torch.Tensor,
) -> torch.Tensor:
    """Runs a state-space model whose step, input and output maps depend on the input (Gu and Dao, arXiv:2312.00752).

    h[t] = exp(step[t] * rates) * h[t - 1] + step[t] * written[t] * x[t];  y[t] = read[t] . h[t] + passed * x[t]

    Args:
        x, step: (B, D, L); `step` above zero.
        rates: (D, N), below zero.
        written, read: (B, N, L), which the paper calls B and C.
        passed: (D,), which the paper calls D.

    Returns:
        (B, D, L), of `x`'s dtype; computed in float32 at least.
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    kept, (x, step, rates, written, read) = x.dtype, (each.to(kind) for each in (x, step, rates, written, read))
    decay = (step[:, :, None] * rates[:, :, None]).exp()
    given = (step * x)[:, :, None] * written[:, None]
    states = linear_scan(decay, given)
    return ((states * read[:, None]).sum(2) + passed.to(kind)[:, None] * x).to(kept)


@op("mamba")
class Mamba(nn.Module):
    """MambaVision's mixer (Hatamizadeh and Kautz 2024, arXiv:2407.08083): half the channels scanned, half convolved.

    One half: depthwise convolution along the sequence, SiLU, selective scan. The other: the same without the scan.
    A linear map joins both. Convolutions are centered, not causal. Step, input and output maps are kept apart, not
    fused, so that a prefix of each is a narrower mixer. As in the authors' code, the step's bias counts twice.

    Args:
        expand_ratio: Channels of both halves together, in units of the input's.
        d_state: Size of the state per channel.
        kernel_size: Of the convolutions along the sequence; odd.
        dt_rank: Channels that the step is computed from; None for a sixteenth of the input's.
        window_size: Windows of that many positions along each side are sequences of their own; None for the whole map.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        expand_ratio: float = 1
        d_state: int = 8
        kernel_size: int = 3
        dt_rank: int | None = None
        window_size: int | None = None

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"mamba: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("expand_ratio", "d_state", "kernel_size", "dt_rank")
    no_decay: tuple[str, ...] = ("rates",)
    uncounted: ClassVar[dict[str, str]] = dict.fromkeys(("add", "exp", "mul", "sum"), "elementwise selective scan")

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "mamba: tokens have no place in the sequence; drop them before.")
        width, k = shape.channels, config.kernel_size
        half = whole(config.expand_ratio * width / 2, "mamba: half of expand_ratio x channels")
        rank = config.dt_rank or math.ceil(width / 16)
        self.windows = None
        if config.window_size and config.window_size < max(shape.height, shape.width):
            self.windows = Windows("window", config.window_size, shape)
        self.scanned = nn.Linear(width, half, bias=False)
        self.beside = nn.Linear(width, half, bias=False)
        self.scanned_conv = nn.Conv2d(half, half, (1, k), padding=(0, k // 2), groups=half, bias=False)
        self.beside_conv = nn.Conv2d(half, half, (1, k), padding=(0, k // 2), groups=half, bias=False)
        self.rank = nn.Linear(half, rank, bias=False)
        self.written = nn.Linear(half, config.d_state, bias=False)
        self.read = nn.Linear(half, config.d_state, bias=False)
        self.step = nn.Linear(rank, half)
        self.rates = nn.Parameter(torch.arange(1.0, config.d_state + 1).log().repeat(half, 1))
        self.passed = nn.Parameter(torch.ones(half))
        self.project_scanned = nn.Linear(half, width, bias=False)
        self.project_beside = nn.Linear(half, width, bias=False)
        self.shape = shape
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            # Steps from 0.001 to 0.1, log-uniform, as softplus gives them.
            spread = torch.rand(half) * (math.log(SLOWEST) - math.log(FASTEST)) + math.log(FASTEST)
            self.step.bias.copy_(spread.exp().expm1().log())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.windows is not None:
            x = self.windows.divide(x)
        size = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        scanned, beside = self.scanned(x).transpose(1, 2), self.beside(x).transpose(1, 2)
        scanned = F.silu(self.scanned_conv(scanned[:, :, None])[:, :, 0])
        beside = F.silu(self.beside_conv(beside[:, :, None])[:, :, 0])
        places = scanned.transpose(1, 2)
        step = F.softplus(self.step(self.rank(places)) + self.step.bias).transpose(1, 2)
        written, read = self.written(places).transpose(1, 2), self.read(places).transpose(1, 2)
        scanned = selective_scan(scanned, step, -self.rates.exp(), written, read, self.passed)
        y = self.project_scanned(scanned.transpose(1, 2)) + self.project_beside(beside.transpose(1, 2))
        y = y.transpose(1, 2).unflatten(2, size)
        return y if self.windows is None else self.windows.join(y)
