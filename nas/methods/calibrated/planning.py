"""Planning of a calibration: how many networks it trains, and for how many epochs.

Trainings that are too short favor networks that learn fast, such as small convolutional ones: a score fitted to one
epoch chose, for finalists of 16 epochs, networks ten points less accurate than those chosen by parameters. So a
calibration trains for at least a sixth of the finalists' epochs, and fewer networks if time is short. If the time does
not allow `FEWEST` of them, or `WORTH_IT` epochs for finalists beside them, it trains none, and the score is the number
of parameters: what calibrations take from shorter trainings of finalists costs more than they find.

These trainings are the first epochs of a finalist's training, with the same schedule. If a network becomes a finalist,
its training continues from there at no extra cost; so it does for finalists that are chosen whatever their scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.errors import OptionError
from nas.methods.calibrated.options import CalibratedOptions
from nas.methods.counted import BASELINES
from nas.methods.protocol.plan import MethodPlan, Planned, Workload, within
from nas.methods.zero_cost.planning import proxy_seconds, reference_count

LEAST_SHARE = 6
"""A calibration trains for at least the finalists' epochs divided by this."""
TRAININGS, FEWEST, FEWEST_FITTED = 12, 4, 2
"""Numbers of trainings: default, least planned, least that a score is fitted to."""
FALLBACK = "params"
"""The count that is the score if there is no time for a calibration."""
_MEASURING_SHARE = 0.05
"""Share of the time for the proxies of the reference networks; the same again for those of further candidates."""
_FEWEST_REFERENCES, _FEWEST_FURTHER = 12, 8
"""Least numbers of both; more would leave searches of a few minutes no time to train any of them."""
_FINALISTS_PART = 0.85
"""Default share of the finalists in the epochs that finalists and calibration have together."""
WORTH_IT = 24
"""Least epochs of a finalist, beside a calibration, for the calibration to be worth the epochs that it takes from them.

In searches of 20 minutes, finalists of 14 and of 17 to 20 epochs beside a calibration lost to finalists of 18 to 26
epochs without one, and those of 25 did not (`experiments/against-counting`).
"""
LEAST_EPOCHS = 2 * LEAST_SHARE
"""Least epochs of a finalist where they are given: a calibration's trainings then take at least two epochs, so that
their ranking can be compared with that after one."""
MOST_WINNERS = 3
"""Most that a planned calibration costs, in complete trainings of a network at the budget (taken for the winner)."""
VALIDATIONS = 2
"""Validations per training: half-way, to check whether the ranking of networks is stable, and at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedPlan(MethodPlan):
    """The plan of a calibration.

    Attributes:
        reference: Number of networks that are measured; some of them are trained.
        trainings: Compute of the trainings, in trainings of the average reference network; 0 trains none.
        epochs: Epochs of each training; doubled, for half of the networks, if their ranking is not stable.
    """

    reference: int
    trainings: int
    epochs: int


def least_epochs(finalist_epochs: int) -> int:
    """Returns the least epochs of a calibration's training, given those of a finalist."""
    return min(finalist_epochs, max(2, math.ceil(finalist_epochs / LEAST_SHARE)))


def plan_calibration(workload: Workload, asked: CalibratedOptions) -> Planned:
    """Divides the time between finalists and calibration.

    Raises:
        OptionError: If the given calibration epochs are fewer than a sixth of the finalists', or more than these.
    """
    reference = reference_count(workload, _MEASURING_SHARE, max(_FEWEST_REFERENCES, asked.calibrations or 0))
    each = proxy_seconds(workload)
    further = within(round(_MEASURING_SHARE * workload.seconds / each), _FEWEST_FURTHER, 112)
    left = workload.seconds - (reference + further) * each
    affordable = max(0.0, left) * workload.rate / workload.images
    count, finalist_epochs = workload.finalists(affordable * _FINALISTS_PART)
    epochs = asked.calibration_epochs
    if epochs is not None:
        if workload.options.finalist_epochs is None:
            finalist_epochs = within(finalist_epochs, epochs, LEAST_SHARE * epochs)
        _check(epochs, finalist_epochs)
    asks = asked.calibrations is not None or asked.calibration_epochs is not None
    validating = VALIDATIONS * workload.validating
    free = min(len(BASELINES) + 1, count - 1)
    rest = affordable - (count + workload.rivals_beside) * (finalist_epochs + workload.validating)
    if epochs is None:
        wanted = asked.calibrations or TRAININGS
        most = max(1, min(finalist_epochs // 2, MOST_WINNERS * finalist_epochs // wanted))
        left_for_each = int((rest - wanted * validating) / max(1, wanted - free))
        epochs = max(least_epochs(finalist_epochs), min(most, left_for_each))
    at_most = min(TRAININGS, MOST_WINNERS * finalist_epochs // epochs)
    trainings = asked.calibrations or within(int((rest + free * epochs) / (epochs + validating)), 0, at_most)
    enough = WORTH_IT if workload.options.finalist_epochs is None else LEAST_EPOCHS
    if not asks and (trainings < FEWEST or finalist_epochs < enough):
        return Planned(
            own=CalibratedPlan(reference=reference, trainings=0, epochs=0),
            trial_seconds=0.01,
            finalists=workload.finalists(workload.seconds * workload.rate / workload.images),
        )
    trainings = min(reference, max(FEWEST_FITTED, trainings))
    spent = max(0, trainings - free) * epochs + trainings * validating
    training = spent * workload.images / workload.rate
    return Planned(
        own=CalibratedPlan(reference=reference, trainings=trainings, epochs=epochs),
        training_seconds=reference * each + training,
        trial_seconds=each,
        trials=reference + further,
        known=reference,
        finalists=(count, finalist_epochs),
    )


def _check(epochs: int, finalist_epochs: int) -> None:
    if epochs > finalist_epochs:
        raise OptionError(
            f"--calibration-epochs {epochs} must not exceed the {finalist_epochs} epochs of a finalist, of which a "
            f"calibration trains the first: give {finalist_epochs} or fewer, or leave it out."
        )
    least = math.ceil(finalist_epochs / LEAST_SHARE)
    if epochs < least:
        raise OptionError(
            f"--calibration-epochs {epochs} must be at least a sixth of the {finalist_epochs} epochs of a finalist, as "
            f"shorter trainings mislead: give {least} or more, or leave it out."
        )
