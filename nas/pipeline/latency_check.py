"""Finalists are measured before they train: a network whose latency breaks the budget is no finalist.

A search is held to a latency by a device model, whose predictions err. Training is what costs, so every pick is first
measured directly, in the budget's setting; one above the bound is replaced by the next best, until all are within it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.architecture import Architecture
from nas.budget import Budget, format_quantity
from nas.errors import BudgetError, LatencyError
from nas.latency.budgets import Meter, held_device
from nas.latency.measuring import Latency
from nas.methods.protocol.context import Context
from nas.pipeline.portfolio import Pick
from nas.run.events import FinalistMeasured
from nas.trial import Trial

LATENCY = "latency_s"
TRIES = 4
"""Occasions on which a machine may be too noisy before the search stops; it can then be resumed."""
Choose = Callable[[frozenset[Architecture]], list[Pick]]
"""Chooses finalists without some architectures."""


def measured_within(context: Context, choose: Choose) -> list[Pick]:
    """Returns the finalists that `choose` gives, each measured within the budget on latency, if there is one.

    Raises:
        BudgetError: If no trial is within it.
        LatencyError: If this machine is too noisy to tell.
    """
    budget = _latency_budget(context)
    if budget is None:
        return choose(frozenset())
    known = {event.digest: event for event in context.run.events(FinalistMeasured)}
    while True:
        over = frozenset(
            trial.architecture
            for trial in context.run.trials()
            if trial.architecture.digest in known and not known[trial.architecture.digest].within
        )
        picks = choose(over)
        if not picks and over:
            fastest = min(event.latency_s for event in known.values())
            raise BudgetError(
                f"No trial is within {budget}: {len(known)} were measured, and the fastest needs "
                f"{format_quantity(LATENCY, fastest)}. Raise --budget or --trials."
            )
        fresh = [pick for pick in picks if pick.trial.architecture.digest not in known]
        if not fresh:
            return picks
        known |= {event.digest: event for event in _measure(context, budget, fresh)}


def rivals_within(context: Context, picks: Sequence[Pick]) -> list[Pick]:
    """Returns the rivals that are measured within the budget on latency, if there is one.

    Raises:
        LatencyError: If this machine is too noisy to tell.
    """
    budget = _latency_budget(context)
    if budget is None:
        return list(picks)
    known = {event.digest: event for event in context.run.events(FinalistMeasured)}
    fresh = [pick for pick in picks if pick.trial.architecture.digest not in known]
    if fresh:
        measured = _measure(context, budget, fresh, else_said="it is no rival")
        known |= {event.digest: event for event in measured}
    return [pick for pick in picks if known[pick.trial.architecture.digest].within]


def _latency_budget(context: Context) -> Budget | None:
    return next((budget for budget in context.budgets if budget.metric == LATENCY), None)


def _measure(
    context: Context, budget: Budget, picks: Sequence[Pick], *, else_said: str = "the next best takes its place"
) -> list[FinalistMeasured]:
    setting = budget.setting
    assert setting is not None, "a budget on latency has a setting"
    # Measured on the device whose model holds the search.
    wanted = held_device(setting)
    with context.backend.at_device(
        setting.device, Meter, lambda meter: wanted is None or meter.device(setting).name == wanted
    ) as meter:
        return _measure_by(meter, context, budget, picks, else_said)


def _measure_by(
    meter: Meter, context: Context, budget: Budget, picks: Sequence[Pick], else_said: str
) -> list[FinalistMeasured]:
    assert budget.setting is not None
    left = [pick.trial for pick in picks]
    events: list[FinalistMeasured] = []
    noisy: list[tuple[Trial, LatencyError]] = []
    for attempt in range(1, TRIES + 1):
        found = meter.measure([trial.architecture for trial in left], budget.setting)
        noisy = []
        for trial, latency in zip(left, found, strict=True):
            if isinstance(latency, LatencyError):
                noisy.append((trial, latency))
            else:
                events.append(_record(context, budget, trial, latency, else_said))
        if not noisy:
            return events
        left = [trial for trial, _ in noisy]
        if attempt < TRIES:
            context.progress.note(f"{noisy[0][1]} Trying again ({attempt} of {TRIES - 1}).")
    raise noisy[0][1]


def _record(context: Context, budget: Budget, trial: Trial, latency: Latency, else_said: str) -> FinalistMeasured:
    event = FinalistMeasured(
        digest=trial.architecture.digest,
        number=trial.number,
        setting=str(latency.setting),
        latency_s=latency.median_s,
        latency_iqr_s=latency.iqr_s,
        blocks=latency.blocks,
        predicted_s=trial.cost.latency_s,
        bound_s=float(budget.bound),
    )
    context.run.append(event)
    if not event.within:
        context.progress.note(
            f"Trial {trial.number} needs {format_quantity(LATENCY, event.latency_s)}, more than {budget}: {else_said}"
        )
    return event
