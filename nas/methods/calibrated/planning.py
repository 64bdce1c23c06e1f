"""How many networks a calibration trains, and for how long: enough of the finalists' epochs to say something of them.

Short trainings say who learns fast, which is small networks of convolutions; a score fitted to one epoch chose, for
finalists of 16, networks ten points below those that counting parameters chose. So a calibration trains for at least a
sixth of the finalists' epochs, of fewer networks where time lacks, and where not even `FEWEST` can be had it trains
none: the score is then the number of parameters.

The trainings are the first epochs of the finalists' own, by the same schedule. One that becomes a finalist goes on
from there, and has cost nothing: so it is with those that are finalists whatever their scores.
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
"""A calibration trains for a sixth of the finalists' epochs at least."""
TRAININGS, FEWEST, FEWEST_FITTED = 12, 4, 2
"""That are planned where the user says nothing; the fewest that are; the fewest that a score is fitted to."""
FALLBACK = "params"
"""The count that is the score where nothing can be trained for long enough."""
_MEASURING_SHARE = 0.05
"""Of the time, for the proxies of the reference networks, and as much for those of further candidates."""
_FEWEST_REFERENCES, _FEWEST_FURTHER = 12, 8
"""That are measured whatever it takes; more would leave searches of a few minutes no time to train any of them."""
_FINALISTS_PART = 0.85
"""Of the epochs that finalists and calibration share, where the user says nothing."""
WORTH_IT = 2 * LEAST_SHARE
"""Epochs of a finalist below which a calibration would take too much of them: its trainings have two epochs, so that
their order can be compared with that after one."""
VALIDATIONS = 2
"""Of each training: half-way, to see whether the order of networks has settled, and at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedPlan(MethodPlan):
    """The plan of a calibration.

    Attributes:
        reference: Networks that are measured, of which some are trained.
        trainings: The compute that trainings may spend, in those of the average reference network; 0 trains none.
        epochs: Of each training; twice as many, of half of the networks, where their order has not settled.
    """

    reference: int
    trainings: int
    epochs: int


def least_epochs(finalist_epochs: int) -> int:
    """The fewest epochs of a calibration's training for finalists of so many."""
    return min(finalist_epochs, max(2, math.ceil(finalist_epochs / LEAST_SHARE)))


def plan_calibration(workload: Workload, asked: CalibratedOptions) -> Planned:
    """Shares the time between finalists and calibration.

    Raises:
        OptionError: If the trainings that are asked for are shorter than a sixth of the finalists', or longer.
    """
    reference = reference_count(workload, _MEASURING_SHARE, _FEWEST_REFERENCES)
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
    rest = affordable - count * (finalist_epochs + workload.validating)
    if epochs is None:
        wanted, most = asked.calibrations or TRAININGS, max(1, finalist_epochs // 2)
        left_for_each = int((rest - wanted * validating) / max(1, wanted - free))
        epochs = max(least_epochs(finalist_epochs), min(most, left_for_each))
    trainings = asked.calibrations or within(int((rest + free * epochs) / (epochs + validating)), 0, TRAININGS)
    if not asks and (trainings < FEWEST or finalist_epochs < WORTH_IT):
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
            f"--calibration-epochs {epochs} is more than the {finalist_epochs} epochs of a finalist, of which a "
            f"calibration trains the first: give {finalist_epochs} or fewer, or leave it out."
        )
    least = math.ceil(finalist_epochs / LEAST_SHARE)
    if epochs < least:
        raise OptionError(
            f"--calibration-epochs {epochs} is less than a sixth of the {finalist_epochs} epochs of a finalist, and "
            f"would say who learns fast: give {least} or more, or leave it out."
        )
