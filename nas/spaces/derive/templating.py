"""From a layer or block of one network to a template: its width as `$width`, what may vary as choices."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from nas.spaces.derive.facts import OpFacts
from nas.strict_yaml import canonical_json

MOST_PARTS = 8
"""A width inside a block that is more than so many parts or multiples of the stage's is a number of its own."""
MOST_CHOICES = 3
_EXPANSIONS = ("feed_forward", "conv_feed_forward", "gated_feed_forward", "inverted_residual", "mbconv", "wave")
_KERNELS = ("depthwise_conv", "inverted_residual", "mbconv", "rep_mixer", "cascade_conv", "reparam_conv", "conv_norm")
_GROUPED = ("conv", "conv_norm")
_PROJECTED = ("pool_project", "conv_shortcut")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number of a layer that may vary: where it stands, and what it is."""

    path: tuple[Any, ...]
    op: str
    name: str
    value: int | float


def nodes(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every block inside plain data, with its place."""
    if isinstance(data, dict):
        found = cast("dict[str, Any]", data)
        if "op" in found:
            yield path, found
        for key, item in found.items():
            yield from nodes(item, (*path, key))
    elif isinstance(data, list | tuple):
        for i, item in enumerate(cast("list[Any]", data)):
            yield from nodes(item, (*path, i))


def with_width(data: dict[str, Any], width: int) -> dict[str, Any]:
    """The data with what follows from the width written as `$width`, or as a part or a multiple of it."""
    found = copy.deepcopy(data)
    for _, block in nodes(found):
        own = block.get("width")
        for name in ("width", "rd_channels"):
            if type(block.get(name)) is int:
                block[name] = _term(block[name], width, MOST_PARTS)
        heads, head_dim = block.get("num_heads"), block.get("head_dim", 32)
        if block["op"] == "attention" and type(heads) is int and heads * head_dim == width:
            block["num_heads"] = f"$width/{head_dim}"
        groups = block.get("groups")
        # Groups of a fixed number of channels (RegNet's and Next-ViT's rule), where the layer has such groups.
        divided = own if type(own) is int else width
        if block["op"] in _GROUPED and type(groups) is int and groups > 1 and divided % groups == 0:
            block["groups"] = _term(groups, width, width)
    return found


def with_stride(data: dict[str, Any], stride: int, facts: OpFacts) -> dict[str, Any]:
    """The data with `$stride` wherever a block has the stage's whole stride."""
    found = copy.deepcopy(data)
    if stride > 1:
        for _, block in nodes(found):
            for name in ("stride", "query_stride"):
                if block.get(name, facts.default(block["op"], name)) == stride:
                    block[name] = "$stride"
    return found


def without_stride(data: dict[str, Any]) -> dict[str, Any]:
    """A stage's first layer as one that keeps the map's size: strides left out, projected shortcuts plain."""
    found = copy.deepcopy(data)
    for branch in found["branches"]:
        if _projects(branch):
            del branch["shortcut"]
    for _, block in nodes(found):
        for name in ("stride", "query_stride"):
            block.pop(name, None)
    return found


def projects(layer: dict[str, Any]) -> bool:
    """Whether a shortcut of a layer projects its input, as it must where the map changes."""
    return any(map(_projects, layer["branches"]))


def leaves(data: dict[str, Any], facts: OpFacts) -> list[Leaf]:
    """The kernels of depthwise convolutions and the expansions of feed-forwards, which a family's members differ in."""
    found: list[Leaf] = []
    for path, block in nodes(data):
        op = block["op"]
        for name, ops in (("kernel_size", _KERNELS), ("expand_ratio", _EXPANSIONS)):
            value = block.get(name, facts.default(op, name))
            if op not in ops or name not in facts.elastic(op) or not isinstance(value, int | float):
                continue
            if name == "kernel_size" and not _may_vary(block, value):
                continue
            found.append(Leaf(path, op, name, value))
    return found


def _projects(branch: dict[str, Any]) -> bool:
    return branch.get("shortcut", {}).get("op") in _PROJECTED


def _may_vary(block: dict[str, Any], kernel: int | float) -> bool:
    """Whether another kernel gives the same map: not one with a padding of its own, nor one that mixes all channels."""
    dense = block["op"] in ("reparam_conv", "conv_norm") and not block.get("depthwise", False)
    return kernel >= 3 and kernel % 2 == 1 and not isinstance(block.get("padding"), int) and not dense


def blanked(data: dict[str, Any], found: list[Leaf]) -> str:
    """One spelling of all in a layer but its leaves: equal for layers of one kind."""
    plain = copy.deepcopy(data)
    for leaf in found:
        at(plain, leaf.path)[leaf.name] = None
    return canonical_json(plain)


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def _term(value: int, width: int, most: int) -> int | str:
    part = Fraction(value, width)
    if part == 1:
        return "$width"
    if max(part.numerator, part.denominator) > most:
        return value
    times = f"*{part.numerator}" if part.numerator > 1 else ""
    over = f"/{part.denominator}" if part.denominator > 1 else ""
    return f"$width{times}{over}"
