"""Convolutions, stem, inverted residual, squeeze-excite, pooled shortcut."""

from . import Cases, With

CASES: Cases = {
    "bottleneck": (
        {"width": 16, "mixer": {"op": "conv"}, "stride": 2},
        {
            "width": 24,
            "mixer": {"op": "attention", "head_dim": 2, "project": False},
            "bottle_ratio": 0.5,
            "kernel_size": 5,
            "stride": 1,
            "activation": "silu",
            "se_ratio": 0.25,
        },
    ),
    "conv": (
        {"kernel_size": 3},
        {
            "width": 16,
            "expand_ratio": 2,
            "kernel_size": 5,
            "stride": 2,
            "padding": 0,
            "dilation": 2,
            "groups": 4,
            "bias": False,
        },
    ),
    "conv_norm": (
        {"kernel_size": 3},
        {
            "width": 16,
            "expand_ratio": 2,
            "kernel_size": 5,
            "stride": 2,
            "padding": 0,
            "dilation": 2,
            "groups": 4,
            "depthwise": True,
            "bias": True,
            "activation": "relu",
            "eps": 0.1,
            "momentum": 0.5,
        },
    ),
    "conv_shortcut": ({"width": 12, "stride": 2}, {"width": 16, "stride": 1, "kernel_size": 5, "activation": "silu"}),
    "conv_stem": (
        {"width": 12},
        {
            "width": 16,
            "kernel_size": 5,
            "stride": 1,
            "activation": "relu",
            "bias": False,
            "eps": 0.1,
            "padding": "same",
        },
    ),
    "mbconv": (
        {"width": 12, "stride": 2},
        {
            "width": 16,
            "kernel_size": 5,
            "expand_ratio": 2,
            "stride": 1,
            "stride_in": "depthwise",
            "se_ratio": 0,
            "activation": "relu",
            "eps": 0.1,
            "padding": With({"stride_in": "depthwise"}, "same"),
        },
    ),
    "pool_project": ({"width": 12}, {"width": 16, "stride": 1, "pool": "max", "norm": {"op": "batch_norm"}}),
    "squeeze_excite": ({"rd_channels": 2}, {"rd_channels": 4, "activation": "relu", "gate": "hardsigmoid"}),
}
