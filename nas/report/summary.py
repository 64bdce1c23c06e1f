"""What a run's events say, gathered once for tables, pictures and the page. Holds at every stage of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from nas.architecture import Architecture
from nas.budget import METRICS, Budget, format_quantity
from nas.errors import NasError, RunError
from nas.report.words import number, percent
from nas.run import RunRecord
from nas.run.events import (
    Event,
    FinalistEpoch,
    FinalistTrained,
    PhaseFinished,
    PhaseStarted,
    RankingEvaluated,
    RunFinished,
    SupernetEpoch,
    WinnerExported,
)
from nas.trial import Trial, pareto_front

# What every run goes through; before that a supernet is trained, or networks for calibration, or nothing.
PHASES = ("search", "finalists", "export")
# The scorers whose score is an accuracy, from 0 to 1.
_ACCURACY_SCORERS = ("supernet",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network that got past the search: trained from scratch, perhaps exported.

    Attributes:
        rank: Place among the winners from 1, None for a finalist that was not exported.
        epochs_done, epochs: How far its training is.
        path: Its folder, relative to the run where it is inside.
    """

    digest: str
    rank: int | None
    trial: Trial | None
    macs: int | None
    params: int | None
    score: float | None
    validation_accuracy: float | None
    test_accuracy: float | None
    resolution: int | None
    epochs_done: int
    epochs: int | None
    seconds: float | None
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of a run; `seconds` is None until it has ended."""

    name: str
    seconds: float | None
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run as a reader wants it; see `summarise`."""

    record: RunRecord
    options: Mapping[str, Any]
    plan: Mapping[str, Any]
    budgets: tuple[Budget, ...]
    trials: list[Trial]
    front: list[Trial]
    candidates: list[Candidate]
    phases: list[Phase]
    curve: list[SupernetEpoch]
    ranking: Mapping[str, Any] | None
    finished: bool

    @property
    def path(self) -> Path:
        return self.record.path

    @property
    def complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.complete]

    @property
    def winners(self) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.rank is not None]

    @property
    def objective(self) -> str:
        """The cost that the front holds against the score."""
        return str(self.options.get("objective") or "macs")

    @property
    def scorer(self) -> str:
        method = str(self.options.get("method") or "supernet")
        by_loss = _mapping(self.options.get("method_options")).get("scorer") == "loss"
        return "supernet-loss" if method == "supernet" and by_loss else method

    @property
    def phase_names(self) -> tuple[str, ...]:
        """What this run goes through, in order."""
        planned = self.plan.get("seconds") or {}
        return (*(name for name in planned if name not in PHASES), *PHASES)

    @property
    def accuracy(self) -> str:
        """What the run calls accuracy."""
        return str(self.options.get("metric") or "accuracy").replace("-", " ")

    @property
    def score_is_accuracy(self) -> bool:
        return self.scorer in _ACCURACY_SCORERS

    @property
    def phase(self) -> str | None:
        """The phase that has begun and not ended, None between phases and at the end."""
        return next((phase.name for phase in reversed(self.phases) if not phase.finished), None)

    def score(self, value: float | None) -> str:
        return percent(value) if self.score_is_accuracy else number(value)

    def setting(self, name: str) -> Any:
        """What an option came to: the plan's value where it was planned, else what was asked for."""
        for known in (self.plan, _mapping(self.plan.get("method")), self.options):
            if known.get(name) is not None:
                return known[name]
        return _mapping(self.options.get("method_options")).get(name)


def summarise(record: RunRecord) -> Summary:
    """Gathers what the events of a run say.

    Raises:
        RunError: If a recorded trial or the objective cannot be read.
    """
    manifest = record.manifest
    options = _mapping(manifest.get("options"))
    trials = record.trials()
    objective = str(options.get("objective") or "macs")
    if objective not in METRICS:
        raise RunError(
            f"{record.path} is damaged: its objective is {objective[:40]!r}. Restore events.jsonl from a copy."
        )
    ranking = record.last(RankingEvaluated)
    return Summary(
        record=record,
        options=options,
        plan=_mapping(manifest.get("plan")),
        budgets=_budgets(manifest.get("budgets") or options.get("budgets") or ()),
        trials=trials,
        front=pareto_front(trials, objective=objective),
        candidates=_candidates(record, trials),
        phases=_phases(record),
        curve=_curve(record),
        ranking=None if ranking is None else ranking.statistics(),
        finished=record.last(RunFinished) is not None,
    )


def stage_depths(architecture: Architecture) -> list[int]:
    """Layers per stage."""
    return [len(stage.layers) for stage in architecture.stages]


