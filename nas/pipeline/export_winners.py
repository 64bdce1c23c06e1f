"""The last phase: exports the finalists, best first, as folders that do not depend on this package."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

from nas.budget import format_quantity
from nas.budget_metrics import ADDITIVE, METRICS
from nas.data.dataset import describe_data, likeness
from nas.errors import ExportError
from nas.export import CardFacts, Exporting, ExportJob, files_of, is_whole
from nas.formats import chosen_by_words, is_rival
from nas.jobs.executor import Result
from nas.methods.protocol.context import Context
from nas.methods.protocol.parent_line import parent_accuracies
from nas.options.objectives import objectives
from nas.pipeline.finalists import Finalist, on_front
from nas.run.events import FinalistMeasured, ParentTuned, WinnerExported
from nas.training.evaluation import images_counted, standard_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A finalist that the search exported; `path` holds its files.

    Attributes:
        rank: By accuracy on search-validation, from 1.
        validation_error: Standard error of the validation accuracy.
        on_front: Whether it is on the Pareto front of validation accuracy and cost.
        chosen_by: What made it a finalist: "score", the name of a count, "random", several of these
            ("score+params"), or the name of a rival.
        latency_s, setting: As it was measured, where a budget bounds a latency.
        peak_memory_bytes: Of one inference, where a budget bounds it.
    """

    rank: int
    path: str
    digest: str
    macs: int
    params: int
    score: float | None
    validation_accuracy: float | None
    validation_error: float | None
    test_accuracy: float
    on_front: bool
    chosen_by: str
    latency_s: float | None
    setting: str
    peak_memory_bytes: int | None

    @classmethod
    def of(cls, event: WinnerExported, path: Path) -> Winner:
        """Returns the winner that an event recorded.

        Args:
            path: The run directory.
        """
        names = [each.name for each in fields(cls) if each.name != "path"]
        return cls(path=str(path / event.path), **{name: getattr(event, name) for name in names})


def export_winners(context: Context, finalists: Sequence[Finalist]) -> list[Winner]:
    """Exports all finalists, best first; skips winners that are on disk as they are recorded.

    Raises:
        ExportError: If one cannot be exported.
    """
    run, progress = context.run, context.progress
    recorded = {event.rank: event for event in run.events(WinnerExported)}
    latencies = {event.digest: event for event in run.events(FinalistMeasured)}
    fronts = on_front(
        finalists,
        objectives(context.options.objective, context.budgets),
        latencies={digest: event.latency_s for digest, event in latencies.items()},
    )
    progress.start("export", len(finalists), "networks")
    measured = [latencies.get(finalist.trial.architecture.digest) for finalist in finalists]
    ranked = list(zip(range(1, 1 + len(finalists)), finalists, measured, strict=True))
    jobs = {
        rank: ExportJob.of(
            finalist.network,
            finalist.trial.architecture,
            _card(context, finalist, rank, latency),
            name=str(rank),
            seed=context.options.seed,
        )
        for rank, finalist, latency in ranked
        if (event := recorded.get(rank)) is None
        or not _is_of(finalist, event)
        or not is_whole(event, run.path / "winners" / str(rank))
    }
    found: list[Winner] = []
    with closing(context.backend.exports(_exporting(context), threads=context.plan.job_threads)) as executor:
        results = executor.map(jobs.values())
        for (rank, finalist, latency), front in zip(ranked, fronts, strict=True):
            event = recorded.get(rank)
            if event is None or rank in jobs:
                event = _record(context, finalist, rank, next(results), latency, front=front)
            found.append(Winner.of(event, run.path))
            progress.advance()
    progress.finish()
    return found


def _exporting(context: Context) -> Exporting:
    data = context.data
    facts = {
        "trained_resolution": context.plan.train_resolution,
        "mean": data.mean,
        "std": data.std,
        "class_names": data.info.class_names,
        "levels": data.levels,
        "onnx": context.options.onnx is not False,
    }
    return Exporting(facts=facts, winners=context.run.path / "winners")


