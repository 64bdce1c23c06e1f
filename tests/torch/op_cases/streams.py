"""Parallel streams."""

from . import Cases

SAME = {"op": "conv"}
TOKENED = {"op": "class_token"}

CASES: Cases = {
    "cross_streams": ({"num_heads": 2}, {"num_heads": 4, "activation": "relu", "eps": 0.1}),
    "resize": ({"denominator": 2}, {"numerator": 2, "denominator": 1}),
    "stream_classifier": ({"num_classes": 5}, {"num_classes": 6, "norm": {"op": "layer_norm"}}),
    "streams": ({"ops": (TOKENED, SAME)}, {"ops": (TOKENED, {"op": "none"}, {"op": "conv", "width": 3})}),
}
