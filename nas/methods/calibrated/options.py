"""The options of the method `calibrated`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.options.declaration import option
from nas.options.kinds import Whole
from nas.options.methods import MethodOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedOptions(MethodOptions):
    """How much is trained to fit the score to."""

    ranking_uses: ClassVar[frozenset[str]] = frozenset(
        {"data", "calibrations", "calibration_epochs", "augment", "work", "device"}
    )
    ranking_needs_space: ClassVar[bool] = True

    calibrations: int | None = option(
        kind=Whole(2, 10_000, 12),
        help="short trainings to fit scores to, with the compute of N average ones",
        default_help="12",
    )
    calibration_epochs: int | None = option(
        kind=Whole(1, 1_000_000, 2), help="training epochs of each", default_help="planned; nas rank: 1"
    )
