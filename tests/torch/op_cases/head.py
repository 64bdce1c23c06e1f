"""Classifiers."""

from . import Cases, With

CASES: Cases = {
    "classifier": (
        {"num_classes": 5},
        {
            "num_classes": 6,
            "norm": {"op": "layer_norm"},
            "hidden": False,
            "pool": "all",
            "norm_first": With({"norm": {"op": "layer_norm"}}, True),
            "before": {"op": "feed_forward"},
            "after": {"op": "conv", "kernel_size": 1, "expand_ratio": 2},
            "num_heads": 2,
            "head_norm": {"op": "batch_norm"},
        },
    ),
}
