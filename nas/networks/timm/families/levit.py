"""LeViT (arXiv:2104.01136), with linear maps or, as `levit_conv_*`, the same as 1x1 convolutions."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, divided, fitted, renamed, unflattened

_NORMED = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
RULES = (
    (rf"stem\.(\d)\.bn\.{_NORMED}", r"stem.\1.norm.\2"),
    (r"stem\.(\d)\.linear\.weight", r"stem.\1.conv.weight"),
    (r"(stages.*)\.attn\.attention_biases", r"\1.0.mixer.bias.distances"),
    (r"(stages.*)\.attn\.(qkv|kv|q)\.linear\.weight", r"\1.0.mixer.\2.linear.weight"),
    (rf"(stages.*)\.attn\.(qkv|kv|q)\.bn\.{_NORMED}", r"\1.0.mixer.\2.norm.\3"),
    (r"(stages.*)\.attn\.q\.ln\.linear\.weight", r"\1.0.mixer.q.linear.weight"),
    (rf"(stages.*)\.attn\.q\.ln\.bn\.{_NORMED}", r"\1.0.mixer.q.norm.\2"),
    (r"(stages.*)\.attn\.proj\.ln\.linear\.weight", r"\1.0.mixer.project.linear.weight"),
    (rf"(stages.*)\.attn\.proj\.ln\.bn\.{_NORMED}", r"\1.0.mixer.project.norm.\2"),
    (r"(stages.*)\.mlp\.ln1\.linear\.weight", r"\1.1.mixer.expand.weight"),
    (rf"(stages.*)\.mlp\.ln1\.bn\.{_NORMED}", r"\1.1.mixer.norm.\2"),
    (r"(stages.*)\.mlp\.ln2\.linear\.weight", r"\1.1.mixer.project.weight"),
    (rf"(stages.*)\.mlp\.ln2\.bn\.{_NORMED}", r"\1.1.mixer.out_norm.\2"),
    (rf"head\.bn\.{_NORMED}", r"head.norms.0.\1"),
    (rf"head_dist\.bn\.{_NORMED}", r"head.norms.1.\1"),
    (r"head\.linear\.(weight|bias)", r"head.linear.\1"),
    (r"head_dist\.linear\.(weight|bias)", r"head.others.0.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's LeViT with two heads."""
    found = renamed({_placed(name): tensor for name, tensor in state.items()}, RULES)
    found = divided(found, network, by_head=True)
    found = divided(found, network, fused="kv", parts=("k", "v"), by_head=True)
    return fitted(unflattened(found, "distances"), network)


def _placed(name: str) -> str:
    """Converts a name of timm's stem or block to ours: from the second stage on, the first layer downsamples."""
    name = re.sub(r"^stem\.conv(\d)", lambda match: f"stem.{int(match[1]) - 1}", name)
    match = re.fullmatch(r"stages\.(\d)\.(?:blocks\.(\d+)|downsample)\.(.*)", name)
    if not match:
        return name
    stage, block, rest = match.groups()
    layer = 0 if block is None else int(block) + (stage != "0")
    return f"stages.{stage}.layers.{layer}.{rest.replace('attn_downsample', 'attn')}"


SIZES = ("128s", "128", "192", "256", "384")
FAMILY = Family(
    names={f"levit_{kind}{size}": f"levit_{size}" for size in SIZES for kind in ("", "conv_")},
    convert=convert,
    classifier="head.linear.weight",
)
