"""What anybody can count: the predictors that a score has to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.architecture import Architecture
from nas.costing import cost
from nas.scoring.features import attending, depth, output_widths

BASELINES = ("params", "macs", "depth", "channels", "log_channels", "convolutions")


def baselines(architectures: Sequence[Architecture]) -> dict[str, list[float]]:
    """Per baseline a number for each architecture.

    params, macs: Exact. depth: Branches of all layers. channels, log_channels: The sum, over stem and layers, of output
    channels, or of their logarithms. convolutions: The share of layers that do not attend.
    """
    found: dict[str, list[float]] = {name: [] for name in BASELINES}
    for architecture in architectures:
        counted, widths = cost(architecture), output_widths(architecture)
        found["params"].append(counted.params)
        found["macs"].append(counted.macs)
        found["depth"].append(depth(architecture))
        found["channels"].append(sum(widths))
        found["log_channels"].append(sum(map(math.log, widths)))
        layers = [attends for stage in attending(architecture) for attends in stage]
        found["convolutions"].append(1 - sum(layers) / max(1, len(layers)))
    return found
