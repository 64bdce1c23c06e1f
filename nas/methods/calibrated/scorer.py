"""A score fitted to a few short trainings: a Gaussian process on costs, structure and zero-cost proxies.

The weight of each group of features is fitted to the trainings: predictions follow size if accuracy does, and other
features if not (Rasmussen and Williams 2006, chapters 2 and 5). The prior assumes that accuracy rises with size.
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
        proxies: Proxies on the calibration's data, with the same seed.
    """

    def __init__(self, calibration: Calibration, proxies: Proxies) -> None:
        self.calibration, self._proxies = calibration, proxies
        for digest, values in zip(calibration.digests, calibration.reference.groups[2], strict=True):
            proxies.know(digest, values.tolist())

    def score(self, architecture: Architecture) -> float:
        """Returns the predicted accuracy, from 0 to 1."""
        return float(self.calibration.predict(FeatureGroups.of([architecture], self._proxies))[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedScoring:
    """The source of a `CalibratedScorer`, which makes it here or packs it for another process.

    Attributes:
        seed, device: Seed and device of the proxies, as in the calibration.
    """

    calibration: Calibration
    data: Dataset
    seed: int
    device: str = "cpu"

    def make(self) -> CalibratedScorer:
        """Makes the scorer in this process."""
        return CalibratedScorer(self.calibration, Proxies(ProxyValues(self.data, seed=self.seed, device=self.device)))

    def pack(self) -> ScoringSetup:
        """Returns plain data from which to make the same scorer, with the few images that the proxies need."""
        return pack_probe(
            f"{__name__}:unpack",
            self.data,
            seed=self.seed,
            device=self.device,
            calibration=self.calibration.to_dict(),
        )


def unpack(setup: ScoringSetup) -> CalibratedScorer:
    """Re-creates the scorer from `pack`."""
    facts = setup.facts
    return CalibratedScoring(
        calibration=Calibration.from_dict(facts["calibration"]),
        data=unpack_data(facts["data"], setup.arrays),
        seed=facts["seed"],
        device=facts["device"],
    ).make()
