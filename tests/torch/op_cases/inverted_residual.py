"""The inverted residual."""

from . import Cases

CASES: Cases = {
    "inverted_residual": (
        {"width": 12, "stride": 2},
        {
            "width": 16,
            "kernel_size": 5,
            "expand_ratio": 1,
            "stride": 1,
            "se_ratio": 0.5,
            "activation": "silu",
            "eps": 0.1,
            "momentum": 0.5,
            "padding": "same",
        },
    ),
}
