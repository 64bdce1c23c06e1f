"""Visformer (arXiv:2104.12533), first version."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, divided, fitted, renamed

NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
BLOCK = r"stage(\d)\.(\d+)"
LAYER = r"stages.\1.layers.\2"
RULES = (
    (r"stem\.0\.weight", r"stem.conv.weight"),
    (rf"stem\.1\.{NORM}", r"stem.norm.\1"),
    (r"patch_embed(\d)\.proj\.(weight|bias)", r"stages.\1.transition.0.conv.\2"),
    (rf"patch_embed(\d)\.norm\.{NORM}", r"stages.\1.transition.0.norm.\2"),
    (r"pos_embed(\d)", r"stages.\1.transition.1.embedding"),
    # The first stage has feed-forward with a convolution alone, the others attention and feed-forward.
    (rf"stage0\.(\d+)\.norm2\.{NORM}", r"stages.0.layers.\1.0.norm.\2"),
    (r"stage0\.(\d+)\.mlp\.conv1\.weight", r"stages.0.layers.\1.0.mixer.expand.weight"),
    (r"stage0\.(\d+)\.mlp\.conv2\.weight", r"stages.0.layers.\1.0.mixer.middle.weight"),
    (r"stage0\.(\d+)\.mlp\.conv3\.weight", r"stages.0.layers.\1.0.mixer.project.weight"),
    (rf"{BLOCK}\.norm1\.{NORM}", rf"{LAYER}.0.norm.\3"),
    (rf"{BLOCK}\.attn\.qkv\.weight", rf"{LAYER}.0.mixer.qkv.linear.weight"),
    (rf"{BLOCK}\.attn\.proj\.weight", rf"{LAYER}.0.mixer.project.linear.weight"),
    (rf"{BLOCK}\.norm2\.{NORM}", rf"{LAYER}.1.norm.\3"),
    (rf"{BLOCK}\.mlp\.conv1\.weight", rf"{LAYER}.1.mixer.expand.weight"),
    (rf"{BLOCK}\.mlp\.conv3\.weight", rf"{LAYER}.1.mixer.project.weight"),
    (rf"norm\.{NORM}", r"head.norm.\1"),
    (r"head\.(weight|bias)", r"head.linear.\1"),
)
COUNTED = re.compile(r"^(stage|patch_embed|pos_embed)(\d)")


def convert(state: State, network: Network) -> State:
    """Converts timm's Visformer, whose stages are counted from one."""
    found = {COUNTED.sub(lambda m: f"{m[1]}{int(m[2]) - 1}", name): tensor for name, tensor in state.items()}
    found = {name: tensor[0] if name.startswith("pos_embed") else tensor for name, tensor in found.items()}
    return fitted(divided(renamed(found, RULES), network), network)


SIZES = ("tiny", "small")
FAMILY = Family(
    names={f"visformer_{size}": f"visformer_{size}" for size in SIZES}, convert=convert, classifier="head.weight"
)
