"""Convolutional networks that timm builds by its class EfficientNet: B0, MnasNet, EfficientNet-Lite.

Their units (convolutions with their norms, inverted residuals) are in the same order in timm and here, so they are
matched one by one. Tensors that belong to no unit keep their names, for the check of all names to refuse them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nas.networks.network import Network
from nas.networks.timm.converting import Family, State, renamed
from nas.ops.combine import Residual
from nas.ops.inverted_residual import InvertedResidual

_UNIT = r"(conv_stem|conv_head|bn\d|classifier|blocks\.\d+(?:\.\d+)?)\.(.*)"
_END = r"(.*)"
EXPANDED = (("conv_pw", "expand"), ("bn1", "norm1"), ("conv_dw", "depthwise"), ("bn2", "norm2"))
PLAIN = (("conv_dw", "depthwise"), ("bn1", "norm2"), ("conv_pw", "project"), ("bn2", "norm3"))
LAST = (("conv_pwl", "project"), ("bn3", "norm3"))
GATE = (("se.conv_reduce", "squeeze_excite.squeeze"), ("se.conv_expand", "squeeze_excite.excite"))
"""timm's parts of an inverted residual and ours; one without expansion names its projection otherwise."""

PORT = {"conv_stem": "conv_stem", "bn0": "bn1", "conv_head": "conv_head", "bn1": "bn2", "fc": "classifier"}
PORT_GATE = {"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"}
PORT_PLAIN = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"} | PORT_GATE
PORT_EXPANDED = {
    "expand_conv": "conv_pw",
    "bn0": "bn1",
    "depthwise_conv": "conv_dw",
    "bn1": "bn2",
    "project_conv": "conv_pwl",
    "bn2": "bn3",
    **PORT_GATE,
}
"""Parts as EfficientNet-PyTorch and the ports made from it name them, behind an underscore, and timm's names."""


def as_timm(state: State) -> State:
    """Returns weights in the layout of EfficientNet-PyTorch (`_blocks.0._bn1.weight`) under timm's names."""
    if "_conv_stem.weight" not in state:
        return state
    found: State = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\._(.*)", name)
        expands = match is not None and f"_blocks.{match[1]}._expand_conv.weight" in state
        start, parts = f"blocks.{match[1]}." if match else "", PORT_EXPANDED if expands else PORT_PLAIN
        part, end = (match[2] if match else name.removeprefix("_")).rsplit(".", 1)
        own = (parts if match else PORT).get(part)
        found[f"{start}{own}.{end}" if own else name] = tensor
    return found


def convert(state: State, network: Network) -> State:
    """Converts timm's EfficientNet, MnasNet and the like."""
    units: dict[str, State] = {}
    for name, tensor in state.items():
        match = re.fullmatch(_UNIT, name)
        units.setdefault(match[1] if match else "", {})[match[2] if match else name] = tensor
    found = units.pop("", {})
    for start, ours in (("conv_stem", "stem.0.conv"), ("bn1", "stem.0.norm"), ("classifier", "head.linear")):
        found |= {f"{ours}.{end}": tensor for end, tensor in units.pop(start, {}).items()}
    places = list(_places(network))
    head = {f"{part}.{end}": t for part in ("conv_head", "bn2") for end, t in units.pop(part, {}).items()}
    found |= _moved(head, places.pop()[0], (("conv_head", "conv"), ("bn2", "norm")))
    blocks = sorted(units, key=lambda unit: [int(number) for number in unit.split(".")[1:]])
    for i, unit in enumerate(blocks):
        path, block = places[i] if i < len(places) else (unit, None)
        found |= _moved(units[unit], path, _parts(units[unit], block))
    return found


def _places(network: Network) -> Iterator[tuple[str, Any]]:
    """Yields what comes after the stem's first convolution: the path and the module of each unit."""
    for i, block in list(enumerate(network.stem))[1:]:
        yield (f"stem.{i}.mixer", block.mixer) if isinstance(block, Residual) else (f"stem.{i}", block)
    for s, stage in enumerate(network.stages):
        for i, layer in enumerate(stage.layers):  # type: ignore[arg-type]
            yield f"stages.{s}.layers.{i}.0.mixer", layer[0].mixer


def _parts(unit: State, block: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(block, InvertedResidual):
        return (*((*EXPANDED, *LAST) if "conv_pwl.weight" in unit else PLAIN), *GATE)
    return ()


def _moved(unit: State, path: str, parts: tuple[tuple[str, str], ...]) -> State:
    rules = [(rf"{re.escape(theirs)}\.{_END}", rf"{path}.{ours}.\1") for theirs, ours in parts]
    return renamed(unit, [*rules, (_END, rf"{path}.\1")])


FAMILY = Family(names={"efficientnet_b0": "efficientnet_b0"}, convert=convert, classifier="classifier.weight")
MNASNET = Family(names={"mnasnet_100": "mnasnet_b1"}, convert=convert, classifier="classifier.weight")
LITE = Family(names={"tf_efficientnet_lite0": "tf_efficientnet_lite0"}, convert=convert, classifier="classifier.weight")
