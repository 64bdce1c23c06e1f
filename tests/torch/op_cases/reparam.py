"""Branches that fold to one convolution."""

from . import Cases, With

CASES: Cases = {
    "rep_mixer": ({}, {"kernel_size": 5}),
    "reparam_conv": (
        {"kernel_size": 3},
        {
            "width": 16,
            "kernel_size": 5,
            "stride": 2,
            "depthwise": True,
            "small_kernel": 1,
            "identity": With({"width": None, "stride": 1}, True),
            "gate": {"op": "squeeze_excite", "rd_channels": 2},
            "activation": "gelu",
        },
    ),
}
