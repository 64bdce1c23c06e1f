"""What anybody can count: the predictors that a score has to beat, and scores for those who trust them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.costs import cost
from nas.jobs.setup import ScoringSetup
from nas.methods.features import attending, depth, log_channels, output_widths


def _convolutions(architecture: Architecture) -> float:
    layers = [attends for stage in attending(architecture) for attends in stage]
    return 1 - sum(layers) / max(1, len(layers))


COUNTS: Mapping[str, Callable[[Architecture], float]] = {
    "params": lambda each: cost(each).params,
    "macs": lambda each: cost(each).macs,
    "depth": depth,
    "channels": lambda each: sum(output_widths(each)),
    "log_channels": log_channels,
    "convolutions": _convolutions,
}
"""params, macs: Exact. depth: Branches of all layers. channels, log_channels: The sum, over stem and layers, of output
channels, or of their logarithms. convolutions: The share of layers that do not attend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedScoring:
    """A scorer that counts, and its own source: there is nothing to make.

    Attributes:
        name: Of `COUNTS`.
    """

    name: str

    def score(self, architecture: Architecture) -> float:
        """The count."""
        return float(COUNTS[self.name](architecture))

    def make(self) -> CountedScoring:
        """Itself."""
        return self

    def pack(self) -> ScoringSetup:
        """Plain data to make it from."""
        return ScoringSetup(facts={"kind": "counted", "name": self.name}, arrays={})
