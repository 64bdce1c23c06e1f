"""The op library: each operator defined once. Add yours as a module here and import it below."""

from nas.ops import attention, basic, cell, combine, conv, head, positions, scopes, tokens
from nas.ops.check import normalise, normalise_block, normalise_layer
from nas.ops.spec import OPS, Shape, make, op

__all__ = [
    "OPS",
    "Shape",
    "attention",
    "basic",
    "cell",
    "combine",
    "conv",
    "head",
    "make",
    "normalise",
    "normalise_block",
    "normalise_layer",
    "op",
    "positions",
    "scopes",
    "tokens",
]
