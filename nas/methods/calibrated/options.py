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
        help="fit scores to short trainings, together as long as N of an average network",
        default_help="12",
    )
    calibration_epochs: int | None = option(
        kind=Whole(1, 1_000_000, 2), help="epochs of each short training", default_help="planned; 1 in nas rank"
    )
