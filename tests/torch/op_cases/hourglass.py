"""Blocks that think at a lower resolution and come back."""

from . import Cases

CASES: Cases = {
    "gated_fusion": ({"inner": {"op": "conv"}}, {"inner": {"op": "activation"}, "gate": "relu"}),
    "transposed_conv": ({}, {"scale_factor": 3, "bias": False}),
}
