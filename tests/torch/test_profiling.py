"""`nas.costs.profile`: exact counts per stage, words for people."""

from __future__ import annotations

import json
import random

import nas
from nas.architecture import Architecture
from nas.costs import layout, profile
from nas.ops import normalize

TRANSFORMER = [
    {
        "norm": {"op": "layer_norm"},
        "mixer": {"op": "attention", "width": 16, "head_dim": 8, "stride": 2},
        "shortcut": {"op": "pool_project", "width": 16},
    },
    {"norm": {"op": "layer_norm"}, "mixer": {"op": "feed_forward", "expand_ratio": 2}},
]
TINY = {
    "format": 2,
    "input": {"channels": 3, "resolution": 8},
    "stem": {"op": "conv", "width": 8, "kernel_size": 2, "stride": 2, "padding": 0},
    "stages": [
        {
            "transition": {
                "op": "serial",
                "ops": [{"op": "layer_norm"}, {"op": "conv", "width": 8, "kernel_size": 1}],
            },
            "layers": [
                {
                    "repeat": 2,
                    "branches": [{"mixer": {"op": "depthwise_conv", "kernel_size": 3}, "scale": 0.1}],
                }
            ],
        },
        {
            "layers": [
                {"branches": TRANSFORMER},
                {"branches": [{"mixer": {"op": "depthwise_conv", "kernel_size": 3}}]},
            ]
        },
    ],
    "head": {"op": "classifier", "num_classes": 5, "hidden": False},
}


def tiny() -> Architecture:
    return normalize(Architecture.from_dict(TINY))


def test_rows_hold_counts_made_by_hand() -> None:
    found = profile(tiny())
    stem, first, second, head = found.stages
    # A 2x2 patch of 3 channels to 8, at 4x4 positions.
    assert (stem.macs, stem.params, stem.output) == (16 * 12 * 8, 12 * 8 + 8, (8, 4, 4))
    # LayerNorm and a biased 1x1 convolution, then twice 3x3 per channel with bias and scale.
    assert first.macs == 16 * 64 + 2 * 16 * 8 * 9
    assert first.params == 16 + 72 + 2 * (72 + 8 + 8)
    # At 2x2: q, k, v from 8, both products over 4 x 4 pairs, projection, shortcut; 16 -> 32 -> 16; 3x3 per channel.
    attention = 4 * 3 * 8 * 16 + 2 * 16 * 16 + 4 * 16 * 16 + 4 * 8 * 16
    assert second.macs == attention + 4 * 2 * 16 * 32 + 4 * 16 * 9
    assert (head.macs, head.params, head.output) == (16 * 5, 16 * 5 + 5, (5, 1, 1))
    assert found.macs == sum(row.macs for row in found.stages)


def test_totals_are_those_of_cost_and_of_the_built_network() -> None:
    architecture = nas.load_space("coatnet-small").sample(random.Random(4))
    found, cost = profile(architecture), nas.cost(architecture)
    assert (found.macs, found.params) == (cost.macs, cost.params)
    assert found.params == sum(p.numel() for p in nas.build(architecture).parameters())
    assert found.resolution == 32


def test_stages_are_described_for_people() -> None:
    found = profile(tiny())
    assert [row.name for row in found.stages] == ["stem", "stage 1", "stage 2", "head"]
    assert found.stages[0].ops == "conv (kernel_size 2, padding 0), width 8"
    assert found.stages[1].ops == (
        "layer_norm > conv (kernel_size 1), then 2 x depthwise_conv (kernel_size 3), width 8"
    )
    assert found.stages[2].ops == (
        "1 x attention (head_dim 8) + feed_forward (expand_ratio 2), 1 x depthwise_conv (kernel_size 3), width 16"
    )
    assert found.stages[3].ops == "classifier (no hidden), width 5"
    assert [row.depth for row in found.stages] == [0, 2, 2, 0]


def test_layout_has_a_letter_per_stage_and_one_per_layer_where_they_differ() -> None:
    assert layout(tiny()) == "C-AC"
    assert layout(nas.load_architecture("coatnet_0")) == "C-C-A-A"
    assert layout(nas.load_architecture("astroformer_0")) == "C-C-C-A"


def test_attention_inside_a_serial_block_makes_a_stage_an_attention_stage() -> None:
    data = json.loads(json.dumps(TINY))
    inner = {"op": "attention", "width": 8, "head_dim": 8}
    data["stages"] = [{"layers": [{"branches": [{"mixer": {"op": "serial", "ops": [inner]}}]}]}]
    assert layout(Architecture.from_dict(data)) == "A"


def test_profile_is_plain_json() -> None:
    found = json.loads(json.dumps(profile(tiny()).to_dict()))
    known = {"params", "macs", "resolution", "layout", "stages", "unsupported", "reasons"}
    assert known | {"peak_memory_bytes", "memory"} == set(found)
    assert isinstance(found["macs"], int)
    assert found["peak_memory_bytes"] == found["memory"]["weights"] + found["memory"]["activations"]
    assert profile(tiny(), batch=3).memory.activations > found["memory"]["activations"]
    assert found["stages"][0]["output"] == [8, 4, 4]


def test_what_a_bottleneck_or_a_branch_inside_a_block_is_about_is_said() -> None:
    stages = nas.profile(nas.load_architecture("bossnet_t0")).stages
    assert stages[1].ops.startswith("1 x bottleneck (of conv, activation silu, se_ratio 0.0625) + silu")
    assert "bottleneck (of attention (head_dim 64, position none, no project), activation silu)" in stages[4].ops
    assert "> channel_attention (num_heads 4) >" in nas.profile(nas.load_architecture("edgenext_xxs")).stages[2].ops
