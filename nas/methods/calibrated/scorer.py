"""A score fitted to a few short trainings: costs, structure and zero-cost proxies combined by a Gaussian process.

The process decides how much each kind of evidence counts, from the trainings alone: where size pays, it follows size;
where it does not, it follows what the trainings say instead (Rasmussen and Williams 2006, chapters 2 and 5). What can
be counted pays until they say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.sharing import unpack_data
from nas.jobs.setup import ScoringSetup
from nas.methods.calibrated.calibration import Calibration
from nas.methods.calibrated.features import FeatureGroups, Proxies
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.methods.zero_cost.scorer import pack_probe


class CalibratedScorer:
    """Predicts the accuracy of a network after a training like those that the calibration was fitted to.

    Args:
        proxies: On the data of the calibration, with the same seed.
    """

    def __init__(self, calibration: Calibration, proxies: Proxies) -> None:
        self.calibration, self._proxies = calibration, proxies
        for digest, values in zip(calibration.digests, calibration.reference.groups[2], strict=True):
            proxies.know(digest, values.tolist())

    def score(self, architecture: Architecture) -> float:
        """From 0 to 1; higher is better."""
        return float(self.calibration.predict(FeatureGroups.of([architecture], self._proxies))[0])


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
        """Plain data to make the same scorer from, and the few images that the proxies need."""
        return pack_probe(
            f"{__name__}:unpack",
            self.data,
            seed=self.seed,
            device=self.device,
            calibration=self.calibration.to_dict(),
        )


def unpack(setup: ScoringSetup) -> CalibratedScorer:
    """The scorer that was packed."""
    facts = setup.facts
    return CalibratedScoring(
        calibration=Calibration.from_dict(facts["calibration"]),
        data=unpack_data(facts["data"], setup.arrays),
        seed=facts["seed"],
        device=facts["device"],
    ).make()
