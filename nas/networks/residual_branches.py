"""The residual branches of a network's layers, for what acts on them in training alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from nas.ops.combine import NoShortcut, Residual


def residual_branches(stages: Iterable[Any]) -> Iterator[tuple[float, Residual]]:
    """Yields the branches that have a shortcut, each with its layer's depth from 0 to 1.

    Those within other containers count (the transformer of a MobileViT layer), those within another branch do not.
    """
    layers = [layer for stage in stages for layer in stage.layers]
    for i, layer in enumerate(layers):
        for branch in _outermost(layer):
            yield i / max(1, len(layers) - 1), branch


def _outermost(module: nn.Module) -> Iterator[Residual]:
    for child in module.children():
        if isinstance(child, Residual) and not isinstance(child.shortcut, NoShortcut):
            yield child
        else:
            yield from _outermost(child)
