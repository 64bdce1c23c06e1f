"""ConViT (arXiv:2103.10697)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State
from nas.networks.timm.families.encoders import encoded, places, tokens


def convert(state: State, network: Network) -> State:
    """Converts timm's ConViT: ten blocks before its class token, two after it."""
    blocks = ((r"blocks\.(\d)", r"stages.0.layers.\1"), (r"blocks\.1(\d)", r"stages.1.layers.\1"))
    found = encoded(state, network, blocks)
    found["stem.1.embedding"] = places(state["pos_embed"])
    found["stages.1.transition.token"] = tokens(state["cls_token"])
    return found


FAMILY = Family(
    names={f"convit_{size}": f"convit_{size}" for size in ("tiny", "small", "base")},
    convert=convert,
    classifier="head.weight",
)
