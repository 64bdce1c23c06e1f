"""Merging of neighbouring positions."""

from . import Cases

CASES: Cases = {
    "deformable_merge": ({"width": 12}, {"width": 16, "kernel_size": 5, "bias": False}),
}
