"""Tokens and positions."""

from . import Cases

CASES: Cases = {
    "class_token": ({}, {"tokens": 2}),
    "drop_tokens": ({}, {}),
    "position": ({}, {}),
}
