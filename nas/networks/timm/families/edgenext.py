"""EdgeNeXt (arXiv:2206.10589)."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, divided, renamed

_BLOCK = r"(stages\.\d+)\.blocks\.(\d+)"
RULES = (
    (r"(stem\..*)", r"\1"),
    (r"(stages\.\d+)\.downsample\.(.*)", r"\1.transition.\2"),
    (rf"{_BLOCK}\.gamma", r"\1.layers.\2.0.scale"),
    (rf"{_BLOCK}\.conv_dw\.(.*)", r"\1.layers.\2.0.mixer.0.\3"),
    (rf"{_BLOCK}\.convs\.(.*)", r"\1.layers.\2.0.mixer.0.convs.\3"),
    (rf"{_BLOCK}\.pos_embd\.token_projection\.(.*)", r"\1.layers.\2.0.mixer.1.project.\3"),
    (rf"{_BLOCK}\.gamma_xca", r"\1.layers.\2.0.mixer.-3.scale"),
    (rf"{_BLOCK}\.norm_xca\.(.*)", r"\1.layers.\2.0.mixer.-3.norm.\3"),
    (rf"{_BLOCK}\.xca\.temperature", r"\1.layers.\2.0.mixer.-3.mixer.temperature"),
    (rf"{_BLOCK}\.xca\.qkv\.(.*)", r"\1.layers.\2.0.mixer.-3.mixer.qkv.linear.\3"),
    (rf"{_BLOCK}\.xca\.proj\.(.*)", r"\1.layers.\2.0.mixer.-3.mixer.project.\3"),
    (rf"{_BLOCK}\.norm\.(.*)", r"\1.layers.\2.0.mixer.-2.\3"),
    (rf"{_BLOCK}\.mlp\.fc1\.(.*)", r"\1.layers.\2.0.mixer.-1.expand.\3"),
    (rf"{_BLOCK}\.mlp\.fc2\.(.*)", r"\1.layers.\2.0.mixer.-1.project.\3"),
    (r"head\.norm\.(.*)", r"head.norm.\1"),
    (r"head\.fc\.(.*)", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's EdgeNeXt."""
    found: State = {}
    for name, tensor in renamed(state, RULES).items():
        # Counted from the end of the layer's blocks, since only some have a position.
        match = re.fullmatch(r"(.*\.mixer)\.-(\d)\.(.*)", name)
        if match:
            blocks = network.get_submodule(match[1])
            name = f"{match[1]}.{len(list(blocks.children())) - int(match[2])}.{match[3]}"
        found[name] = tensor.flatten() if name.endswith("temperature") else tensor
    return divided(found, network)


SIZES = {"xx_small": "xxs", "x_small": "xs", "small": "s", "base": "b"}
FAMILY = Family(names={f"edgenext_{theirs}": f"edgenext_{ours}" for theirs, ours in SIZES.items()}, convert=convert)
