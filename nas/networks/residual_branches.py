"""The residual branches of a network's layers, for what acts on them in training alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from nas.ops.combine import NoShortcut, Residual


def residual_branches(stages: Iterable[Any]) -> Iterator[tuple[float, Residual]]:
    """Yields the branches of all layers that have a shortcut, each with its layer's depth from 0 to 1."""
    layers = [layer for stage in stages for layer in stage.layers]
    for i, layer in enumerate(layers):
        for branch in layer:
            if isinstance(branch, Residual) and not isinstance(branch.shortcut, NoShortcut):
                yield i / max(1, len(layers) - 1), branch
