"""ConvMixer (arXiv:2201.09792)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, renamed

RULES = (
    (r"(stem\..*)", r"\1"),
    (r"blocks\.(\d+)\.0\.fn\.(.*)", r"stages.0.layers.\1.0.mixer.\2"),
    (r"blocks\.(\d+)\.1\.(.*)", r"stages.0.layers.\1.1.mixer.0.\2"),
    (r"blocks\.(\d+)\.3\.(.*)", r"stages.0.layers.\1.1.mixer.2.\2"),
    (r"head\.(weight|bias)", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's ConvMixer."""
    return renamed(state, RULES)


NAMES = ("convmixer_768_32", "convmixer_1024_20_ks9_p14", "convmixer_1536_20")
FAMILY = Family(names={name: name for name in NAMES}, convert=convert, classifier="head.weight")
