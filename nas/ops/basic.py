"""Norms, activations, depthwise convolutions, pooling and feed-forward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.initialization import linear
from nas.ops.spec import Shape, op, require, require_divisor, require_map


class StarReLU(nn.Module):
    """Activation scale * relu(x)^2 + shift with two learned numbers (Yu et al. 2022, arXiv:2210.13452)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.8944]))
        self.shift = nn.Parameter(torch.tensor([-0.4472]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * F.relu(x) ** 2 + self.shift


class SquaredReLU(nn.Module):
    """Activation relu(x)^2 (So et al. 2021, arXiv:2109.08668)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x) ** 2


class GELU(nn.GELU):
    """GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415); in place where no gradient is wanted."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(input)
        return F.gelu(input, approximate=self.approximate, out=input)  # pyright: ignore[reportCallIssue]: not in stubs


class Hardswish(nn.Hardswish):
    """Hard swish (Howard et al. 2019, arXiv:1905.02244); in place where no gradient is wanted."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.hardswish(input, inplace=not torch.is_grad_enabled())


class ReLU(nn.ReLU):
    """Rectifier; in place where no gradient is wanted."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.relu(input, inplace=not torch.is_grad_enabled())


class ReLU6(nn.ReLU6):
    """Rectifier that ends at 6 (Howard et al. 2017, arXiv:1704.04861); in place where no gradient is wanted."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.relu6(input, inplace=not torch.is_grad_enabled())


class SiLU(nn.SiLU):
    """x * sigmoid(x) (arXiv:1606.08415); in place where no gradient is wanted."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.silu(input, inplace=not torch.is_grad_enabled())


ACTIVATIONS = {
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "none": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "squared_relu": SquaredReLU,
    "star_relu": StarReLU,
    "tanh": nn.Tanh,
}
# Memory for a large map costs as much as the function itself.
IN_PLACE = {
    "gelu": GELU,
    "gelu_tanh": lambda: GELU(approximate="tanh"),
    "hardswish": Hardswish,
    "relu": ReLU,
    "relu6": ReLU6,
    "silu": SiLU,
}


def activation(name: str) -> nn.Module:
    """Returns a new activation module by name."""
    require(name in ACTIVATIONS, f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}.")
    return ACTIVATIONS[name]()


def activation_after_layer(name: str) -> nn.Module:
    """Returns an activation of what a layer has just computed and nothing else reads, so that it may work in place."""
    return IN_PLACE[name]() if name in IN_PLACE else activation(name)


def whole(value: float, what: str) -> int:
    """Returns `value` as an int, since a width that is not whole cannot be built."""
    require(
        abs(value - round(value)) < 1e-6 and value >= 1,
        f"{what} must be a whole number of channels, not {value:g}.",
    )
    return round(value)


@op("batch_norm")
class BatchNorm(nn.BatchNorm2d):
    """Batch normalization over a feature map (Ioffe and Szegedy 2015).

    `momentum` is torch's: 0.01 is what TensorFlow and CoAtNet call 0.99.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        eps: float = 1e-3
        momentum: float = 0.01

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(shape.channels, eps=config.eps, momentum=config.momentum)
        self.shape = shape


@op("layer_norm")
class LayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of each position (Ba et al. 2016); (B, C, H, W) in and out.

    Args:
        bias: Whether it also shifts (MetaFormer's norms only scale).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        eps: float = 1e-5
        bias: bool = True

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(shape.channels, eps=config.eps, bias=config.bias)
        self.shape = shape

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        # Not self.normalized_shape: a supernet binds other widths to the same module.
        x = input.permute(0, 2, 3, 1)
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


@op("group_norm")
class GroupNorm(nn.GroupNorm):
    """Group normalization (Wu and He 2018, arXiv:1803.08494); one group is PoolFormer's norm over the whole map.

    Args:
        bias: Whether it also shifts (MetaFormer's norms only scale).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        num_groups: int = 1
        eps: float = 1e-5
        bias: bool = True

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        require_divisor("group_norm", "num_groups", config.num_groups, "channels", shape.channels)
        super().__init__(config.num_groups, shape.channels, eps=config.eps)
        if not config.bias:
            self.register_parameter("bias", None)
        self.shape = shape


@op("channel_scale")
class ChannelScale(nn.Module):
    """Learned factor per channel that starts at one; as a shortcut MetaFormer's residual scale (arXiv:2210.13452)."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        pass

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape.channels))
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale[:, None, None]


@op("activation")
class Activation(nn.Module):
    """Activation as a block of its own."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        name: str = "gelu"

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.function = activation(config.name)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@op("depthwise_conv")
class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution, one or several kernels per channel, padded to keep the size at stride 1.

    Args:
        width: Output channels, a multiple of the input's; None for `multiplier` times the input's.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int | None = None
        kernel_size: int = 7
        stride: int = 1
        dilation: int = 1
        multiplier: int = 1
        bias: bool = True

        def __post_init__(self) -> None:
            require(self.kernel_size % 2 == 1, f"depthwise_conv: kernel_size (={self.kernel_size}) must be odd.")

    elastic: tuple[str, ...] = ("kernel_size",)

    def __init__(self, config: Config, shape: Shape) -> None:
        c, k, s, d = shape.channels, config.kernel_size, config.stride, config.dilation
        require_map("depthwise_conv", shape)
        width = config.width or c * config.multiplier
        require_divisor("depthwise_conv", "channels", c, "width", width)
        super().__init__(c, width, k, s, d * (k // 2), d, groups=c, bias=config.bias)
        self.shape = Shape(width, -(-shape.height // s), -(-shape.width // s))


@op("pool")
class Pool(nn.Module):
    """Average or max pooling, padded to keep the size at stride 1 by default.

    Args:
        padding: None keeps the size at stride 1.
        count_include_pad: Whether padded zeros count in an average.
        ceil_mode: A window cut off by the edge pools what it has; otherwise there is none.
        subtract_input: Gives pool(x) - x, PoolFormer's mixer (Yu et al. 2022, arXiv:2111.11418).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        kind: str = "average"
        kernel_size: int = 3
        stride: int = 1
        padding: int | None = None
        count_include_pad: bool = False
        ceil_mode: bool = False
        subtract_input: bool = False

        def __post_init__(self) -> None:
            require(self.kind in ("average", "max"), f"pool: kind must be average or max, not {self.kind!r}.")
            require(not (self.subtract_input and self.stride > 1), "pool: subtract_input needs a stride of 1.")
            require(
                self.padding is not None or self.kernel_size % 2 == 1,
                f"pool: an even kernel_size (={self.kernel_size}) cannot keep the size: give padding, 0 for none or "
                f"{self.kernel_size // 2} for half of it.",
            )

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require_map("pool", shape)
        k, s = config.kernel_size, config.stride
        pad = k // 2 if config.padding is None else config.padding
        if config.kind == "max":
            self.pool: nn.Module = nn.MaxPool2d(k, s, pad, ceil_mode=config.ceil_mode)
        else:
            self.pool = nn.AvgPool2d(k, s, pad, ceil_mode=config.ceil_mode, count_include_pad=config.count_include_pad)
        self.subtract_input = config.subtract_input
        height, width = (_windows(size, k, s, pad, ceil=config.ceil_mode) for size in shape[1:3])
        require(min(height, width) >= 1, f"pool: a {k}x{k} window does not fit a {shape.height}x{shape.width} map.")
        self.shape = Shape(shape.channels, height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(x)
        return pooled - x if self.subtract_input else pooled


def _windows(size: int, kernel: int, stride: int, pad: int, *, ceil: bool) -> int:
    """Windows along a side; the last of ceil_mode may lie over the edge, but begins on the map or padding before it."""
    count = (size + 2 * pad - kernel + ceil * (stride - 1)) // stride + 1
    return count - (ceil and (count - 1) * stride >= size + pad)


@op("upsample")
class Upsample(nn.Module):
    """Upsampling of a map by a whole factor.

    Args:
        mode: "bilinear" or "nearest".
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        scale_factor: int = 2
        mode: str = "bilinear"

        def __post_init__(self) -> None:
            require(
                self.mode in ("bilinear", "nearest"), f"upsample: mode must be bilinear or nearest, not {self.mode!r}."
            )

    elastic: tuple[str, ...] = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        require(not shape.tokens, "upsample: tokens have no place; drop them before.")
        self.factor, self.mode = config.scale_factor, config.mode
        self.shape = Shape(shape.channels, shape.height * config.scale_factor, shape.width * config.scale_factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mode == "nearest":
            return F.interpolate(x, self.shape[1:3], mode="nearest")
        return F.interpolate(x, self.shape[1:3], mode="bilinear", align_corners=False)


@op("feed_forward")
class FeedForward(nn.Module):
    """Feed-forward: two linear maps over the channels of each position with an activation between them."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        expand_ratio: float = 4
        activation: str = "gelu"
        bias: bool = True

    elastic: tuple[str, ...] = ("expand_ratio",)

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        hidden = whole(config.expand_ratio * shape.channels, "feed_forward: expand_ratio x channels")
        self.expand = linear(shape.channels, hidden, bias=config.bias)
        self.activation = activation_after_layer(config.activation)
        self.project = linear(hidden, shape.channels, bias=config.bias)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.project(self.activation(self.expand(x.permute(0, 2, 3, 1))))
        return x.permute(0, 3, 1, 2)
