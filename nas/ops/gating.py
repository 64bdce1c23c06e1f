"""Mixers with gates computed from their own input, and mixers that see the whole map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.basic import activation_after_layer, whole
from nas.ops.initialization import linear
from nas.ops.spec import Shape, op, require


@op("gated_feed_forward")
class GatedFeedForward(nn.Module):
    """Gated feed-forward project(value(x) * activation(gate(x))) over the channels of each position.

    ParCNetV2's bifurcate gate unit (Xu et al. 2022, arXiv:2211.07157), after GLU (Shazeer 2020, arXiv:2002.05202).

    Args:
        expand_ratio: Channels of value and gate each, divided by the input's.
        bias, out_bias: Of value and gate, and of the projection.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        expand_ratio: float = 2.5
        activation: str = "gelu"
        bias: bool = True
        out_bias: bool = True

    elastic: tuple[str, ...] = ("expand_ratio",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        hidden = whole(config.expand_ratio * shape.channels, "gated_feed_forward: expand_ratio x channels")
        self.value = linear(shape.channels, hidden, bias=config.bias)
        self.gate = linear(shape.channels, hidden, bias=config.bias)
        self.activation = activation_after_layer(config.activation)
        self.project = linear(hidden, shape.channels, bias=config.out_bias)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 2, 3, 1)
        return self.project(self.value(x) * self.activation(self.gate(x))).permute(0, 3, 1, 2)


@op("wave")
class Wave(nn.Module):
    """Product of amplitudes and phases, with the strongest channel's added to all, and pairs of channels rotated.

    With t = activation(phase(x)) and w = amplitude(x): w * t + w[m] * t[m], where m is the channel in which x is
    largest at that position; then channels 2i and 2i + 1, read as a complex number, times a learned one. SpaRTAN's
    channel mixer begins so (arXiv:2507.10999). (B, C, H, W) -> (B, expand_ratio * C, H, W).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        expand_ratio: float = 4
        activation: str = "gelu"

    elastic: tuple[str, ...] = ("expand_ratio",)
    no_decay: tuple[str, ...] = ("turn",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        width = whole(config.expand_ratio * shape.channels, "wave: expand_ratio x channels")
        require(
            config.expand_ratio >= 1 and width % 2 == 0,
            f"wave: expand_ratio x channels (={width}) must be even and no less than channels (={shape.channels}).",
        )
        self.phase = nn.Conv2d(shape.channels, width, 1)
        self.amplitude = nn.Conv2d(shape.channels, width, 1)
        self.activation = activation_after_layer(config.activation)
        # Real and imaginary parts.
        self.turn = nn.Parameter(torch.randn(width // 2, 2))
        self.shape = shape._replace(channels=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        strongest = x.argmax(1, keepdim=True)
        phase, amplitude = self.activation(self.phase(x)), self.amplitude(x)
        summed = amplitude * phase + amplitude.gather(1, strongest) * phase.gather(1, strongest)
        real, imaginary = summed.unflatten(1, (-1, 2)).unbind(2)
        a, b = self.turn[:, :, None, None].unbind(1)
        return torch.stack([real * a - imaginary * b, real * b + imaginary * a], 2).flatten(1, 2)


@op("less_mean")
class LessMean(nn.Module):
    """Input minus its mean over positions, a channel's detail (MogaNet, Li et al., arXiv:2211.03295)."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean((2, 3), keepdim=True)


@op("oversize_conv")
class OversizeConv(nn.Module):
    """Depthwise convolutions along columns and then rows, long enough that each position sees the whole map.

    ParCNetV2's (Xu et al. 2022, arXiv:2211.07157). Zeros around the map tell positions.

    Args:
        kernel_size: None for twice the map's size less one, which another resolution's weights are resized to.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kernel_size: int | None = None
        bias: bool = False

        def __post_init__(self) -> None:
            k = self.kernel_size
            require(k is None or k % 2 == 1, f"oversize_conv: kernel_size (={k}) must be odd.")

    elastic: tuple[str, ...] = ("kernel_size",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "oversize_conv: tokens have no neighbors; drop them before.")
        tall, wide = (config.kernel_size or 2 * size - 1 for size in shape[1:3])
        self.columns = LineConv(shape.channels, (tall, 1), bias=config.bias)
        self.rows = LineConv(shape.channels, (1, wide), bias=config.bias)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows(self.columns(x))


class LineConv(nn.Conv2d):
    """Depthwise convolution along one axis, whose kernel can be resized."""

    def __init__(self, channels: int, size: tuple[int, int], *, bias: bool) -> None:
        super().__init__(channels, channels, size, padding=(size[0] // 2, size[1] // 2), groups=channels, bias=bias)

    def resized(self, name: str, found: torch.Tensor) -> torch.Tensor:
        """Returns a kernel for another map size resized to this one."""
        return F.interpolate(found, self.weight.shape[2:], mode="bilinear", align_corners=True)
