"""What anybody can count: the predictors that a score has to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.architecture import Architecture
from nas.costing import TABLE

BASELINES = ("params", "macs", "depth", "channels", "log_channels")


def baselines(architectures: Sequence[Architecture]) -> dict[str, list[float]]:
    """Per baseline a number for each architecture.

    params, macs: Exact. depth: Branches of all layers. channels, log_channels: The sum, over stem and layers, of output
    channels, or of their logarithms.
    """
    found: dict[str, list[float]] = {name: [] for name in BASELINES}
    for architecture in architectures:
        rows = TABLE.architecture(architecture)
        widths = [rows[0][1].shape[0]]
        for stage, (_, counted) in zip(architecture.stages, rows[1:], strict=False):
            widths += [counted.shape[0]] * max(1, len(stage.layers))
        found["params"].append(sum(row.params for _, row in rows))
        found["macs"].append(sum(row.macs for _, row in rows))
        found["depth"].append(sum(len(layer.branches) for stage in architecture.stages for layer in stage.layers))
        found["channels"].append(sum(widths))
        found["log_channels"].append(sum(map(math.log, widths)))
    return found
