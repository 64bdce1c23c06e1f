"""Multi-head self-attention, once: its scope, projections, key and value reduction, bias and extras are options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.ops.basic import activation_after_layer, whole
from nas.ops.conv import pool_half, reduced
from nas.ops.gated_position import GatedPosition
from nas.ops.initialization import linear
from nas.ops.positions import TokenBias, position_bias
from nas.ops.scopes import Windows
from nas.ops.spec import Shape, make, op, require, require_divisor

SCOPES = ("carrier", "global", "grid", "interleaved", "shifted", "window")
POSITIONS = ("distance", "gated", "mlp", "none", "relative")
QUERIES = ("all", "map", "tokens")


@op("attention")
class Attention(nn.Module):
    """Multi-head self-attention computes softmax(q k^T * scale + bias) v and projects it.

    The defaults are CoAtNet's (Dai et al. 2021, arXiv:2106.04803): global, with a relative position bias, pooled before
    q, k and v where there is a stride. q, k and v are kept apart, not fused, so that a prefix of each is a
    narrower attention with the same heads. With tokens beside the map, all of them attend to one another.

    Args:
        width: Output channels; None for the input's.
        head_dim: Channels of q and k per head.
        num_heads: None for `width / head_dim`.
        value_ratio: Channels of v per head, in units of `head_dim`.
        attention_scope: "global"; "window" of `window_size` x `window_size` positions; "shifted" windows (Swin,
            arXiv:2103.14030); "grid", positions a grid's step apart (MaxViT, arXiv:2204.01697); "carrier": windows,
            each with its own of the tokens in front of the map (FasterViT, arXiv:2306.06189).
        position: "relative" for a table of offsets, "distance" for one of |dy|, |dx| (LeViT), "gated" where
            each head mixes content and position (ConViT), "mlp" for a bias that an MLP computes from
            offsets (Swin V2), "none".
        stride, pool: How the input is pooled ("average" or "max") before q, k and v.
        query_stride: Stride of the positions that are queries (LeViT's downsampling); keys and values stay.
        kv_reduce: A block on the map that keys and values are taken from instead (pooling, strided convolutions).
        value_map: A block on the map that values are taken from, if not from the keys' (CvT).
        query_map: A block on the map that queries are taken from instead; with a stride, there are fewer queries.
        query_source: What queries are taken from: "all", or the "tokens" alone, the map getting zeros (class attention,
            CaiT, arXiv:2103.17239), or the "map" alone, the tokens getting zeros (FcaFormer's memories,
            arXiv:2211.07198).
        token_bias: A learned bias per head for each token among the keys.
        qkv_norm: A norm after q, k and v each, on maps of their channels (LeViT, EfficientFormerV2).
        qkv_bias, out_bias: Whether those linear maps have biases.
        project: Whether there is an output projection; without, `width` is num_heads * value_ratio * head_dim.
        out_activation, out_norm: Before and after the projection.
        scale_width: Scales by width ** -0.5 instead of head_dim ** -0.5 (CvT).
        talking_heads: Linear maps over the heads before and after the softmax (Shazeer et al. 2020, arXiv:2003.02436).
        value_block: A block on v's map before it is weighed (SBCFormer).
        local: A block on v's map whose result is added to what attention gives (EfficientFormerV2).
        upsample: The result is enlarged bilinearly before activation and projection (EfficientFormerV2).
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        width: int | None = None
        head_dim: int = 32
        num_heads: int | None = None
        value_ratio: float = 1
        attention_scope: str = "global"
        window_size: int = 7
        position: str = "relative"
        stride: int = 1
        pool: str = "average"
        query_stride: int = 1
        kv_reduce: Any = None
        value_map: Any = None
        query_map: Any = None
        query_source: str = "all"
        token_bias: bool = False
        qkv_norm: Any = None
        qkv_bias: bool = True
        project: bool = True
        out_activation: str = "none"
        out_bias: bool = True
        out_norm: Any = None
        scale_width: bool = False
        talking_heads: bool = False
        value_block: Any = None
        local: Any = None
        upsample: int = 1

        def __post_init__(self) -> None:
            width, head_dim = self.width, self.head_dim
            if self.num_heads is None and width is not None:
                require_divisor("attention", "head_dim", head_dim, "width", width)
            for name, kinds in (
                ("position", POSITIONS),
                ("attention_scope", SCOPES),
                ("pool", ("average", "max")),
                ("query_source", QUERIES),
            ):
                value = getattr(self, name)
                require(value in kinds, f"attention: {name} must be one of {kinds}, not {value!r}.")

    elastic: tuple[str, ...] = ("width", "num_heads")
    ends_in = "project"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.stride, self.pool, self.query_stride = config.stride, config.pool, config.query_stride
        width = config.width or shape.channels
        if config.num_heads is None:
            require_divisor("attention", "head_dim", config.head_dim, "width", width)
        heads = config.num_heads or width // config.head_dim
        value_dim = whole(config.head_dim * config.value_ratio, "attention: head_dim x value_ratio")
        self.head_dim, self.value_dim, self.tokens = config.head_dim, value_dim, shape.tokens
        self.scale = width**-0.5 if config.scale_width else config.head_dim**-0.5
        require(
            config.project or heads * value_dim == width,
            f"attention: without a projection, width (={width}) must be heads x value channels (={heads * value_dim}).",
        )
        inner = Shape(shape.channels, *reduced(shape, config.stride), shape.tokens)
        require(
            not shape.tokens or config.stride == config.query_stride == 1,
            "attention: tokens cannot be pooled; drop them before, or give no stride.",
        )
        queries = self._query_shape(config, inner)
        self.token_bias = None
        if config.token_bias:
            require(
                shape.tokens > 0 and config.attention_scope == "global",
                "attention: token_bias needs tokens and global attention.",
            )
            self.token_bias = TokenBias(heads, shape.tokens)
        self.kv_reduce = make(config.kv_reduce, inner) if config.kv_reduce else nn.Identity()
        keys = getattr(self.kv_reduce, "shape", inner)
        self.q = Projected(queries, heads * config.head_dim, config.qkv_norm, bias=config.qkv_bias)
        self.k = Projected(keys, heads * config.head_dim, config.qkv_norm, bias=config.qkv_bias)
        self.value_map = make(config.value_map, inner) if config.value_map else None
        values = keys if self.value_map is None else self.value_map.shape
        self.v = Projected(values, heads * value_dim, config.qkv_norm, bias=config.qkv_bias)
        self.windows = None
        side = max(inner.height, inner.width)
        # Interleaved groups have one position of each square of the window's size: on a map of one square, one alone.
        divides = config.window_size < side or (config.attention_scope == "interleaved" and config.window_size == side)
        if config.attention_scope != "global" and divides:
            self.windows = Windows(config.attention_scope, config.window_size, inner)
            self.tokens = self.windows.tokens
        whole_map = queries[1:3] == keys[1:3] == values[1:3] == inner[1:3]
        require(self.windows is None or whole_map, "attention: windows need queries, keys and values of the whole map.")
        require(
            config.position == "none" or keys[1:3] == inner[1:3],
            f"attention: position {config.position!r} needs the keys of the whole map; give position none.",
        )
        require(not shape.tokens or config.upsample == 1, "attention: tokens cannot be upsampled; drop them before.")
        area = (self.windows.size, self.windows.size) if self.windows else (inner.height, inner.width)
        # Queries may be fewer than positions by a stride or by a block that they come from.
        step = -(-inner.height // queries.height) if queries.height else 1
        self.bias = position_bias(config.position, heads, area, step)
        self.gated = GatedPosition(heads, Shape(heads, *area, shape.tokens)) if config.position == "gated" else None
        self.before = nn.Linear(heads, heads) if config.talking_heads else None
        self.after = nn.Linear(heads, heads) if config.talking_heads else None
        self.value_block = make(config.value_block, self.v.shape) if config.value_block else None
        self.local = make(config.local, self.v.shape) if config.local else None
        # Windows of what is read are one copy instead of three, where nothing needs the maps in between.
        between = (config.query_map, config.kv_reduce, config.value_map, config.value_block, config.local)
        alike = config.query_stride == 1 and config.query_source == "all" and config.qkv_norm is None
        self.divides_first = alike and not any(between)
        # Fused attention does not weigh anew, and values are as wide as keys.
        weighed = config.talking_heads or self.gated is not None
        self.fuses = not weighed and value_dim == config.head_dim
        self.upsample = config.upsample
        height, width_out = queries.height * config.upsample, queries.width * config.upsample
        mixed = Shape(heads * value_dim, height, width_out, shape.tokens)
        self.activation = activation_after_layer(config.out_activation)
        self.project = (
            Projected(mixed, width, config.out_norm, bias=config.out_bias) if config.project else nn.Identity()
        )
        self.shape = mixed._replace(channels=width)
        if self.query_tokens is not None:
            self.shape = inner._replace(channels=width)

    def _query_shape(self, config: Config, inner: Shape) -> Shape:
        """Sets what decides which positions and tokens are queries, and returns their shape."""
        self.query_map = make(config.query_map, inner) if config.query_map else nn.Identity()
        queries = getattr(self.query_map, "shape", inner)
        queries = Shape(queries.channels, *reduced(queries, config.query_stride), inner.tokens)
        self.query_tokens = inner.tokens if config.query_source == "tokens" else None
        if self.query_tokens is not None:
            require(
                inner.tokens > 0, "attention: query_source tokens needs tokens; insert them before with class_token."
            )
            require(config.position == "none", "attention: query_source tokens have no place; give position none.")
            queries = queries._replace(height=0, width=0)
        self.skipped_tokens = inner.tokens if config.query_source == "map" else 0
        return queries._replace(tokens=0) if self.skipped_tokens else queries

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            x = pool_half(x, self.stride, self.pool)
        if self.windows is not None and self.divides_first:
            x = self.windows.divide(x)
        queries, keys = self.query_map(x), self.kv_reduce(x)
        if self.query_stride > 1:
            queries = queries[:, :, :: self.query_stride, :: self.query_stride]
        if self.query_tokens is not None:
            queries = queries[:, :, : self.query_tokens]
        if self.skipped_tokens:
            queries = queries[:, :, self.skipped_tokens :]
        values = keys if self.value_map is None else self.value_map(x)
        q, k, v = self.q(queries), self.k(keys), self.v(values)
        if self.value_block is not None:
            v = self.value_block(v)
        mixed = self.mix(q, k, v)
        if self.local is not None:
            mixed = mixed + self.local(v)
        if self.upsample > 1:
            mixed = F.interpolate(mixed, self.shape[1:3], mode="bilinear", align_corners=False)
        mixed = self.project(self.activation(mixed))
        if self.skipped_tokens:
            mixed = F.pad(mixed, (0, 0, self.skipped_tokens, 0))
        return mixed if self.query_tokens is None else F.pad(mixed, (0, 0, 0, self.shape.height * self.shape.width))

    def mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns attention among maps: q and k (B, heads * head_dim, *), v (B, heads * value_dim, *)."""
        if self.windows is not None and not self.divides_first:
            q, k, v = (self.windows.divide(each) for each in (q, k, v))
        size = q.shape[2:]
        q, k, v = per_head(q, self.head_dim), per_head(k, self.head_dim), per_head(v, self.value_dim)
        mask = self.mask(q, k)
        # No kernel of torch gives the gradient by a mask.
        if self.fuses and (mask is None or not mask.requires_grad):
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        else:
            mixed = self.weights(q, k, mask) @ v
        # Channels innermost, as the projection reads them.
        mixed = mixed.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, size)
        return mixed if self.windows is None else self.windows.join(mixed)

    def mask(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor | None:
        """Returns what the logits get for q and k (B, heads, N, channels), or None: (1 or B, heads or 1, N, M)."""
        parts: list[torch.Tensor] = []
        if self.bias is not None:
            parts.append(self.placed(self.bias())[None])
        if self.token_bias is not None:
            parts.append(self.token_bias(k.shape[2])[None].expand(-1, -1, q.shape[2], -1))
        if self.windows is not None and self.windows.shift:
            parts.append(self.windows.mask(q)[:, None])
        if not parts:
            return None
        mask = sum(parts[1:], parts[0])
        # Not len(), which would fix the batch of an exported network.
        return mask if mask.shape[0] == 1 else mask.repeat(q.shape[0] // mask.shape[0], 1, 1, 1)

    def weights(self, q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Returns the weights (B, heads, N, N) of all keys for each query, whose rows sum to one."""
        logits = (q * self.scale) @ k.transpose(2, 3)
        if mask is not None:
            logits = logits + mask
        if self.before is not None:
            logits = self.before(logits.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        weights = logits.softmax(3)
        if self.gated is not None:
            weights = self.gated(weights)
        if self.after is not None:
            weights = self.after(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return weights

    def placed(self, bias: torch.Tensor) -> torch.Tensor:
        """Returns the bias of map positions with zeros for the tokens."""
        return F.pad(bias, (self.tokens, 0, self.tokens - self.skipped_tokens, 0)) if self.tokens else bias


def per_head(x: torch.Tensor, channels: int) -> torch.Tensor:
    """Returns a map (B, heads * channels, *) as (B, heads, positions, channels), without a copy if channels_last."""
    return x.flatten(2).transpose(1, 2).unflatten(2, (-1, channels)).transpose(1, 2)


class Projected(nn.Module):
    """Linear map over channels with an optional norm after it: (B, C, *) -> (B, width, *)."""

    normed: tuple[tuple[str, str], ...] = (("linear", "norm"),)
    ends_in = "norm"

    def __init__(self, shape: Shape, width: int, norm: Any, *, bias: bool) -> None:
        super().__init__()
        self.shape = shape._replace(channels=width)
        self.linear = linear(shape.channels, width, bias=bias)
        self.norm = make(norm, self.shape) if norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
