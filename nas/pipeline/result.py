"""The result of a search, as it ended or as its record has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.budget import Budget
from nas.export import is_whole
from nas.methods.protocol.parent_line import parent_line
from nas.methods.protocol.report import accuracy_name, method_report
from nas.options.objectives import objectives
from nas.pipeline.export_winners import Winner
from nas.run import Run
from nas.run.events import RankingEvaluated, RunFinished, WinnerExported


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The result of a search: the run directory, the ranking check of its scores, and the winners, best first.

    Attributes:
        accuracy: What the accuracies are: "accuracy" or "balanced accuracy".
        score_name: Description of the score, such as "predicted accuracy after 3 epochs".
        objectives: The costs that the winners' front is over.
        parent: A sentence on the network that the search started from, if any.
        data: The images, as `--data`.
        seed: Of the search, which splits images off where the data have no validation or test split.
    """

    run: str
    ranking: dict[str, Any]
    score_name: str
    objectives: tuple[str, ...]
    winners: list[Winner]
    data: str
    seed: int = 0
    parent: str = ""
    accuracy: str = "accuracy"


def finished_result(run: Run) -> SearchResult | None:
    """Returns the result of a finished run and rebuilds its tables and report; None if the run is not finished."""
    winners = {event.rank: event for event in run.events(WinnerExported)}
    found = run.last(RankingEvaluated)
    if run.last(RunFinished) is None or found is None or not winners:
        return None
    if not all(is_whole(event, run.path / event.path) for event in winners.values()):
        return None
    rebuild_report(run)
    return SearchResult(
        run=str(run.path),
        ranking=found.statistics(),
        score_name=score_name(run),
        objectives=objectives(
            run.manifest["options"].get("objective"), [Budget.parse(text) for text in run.manifest["budgets"]]
        ),
        winners=[Winner.of(event, run.path) for _, event in sorted(winners.items())],
        data=run.data,
        seed=run.manifest["options"].get("seed", 0),
        parent=parent_line(run),
        accuracy=accuracy_name(run),
    )


def score_name(run: Run) -> str:
    """Returns what a run's scores are, such as "predicted accuracy after 3 epochs"."""
    return method_report(run).score_meaning(run).axis_label


def rebuild_report(run: Run) -> None:
    """Rebuilds the tables and the report of a run."""
    # Imported late: pandas, matplotlib and optuna are slow to load and only needed here.
    from nas.report import rebuild

    rebuild(run.path)
