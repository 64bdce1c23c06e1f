"""FastViT with its training branches (arXiv:2303.14189); `nas.fold` makes its deploy graph."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, divided, fitted, renamed

_BLOCK = r"(stages\.\d+)\.layers\.(\d+)"
# First branches are given our names, wherever they are, then blocks.
BRANCHES = (
    (r"(.*)\.(?:conv_kxk\.0|large_conv)\.conv\.(.*)", r"\1.main.conv.\2"),
    (r"(.*)\.(?:conv_kxk\.0|large_conv)\.bn\.(.*)", r"\1.main.norm.\2"),
    (r"(.*)\.(?:conv_scale|small_conv)\.conv\.(.*)", r"\1.small.conv.\2"),
    (r"(.*)\.(?:conv_scale|small_conv)\.bn\.(.*)", r"\1.small.norm.\2"),
    (r"(.*)\.se\.fc1\.(.*)", r"\1.gate.squeeze.\2"),
    (r"(.*)\.se\.fc2\.(.*)", r"\1.gate.excite.\2"),
    (r"(.*)", r"\1"),
)
RULES = (
    (r"(stem\..*)", r"\1"),
    (r"(stages\.\d+)\.downsample\.proj\.(.*)", r"\1.transition.\2"),
    (r"(stages\.\d+)\.pos_emb\.pos_enc\.(.*)", r"\1.transition.2.mixer.\2"),
    (rf"{_BLOCK}\.token_mixer\.norm\.identity\.(.*)", r"\1.layers.\2.0.mixer.norm.\3"),
    (rf"{_BLOCK}\.token_mixer\.mixer\.(.*)", r"\1.layers.\2.0.mixer.mixer.\3"),
    (rf"{_BLOCK}\.token_mixer\.qkv\.(.*)", r"\1.layers.\2.0.mixer.qkv.linear.\3"),
    (rf"{_BLOCK}\.token_mixer\.proj\.(.*)", r"\1.layers.\2.0.mixer.project.linear.\3"),
    (rf"{_BLOCK}\.(?:token_mixer\.layer_scale|layer_scale_1)\.gamma", r"\1.layers.\2.0.scale"),
    (rf"{_BLOCK}\.(?:layer_scale|layer_scale_2)\.gamma", r"\1.layers.\2.1.scale"),
    (rf"{_BLOCK}\.norm\.(.*)", r"\1.layers.\2.0.norm.\3"),
    (rf"{_BLOCK}\.mlp\.conv\.conv\.(.*)", r"\1.layers.\2.1.mixer.before.conv.\3"),
    (rf"{_BLOCK}\.mlp\.conv\.bn\.(.*)", r"\1.layers.\2.1.mixer.before.norm.\3"),
    (rf"{_BLOCK}\.mlp\.fc1\.(.*)", r"\1.layers.\2.1.mixer.expand.\3"),
    (rf"{_BLOCK}\.mlp\.fc2\.(.*)", r"\1.layers.\2.1.mixer.project.\3"),
    (r"final_conv\.(.*)", r"head.before.\1"),
    (r"head\.fc\.(.*)", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's FastViT."""
    named = renamed(state, BRANCHES)
    found = renamed({name.replace(".blocks.", ".layers."): tensor for name, tensor in named.items()}, RULES)
    return fitted(divided(found, network), network)


SIZES = ("t8", "t12", "s12", "sa12", "sa24", "sa36", "ma36")
FAMILY = Family(names={f"fastvit_{size}": f"fastvit_{size}" for size in SIZES}, convert=convert)
