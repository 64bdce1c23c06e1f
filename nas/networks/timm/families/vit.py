"""ViT (arXiv:2010.11929) and DeiT (arXiv:2012.12877)."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import INCEPTION, Family, State
from nas.networks.timm.families.encoders import encoded, tokens


def convert(state: State, network: Network) -> State:
    """Converts timm's vision transformer with one or two tokens."""
    found = encoded(state, network, ((r"blocks\.(\d+)", r"stages.0.layers.\1"),))
    kinds = [state[name] for name in ("cls_token", "dist_token") if name in state]
    found["stem.1.token"] = tokens(*kinds)
    found["stem.2.embedding"] = tokens(state["pos_embed"])
    return found


FAMILY = Family(
    names={
        "vit_tiny_patch16_224": "vit_tiny",
        "vit_small_patch16_224": "vit_small",
        "vit_small_patch32_224": "vit_small_patch32",
        "vit_base_patch16_224": "vit_base",
        "vit_large_patch16_224": "vit_large",
    },
    convert=convert,
    normalization=INCEPTION,
    classifier="head.weight",
)
