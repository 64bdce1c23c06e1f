"""Tokens and positions."""

from . import Cases

CASES: Cases = {
    "apart": (
        {},
        {"map": {"op": "none"}, "tokens": {"op": "feed_forward"}},
    ),
    "class_token": ({}, {"num_tokens": 2}),
    "drop_tokens": ({}, {}),
    "position": ({}, {"kind": "sinusoid"}),
}
