"""A space small enough to list, for tests that compare with brute force."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

from nas import ops
from nas.spaces import Genotype, SearchSpace
from nas.spaces.catalog import parse_space

MBCONV = {"op": "mbconv", "width": "$width", "kernel_size": "$kernel_size", "expand_ratio": "$expand_ratio"}
SHORTCUT = {"op": "pool_project", "width": "$width", "stride": "$stride"}
FEED_FORWARD = {"norm": {"op": "layer_norm"}, "mixer": {"op": "feed_forward", "expand_ratio": "$expand_ratio"}}
ATTENTION = {"op": "attention", "width": "$width", "head_dim": 4}
SMALL: dict[str, Any] = {
    "format": 2,
    "name": "small",
    "input": {"channels": 3, "resolution": 8},
    "stem": {"op": "conv_stem", "width": "$width"},
    "stem_choices": {"width": [4, 8]},
    "layers": {
        "convolution": {
            "choices": {"kernel_size": [3, 5], "expand_ratio": [1, 2]},
            "first": [{"norm": {"op": "batch_norm"}, "mixer": {**MBCONV, "stride": "$stride"}, "shortcut": SHORTCUT}],
            "rest": [{"norm": {"op": "batch_norm"}, "mixer": MBCONV}],
        },
        "transformer": {
            "choices": {"expand_ratio": [1, 2, 3]},
            "first": [
                {"norm": {"op": "layer_norm"}, "mixer": {**ATTENTION, "stride": "$stride"}, "shortcut": SHORTCUT},
                FEED_FORWARD,
            ],
            "rest": [{"norm": {"op": "layer_norm"}, "mixer": ATTENTION}, FEED_FORWARD],
        },
    },
    "stages": [
        {"width": [4, 8], "depth": [1, 2], "ops": {"C": "convolution", "A": "transformer"}},
        {"stride": 2, "width": [4, 8, 12], "depth": [1, 3], "ops": {"C": "convolution", "A": "transformer"}},
    ],
    "rules": {"op_order": "CA", "widths": "growing"},
    "head": {"op": "classifier", "num_classes": 5, "norm": {"op": "layer_norm"}},
}


def small_data() -> dict[str, Any]:
    """The space file as plain data of one's own."""
    return json.loads(json.dumps(SMALL))


def small_space() -> SearchSpace:
    return parse_space(small_data(), ops)


def listed(space: SearchSpace) -> list[Genotype]:
    """Every point of a space, by brute force."""
    stages = [[choice for op in stage.ops for choice in stage.choices(op.letter)] for stage in space.stages]
    points = [Genotype(values, genes) for values in space.stem.combinations for genes in product(*stages)]
    return [point for point in points if space.valid(point)]
