"""Counts of an architecture (parameters, multiply-adds, …): the baselines of every score, usable as scores too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nas.architecture import Architecture
from nas.costs import Option, SpaceCosts, cost
from nas.jobs.backend import ScorerSource
from nas.jobs.setup import ScoringSetup
from nas.methods.features import attending, depth, log_channels, log_channels_of_part, output_widths
from nas.methods.protocol.context import Context
from nas.methods.protocol.plan import Plan
from nas.methods.protocol.ranking import RankingTask
from nas.methods.protocol.search_method import RankedScorer, SearchMethod
from nas.options import MethodOptions
from nas.spaces import END, Node


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
channels, or of their logarithms. convolutions: The share of layers without attention."""


def _log_channels(costs: SpaceCosts, node: Node, option: Option) -> float:
    part = None if option.node == END else costs.part(node, option.choice)  # the head has no layers
    return 0.0 if part is None else log_channels_of_part(*part)


BASELINES: Mapping[str, Callable[[SpaceCosts, Node, Option], float]] = {
    "params": lambda costs, node, option: float(option.params),
    "log_channels": _log_channels,
}
"""The counts that choose finalists: the largest feasible network by each is a finalist of every search. Each is a sum
over a network's decisions: what one of them adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedScoring:
    """A scorer that counts; also its own `ScorerSource`, since there is nothing to prepare.

    Attributes:
        name: A key of `COUNTS`.
    """

    name: str

    def score(self, architecture: Architecture) -> float:
        """The count."""
        return float(COUNTS[self.name](architecture))

    def make(self) -> CountedScoring:
        """Itself."""
        return self

    def pack(self) -> ScoringSetup:
        """Returns plain data from which `unpack` re-creates it."""
        return ScoringSetup(make=f"{__name__}:unpack", facts={"name": self.name}, arrays={})


def unpack(setup: ScoringSetup) -> CountedScoring:
    """Re-creates the scorer from `pack`."""
    return CountedScoring(name=setup.facts["name"])


class CountedMethod(SearchMethod[MethodOptions]):
    """Scores by counting: the baseline of every other method."""

    free_scores = True

    def count(self, plan: Plan) -> str | None:
        return self.name

    def scorer(self, context: Context, trained: Any) -> ScorerSource:
        return CountedScoring(name=self.name)

    def ranked(self, task: RankingTask) -> RankedScorer:
        return RankedScorer(make=lambda: CountedScoring(name=self.name))
