"""PoolFormer (arXiv:2111.11418) and the MetaFormer baselines (arXiv:2210.13452): CAFormer, ConvFormer, PoolFormerV2."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, divided, fitted, renamed

_BRANCH = r"(stages\.\d+\.layers\.\d+)"
RULES = (
    (rf"{_BRANCH}\.token_mixer\.pwconv1\.(.*)", r"\1.0.mixer.0.\2"),
    (rf"{_BRANCH}\.token_mixer\.act1\.(.*)", r"\1.0.mixer.1.function.\2"),
    (rf"{_BRANCH}\.token_mixer\.dwconv\.(.*)", r"\1.0.mixer.2.\2"),
    (rf"{_BRANCH}\.token_mixer\.pwconv2\.(.*)", r"\1.0.mixer.3.\2"),
    (rf"{_BRANCH}\.token_mixer\.qkv\.(.*)", r"\1.0.mixer.qkv.linear.\2"),
    (rf"{_BRANCH}\.token_mixer\.proj\.(.*)", r"\1.0.mixer.project.linear.\2"),
    (rf"{_BRANCH}\.mlp\.fc1\.(.*)", r"\1.1.mixer.expand.\2"),
    (rf"{_BRANCH}\.mlp\.act\.(.*)", r"\1.1.mixer.activation.\2"),
    (rf"{_BRANCH}\.mlp\.fc2\.(.*)", r"\1.1.mixer.project.\2"),
    (rf"{_BRANCH}\.(\d)\.(norm|shortcut)\.(.*)", r"\1.\2.\3.\4"),
    (rf"{_BRANCH}\.(\d)\.scale", r"\1.\2.scale"),
    (r"head\.norm\.(.*)", r"head.norm.\1"),
    (r"head\.fc\.fc1\.(.*)", r"head.after.0.\1"),
    (r"head\.fc\.norm\.(.*)", r"head.after.2.\1"),
    (r"head\.fc\.(?:fc2\.)?(weight|bias)", r"head.linear.\1"),
)


def convert(state: State, network: Network) -> State:
    """Converts timm's MetaFormers."""
    first = dict(network.named_modules())
    found: State = {}
    named: State = {}
    for name, tensor in state.items():
        place = re.fullmatch(r"(stem|stages\.\d+\.downsample)\.(conv|norm)\.(.*)", name)
        if place:
            # A convolution with a norm is two blocks one after another, the norm last in the stem alone.
            path = place[1].replace("downsample", "transition")
            alone = f"{path}.0" not in first
            at = "" if alone else ".0" if (place[2] == "conv") == (path == "stem") else ".1"
            found[f"{path}{at}.{place[3]}"] = tensor
        else:
            named[_placed(name)] = tensor
    found |= renamed(named, RULES)
    star = {name.replace("function.bias", "function.shift"): tensor for name, tensor in found.items()}
    star = {name.replace("activation.bias", "activation.shift"): tensor for name, tensor in star.items()}
    return fitted(divided(star, network), network)


def _placed(name: str) -> str:
    """Converts the norms and scales that timm numbers to those of our branches."""
    name = name.replace(".blocks.", ".layers.")
    name = re.sub(r"\.layer_scale([12])\.scale", lambda match: f".{int(match[1]) - 1}.scale", name)
    name = re.sub(r"\.res_scale([12])\.scale", lambda match: f".{int(match[1]) - 1}.shortcut.scale", name)
    return re.sub(r"\.norm([12])\.", lambda match: f".{int(match[1]) - 1}.norm.", name)


def family(kind: str, sizes: tuple[str, ...], classifier: str = "head.fc.weight") -> Family:
    """Returns the family of one kind of mixer."""
    return Family(names={f"{kind}_{s}": f"{kind}_{s}" for s in sizes}, convert=convert, classifier=classifier)


POOLED, MIXED = ("s12", "s24", "s36", "m36", "m48"), ("s18", "s36", "m36", "b36")
POOLFORMER = family("poolformer", POOLED)
POOLFORMER_V2 = family("poolformerv2", POOLED)
CAFORMER = family("caformer", MIXED, "head.fc.fc2.weight")
CONVFORMER = family("convformer", MIXED, "head.fc.fc2.weight")
