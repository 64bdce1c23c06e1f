"""Patches as channels, token mixers."""

from . import Cases

CASES: Cases = {
    "token_mixer": ({"width": 6, "features": 4}, {"width": 5, "kind": "softmax", "features": 3}),
    "unfold": ({}, {"kernel_size": 3, "stride": 1, "padding": 1}),
}
