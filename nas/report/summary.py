"""Summary of a run's events, made once for tables, plots and the page; works at any stage of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.budget import Budget, format_quantity
from nas.errors import OptionError, RunError
from nas.formats import number, percent
from nas.methods.protocol.report import (
    MethodSection,
    ScoreMeaning,
    accuracy_name,
    asked,
    budgets,
    method_report,
    planned,
    setting,
)
from nas.options.objectives import objectives
from nas.report.candidates import Candidate, candidates_of
from nas.report.tally import MOST_TRIALS, TrialTally
from nas.run import RunRecord
from nas.run.events import (
    FinalistEpoch,
    FinalistMeasured,
    FinalistTrained,
    PhaseFinished,
    PhaseInterrupted,
    PhaseStarted,
    RankingEvaluated,
    RunFinished,
    RunResumed,
    WinnerExported,
)
from nas.spaces import present_stages
from nas.trial import Trial

# The phases of every run, after those of its method.
PHASES = ("search", "finalists", "export")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of a run; `seconds` is None until it has ended."""

    name: str
    seconds: float | None
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Rank correlations of one predictor with accuracy; None means unknown.

    Attributes:
        low, high: The 95 % interval of `spearman`.
    """

    spearman: float | None = None
    kendall: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The ranking check, on `n` networks that were trained from scratch.

    Attributes:
        correlations: By predictor: "score", "params" or "macs".
    """

    n: int
    verdict: str
    correlations: Mapping[str, Correlation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of a run: ISO 8601, and None for times that are not on record.

    Attributes:
        seconds: The time of the whole run.
        interruptions: The phases in which it was interrupted.
    """

    started: str | None
    ended: str | None
    seconds: float | None
    interruptions: tuple[str, ...]
    resumptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Summary of a run for its reports; see `summarise`.

    Attributes:
        trials: All trials, in order; of more than `nas.report.tally.MOST_TRIALS` so many complete ones.
        tally: Statistics of all trials.
        objectives: The costs that the front is over, beside the score.
        method_phases: Names of the phases that the search method goes through before the search.
        method_section: What the search method reports; None where there is nothing.
    """

    record: RunRecord
    options: Mapping[str, Any]
    plan: Mapping[str, Any]
    budgets: tuple[Budget, ...]
    trials: list[Trial]
    tally: TrialTally
    objectives: tuple[str, ...]
    front: list[Trial]
    candidates: list[Candidate]
    phases: list[Phase]
    method_phases: tuple[str, ...]
    method_section: MethodSection | None
    score_meaning: ScoreMeaning
    ranking: Ranking | None
    times: Times
    finished: bool

    @property
    def path(self) -> Path:
        return self.record.path

    @property
    def cautions(self) -> list[str]:
        """Sentences on the limits of the run's results."""
        return [str(each) for each in self.record.manifest.get("cautions", [])]

    @property
    def complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.complete]

    @property
    def winners(self) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.rank is not None]

    @property
    def objective(self) -> str:
        """The cost that figures hold against the score: the first objective."""
        return self.objectives[0]

    @property
    def phase_names(self) -> tuple[str, ...]:
        """What this run goes through, in order."""
        return (*self.method_phases, *PHASES)

    @property
    def rivals(self) -> int:
        """Number of networks that are trained beside the search's finalists, but those that are too slow."""
        return len(self._rival_digests - self._over)

    @property
    def finalists(self) -> int | None:
        """Number of finalists to train, the rivals included; None if there is no plan yet.

        They are fewer than planned where the search found fewer networks, or fewer that are fast enough.
        """
        planned = self.setting("finalists")
        if not isinstance(planned, int):
            return None
        if any(phase.name == "search" and phase.finished for phase in self.phases):
            planned = min(planned, max(0, self.tally.complete - len(self._over - self._rival_digests)))
            trained = {event.digest for event in self.record.events(FinalistTrained)}
            planned = max(planned, len(trained - self._rival_digests))
        return planned + self.rivals

    @property
    def _over(self) -> set[str]:
        """Digests of the networks that were measured to be too slow."""
        return {event.digest for event in self.record.events(FinalistMeasured) if not event.within}

    @property
    def _rival_digests(self) -> set[str]:
        return {Architecture.from_dict(plain).digest for plain in self.record.part("rivals").values()}

    def least_cost(self, budget: Budget) -> float | None:
        """Returns the least cost that the search allowed under its budget; None where that is not a share of it.

        Of several budgets one has to be used, and above the largest network the share is of that one.
        """
        share, least = self.setting("min_share"), self.tally.least(budget.metric)
        if len(self.budgets) != 1 or not isinstance(share, int | float) or not 0 < share < 1:
            return None
        return float(share * budget.bound) if least is not None and least >= share * budget.bound else None

    @property
    def accuracy(self) -> str:
        """What the run calls accuracy."""
        return accuracy_name(self.record)

    @property
    def phase(self) -> str | None:
        """The phase in progress, None between phases and at the end."""
        return next((phase.name for phase in reversed(self.phases) if not phase.finished), None)

    @property
    def score_name(self) -> str:
        """Header of a column of scores."""
        return f"{self.score_meaning.axis_label[:1].upper()}{self.score_meaning.axis_label[1:]}"

    def score(self, value: float | None) -> str:
        return percent(value) if self.score_meaning.is_accuracy else number(value)

    def setting(self, name: str) -> Any:
        """Returns the resolved value of an option: the plan's if it was planned, else the given one."""
        return setting(self.record, name)


