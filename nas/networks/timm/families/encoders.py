"""Conversion that timm's transformer encoders (ViT, DeiT, PiT, CaiT, ConViT, Swin, CrossViT) share."""

from __future__ import annotations

import re

import torch

from nas.networks.network import Network
from nas.networks.timm.converting import State, divided, renamed

_END = r"(weight|bias)"
# Of one block: its attention is our first branch, its feed-forward the second.
BLOCK = (
    (r"norm1\.(.*)", r"0.norm.\1"),
    (r"norm2\.(.*)", r"1.norm.\1"),
    (r"gamma_1", r"0.scale"),
    (r"gamma_2", r"1.scale"),
    (rf"attn\.(qkv|q|k|v)\.{_END}", r"0.mixer.\1.linear.\2"),
    (rf"attn\.w(q|k|v)\.{_END}", r"0.mixer.\1.linear.\2"),
    (rf"attn\.qk\.{_END}", r"0.mixer.qk.linear.\1"),
    (rf"attn\.proj\.{_END}", r"0.mixer.project.linear.\1"),
    (rf"attn\.proj_l\.{_END}", r"0.mixer.before.\1"),
    (rf"attn\.proj_w\.{_END}", r"0.mixer.after.\1"),
    (rf"attn\.pos_proj\.{_END}", r"0.mixer.gated.offsets.\1"),
    (r"attn\.gating_param", r"0.mixer.gated.gate"),
    (r"attn\.relative_position_bias_table", r"0.mixer.bias.table"),
    (rf"mlp\.fc1\.{_END}", r"1.mixer.expand.\1"),
    (rf"mlp\.fc2\.{_END}", r"1.mixer.project.\1"),
)
_TOKENS = r"(cls|dist)_token|pos_embed.*"
"""Left to each family, since these are parts of blocks of ours."""
# Patches, and a classifier that reads tokens.
OUTSIDE = (
    (r"patch_embed\.(?:proj|conv)\.(.*)", r"stem.0.\1"),
    (r"norm\.(.*)", r"head.norm.\1"),
    (r"head\.(.*)", r"head.linear.\1"),
    (r"head_dist\.(.*)", r"head.others.0.\1"),
)


def encoded(
    state: State, network: Network, blocks: tuple[tuple[str, str], ...], more: tuple[tuple[str, str], ...] = ()
) -> State:
    r"""The patches, blocks and head of a timm encoder as ours.

    Args:
        blocks: (pattern of what comes before a name within a block, our layer), such as
            (r"blocks\.(\d+)", r"stages.0.layers.\1").
        more: Rules beside these for names outside of blocks.
    """
    inside = [(rf"{before}\.(.*)", layer) for before, layer in blocks]
    found: State = {}
    for name, tensor in state.items():
        for pattern, layer in inside:
            match = re.fullmatch(pattern, name)
            if match:
                rest = renamed({match.groups()[-1]: tensor}, BLOCK)
                found |= {f"{match.expand(layer)}.{ours}": tensor for ours in rest}
                break
        else:
            if not re.fullmatch(_TOKENS, name):
                found |= renamed({name: tensor}, (*more, *OUTSIDE))
    found = divided(found, network)
    return divided(found, network, fused="qk", parts=("q", "k"))


def tokens(*tensors: torch.Tensor) -> torch.Tensor:
    """Returns class and distillation tokens, (1, T, C) each, as (C, T, 1)."""
    return torch.cat(tensors, 1)[0].T[..., None]


def places(tensor: torch.Tensor) -> torch.Tensor:
    """Returns position embeddings of a map without tokens, (1, H * W, C), as (C, H, W)."""
    side = round(tensor.shape[1] ** 0.5)
    return tensor[0].T.unflatten(1, (side, side))
