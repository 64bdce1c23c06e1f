"""The main job: supernet, search, finalists, export; every step recorded, every phase able to go on after a stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.budget import Budget, check_budgets
from nas.costing import TABLE
from nas.data import Dataset, open_data
from nas.loading import load_space
from nas.options import SearchOptions
from nas.progress import Progress, Silent
from nas.run import Run, default_folder
from nas.scoring import SupernetScorer
from nas.searching.context import Context
from nas.searching.executor import InProcess
from nas.searching.finalists import choose_finalists, ranking, train_finalists
from nas.searching.handover import Winner, hand_over
from nas.searching.plan import Plan, make_plan
from nas.searching.sampling import BudgetSampler
from nas.searching.scoring_phase import score_candidates
from nas.searching.supernet_phase import train_supernet
from nas.space import SearchSpace
from nas.supernet import Supernet
from nas.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Where the run is, what its scores were worth, and its winners, best first."""

    run: str
    ranking: dict[str, Any]
    winners: list[Winner]


def search(
    space: SearchSpace,
    *,
    budgets: Sequence[Budget],
    data: str = "digits",
    options: SearchOptions | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Searches a space within budgets and writes everything into a fresh run folder.

    Args:
        data: As `--data`.
        options: All else; its space, budgets and data are overridden by the arguments.

    Raises:
        NasError: If a budget cannot be met, the data cannot be used or the folder cannot be written; before any
            training wherever that can be known.
    """
    progress = progress or Silent()
    check_budgets(budgets)
    given = (options or SearchOptions(space=space.name)).to_dict()
    options = SearchOptions(**{**given, "budgets": [str(b) for b in budgets], "data": data})
    options.validate()
    job = _Job(space, tuple(budgets), options, progress)
    job.prepare()
    folder = Path(options.out) if options.out else default_folder(space.name)
    manifest = {
        "options": options.to_dict(),
        "plan": job.plan.to_dict(),
        "seed": options.seed,
        "budgets": [str(budget) for budget in budgets],
        "space_digest": space.digest,
        "versions": {"torch": torch.__version__},
    }
    with Run.create(folder, manifest) as run:
        return job.go(run)


def resume(path: str | Path, *, progress: Progress | None = None) -> SearchResult:
    """Goes on with a stopped run, by its own options and plan.

    Raises:
        RunError: If the folder is no run, is busy, or was made for another version of its space.
    """
    with Run.open(path) as run:
        options = SearchOptions.from_dict(run.manifest["options"])
        space = load_space(options.space)
        run.check_space(space.digest)
        budgets = tuple(Budget.parse(text) for text in run.manifest["budgets"])
        job = _Job(space, budgets, options, progress or Silent())
        job.prepare(Plan(**run.manifest["plan"]))
        return job.go(run)


class _Job:
    """One search on its way; `prepare` refuses what cannot work, `go` does the rest."""

    plan: Plan
    sampler: BudgetSampler
    dataset: Dataset

    def __init__(
        self, space: SearchSpace, budgets: tuple[Budget, ...], options: SearchOptions, progress: Progress
    ) -> None:
        self.space, self.budgets, self.options, self.progress = space, budgets, options, progress

    def prepare(self, plan: Plan | None = None) -> None:
        options = self.options
        source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
        self.space = self.space.adapted(
            resolution=plan.resolution if plan else options.resolution,
            channels=source.info.channels,
            num_classes=source.info.num_classes,
        )
        self.sampler = BudgetSampler(self.space, self.budgets, aim=options.aim)
        TABLE.save()
        typical = self.sampler.draw(random.Random(0)).cost
        self.plan = plan or make_plan(
            options,
            source.info,
            resolution=self.space.input.resolution,
            stride=self.sampler.costs.total_stride,
            cost=typical,
        )
        torch.set_num_threads(self.plan.threads)
        self.dataset = source.load(resolution=self.plan.train_resolution, seed=options.seed, progress=self.progress)
        self._announce()

    def go(self, run: Run) -> SearchResult:
        began = time.monotonic()
        context = Context(
            run=run,
            space=self.space,
            budgets=self.budgets,
            sampler=self.sampler,
            data=self.dataset,
            plan=self.plan,
            options=self.options,
            progress=self.progress,
        )
        supernet = _phase(run, "supernet", lambda: train_supernet(context))
        trials = _phase(run, "search", lambda: self._search(context, supernet))
        chosen = choose_finalists(trials, self.plan.finalists)
        finalists = _phase(run, "finalists", lambda: train_finalists(context, chosen))
        found = ranking(finalists, seed=self.options.seed)
        if not run.events("ranking"):
            run.append("ranking", **found)
        exported = _phase(run, "export", lambda: hand_over(context, finalists))
        if not run.events("run_finished"):
            run.append("run_finished", seconds=time.monotonic() - began)
        # Imported late: pandas, matplotlib and optuna are slow to load and only needed here.
        from nas.report import rebuild

        rebuild(run.path)
        return SearchResult(run=str(run.path), ranking=found, winners=exported)

    def _search(self, context: Context, supernet: Supernet) -> list[Trial]:
        plan = self.plan

        def make_scorer() -> SupernetScorer:
            return SupernetScorer(
                supernet,
                context.data,
                plan.recipe(epochs=1, seed=self.options.seed),
                metric=self.options.metric,
                recalibration_images=plan.recalibration_images,
                validation_images=plan.validation_images,
            )

        executor = InProcess(make_scorer)
        try:
            return score_candidates(context, executor)
        finally:
            executor.close()

    def _announce(self) -> None:
        plan, size = self.plan, len(self.dataset.train)
        budget = " and ".join(map(str, self.budgets)) or "the whole space"
        self.progress.note(
            f"{self.space.name} within {budget}: {len(self.sampler.layouts)} layouts, "
            f"networks of at least {self.options.aim:.0%} of the budget"
        )
        if plan.train_resolution != plan.resolution:
            self.progress.note(
                f"Costs are counted at {plan.resolution} pixels; training and accuracies are at "
                f"{plan.train_resolution} pixels (--train-resolution)"
            )
        self.progress.note(
            f"Supernet: {plan.epochs} epochs of {size:,} images, {plan.strategy}; search: {plan.trials} networks; "
            f"finalists: {plan.finalists} x {plan.finalist_epochs} epochs; {plan.device}, {plan.threads} threads, "
            f"{plan.dtype}; about {sum(plan.seconds.values()) / 60:.0f} minutes"
        )


def _phase(run: Run, name: str, work: Callable[[], Any]) -> Any:
    """Does one phase's work, recording when it starts, ends or is interrupted."""
    finished = any(event["phase"] == name for event in run.events("phase_finished"))
    if not finished:
        run.append("phase_started", phase=name)
    began = time.monotonic()
    try:
        found = work()
    except KeyboardInterrupt:
        run.append("interrupted", phase=name)
        raise
    if not finished:
        run.append("phase_finished", phase=name, seconds=time.monotonic() - began)
    return found
