"""Stem, inverted residual, squeeze-excite, pooled shortcut."""

from . import Cases

CASES: Cases = {
    "conv_stem": ({"width": 12}, {"width": 16, "kernel_size": 5, "stride": 1, "activation": "relu"}),
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
        },
    ),
    "pool_project": ({"width": 12}, {"width": 16, "stride": 1, "pool": "max"}),
    "squeeze_excite": ({"width": 2}, {"width": 4, "activation": "relu", "gate": "hardsigmoid"}),
}
