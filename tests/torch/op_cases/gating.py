"""Gates, waves, oversize convolutions."""

from . import Cases

CASES: Cases = {
    "gated_feed_forward": (
        {"expand_ratio": 2},
        {"expand_ratio": 1.5, "activation": "relu", "bias": False, "out_bias": False},
    ),
    "less_mean": ({}, {}),
    "oversize_conv": ({}, {"kernel_size": 5, "bias": True}),
    "wave": ({}, {"expand_ratio": 2, "activation": "relu"}),
}
