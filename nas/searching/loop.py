"""The main job: supernet, search, finalists, export; every step recorded, every phase able to go on after a stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.budget import Budget, check_budgets
from nas.costing import TABLE
from nas.data import Dataset, open_data
from nas.errors import NasError
from nas.export import CardFacts, export_winner
from nas.loading import load_architecture, load_space
from nas.options import SearchOptions
from nas.progress import Progress, Silent
from nas.run import Run, default_folder
from nas.scoring import SupernetScorer
from nas.searching.executor import InProcess, Job
from nas.searching.finalists import Finalist, choose_finalists, ranking, train_finalists, winners
from nas.searching.plan import Plan, describe_data, make_plan
from nas.searching.sampling import BudgetSampler
from nas.searching.searchers import make_searcher
from nas.space import SearchSpace
from nas.supernet import Supernet
from nas.training import SupernetTraining
from nas.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A network that the search hands over; `path` holds its files."""

    rank: int
    path: str
    digest: str
    macs: int
    params: int
    score: float
    test_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Where the run is, what its scores were worth, and its winners, best first."""

    run: str
    ranking: dict[str, Any]
    winners: list[Winner]


class TrainingMembers:
    """The architectures that train the supernet: members in range of the budget, by layout."""

    def __init__(self, sampler: BudgetSampler) -> None:
        self._sampler = sampler
        self.layouts = sampler.layouts

    def largest(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.largest(rng, layout).architecture

    def smallest(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.smallest(rng, layout).architecture

    def member(self, rng: random.Random, layout: str) -> Architecture:
        return self._sampler.draw(rng, layout=layout).architecture


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
        self.run = run
        supernet = self._supernet()
        trials = self._phase("search", lambda: self._search(supernet))
        chosen = choose_finalists(trials, self.plan.finalists)
        finalists = self._phase("finalists", lambda: self._train(chosen))
        found = ranking(finalists, seed=self.options.seed)
        if not run.events("ranking"):
            run.append("ranking", **found)
        exported = self._phase("export", lambda: self._export(finalists))
        if not run.events("run_finished"):
            run.append("run_finished", seconds=time.monotonic() - began)
        # Imported late: pandas, matplotlib and optuna are slow to load and only needed here.
        from nas.report import rebuild

        rebuild(run.path)
        return SearchResult(run=str(run.path), ranking=found, winners=exported)

    # -- phases -------------------------------------------------------------------------------------------------

    def _phase(self, name: str, work: Callable[[], Any]) -> Any:
        finished = any(event["phase"] == name for event in self.run.events("phase_finished"))
        if not finished:
            self.run.append("phase_started", phase=name)
        began = time.monotonic()
        try:
            found = work()
        except KeyboardInterrupt:
            self.run.append("interrupted", phase=name)
            raise
        if not finished:
            self.run.append("phase_finished", phase=name, seconds=time.monotonic() - began)
        return found

    def _supernet(self) -> Supernet:
        space = self.space.adapted(resolution=self.plan.train_resolution)
        supernet = Supernet(space, seed=self.options.seed, choices=self.sampler.feasible_choices())
        supernet.to(self.plan.device)
        training = SupernetTraining(
            supernet,
            TrainingMembers(self.sampler),
            self.dataset,
            self.plan.recipe(epochs=self.plan.epochs, seed=self.options.seed),
            strategy=self.plan.strategy,
            folder=self.run.path / "supernet",
        )
        known = {event["epoch"] for event in self.run.events("curve")}

        def on_curve(row: dict[str, Any]) -> None:
            if row["epoch"] not in known:
                self.run.append("curve", **row)
            shown = ", ".join(f"{name} {value:.3f}" for name, value in row["accuracies"].items())
            self.progress.note(f"Supernet, epoch {row['epoch']} of {self.plan.epochs}: {shown}")

        def train() -> Supernet:
            training.run(self.progress, on_curve, watch_every=self.plan.watch_every, metric=self.options.metric)
            if not self.run.events("updates"):
                self.run.append("updates", counts=training.updates)
            return supernet

        return self._phase("supernet", train)

    def _search(self, supernet: Supernet) -> list[Trial]:
        options, plan = self.options, self.plan
        recipe = plan.recipe(epochs=1, seed=options.seed)

        def make_scorer() -> SupernetScorer:
            return SupernetScorer(
                supernet,
                self.dataset,
                recipe,
                metric=options.metric,
                recalibration_images=plan.recalibration_images,
                validation_images=plan.validation_images,
            )

        presets = [load_architecture(name) for name in self.space.presets]
        searcher = make_searcher(options.searcher, self.sampler, seed=options.seed, presets=presets)
        trials = self.run.trials()
        searcher.tell(trials)
        executor = InProcess(make_scorer)
        self.progress.start("search", plan.trials, "networks")
        self.progress.advance(len(trials))
        try:
            while len(trials) < plan.trials:
                batch = len(trials) // plan.population
                if not self._batch(searcher, executor, batch, trials):
                    self.progress.note(f"The range holds no more networks: {len(trials)} were scored.")
                    break
        finally:
            executor.close()
        self.progress.finish()
        if not any(trial.complete for trial in trials):
            raise NasError(f"No network could be scored: {trials[0].error if trials else 'none was proposed'}.")
        return trials

    def _batch(self, searcher: Any, executor: InProcess, batch: int, trials: list[Trial]) -> bool:
        """Scores what is left of one batch; False if there was nothing new to propose."""
        size = min(self.plan.population, self.plan.trials - batch * self.plan.population)
        proposals = searcher.ask(size, batch)
        done = len(trials) - batch * self.plan.population
        todo = proposals[done:]
        jobs = [
            Job(architecture=p.architecture.to_dict(), seed=self.options.seed * 100_003 + len(trials) + i)
            for i, p in enumerate(todo)
        ]
        best = max((t.score for t in trials if t.score is not None), default=None)
        fresh = []
        for proposal, job, result in zip(todo, jobs, executor.map(jobs), strict=True):
            trial = Trial(
                number=len(trials),
                architecture=proposal.architecture,
                cost=proposal.cost,
                status=result.status,
                score=result.score,
                seed=job.seed,
                seconds=result.seconds,
                error=result.error,
                layout=proposal.layout,
                origin=proposal.origin,
                batch=batch,
            )
            self.run.append("trial", trial=trial.to_dict())
            trials.append(trial)
            fresh.append(trial)
            if trial.score is not None:
                best = max(best or 0.0, trial.score)
            self.progress.advance(best=f"{best or 0.0:.4f}", last=trial.layout)
        searcher.tell(fresh)
        return bool(todo)

    def _train(self, chosen: list[Trial]) -> list[Finalist]:
        return train_finalists(
            self.run,
            chosen,
            self.dataset,
            self.plan,
            seed=self.options.seed,
            metric=self.options.metric,
            progress=self.progress,
        )

    def _export(self, finalists: list[Finalist]) -> list[Winner]:
        recorded = {event["rank"]: event for event in self.run.events("winner")}
        found = []
        front = winners(finalists)
        self.progress.start("export", len(front), "networks")
        for rank, finalist in enumerate(front, start=1):
            trial, folder = finalist.trial, self.run.path / "winners" / str(rank)
            if rank not in recorded or not folder.exists():
                checks = export_winner(
                    folder,
                    finalist.network,
                    trial.architecture,
                    trained_resolution=self.plan.train_resolution,
                    mean=self.dataset.mean,
                    std=self.dataset.std,
                    class_names=self.dataset.info.class_names,
                    card=self._card(finalist, rank),
                    onnx=self.options.onnx is not False,
                )
                self.run.append(
                    "winner",
                    rank=rank,
                    # Relative to the run, which may be moved or looked at from elsewhere.
                    path=f"winners/{rank}",
                    digest=trial.architecture.digest,
                    checks=checks,
                    macs=trial.cost.macs,
                    params=trial.cost.params,
                    score=trial.score,
                    test_accuracy=finalist.test_accuracy,
                )
            found.append(
                Winner(
                    rank=rank,
                    path=str(folder),
                    digest=trial.architecture.digest,
                    macs=trial.cost.macs,
                    params=trial.cost.params,
                    score=float(trial.score or 0.0),
                    test_accuracy=finalist.test_accuracy,
                )
            )
            self.progress.advance()
        self.progress.finish()
        return found

    def _card(self, finalist: Finalist, rank: int) -> CardFacts:
        options, budgets = self.options, tuple(map(str, self.budgets))
        given = " ".join(f"--budget {budget}" for budget in budgets)
        return CardFacts(
            title=f"Winner {rank} of {self.space.name} on {self.dataset.info.name}",
            data=describe_data(self.dataset),
            space=self.space.name,
            budgets=budgets,
            epochs=self.plan.finalist_epochs,
            seed=options.seed,
            validation_accuracy=finalist.validation_accuracy,
            test_accuracy=finalist.test_accuracy,
            test_count=len(self.dataset.test),
            command=f"nas-search --space {options.space} {given} --data {options.data} --seed {options.seed}",
            data_option=options.data,
        )

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
