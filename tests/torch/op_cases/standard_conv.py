"""Weight-standardized convolutions."""

from . import Cases

CASES: Cases = {"standard_conv": ({"width": 6}, {"width": 4, "kernel_size": 5, "stride": 2, "eps": 0.1})}
