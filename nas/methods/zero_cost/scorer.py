"""Scorers by one zero-cost proxy or several aggregated ones, made here or packed for other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.sharing import pack_data, unpack_data
from nas.jobs.executor import Scorer
from nas.jobs.setup import ScoringSetup
from nas.methods.zero_cost.aggregated import PARTS, AggregatedScorer
from nas.methods.zero_cost.proxy_cache import PROBE_IMAGES, ProxyValues, ZeroCostScorer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZeroCostScoring:
    """The source of a scorer by one proxy or several, which makes it here or packs it for another process.

    Attributes:
        name: A key of `PROXIES` or `PARTS`.
        reference: Reference networks of an aggregate.
        known: Their proxies by digest and name.
    """

    name: str
    data: Dataset
    seed: int
    reference: Sequence[Architecture] = ()
    known: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    device: str = "cpu"

    def make(self) -> Scorer:
        """Makes the scorer in this process."""
        values = ProxyValues(self.data, seed=self.seed, device=self.device)
        for digest, found in self.known.items():
            for name, value in found.items():
                values.memory.know(digest, name, value)
        return proxy_scorer(self.name, values, self.reference)

    def pack(self) -> ScoringSetup:
        """Returns plain data from which to make the same scorer, with the few images that it needs."""
        return pack_probe(
            f"{__name__}:unpack",
            self.data,
            seed=self.seed,
            device=self.device,
            name=self.name,
            reference=[each.to_dict() for each in self.reference],
            known=self.known,
        )


def proxy_scorer(name: str, values: ProxyValues, reference: Sequence[Architecture]) -> Scorer:
    """Returns the scorer by a proxy, or by the ranks of several among reference networks."""
    return AggregatedScorer(name, values, reference) if name in PARTS else ZeroCostScorer(name, values)


def unpack(setup: ScoringSetup) -> Scorer:
    """Re-creates the scorer from `pack`."""
    facts = setup.facts
    return ZeroCostScoring(
        name=facts["name"],
        data=unpack_data(facts["data"], setup.arrays),
        seed=facts["seed"],
        device=facts["device"],
        reference=[Architecture.from_dict(each) for each in facts["reference"]],
        known=facts["known"],
    ).make()


def pack_probe(make: str, data: Dataset, **facts: Any) -> ScoringSetup:
    """Returns a scoring setup with the few images that proxies are computed on."""
    described, arrays = pack_data(data, train_images=PROBE_IMAGES, validation_images=1)
    return ScoringSetup(make=make, facts={**facts, "data": described}, arrays=arrays)
