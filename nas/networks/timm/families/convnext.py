"""ConvNeXt (arXiv:2201.03545)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, fitted, renamed

RULES = (
    (r"(stem\..*)", r"\1"),
    (r"(stages\.\d+)\.downsample\.(.*)", r"\1.transition.\2"),
    (r"(stages\.\d+)\.blocks\.(\d+)\.gamma", r"\1.layers.\2.0.scale"),
    (r"(stages\.\d+)\.blocks\.(\d+)\.conv_dw\.(.*)", r"\1.layers.\2.0.mixer.0.\3"),
    (r"(stages\.\d+)\.blocks\.(\d+)\.norm\.(.*)", r"\1.layers.\2.0.mixer.1.\3"),
    (r"(stages\.\d+)\.blocks\.(\d+)\.mlp\.fc1\.(.*)", r"\1.layers.\2.0.mixer.2.expand.\3"),
    (r"(stages\.\d+)\.blocks\.(\d+)\.mlp\.fc2\.(.*)", r"\1.layers.\2.0.mixer.2.project.\3"),
    (r"head\.norm\.(.*)", r"head.norm.\1"),
    (r"head\.fc\.(.*)", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's ConvNeXt, whose small ones have 1x1 convolutions for linear maps."""
    return fitted(renamed(state, RULES), network)


SIZES = ("atto", "tiny", "small", "base", "large", "xlarge")
FAMILY = Family(names={f"convnext_{size}": f"convnext_{size}" for size in SIZES}, convert=convert)
