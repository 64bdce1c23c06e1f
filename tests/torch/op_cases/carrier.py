"""Carrier tokens and positions by MLP."""

from . import Cases

NORM = {"op": "layer_norm"}
AFTER = {"op": "feed_forward", "expand_ratio": 2}

CASES: Cases = {
    "carrier_propagation": (
        {"carriers": NORM, "after": AFTER},
        {"carriers": {"op": "identity"}, "after": NORM, "scale": 0.5},
    ),
    "carrier_tokens": ({"window_size": 5}, {"window_size": 2, "side": 1}),
    "mlp_position": ({}, {"window_size": 5}),
    "square": ({"mixer": NORM}, {"mixer": {"op": "conv"}}),
}