def stage_widths(architecture: Architecture) -> list[int | None]:
    """Channels per stage, as its first layer's mixer states them; None where it states none."""
    widths: list[int | None] = []
    for stage in architecture.stages:
        blocks = [branch.mixer for layer in stage.layers for branch in layer.branches]
        if stage.transition is not None:
            blocks.insert(0, stage.transition)
        found = [width for block in blocks if isinstance(width := block.get("width"), int)]
        widths.append(found[0] if found else None)
    return widths


def cost_words(macs: int | None, params: int | None) -> str:
    """A cost as "7.62 MMACs and 0.21 M params"."""
    known = (("macs", macs), ("params", params))
    return " and ".join(format_quantity(metric, value) for metric, value in known if value is not None)


def _candidates(record: RunRecord, trials: list[Trial]) -> list[Candidate]:
    by_digest = {trial.architecture.digest: trial for trial in trials}
    by_number = {trial.number: trial for trial in trials}
    epochs = {event.digest: event for event in record.events(FinalistEpoch)}
    finalists = {event.digest: event for event in record.events(FinalistTrained)}
    winners = {event.digest: event for event in record.events(WinnerExported)}
    found: list[Candidate] = []
    for digest in dict.fromkeys([*winners, *finalists, *epochs]):
        winner, finalist, last_epoch = winners.get(digest), finalists.get(digest), epochs.get(digest)
        # A finalist's digest differs from its trial's where it is trained at another resolution.
        trial = by_digest.get(digest) or by_number.get(-1 if finalist is None else finalist.number)
        # A winner states its own figures; what it does not state the finalist or the trial does.
        known = {**_costs(trial), **_given(finalist), **_given(winner)}
        reached, planned, validation = 0, known.get("epochs"), known.get("validation_accuracy")
        if last_epoch is not None:
            reached, planned = last_epoch.epoch, planned or last_epoch.epochs
            validation = last_epoch.validation_accuracy if validation is None else validation
        found.append(
            Candidate(
                digest=digest,
                rank=None if winner is None else winner.rank,
                trial=trial,
                macs=known.get("macs"),
                params=known.get("params"),
                score=known.get("score"),
                validation_accuracy=validation,
                test_accuracy=known.get("test_accuracy"),
                resolution=known.get("resolution"),
                epochs_done=reached if finalist is None else planned or 0,
                epochs=planned,
                seconds=known.get("seconds"),
                path=_relative(known.get("path"), record.path),
            )
        )
    return sorted(found, key=_place)


def _place(candidate: Candidate) -> tuple[float, float, str]:
    rank = candidate.rank if candidate.rank is not None else float("inf")
    return rank, -(candidate.validation_accuracy or 0.0), candidate.digest


def _costs(trial: Trial | None) -> dict[str, Any]:
    if trial is None:
        return {}
    return {"macs": trial.cost.macs, "params": trial.cost.params, "score": trial.score}


def _given(event: Event | None) -> dict[str, Any]:
    fields = {} if event is None else structs.asdict(event)
    return {name: value for name, value in fields.items() if value is not None}


def _relative(path: object, run: Path) -> str | None:
    if path is None:
        return None
    try:
        return Path(str(path)).resolve().relative_to(run.resolve()).as_posix()
    except ValueError:
        return str(path)


def _phases(record: RunRecord) -> list[Phase]:
    """Every phase that began, in order; a phase that was stopped and resumed adds up what was measured."""
    seconds: dict[str, float] = {}
    state: dict[str, bool] = {}
    for event in record.events():
        if isinstance(event, PhaseStarted):
            state[event.phase] = False
        elif isinstance(event, PhaseFinished):
            state[event.phase] = True
            seconds[event.phase] = seconds.get(event.phase, 0.0) + event.seconds
    return [Phase(name=name, seconds=seconds.get(name), finished=done) for name, done in state.items()]


def _curve(record: RunRecord) -> list[SupernetEpoch]:
    """The training curve; of epochs that were trained again after a stop, the later run counts."""
    latest = {(point.epoch, point.step): point for point in record.events(SupernetEpoch)}
    return sorted(latest.values(), key=lambda point: (point.epoch, point.step))


def _budgets(texts: object) -> tuple[Budget, ...]:
    found: list[Budget] = []
    for text in texts if isinstance(texts, list | tuple) else ():
        try:
            found.append(Budget.parse(str(text)))
        except NasError:
            continue  # a later version's budget: the page can be made without it
    return tuple(found)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
