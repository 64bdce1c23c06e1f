"""State-space mixers."""

from . import Cases

CASES: Cases = {"mamba": ({}, {"expand_ratio": 2, "d_state": 4, "kernel_size": 5, "dt_rank": 3, "window_size": 5})}
