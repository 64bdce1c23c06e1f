"""The options of the method `calibrated`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.options.declaration import option
from nas.options.kinds import Whole
from nas.options.methods import MethodOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedOptions(MethodOptions):
    """The amount of training that the score is fitted to."""

    ranking_uses: ClassVar[frozenset[str]] = frozenset(
        {"data", "calibrations", "calibration_epochs", "augment", "work", "device"}
    )
    ranking_needs_space: ClassVar[bool] = True

    calibrations: int | None = option(
        kind=Whole(2, 10_000, 12),
        help="compute of the short trainings that scores are fitted to, in those of N average networks",
        default_help="12",
    )
    calibration_epochs: int | None = option(
        kind=Whole(1, 1_000_000, 2), help="training epochs of each", default_help="planned; nas rank: 1"
    )
