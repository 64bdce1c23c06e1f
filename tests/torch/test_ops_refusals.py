"""What ops refuse when they are built or read, rather than compute something else."""

from __future__ import annotations

from typing import Any

import pytest

from nas import ops
from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.ops.spec import Shape, make

MAPS: list[dict[str, Any]] = [
    {"op": "conv_stem", "width": 8},
    {"op": "mbconv", "width": 8},
    {"op": "inverted_residual", "width": 8},
    {"op": "pool_project", "width": 8},
    {"op": "conv_shortcut", "width": 8},
    {"op": "bottleneck", "width": 8, "mixer": {"op": "conv"}},
    {"op": "standard_conv", "width": 8},
    {"op": "depthwise_conv"},
    {"op": "pool"},
    {"op": "basic_block", "width": 8},
    {"op": "cell", "width": 8, "genotype": "|nor_conv_3x3~0|"},
]


@pytest.mark.parametrize("block", MAPS, ids=lambda block: block["op"])
def test_ops_that_look_at_neighbors_take_no_tokens(block: dict[str, Any]) -> None:
    config = network(block).stem.to_dict()
    make(config, Shape(8, 4, 4))
    with pytest.raises(ArchitectureError, match=f"{block['op']}: tokens have no neighbors; drop them before"):
        make(config, Shape(8, 4, 4, 1))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"op": "conv", "width": 8, "kernel_size": 2, "stride": 2}, "conv: an even kernel_size .=2. .* give padding"),
        (
            {"op": "conv_norm", "width": 8, "kernel_size": 4},
            "an even kernel_size .=4. .* or 2 for half of it",
        ),
        ({"op": "pool", "kernel_size": 2, "stride": 2}, "pool: an even kernel_size .=2. .* give padding"),
        ({"op": "split", "ops": [{"op": "identity"}], "shares": 3}, "split.shares must be a list, not 3"),
        ({"op": "serial", "ops": 3}, "serial.ops must be a list of blocks, not 3"),
        ({"op": "serial", "ops": []}, "serial.ops must not be empty"),
        ({"op": "conv", "width": [3]}, "conv.width must be a whole number or null, not a list"),
    ],
)
def test_values_that_an_op_cannot_have_are_refused(block: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        network(block)


@pytest.mark.parametrize("op", ["conv", "pool"])
def test_even_kernels_with_a_padding_halve_a_map(op: str) -> None:
    wide = {"width": 8} if op == "conv" else {}
    config = network({"op": op, "kernel_size": 2, "stride": 2, "padding": 0, **wide}).stem.to_dict()
    assert make(config, Shape(8, 14, 14)).shape == Shape(8, 7, 7)


def network(stem: dict[str, Any]) -> Architecture:
    head = {"op": "classifier", "num_classes": 2}
    return ops.normalize(
        Architecture.from_dict(
            {"format": 2, "input": {"channels": 3, "resolution": 32}, "stem": stem, "stages": [], "head": head}
        )
    )
