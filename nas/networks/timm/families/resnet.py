"""ResNet (arXiv:1512.03385), the stride of a bottleneck in its 3x3 convolution."""

from __future__ import annotations

import re

from nas.networks.network import Network
from nas.networks.timm.converting import GIVEN, Family, State

_BLOCK = r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(.*)"
_ENDS = {"conv1": "stem.0.conv", "bn1": "stem.0.norm", "fc": "head.linear"}


def convert(state: State, network: Network) -> State:
    """Converts timm's ResNet; a tensor that it does not have gets a name that no network has."""
    found: State = {}
    for name, tensor in state.items():
        match, (start, _, end) = re.fullmatch(_BLOCK, name), name.partition(".")
        if match:
            stage, layer, kind, number, rest = match.groups()
            path = f"stages.{int(stage) - 1}.layers.{layer}.0"
            own = f"mixer.{int(number) - 1}.{'conv' if kind == 'conv' else 'norm'}"
            if kind == "downsample.":
                own = f"shortcut.{'norm' if int(number) else 'conv'}"
            found[f"{path}.{own}.{rest}"] = tensor
        else:
            found[f"{_ENDS[start]}.{end}" if start in _ENDS else f"{GIVEN}{name}"] = tensor
    return found


BASIC = Family(names={"resnet18": "resnet18"}, convert=convert, classifier="fc.weight")
BOTTLENECK = Family(names={f"resnet{n}": f"resnet{n}" for n in (26, 50)}, convert=convert, classifier="fc.weight")
