"""Convolutions and blocks of them: stem, inverted residual, bottleneck, shortcuts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.basic import activation_after_layer, whole
from nas.ops.padding import pad_same, padded_conv, same_pads
from nas.ops.spec import Shape, make, op, require, require_divisor, require_map
from nas.ops.strided import StridedConv


def pool_half(x: torch.Tensor, stride: int, kind: str) -> torch.Tensor:
    """Pools non-overlapping `stride` x `stride` windows; a window cut off by the edge pools the positions it has."""
    pool = F.avg_pool2d if kind == "average" else F.max_pool2d
    return pool(x, stride, ceil_mode=True)


def reduced(shape: Shape, stride: int) -> tuple[int, int]:
    """Returns height and width after a stride, rounded up."""
    return -(-shape.height // stride), -(-shape.width // stride)


@op("conv")
class Conv(StridedConv):
    """Plain convolution, padded to keep the size at stride 1 by default.

    Args:
        width: Output channels; None for `expand_ratio` times the input's.
        padding: On every side: None keeps the size at stride 1, 0 patchifies. "same" is TensorFlow's.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int | None = None
        expand_ratio: float = 1
        kernel_size: int = 3
        stride: int = 1
        padding: int | str | None = None
        dilation: int = 1
        groups: int = 1
        bias: bool = True

        def __post_init__(self) -> None:
            require(
                self.width is None or self.expand_ratio == 1,
                f"conv: give width (={self.width}) or expand_ratio (={self.expand_ratio:g}), not both.",
            )
            require(
                not isinstance(self.padding, str) or self.padding == "same",
                f"conv: padding must be a whole number or 'same', not {self.padding!r}.",
            )
            require(
                self.padding is not None or self.kernel_size % 2 == 1,
                f"conv: an even kernel_size (={self.kernel_size}) cannot keep the size: give padding, 0 for none or "
                f"{self.kernel_size // 2} for half of it, or 'same'.",
            )

    elastic: tuple[str, ...] = ("width", "expand_ratio", "kernel_size")

    def __init__(self, config: Config, shape: Shape) -> None:
        k, s, d = config.kernel_size, config.stride, config.dilation
        out = config.width or whole(config.expand_ratio * shape.channels, "conv: expand_ratio x channels")
        for channels, what in ((shape.channels, "channels"), (out, "width")):
            require_divisor("conv", "groups", config.groups, what, channels)
        require(not shape.tokens or k == s == 1, "conv: only a 1x1 kernel works on tokens; drop them before.")
        # An odd kernel at stride 1 gets as much on either side from "same", too.
        uneven = config.padding == "same" and (s > 1 or k % 2 == 0)
        pad = 0 if uneven else config.padding if isinstance(config.padding, int) else d * (k // 2)
        pads = [sum(same_pads(size, k, s, d)) if uneven else 2 * pad for size in shape[1:3]]
        height, width = ((size + own - d * (k - 1) - 1) // s + 1 for size, own in zip(shape[1:3], pads, strict=True))
        require(
            min(height, width) >= 1,
            f"conv: a {k}x{k} kernel does not fit a {shape.height}x{shape.width} map.",
        )
        super().__init__(shape.channels, out, k, s, pad, d, groups=config.groups, bias=config.bias)
        self.pads_unevenly = uneven
        self.shape = Shape(out, height, width, shape.tokens)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(pad_same(input, self) if self.pads_unevenly else input)


@op("conv_stem")
class ConvStem(nn.Module):
    """CoAtNet's stem S0 (Dai et al. 2021, arXiv:2106.04803): conv, BN, activation, conv; all biased.

    Nothing follows the last convolution, since the next block normalizes first.

    Args:
        bias: Whether the convolutions have biases (Astroformer's and timm's CoAtNet have none).
        eps: Of the norm; TensorFlow's 1e-3, not torch's 1e-5.
        padding: "centre", or "same" for TensorFlow's (MaxViT's released weights).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        stride: int = 2
        activation: str = "gelu"
        bias: bool = True
        eps: float = 1e-3
        padding: str = "centre"

    elastic: tuple[str, ...] = ("width", "kernel_size")
    normed: tuple[tuple[str, str], ...] = (("first", "norm"),)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("conv_stem", shape)
        k, width, bias = config.kernel_size, config.width, config.bias
        require(k % 2 == 1, f"conv_stem: kernel_size (={k}) must be odd.")
        self.first = padded_conv(config.padding, shape.channels, width, k, config.stride, bias=bias)
        self.norm = nn.BatchNorm2d(width, eps=config.eps, momentum=0.01)
        self.activation = activation_after_layer(config.activation)
        self.second = padded_conv(config.padding, width, width, k, 1, bias=bias)
        self.shape = Shape(width, *reduced(shape, config.stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.activation(self.norm(self.first(x))))


@op("conv_norm")
class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm and activation, the unit of most convolutional stems and branches.

    Args:
        width: Output channels; None for `expand_ratio` times the input's.
        padding: As of `conv`.
        depthwise: One kernel per channel.
        activation: After the norm; "none" for none.
        eps, momentum: Of the norm, torch's defaults here.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int | None = None
        expand_ratio: float = 1
        kernel_size: int = 3
        stride: int = 1
        padding: int | str | None = None
        dilation: int = 1
        groups: int = 1
        depthwise: bool = False
        bias: bool = False
        activation: str = "none"
        eps: float = 1e-5
        momentum: float = 0.1

        def __post_init__(self) -> None:
            require(
                not self.depthwise or (self.width is None and self.expand_ratio == self.groups == 1),
                "conv_norm: a depthwise convolution keeps its width; give no width, expand_ratio or groups.",
            )
            Conv.Config(kernel_size=self.kernel_size, padding=self.padding)  # its rules

    elastic: tuple[str, ...] = ("width", "expand_ratio", "kernel_size")
    normed: tuple[tuple[str, str], ...] = (("conv", "norm"),)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        conv = Conv.Config(
            width=config.width,
            expand_ratio=config.expand_ratio,
            kernel_size=config.kernel_size,
            stride=config.stride,
            padding=config.padding,
            dilation=config.dilation,
            groups=shape.channels if config.depthwise else config.groups,
            bias=config.bias,
        )
        self.conv = Conv(conv, shape)
        self.shape = self.conv.shape
        self.norm = nn.BatchNorm2d(self.shape.channels, eps=config.eps, momentum=config.momentum)
        self.activation = activation_after_layer(config.activation)
        self.ends_in = "norm" if config.activation == "none" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.norm(self.conv(x)))


@op("squeeze_excite")
class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: a gate per channel from the mean over positions (Hu et al. 2018, arXiv:1709.01507).

    Args:
        rd_channels: Squeezed channels.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        rd_channels: int
        activation: str = "silu"
        gate: str = "sigmoid"

    elastic: tuple[str, ...] = ("rd_channels",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(shape.channels, config.rd_channels, 1)
        self.activation = activation_after_layer(config.activation)
        self.excite = nn.Conv2d(config.rd_channels, shape.channels, 1)
        self.gate = activation_after_layer(config.gate)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.excite(self.activation(self.squeeze(x.mean((2, 3), keepdim=True)))))


@op("mbconv")
class MBConv(nn.Module):
    """Inverted residual branch (Sandler et al. 2018, arXiv:1801.04381) as CoAtNet has it.

    1x1 expansion, BN, activation, depthwise, BN, activation, squeeze-excite, 1x1 projection. The branch's own norm
    comes before it (pre-activation); the hidden width is `expand_ratio` x the *output* width; the squeezed width is
    `se_ratio` x the output width.

    Args:
        stride_in: Which convolution carries the stride: "expand" (the paper's default rows) or "depthwise" (its
            dagger rows, MaxViT).
        eps: Of the norms; TensorFlow's 1e-3, not torch's 1e-5.
        padding: Of the depthwise convolution: "centre", or "same" for TensorFlow's (MaxViT's released weights).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        kernel_size: int = 3
        expand_ratio: float = 4
        stride: int = 1
        stride_in: str = "expand"
        se_ratio: float = 0.25
        activation: str = "gelu"
        eps: float = 1e-3
        padding: str = "centre"

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"mbconv: kernel_size (={self.kernel_size}) must be odd.")
            places = ("expand", "depthwise")
            require(
                self.stride_in in places,
                f"mbconv: stride_in must be one of {places}, not {self.stride_in!r}.",
            )

    elastic: tuple[str, ...] = ("width", "kernel_size", "expand_ratio")
    normed: tuple[tuple[str, str], ...] = (("expand", "norm1"), ("depthwise", "norm2"))

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("mbconv", shape)
        k, s, width = config.kernel_size, config.stride, config.width
        hidden = whole(config.expand_ratio * width, "mbconv: expand_ratio x width")
        expand_stride, depthwise_stride = (s, 1) if config.stride_in == "expand" else (1, s)
        self.expand = StridedConv(shape.channels, hidden, 1, expand_stride, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden, eps=config.eps, momentum=0.01)
        self.activation = activation_after_layer(config.activation)
        self.depthwise = padded_conv(config.padding, hidden, hidden, k, depthwise_stride, groups=hidden, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden, eps=config.eps, momentum=0.01)
        squeezed = whole(config.se_ratio * width, "mbconv: se_ratio x width") if config.se_ratio else 0
        inner = Shape(hidden, *reduced(shape, s))
        gate = SqueezeExcite.Config(rd_channels=squeezed) if squeezed else None
        self.squeeze_excite = SqueezeExcite(gate, inner) if gate else nn.Identity()
        self.project = nn.Conv2d(hidden, width, 1)
        self.shape = Shape(width, *reduced(shape, s))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm1(self.expand(x)))
        x = self.activation(self.norm2(self.depthwise(x)))
        return self.project(self.squeeze_excite(x))