def _record(
    context: Context, finalist: Finalist, rank: int, result: Result, latency: FinalistMeasured | None, *, front: bool
) -> WinnerExported:
    """Puts an exported winner in its place, and records it."""
    run, trial = context.run, finalist.trial
    if result.error is not None:
        raise ExportError(f"Winner {rank} was not exported: {result.error} Go on with --resume and --workers 0.")
    path = f"winners/{rank}"  # relative to the run, which may be moved
    result.value.appear_in(run.path / path)
    event = WinnerExported(
        rank=rank,
        path=path,
        digest=trial.architecture.digest,
        checks=result.value.checks,
        macs=trial.cost.macs,
        params=trial.cost.params,
        score=trial.score,
        test_accuracy=finalist.test_accuracy,
        on_front=front,
        validation_accuracy=finalist.validation_accuracy,
        validation_error=standard_error(
            finalist.validation_accuracy, images_counted(context.data.search_validation, context.options.metric)
        ),
        chosen_by=finalist.chosen_by,
        latency_s=None if latency is None else latency.latency_s,
        setting="" if latency is None else latency.setting,
        peak_memory_bytes=trial.cost.peak_memory_bytes,
        sha256=files_of(run.path / path),
    )
    run.append(event)
    return event


def _is_of(finalist: Finalist, event: WinnerExported) -> bool:
    """Returns whether an event is of this finalist as it is trained now."""
    return (event.digest, event.validation_accuracy, event.test_accuracy) == (
        finalist.trial.architecture.digest,
        finalist.validation_accuracy,
        finalist.test_accuracy,
    )


def _card(context: Context, finalist: Finalist, rank: int, latency: FinalistMeasured | None) -> CardFacts:
    space, data, options = context.space, context.data, context.options
    budgets, rival = tuple(map(str, context.budgets)), is_rival(finalist.chosen_by)
    return CardFacts(
        title=f"{'Rival at rank' if rival else 'Winner'} {rank} of {space.name} on {data.info.name}",
        data=describe_data(data),
        likeness=likeness(data),
        space=space.name,
        budgets=budgets,
        rival=chosen_by_words(finalist.chosen_by) if rival else "",
        epochs=finalist.epochs,
        seed=options.seed,
        metric=options.metric.replace("-", " "),
        validation_accuracy=finalist.validation_accuracy,
        test_accuracy=finalist.test_accuracy,
        test_count=len(data.test),
        command=shlex.join(options.command(budgets=budgets)) if context.run.is_repeatable else "",
        data_option=options.data,
        notes=(*context.run.manifest.get("cautions", ()), *_of_parent(context, finalist)),
        measured=_measured(context, finalist, latency),
    )


def _of_parent(context: Context, finalist: Finalist) -> list[str]:
    """The card's paragraph on the parent that the search started from, if any."""
    parent = context.run.last(ParentTuned)
    if parent is None:
        return []
    test = parent_accuracies(context.run)[1]
    assert test is not None, "recorded before the first finalist is trained"
    named = f"{parent.config} ({parent.macs / 1e6:,.1f} MMACs, test accuracy {test:.2%} on these data)"
    if not finalist.inherits:
        return [f"Its training began at random, and it learned from the soft labels of {named} too."]
    return [f"Its training began with weights inherited from {named}, and it learned from its soft labels too."]


def _measured(context: Context, finalist: Finalist, latency: FinalistMeasured | None) -> tuple[tuple[str, str], ...]:
    """Rows of the card: what budgets bound beside multiply-adds and parameters, with the margin."""
    cost, rows = finalist.trial.cost, list[tuple[str, str]]()
    if latency is not None:
        figure, spread = (format_quantity("latency_s", each) for each in (latency.latency_s, latency.latency_iqr_s))
        margin = 1 - latency.latency_s / latency.bound_s
        rows.append(
            (
                "Latency",
                f"{figure} (interquartile range {spread}, {latency.blocks} blocks) at `{latency.setting}`, "
                f"measured before training; {margin:.1%} below the budget",
            )
        )
    for budget in context.budgets:
        value = cost.value(budget.metric)
        if budget.metric in (*ADDITIVE, "latency_s") or value is None:
            continue
        where = f" at `{budget.setting}`" if budget.setting is not None else ""
        name = METRICS[budget.metric].noun.capitalize()
        margin = 1 - float(value) / float(budget.bound)
        rows.append((name, f"{format_quantity(budget.metric, value)}{where}; {margin:.1%} below the budget"))
    return tuple(rows)
