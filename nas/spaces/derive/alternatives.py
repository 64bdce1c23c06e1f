"""What may stand in for a stage's layers: convolutions for attention, and the other way round on small maps."""

from __future__ import annotations

from typing import Any

from nas.spaces.derive.facts import Fitting, Shape
from nas.spaces.derive.kinds import Kind
from nas.spaces.derive.stages import Parts, keeps

LARGEST_MAP = 32 * 32
"""Attention takes the place of convolutions on maps of no more positions than this ..."""
SMALLEST_SHARE = 8
"""... whose side is no more than this part of the image's."""
_HEAD_DIMS = (32, 24, 16, 8)


def alternative(
    at: int, stages: list[Parts], widths: list[int], resolution: int, fitting: Fitting
) -> tuple[Kind | None, Kind] | None:
    """The layers that may take the place of a stage's: one to open it, where the stage has such, and one for the rest.

    They are the network's own, from the nearest stage that has them, or else plain ones: inverted residuals
    (MobileNetV2, Sandler et al. 2018) for attention, transformer layers for convolutions.

    Args:
        at: The stage, from 0.
        widths: What it may be wide.
    """
    parts = stages[at]
    letters = {kind.letter for kind in parts.kinds} or {parts.opening.letter if parts.opening else "C"}
    if "A" in letters and "C" in letters:
        return None
    wanted = "C" if "A" in letters else "A"
    height, width = parts.shape[1:3]
    if parts.run is not None:
        return None
    if wanted == "A" and (height * width > LARGEST_MAP or max(height, width) * SMALLEST_SHARE > resolution):
        return None
    with_opening = parts.opening is not None and parts.shares
    tried = [*_own(at, stages, wanted, with_opening), *_plain(wanted, with_opening)]
    return next((pair for pair in tried if _fits(pair, parts, widths, fitting)), None)


def _own(at: int, stages: list[Parts], wanted: str, with_opening: bool) -> list[tuple[Kind | None, Kind]]:
    """Layers of this letter in other stages, the nearest first, earlier ones before later ones."""
    found: list[tuple[Kind | None, Kind]] = []
    for i in sorted((i for i in range(len(stages)) if i != at), key=lambda i: (abs(i - at), i)):
        other = stages[i]
        opening = other.opening if with_opening else None
        if with_opening and (opening is None or opening.letter != wanted or not other.shares):
            continue
        found += [(opening, kind) for kind in other.kinds if kind.letter == wanted]
    return found


def _fits(pair: tuple[Kind | None, Kind], parts: Parts, widths: list[int], fitting: Fitting) -> bool:
    opening, kind = pair
    for width in widths:
        shape: Shape = (width, *parts.shape[1:])
        if not keeps(kind, width, shape, fitting):
            return False
        if opening is not None:
            values = {**opening.typical, "width": width, "stride": parts.stride}
            if fitting.layer(opening.template, values, parts.entered) != shape:
                return False
    return True


def _plain(wanted: str, with_opening: bool) -> list[tuple[Kind | None, Kind]]:
    if wanted == "C":
        first, rest = _inverted_residual(True), _inverted_residual(False)
        return [(first if with_opening else None, rest)]
    pairs = [(_transformer(dim, True), _transformer(dim, False)) for dim in _HEAD_DIMS]
    return [(first if with_opening else None, rest) for first, rest in pairs]


def _inverted_residual(opens: bool) -> Kind:
    branch: dict[str, Any] = {
        "norm": {"op": "batch_norm"},
        "mixer": {"op": "mbconv", "width": "$width", "kernel_size": "$kernel_size"},
    }
    if opens:
        branch["mixer"]["stride"] = "$stride"
        branch["shortcut"] = {"op": "pool_project", "width": "$width", "stride": "$stride"}
    return _kind("C", [branch], "kernel_size", [3, 5])


def _transformer(head_dim: int, opens: bool) -> Kind:
    attention: dict[str, Any] = {"op": "attention", "head_dim": head_dim}
    first: dict[str, Any] = {"norm": {"op": "layer_norm"}, "mixer": attention}
    if opens:
        attention |= {"width": "$width", "stride": "$stride"}
        first["shortcut"] = {"op": "pool_project", "width": "$width", "stride": "$stride"}
    second = {"norm": {"op": "layer_norm"}, "mixer": {"op": "feed_forward", "expand_ratio": "$expand_ratio"}}
    return _kind("A", [first, second], "expand_ratio", [3, 4])


def _kind(letter: str, branches: list[dict[str, Any]], name: str, values: list[int]) -> Kind:
    return Kind(
        letter=letter, template={"branches": branches}, choices={name: values}, values={name: (values[0],)}, places=()
    )
