"""Norms, activations, depthwise convolutions, pooling, feed-forward."""

from . import Cases, With

CASES: Cases = {
    "activation": ({}, {"name": "relu"}),
    "batch_norm": ({}, {"eps": 0.1, "momentum": 0.5}),
    "channel_scale": ({}, {}),
    "depthwise_conv": (
        {},
        {"width": 24, "kernel_size": 3, "stride": 2, "dilation": 2, "multiplier": 2, "bias": False},
    ),
    "feed_forward": ({"expand_ratio": 2}, {"expand_ratio": 1.5, "activation": "relu", "bias": False}),
    "group_norm": ({}, {"num_groups": 2, "eps": 0.1, "bias": False}),
    "layer_norm": ({}, {"eps": 0.1, "bias": False}),
    "pool": (
        {},
        {
            "kind": "max",
            "kernel_size": 5,
            "stride": 2,
            "padding": 0,
            "count_include_pad": True,
            "ceil_mode": With({"stride": 2, "padding": 0}, True),
            "subtract_input": True,
        },
    ),
    "upsample": ({}, {"scale_factor": 3, "mode": "nearest"}),
}
