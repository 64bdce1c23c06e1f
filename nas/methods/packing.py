"""Scorers that need no supernet, made here or packed and made elsewhere; and what makes a scorer of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.sharing import pack_data, unpack_data
from nas.jobs.setup import ScoringSetup
from nas.methods.calibrated.scorer import CalibratedScorer, Calibration, Proxies
from nas.methods.counted import CountedScoring
from nas.methods.supernet.packing import unpack_supernet
from nas.methods.zero_cost.aggregated import PARTS, AggregatedScorer
from nas.methods.zero_cost.proxy_cache import PROBE_IMAGES, ProxyValues, ZeroCostScorer


class Scores(Protocol):
    """A scorer, whatever its kind."""

    def score(self, architecture: Architecture) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedScoring:
    """A `CalibratedScorer` that can be made here, or packed and made elsewhere.

    Attributes:
        seed, device: Of the proxies, those that the calibration was measured with.
    """

    calibration: Calibration
    data: Dataset
    seed: int
    device: str = "cpu"

    def make(self) -> CalibratedScorer:
        """The scorer in this process."""
        return CalibratedScorer(self.calibration, Proxies(ProxyValues(self.data, seed=self.seed, device=self.device)))

    def pack(self) -> ScoringSetup:
        """Plain data to make the same scorer from, and the few images that the proxies look at."""
        calibration = self.calibration.to_dict()
        return _packed(self.data, kind="calibrated", seed=self.seed, device=self.device, calibration=calibration)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZeroCostScoring:
    """A zero-cost proxy, or an aggregate of several, that can be made here, or packed and made elsewhere.

    Attributes:
        name: Of `PROXIES` or `PARTS`.
        reference: Networks that an aggregate ranks among.
    """

    name: str
    data: Dataset
    seed: int
    reference: Sequence[Architecture] = ()
    device: str = "cpu"

    def make(self) -> Scores:
        """The scorer in this process."""
        values = ProxyValues(self.data, seed=self.seed, device=self.device)
        if self.name in PARTS:
            return AggregatedScorer(self.name, values, self.reference)
        return ZeroCostScorer(self.name, values)

    def pack(self) -> ScoringSetup:
        """Plain data to make the same scorer from, and the few images that it looks at."""
        reference = [each.to_dict() for each in self.reference]
        return _packed(
            self.data, kind="zero-cost", seed=self.seed, device=self.device, name=self.name, reference=reference
        )


def make_scorer(setup: ScoringSetup) -> Scores:
    """The scorer that was packed. It holds the arrays themselves, no copy, and writes to none of them."""
    return _KINDS[setup.facts["kind"]](setup)


def _packed(data: Dataset, **facts: Any) -> ScoringSetup:
    told, arrays = pack_data(data, train_images=PROBE_IMAGES, validation_images=1)
    return ScoringSetup(facts={**facts, "data": told}, arrays=arrays)


def _unpack_calibrated(setup: ScoringSetup) -> Scores:
    facts = setup.facts
    return CalibratedScoring(
        calibration=Calibration.from_dict(facts["calibration"]),
        data=unpack_data(facts["data"], setup.arrays),
        seed=facts["seed"],
        device=facts["device"],
    ).make()


def _unpack_zero_cost(setup: ScoringSetup) -> Scores:
    facts = setup.facts
    return ZeroCostScoring(
        name=facts["name"],
        data=unpack_data(facts["data"], setup.arrays),
        seed=facts["seed"],
        device=facts["device"],
        reference=[Architecture.from_dict(each) for each in facts["reference"]],
    ).make()


_KINDS: dict[str, Callable[[ScoringSetup], Scores]] = {
    "supernet": unpack_supernet,
    "calibrated": _unpack_calibrated,
    "zero-cost": _unpack_zero_cost,
    "counted": lambda setup: CountedScoring(name=setup.facts["name"]),
}
