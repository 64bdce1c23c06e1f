"""R26+ViT-S/32 and R50+ViT-B/16 (arXiv:2010.11929): an encoder behind a ResNet."""

from __future__ import annotations

from nas.networks.network import Network
from nas.networks.timm.converting import INCEPTION, Family, State
from nas.networks.timm.families.encoders import encoded, tokens

_STEM, _BLOCK = r"patch_embed\.backbone\.stem", r"patch_embed\.backbone\.stages\.(\d)\.blocks\.(\d)"
_LAYER = r"stages.\1.layers.\2.0"
RULES = (
    (rf"{_STEM}\.conv\.weight", r"stem.0.weight"),
    (rf"{_STEM}\.norm\.(.*)", r"stem.1.\1"),
    (rf"{_BLOCK}\.downsample\.conv\.weight", rf"{_LAYER}.shortcut.0.weight"),
    (rf"{_BLOCK}\.downsample\.norm\.(.*)", rf"{_LAYER}.shortcut.1.\3"),
    *(
        (rf"{_BLOCK}\.{kind}{i + 1}\.(.*)", rf"{_LAYER}.mixer.{3 * i + after}.\3")
        for i in range(3)
        for after, kind in enumerate(("conv", "norm"))
    ),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's hybrid of ResNet and ViT."""
    last = len(network.stages) - 1
    rules = (*RULES, (r"patch_embed\.proj\.(.*)", rf"stages.{last}.transition.0.\1"))
    found = encoded(state, network, ((r"blocks\.(\d+)", rf"stages.{last}.layers.\1"),), rules)
    found[f"stages.{last}.transition.1.token"] = tokens(state["cls_token"])
    found[f"stages.{last}.transition.2.embedding"] = tokens(state["pos_embed"])
    return found


FAMILY = Family(
    # timm's R50+ViT-B/16 at 224 has no classifier.
    names={"vit_small_r26_s32_224": "vit_small_r26_s32"},
    convert=convert,
    normalization=INCEPTION,
    classifier="head.weight",
)
