"""Recorded costs are counted again, since a search that goes on chooses by them."""

from __future__ import annotations

from nas.costs import cost
from nas.errors import RunError, SpaceError
from nas.run import RunRecord
from nas.sampling import BudgetSampler


def check_costs(run: RunRecord, sampler: BudgetSampler) -> None:
    """Counts every recorded trial's architecture again.

    Raises:
        RunError: If multiply-adds or parameters differ from the record.
    """
    for trial in run.trials():
        try:
            counted = sampler.costs.cost(sampler.space.encode(trial.architecture))
        except SpaceError:  # of another space, such as a preset
            counted = cost(trial.architecture)
        for metric in ("macs", "params"):
            recorded, found = trial.cost.value(metric), counted.value(metric)
            if recorded != found:
                raise RunError(
                    f"{run.path}: trial {trial.number} is recorded with {recorded:,} {metric}, but its network has "
                    f"{found:,}. Restore events.jsonl from a copy."
                )
