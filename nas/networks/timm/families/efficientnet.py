"""Convolutional networks that timm builds by its class EfficientNet: EfficientNet, its successors, MnasNet, MobileNets.

Their units (convolutions with their norms, inverted residuals) are in the same order in timm and here, so they are
matched one by one. Tensors that belong to no unit get names that no network has, for the check of all names to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nas.networks.network import Network
from nas.networks.timm.converting import GIVEN, INCEPTION, Family, State, renamed
from nas.ops.combine import Residual
from nas.ops.conv import ConvNorm
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
    found = {f"{GIVEN}{name}": tensor for name, tensor in units.pop("", {}).items()}
    places, stem = list(_places(network)), "stem" if isinstance(network.stem, ConvNorm) else "stem.0"
    # MobileNetV3's last convolution is part of the classifier, after pooling and without a norm.
    pooled = "bn2" not in units
    last = "head.after" if pooled else places.pop()[0]
    ends = {"conv_head": f"{last}.{'0' if pooled else 'conv'}", "bn2": f"{last}.norm"}
    ends |= {"conv_stem": f"{stem}.conv", "bn1": f"{stem}.norm", "classifier": "head.linear"}
    for theirs, ours in ends.items():
        found |= {f"{ours}.{end}": tensor for end, tensor in units.pop(theirs, {}).items()}
    blocks = sorted(units, key=lambda unit: [int(number) for number in unit.split(".")[1:]])
    for i, unit in enumerate(blocks):
        path, block = places[i] if i < len(places) else (unit, None)
        found |= _moved(units[unit], path, _parts(units[unit], block))
    return found


def _places(network: Network) -> Iterator[tuple[str, Any]]:
    """Yields what comes after the stem's first convolution: the path and the module of each unit."""
    for i, block in () if isinstance(network.stem, ConvNorm) else list(enumerate(network.stem))[1:]:
        yield (f"stem.{i}.mixer", block.mixer) if isinstance(block, Residual) else (f"stem.{i}", block)
    for s, stage in enumerate(network.stages):
        for i, layer in enumerate(stage.layers):  # type: ignore[arg-type]
            yield f"stages.{s}.layers.{i}.0.mixer", layer[0].mixer


def _parts(unit: State, block: Any) -> tuple[tuple[str, str], ...]:
    """Returns timm's parts of a unit, and ours: an op of its own, or a row of convolutions with their norms."""
    if isinstance(block, InvertedResidual):
        return (*((*EXPANDED, *LAST) if "conv_pwl.weight" in unit else PLAIN), *GATE)
    if isinstance(block, ConvNorm):
        return (("conv", "conv"), ("bn1", "norm"))
    convs = [conv for conv in ("conv_exp", "conv_pw", "conv_dw", "conv_pwl") if f"{conv}.weight" in unit]
    # In a row, squeeze-excite stands before the projection.
    gate = len(convs) - 1 if any(name.startswith("se.") for name in unit) else len(convs)
    rows = [(conv, f"bn{i + 1}", i + (i >= gate)) for i, conv in enumerate(convs)]
    pairs = [pair for conv, norm, at in rows for pair in ((conv, f"{at}.conv"), (norm, f"{at}.norm"))]
    return (*pairs, ("se.conv_reduce", f"{gate}.squeeze"), ("se.conv_expand", f"{gate}.excite"))


def _moved(unit: State, path: str, parts: tuple[tuple[str, str], ...]) -> State:
    rules = [(rf"{re.escape(theirs)}\.{_END}", rf"{path}.{ours}.\1") for theirs, ours in parts]
    return renamed(unit, [*rules, (_END, rf"{path}.\1")])


_SHARED: dict[str, Any] = {"convert": convert, "classifier": "classifier.weight", "as_timm": as_timm}
FAMILY = Family(names={"efficientnet_b0": "efficientnet_b0"}, **_SHARED)
# All of TensorFlow's take images in -1 to 1: of the two normalizations that ports of Lite0 give, the one with the
# variance that its first norm saw in training, and more plausible classes (`experiments/lite0-normalization`).
LITE = Family(
    names={f"tf_efficientnet_lite{size}": f"tf_efficientnet_lite{size}" for size in range(5)},
    normalization=INCEPTION,
    **_SHARED,
)
V2 = Family(names={"efficientnetv2_s": "efficientnetv2_s"}, **_SHARED)
TF_V2 = Family(names={"tf_efficientnetv2_s": "tf_efficientnetv2_s"}, normalization=INCEPTION, **_SHARED)
MNASNET = Family(names={"mnasnet_100": "mnasnet_b1"}, **_SHARED)
MOBILENET_V2 = Family(names={"mobilenetv2_100": "mobilenetv2_100"}, **_SHARED)
MOBILENET_V3 = Family(names={"mobilenetv3_large_100": "mobilenetv3_large_100"}, **_SHARED)
FAMILIES = (FAMILY, LITE, V2, TF_V2, MNASNET, MOBILENET_V2, MOBILENET_V3)
