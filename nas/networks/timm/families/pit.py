"""PiT (arXiv:2103.16302)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, fitted
from nas.networks.timm.families.encoders import encoded, tokens

RULES = (
    (r"transformers\.(\d)\.pool\.conv\.(.*)", r"stages.\1.transition.map.\2"),
    (r"transformers\.(\d)\.pool\.fc\.(.*)", r"stages.\1.transition.tokens.\2"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's PiT with one or two tokens."""
    blocks = ((r"transformers\.(\d)\.blocks\.(\d+)", r"stages.\1.layers.\2"),)
    found = fitted(encoded(state, network, blocks, RULES), network)
    found["stem.1.embedding"] = state["pos_embed"][0]
    found["stem.2.token"] = tokens(state["cls_token"])
    return found


FAMILY = Family(
    names={
        f"pit_{size}{kind}_224": f"pit_{size}{kind}" for kind in ("_distilled", "") for size in ("ti", "xs", "s", "b")
    },
    convert=convert,
    classifier="head.weight",
)
