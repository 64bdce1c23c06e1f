"""Finalists as the report shows them: what the winner, the finalist and the trial state of one network, together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.formats import is_rival, rival_name
from nas.run import RunRecord
from nas.run.events import Event, FinalistEpoch, FinalistTrained, WinnerExported
from nas.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finalist: a network that was trained from scratch, and perhaps exported.

    Attributes:
        rank: Place among the winners from 1, None for a finalist that was not exported.
        on_front: Whether it is on the Pareto front of validation accuracy and cost.
        chosen_by: What made it a finalist.
        validation_error: Standard error of the validation accuracy.
        epochs_done, epochs: Epochs trained so far, and in total.
        path: Its folder; relative if it is inside the run.
        latency_s, peak_memory_bytes: If a budget bounds them; the latency as it was measured, in
            `setting`.
    """

    digest: str
    rank: int | None
    trial: Trial | None
    macs: int | None
    params: int | None
    score: float | None
    validation_accuracy: float | None
    validation_error: float | None
    test_accuracy: float | None
    on_front: bool
    chosen_by: str
    resolution: int | None
    epochs_done: int
    epochs: int | None
    seconds: float | None
    path: str | None
    latency_s: float | None
    setting: str
    peak_memory_bytes: int | None

    @property
    def name(self) -> str:
        """What it is called in a line: a rival's name, a layout, or else its digest."""
        if is_rival(self.chosen_by):
            return rival_name(self.chosen_by)
        return (self.trial and self.trial.layout) or self.digest

    def cost(self, metric: str) -> Any:
        """Returns its figure in a metric of budgets; None where it is not known."""
        if metric in ("macs", "params", "latency_s"):
            return getattr(self, metric)
        if metric == "memory_bytes":
            return self.peak_memory_bytes
        return None if self.trial is None else self.trial.cost.value(metric)


def candidates_of(record: RunRecord, trials: list[Trial]) -> list[Candidate]:
    """Returns the finalists of a run, winners first, then by validation accuracy.

    Args:
        trials: Those that became finalists.
    """
    by_digest = {trial.architecture.digest: trial for trial in trials}
    by_number = {trial.number: trial for trial in trials}
    epochs = {event.digest: event for event in record.events(FinalistEpoch)}
    finalists = {event.digest: event for event in record.events(FinalistTrained)}
    winners = {event.digest: event for event in record.events(WinnerExported)}
    found: list[Candidate] = []
    rivals = {Architecture.from_dict(plain).digest: name for name, plain in record.part("rivals").items()}
    for digest in dict.fromkeys([*winners, *finalists, *epochs]):
        winner, finalist, last_epoch = winners.get(digest), finalists.get(digest), epochs.get(digest)
        # A finalist's digest differs from its trial's if it is trained at another resolution.
        trial = by_digest.get(digest) or by_number.get(finalist.number if finalist else -1)
        # A winner states its own figures; what it does not state the finalist or the trial does.
        known = {
            **_costs(trial),
            **_given(last_epoch, "validation_accuracy", "epochs"),
            **_given(finalist),
            **_given(winner),
        }
        planned_epochs = known.get("epochs")
        done = planned_epochs if finalist else last_epoch.epoch if last_epoch else 0
        found.append(
            Candidate(
                digest=digest,
                rank=winner.rank if winner else None,
                trial=trial,
                macs=known.get("macs"),
                params=known.get("params"),
                score=known.get("score"),
                validation_accuracy=known.get("validation_accuracy"),
                validation_error=known.get("validation_error"),
                test_accuracy=known.get("test_accuracy"),
                on_front=winner is not None and winner.on_front,
                chosen_by=known.get("chosen_by", rivals.get(digest, "score")),
                resolution=known.get("resolution"),
                epochs_done=int(done or 0),
                epochs=planned_epochs,
                seconds=known.get("seconds"),
                path=_relative(winner.path if winner else None, record.path),
                latency_s=known.get("latency_s"),
                setting=known.get("setting", ""),
                peak_memory_bytes=known.get("peak_memory_bytes"),
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


def _given(event: Event | None, *names: str) -> dict[str, Any]:
    """Returns the fields of an event that are not None: all, or those named."""
    if event is None:
        return {}
    stated = {name: getattr(event, name) for name in names or event.__struct_fields__}
    return {name: value for name, value in stated.items() if value is not None}


def _relative(path: object, run: Path) -> str | None:
    if path is None:
        return None
    try:
        return Path(str(path)).resolve().relative_to(run.resolve()).as_posix()
    except ValueError:
        return str(path)
