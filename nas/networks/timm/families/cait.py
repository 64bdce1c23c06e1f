"""CaiT (arXiv:2103.17239)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State
from nas.networks.timm.families.encoders import encoded, places, tokens


def convert(state: State, network: Network) -> State:
    """Converts timm's CaiT; its last two blocks change the class token alone."""
    blocks = (
        (r"blocks\.(\d+)", r"stages.0.layers.\1"),
        (r"blocks_token_only\.(\d+)", r"stages.1.layers.\1"),
    )
    found = {
        name.replace(".1.mixer.", ".1.mixer.tokens.") if name.startswith("stages.1.layers.") else name: tensor
        for name, tensor in encoded(state, network, blocks).items()
    }
    found["stem.1.embedding"] = places(state["pos_embed"])
    found["stages.1.transition.token"] = tokens(state["cls_token"])
    return found


FAMILY = Family(
    names={
        "cait_xxs24_224": "cait_xxs24",
        "cait_xxs36_224": "cait_xxs36",
        "cait_xs24_384": "cait_xs24",
        "cait_s24_224": "cait_s24",
        "cait_s36_384": "cait_s36",
        "cait_m36_384": "cait_m36",
        "cait_m48_448": "cait_m48",
    },
    convert=convert,
    classifier="head.weight",
)
