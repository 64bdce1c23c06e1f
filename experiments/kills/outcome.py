"""What became of a run: what was lost, repeated, exceeded or wrong, and whether it ended as an undisturbed one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs
from safetensors.torch import load_file

from nas.budget import Budget
from nas.costs import cost
from nas.inference import Classifier, evaluate_exported
from nas.run import RunRecord, read_run
from nas.run.events import Event, FinalistTrained, PhaseFinished, RankingEvaluated, WinnerExported
from nas.trial import Trial

# The digests of winners' files differ by the command on the card, which names the cluster's address.
_APART = ("time", "seconds", "sha256")
# A batch of another size may round one image of the test split to the other side.
_IMAGES = 1


def trials_of(record: RunRecord) -> dict[int, Trial]:
    """The trials on record by number, without their times."""
    return {trial.number: replace(trial, seconds=0.0) for trial in record.trials()}


def lost(record: RunRecord, recorded: dict[int, Trial]) -> int:
    """Counts the trials that were on record once and are not, as they were, at the end."""
    trials = trials_of(record)
    return sum(trials.get(number) != trial for number, trial in recorded.items())


def repeated(record: RunRecord) -> int:
    """Counts trials and finalists that are on record twice; a finalist that was trained again has other weights."""
    trials = Counter(trial.architecture.digest for trial in record.trials())
    finalists = Counter((event.digest, event.weights_sha256) for event in record.events(FinalistTrained))
    return sum(count - 1 for count in (*trials.values(), *finalists.values()))


def over_budget(record: RunRecord, budget: Budget) -> int:
    """Counts networks above the budget, by their recorded costs and counted again."""
    trials = sum(max(trial.cost.macs, cost(trial.architecture).macs) > budget.bound for trial in record.trials())
    return trials + sum(event.macs > budget.bound for event in record.events(WinnerExported))


def wrong(record: RunRecord) -> int:
    """Counts winners whose folder does not give the recorded accuracy, and times that run backwards."""
    found = 0
    for event in {event.rank: event for event in record.events(WinnerExported)}.values():
        evaluation = evaluate_exported(Classifier(record.path / event.path, device="cpu"), "digits")
        figures = evaluation.figures
        found += abs(figures.accuracy - event.test_accuracy) * figures.images > _IMAGES + 1e-6
    return found + sum(event.seconds < 0 for event in record.events(PhaseFinished))


def difference(mine: Path, theirs: Path) -> str:
    """The first part in which two runs differ, times aside; "" if they ended alike, weights of winners included.

    What an epoch recorded is compared no further than its network: workers validate after every epoch.
    """
    first, second = read_run(mine), read_run(theirs)
    if trials_of(first) != trials_of(second):
        return "trials"
    for kind in (FinalistTrained, RankingEvaluated, WinnerExported):
        if _last(first, kind) != _last(second, kind):
            return kind.__name__
    ours, others = ({str(p.relative_to(run)): p for p in run.glob("winners/*/*.safetensors")} for run in (mine, theirs))
    pairs = [(load_file(path), load_file(others[name])) for name, path in ours.items() if name in others]
    alike = all(a.keys() == b.keys() and all(t.equal(b[name]) for name, t in a.items()) for a, b in pairs)
    return "" if alike and ours.keys() == others.keys() else "weights"


def _last(record: RunRecord, kind: type[Event]) -> dict[Any, Any]:
    """The last event of a kind for each network, without times."""
    found: dict[Any, Any] = {}
    for event in record.events(kind):
        plain = {name: value for name, value in structs.asdict(event).items() if name not in _APART}
        found[plain.get("digest")] = plain
    return found