def _objectives(record: RunRecord, options: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        given = options.get("objective")
        return objectives(None if given is None else str(given), budgets(record))
    except OptionError as fault:
        raise RunError(f"{record.path} is damaged: {fault} Restore events.jsonl from a copy.") from None


def summarise(record: RunRecord, each: Callable[[Trial], None] | None = None) -> Summary:
    """Summarizes the events of a run; trials are read once, and few of many are kept.

    Args:
        each: Called with every trial, in order.

    Raises:
        RunError: If a recorded trial or the objective cannot be read.
    """
    options = asked(record)
    minimized = _objectives(record, options)
    tally, trials, finalists = _read_trials(record, minimized, each)
    candidates, front = candidates_of(record, finalists), tally.front
    if trials is None:
        first = [each.trial for each in candidates if each.trial is not None and each.trial.complete] + front
        trials = [trial for _, trial in record.trials_at(tally.shown(trial.number for trial in first))]
    method = method_report(record)
    return Summary(
        record=record,
        options=options,
        plan=planned(record),
        budgets=budgets(record),
        trials=trials,
        tally=tally,
        objectives=minimized,
        front=front,
        candidates=candidates,
        phases=_phases(record),
        method_phases=method.phases(record),
        method_section=method.section(record),
        score_meaning=method.score_meaning(record),
        ranking=_ranking(record),
        times=_times(record),
        finished=record.last(RunFinished) is not None,
    )


def _read_trials(
    record: RunRecord, minimized: tuple[str, ...], each: Callable[[Trial], None] | None
) -> tuple[TrialTally, list[Trial] | None, list[Trial]]:
    """Returns the statistics of all trials, the trials unless they are many, and those of the finalists."""
    numbers = {event.number for event in record.events(FinalistTrained)}
    kinds = (WinnerExported, FinalistTrained, FinalistEpoch)
    digests = {event.digest for kind in kinds for event in record.events(kind)}
    tally, finalists = TrialTally(minimized), list[Trial]()
    kept: list[Trial] | None = []
    for trial in record.each_trial():
        tally.add(trial)
        if each is not None:
            each(trial)
        if digests and (trial.number in numbers or trial.architecture.digest in digests):
            finalists.append(trial)
        if kept is not None:
            kept.append(trial)
            if len(kept) > MOST_TRIALS:
                kept = None
    return tally, kept, finalists


def stage_numbers(trial: Trial) -> list[int]:
    """Returns the numbers, from 1, that the stages of a trial's architecture have in its space: some may be absent."""
    return present_stages(trial.layout, len(trial.architecture.stages))


def stage_depths(architecture: Architecture) -> list[int]:
    """Returns the number of layers per stage."""
    return [len(stage.layers) for stage in architecture.stages]


def stage_widths(architecture: Architecture) -> list[int | None]:
    """Returns the channels per stage, from its first layer's mixer; None if that has no width."""
    widths: list[int | None] = []
    for stage in architecture.stages:
        blocks = [branch.mixer for layer in stage.layers for branch in layer.branches]
        if stage.transition is not None:
            blocks.insert(0, stage.transition)
        found = [width for block in blocks if isinstance(width := block.get("width"), int)]
        widths.append(found[0] if found else None)
    return widths


def cost_words(macs: int | None, params: int | None) -> str:
    """Returns a cost as text: "7.62 MMACs and 0.21 M params"."""
    known = (("macs", macs), ("params", params))
    return " and ".join(format_quantity(metric, value) for metric, value in known if value is not None)


def _phases(record: RunRecord) -> list[Phase]:
    """Returns the phases that began, in order; the time of a resumed phase is the sum over its sessions."""
    seconds: dict[str, float] = {}
    state: dict[str, bool] = {}
    for event in record.but_trials():
        if isinstance(event, PhaseStarted):
            state[event.phase] = False
        elif isinstance(event, PhaseFinished):
            state[event.phase] = True
            seconds[event.phase] = seconds.get(event.phase, 0.0) + event.seconds
    return [Phase(name=name, seconds=seconds.get(name), finished=done) for name, done in state.items()]


def _ranking(record: RunRecord) -> Ranking | None:
    event = record.last(RankingEvaluated)
    if event is None:
        return None
    return Ranking(
        n=event.n,
        verdict=event.verdict.strip(),
        correlations={key: _correlation(getattr(event, key) or {}) for key in ("score", "params", "macs")},
    )


def _correlation(figures: Mapping[str, Any]) -> Correlation:
    known = {name: float(v) for name, v in figures.items() if isinstance(v, int | float) and math.isfinite(v)}
    return Correlation(**{name: known.get(name) for name in ("spearman", "kendall", "low", "high")})


def _times(record: RunRecord) -> Times:
    ended = record.last(RunFinished)
    return Times(
        started=record.but_trials()[0].time.isoformat(),
        ended=ended.time.isoformat() if ended else None,
        seconds=ended.seconds if ended else None,
        interruptions=tuple(event.phase for event in record.events(PhaseInterrupted)),
        resumptions=len(record.events(RunResumed)),
    )