@op("pool_project")
class PoolProject(nn.Module):
    """Shortcut of a downsampling block: pooling, then a 1x1 convolution where the width changes.

    Args:
        norm: After the convolution, which then has no bias (ResNet-D, He et al. 2019, arXiv:1812.01187).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        stride: int = 2
        pool: str = "average"
        norm: Any = None

        def __post_init__(self) -> None:
            kinds = ("average", "max")
            require(self.pool in kinds, f"pool_project: pool must be one of {kinds}, not {self.pool!r}.")

    elastic: tuple[str, ...] = ("width",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("pool_project", shape)
        self.stride, self.pool = config.stride, config.pool
        self.shape = Shape(config.width, *reduced(shape, config.stride))
        changes = config.width != shape.channels
        bias = config.norm is None
        self.project = nn.Conv2d(shape.channels, config.width, 1, bias=bias) if changes else nn.Identity()
        self.norm = make(config.norm, self.shape) if changes and config.norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            x = pool_half(x, self.stride, self.pool)
        return self.norm(self.project(x))


@op("conv_shortcut")
class ConvShortcut(nn.Module):
    """Shortcut by convolution, BatchNorm, activation: dense where it downsamples, 1x1 where only the width changes.

    Where neither changes it is the identity. The blocks of HyTra's search have it (Li et al. 2021, arXiv:2103.12424).

    Args:
        kernel_size: Of the convolution that has the stride.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        stride: int = 1
        kernel_size: int = 3
        activation: str = "relu"

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"conv_shortcut: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("width", "kernel_size")
    normed: tuple[tuple[str, str], ...] = (("conv", "norm"),)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("conv_shortcut", shape)
        k, s = config.kernel_size if config.stride > 1 else 1, config.stride
        self.shape = Shape(config.width, *reduced(shape, s))
        changes = s > 1 or config.width != shape.channels
        self.conv = nn.Conv2d(shape.channels, config.width, k, s, k // 2, bias=False) if changes else nn.Identity()
        self.norm = nn.BatchNorm2d(config.width) if changes else nn.Identity()
        self.activation = activation_after_layer(config.activation if changes else "none")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.norm(self.conv(x)))


