"""Memories and how much each counts."""

from . import Cases

CASES: Cases = {
    "position_scale": ({}, {}),
    "remember": ({}, {"kernel_size": 3, "stride": 2, "bias": True}),
}
