"""State-space mixers."""

from . import Cases

CASES: Cases = {"mamba": ({}, {"expand_ratio": 2, "state": 4, "kernel_size": 5, "rank": 3, "window": 5})}