@op("bottleneck")
class Bottleneck(nn.Module):
    """Residual bottleneck (He et al. 2016, arXiv:1512.03385) about any mixer, as BossNAS has it (arXiv:2103.12424).

    1x1 convolution that narrows, depthwise convolution (it carries the stride, and tells attention of positions), BN,
    activation, the mixer, BN, activation, 1x1 convolution that widens, BN, squeeze-excite. What follows the addition,
    an activation, is the layer's next branch.

    Args:
        mixer: At the narrow width, such as a 3x3 convolution or attention without projection.
        bottle_ratio: Narrow width divided by `width`.
        kernel_size: Of the depthwise convolution; None for none, and then there is no stride.
        se_ratio: Squeezed width divided by `width`; 0 for no squeeze-excite.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int
        mixer: Any
        bottle_ratio: float = 0.25
        kernel_size: int | None = 3
        stride: int = 1
        activation: str = "relu"
        se_ratio: float = 0

        def __post_init__(self) -> None:
            k = self.kernel_size
            require(k is None or k % 2 == 1, f"bottleneck: kernel_size (={k}) must be odd.")
            require(k is not None or self.stride == 1, "bottleneck: a stride needs the depthwise convolution.")

    elastic: tuple[str, ...] = ("width", "kernel_size")
    normed: tuple[tuple[str, str], ...] = (("depthwise", "norm1"), ("project", "norm3"))
    ends_in = "norm3"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("bottleneck", shape)
        k, s, width = config.kernel_size, config.stride, config.width
        narrow = whole(config.bottle_ratio * width, "bottleneck: bottle_ratio x width")
        self.reduce = nn.Conv2d(shape.channels, narrow, 1, bias=False)
        self.depthwise = nn.Conv2d(narrow, narrow, k, s, k // 2, groups=narrow) if k else nn.Identity()
        self.norm1 = nn.BatchNorm2d(narrow)
        self.activation1 = activation_after_layer(config.activation)
        self.mixer = make(config.mixer, Shape(narrow, *reduced(shape, s)))
        mixed: Shape = self.mixer.shape
        self.norm2 = nn.BatchNorm2d(mixed.channels)
        self.activation2 = activation_after_layer(config.activation)
        self.project = nn.Conv2d(mixed.channels, width, 1, bias=False)
        self.shape = mixed._replace(channels=width)
        self.norm3 = nn.BatchNorm2d(width)
        squeezed = whole(config.se_ratio * width, "bottleneck: se_ratio x width") if config.se_ratio else 0
        self.squeeze_excite = (
            SqueezeExcite(SqueezeExcite.Config(rd_channels=squeezed, activation="relu"), self.shape)
            if squeezed
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation1(self.norm1(self.depthwise(self.reduce(x))))
        x = self.activation2(self.norm2(self.mixer(x)))
        return self.squeeze_excite(self.norm3(self.project(x)))
