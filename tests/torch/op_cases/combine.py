"""How blocks combine."""

from . import Cases

INNER = {"op": "conv", "width": 4}
SAME = {"op": "conv"}

CASES: Cases = {
    "concat": ({"ops": (INNER, SAME)}, {"ops": (INNER, INNER)}),
    "identity": ({}, {}),
    "none": ({}, {}),
    "product": ({"ops": (SAME, SAME)}, {"ops": (SAME, {"op": "identity"})}),
    "residual": (
        {"mixer": SAME},
        {"mixer": {"op": "activation"}, "norm": {"op": "batch_norm"}, "shortcut": {"op": "none"}, "scale": 0.5},
    ),
    "serial": ({"ops": (INNER,)}, {"ops": (INNER, {"op": "activation"}), "repeat": 2}),
    "split": ({"ops": (SAME, {"op": "identity"}), "shares": (1, 1)}, {"ops": (SAME, SAME), "shares": (3, 1)}),
    "sum": ({"ops": (SAME, SAME)}, {"ops": (SAME, {"op": "identity"})}),
}
