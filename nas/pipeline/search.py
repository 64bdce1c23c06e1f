"""The main job: plan, train what the method needs, search, train finalists, export; every phase can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from nas.architecture import Architecture
from nas.budget import Budget, Cost, check_budgets
from nas.costs import TABLE, cost, misfit, sized_space
from nas.data import DataInfo, Dataset, Source, data_lines, open_data, size_lines
from nas.data.memory import memory_limit
from nas.errors import SpaceError
from nas.jobs.backend import Backend, InThisProcess, choose_backend
from nas.latency.budgets import Meter, hold, restore
from nas.machine import available_cores
from nas.methods.protocol.context import Context
from nas.methods.protocol.manifest import (
    check_data,
    check_program,
    keep,
    kept_presets,
    kept_space,
    last_written,
    resolved_data,
    spelled,
)
from nas.methods.protocol.parent_line import parent_line
from nas.methods.protocol.phases import do_phase, is_finished
from nas.methods.protocol.plan import FINALISTS, Plan
from nas.methods.protocol.report import accuracy_name
from nas.methods.protocol.search_method import SearchMethod
from nas.networks.imported_ops import import_ops, recorded_imports
from nas.options import METHODS, SearchOptions
from nas.options.declaration import not_default
from nas.options.objectives import objectives
from nas.options.searchers import default_searcher
from nas.pipeline import disk
from nas.pipeline.attention_maps import attention_caution
from nas.pipeline.candidates import search_candidates
from nas.pipeline.export_winners import export_winners
from nas.pipeline.finalists import ranking, train_finalists
from nas.pipeline.latency_check import measured_within, rivals_within
from nas.pipeline.plan import make_plan, typical_cost, unused_time
from nas.pipeline.plan_summary import plan_summary
from nas.pipeline.portfolio import choose_finalists, portfolio
from nas.pipeline.recorded_costs import check_costs
from nas.pipeline.result import SearchResult, finished_result, rebuild_report, score_name
from nas.pipeline.rivals import choose_rivals, rival_lines, rival_picks
from nas.progress import Progress, Silent
from nas.run import Run, data_of, planning
from nas.run.events import RankingEvaluated, RunFinished
from nas.run.files import expanded
from nas.run.remote import resumed_folder, run_folder
from nas.run.sessions import earlier_seconds, record_resumed
from nas.run.signals import stoppable
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace
from nas.training import Recipe
from nas.training.compiling import check_compiler
from nas.training.recipe_file import RecipeFile, load_recipe, recorded_recipe
from nas.training.speed import measure_images_per_second
from nas.training.threads import alone_in_process, threads_set


def search(
    space: SearchSpace,
    *,
    budgets: Iterable[Budget | str] | Budget | str,
    data: str | Path | None = None,
    options: SearchOptions | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
) -> SearchResult:
    """Searches a space within budgets and writes everything into a fresh run directory.

    One search runs in a process at a time.

    Args:
        budgets: As `nas.Budget` or its text, such as "4.2GFLOPs"; one, or several.
        data: As `--data`. None means that of the options, else of the run whose supernet is reused, else digits.
        options: All other options; the arguments override its space, budgets and data. For an `out` such as
            s3://bucket/run the search works in a folder in the user's cache, and uploads what is new there.
        backend: Where jobs run (`nas.executors.open_backend` for Ray); None is this process.

    Raises:
        NasError: If a budget cannot be met, the data cannot be used or the folder cannot be written; raised before any
            training where possible.
        KeyboardInterrupt: On SIGINT and SIGTERM, unless you handle them, after the state is saved.
    """
    progress = progress or Silent()
    if not isinstance(cast("object", space), SearchSpace):
        raise SpaceError(f"space must be a search space, but got {str(space)[:60]!r}: read one by nas.load_space.")
    budgets = check_budgets(budgets)
    options = options or SearchOptions(space=space.name)
    source = options.of_method().data_run
    if data is None:
        data = options.data if source is None or "data" in not_default(options) else data_of(source)
    options = replace(
        options,
        space=spelled(space, options),
        budgets=tuple(map(str, budgets)),
        imports=tuple(import_ops(path).path for path in options.imports),
        data=resolved_data(os.fspath(data)),
        out=None if options.out is None else expanded(options.out),
        method_options=options.of_method().absolute(),
    )
    options.validate()
    place = run_folder(options.out, space.name, progress.note)
    with alone_in_process(), stoppable(), memory_limit(options.max_memory), place as folder:
        pipeline = SearchPipeline(space, budgets, options, progress, choose_backend(options, backend))
        with planning(folder) as lock:
            run = Run.create(folder, pipeline.plan_new(folder), lock=lock)
        with run:
            return pipeline.execute(run)


def resume(path: str | Path, *, progress: Progress | None = None, backend: Backend | None = None) -> SearchResult:
    """Continues a stopped run with its own options and plan.

    Args:
        path: A run directory, or the URL of one.
        backend: As for `search`; a run may continue with other workers than before, and gives the same trials unless
            it is `asynchronous`.

    Raises:
        RunError: If the folder is not a run directory, is busy, or was made with another version of its space, data or
            ops.
        KeyboardInterrupt: As for `search`.
    """
    progress = progress or Silent()
    place = resumed_folder(expanded(path), progress.note)
    with alone_in_process(), stoppable(), place as folder, Run.open(folder) as run:
        recorded_imports(run.manifest)
        space = kept_space(run)
        found = finished_result(run)
        if found is not None:
            return found
        check_program(run, progress)
        options = SearchOptions.from_dict(run.manifest["options"])
        budgets = tuple(Budget.parse(text) for text in run.manifest["budgets"])
        pipeline = SearchPipeline(space, budgets, options, progress, backend or InThisProcess())
        with memory_limit(options.max_memory):
            pipeline.restore(run)
        record_resumed(run, last_sign=last_written(run.path))
        return pipeline.execute(run)


class SearchPipeline:
    """One search: `plan_new` or `restore` checks and prepares it, `execute` runs it."""

    plan: Plan
    recipe: RecipeFile
    sampler: BudgetSampler
    portfolio: dict[str, Architecture]
    rivals: dict[str, Architecture]
    cautions: list[str]
    device_models: dict[str, str]
    dataset: Dataset

    def __init__(
        self,
        space: SearchSpace,
        budgets: tuple[Budget, ...],
        options: SearchOptions,
        progress: Progress,
        backend: Backend,
    ) -> None:
        self.space, self.budgets, self.options, self.progress = space, budgets, options, progress
        self.backend = backend
        self.objectives = objectives(options.objective, budgets)
        self.method: SearchMethod[Any] = METHODS[options.method].load()(options.method, options.of_method())

    def plan_new(self, folder: Path) -> dict[str, Any]:
        """Plans a new run in a folder that is free, and reads its data; returns the run's manifest."""
        self.backend.prepare()
        source, kept = self._plan()
        needed = disk.most_bytes(
            self.plan,
            self.method,
            self.sampler,
            at_once=int(self.backend.facts().get("workers", 0)),
            rivals=[cost(each).params for each in self.rivals.values()],
            averaged=self._keeps_average(source.info),
        )
        self._load(source, folder, needed)
        return {
            "options": self.options.to_dict(),
            "plan": self.plan.to_dict(),
            "recipe": self.recipe.to_dict(),
            "seed": self.options.seed,
            "budgets": [str(budget) for budget in self.budgets],
            **kept,
            "imports": {path: import_ops(path).digest for path in self.options.imports},
            "cautions": self.cautions,
            "portfolio": {name: each.to_dict() for name, each in self.portfolio.items()},
            "rivals": {name: each.to_dict() for name, each in self.rivals.items()},
            "method": self.method.facts(),
            "device_models": self.device_models,
            "disk_bytes": needed,
            "workers": self.backend.facts(),
        }

    def outline(self, source: Source) -> tuple[list[str], Plan]:
        """What a new run would do with data that are open, in lines for people, and its plan.

        Nothing is written or trained.
        """
        self._plan(source)
        return self._summary(source.info.divided()[0]), self.plan

    def _plan(self, source: Source | None = None) -> tuple[Source, dict[str, Any]]:
        """Plans a new run; returns its data, and what the manifest says of space and data.

        Args:
            source: The data, if they are open.
        """
        method, space = self.method, self.space
        self.recipe = load_recipe(self.options.recipe)
        options = method.open_source(space, self.options, self.progress)
        searcher = options.searcher or default_searcher(free_scores=method.free_scores)
        options = self.options = replace(options, searcher=searcher)
        source = source or open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
        method.check_data(source.info, options.data)
        cautions = method.cautions(source.info, options.seed)
        kept = keep(space, options.space, source.info)
        self.space = sized_space(space, options.resolution).adapted(
            channels=source.info.channels, num_classes=source.info.num_classes
        )
        self.device_models = hold(
            self.budgets,
            self.space,
            seed=options.seed,
            progress=self.progress,
            meter_at=lambda setting: self.backend.at_device(setting.device, Meter),
            given=method.device_models,
        )
        self.sampler = method.set_up(self.space, self.budgets, options)
        self.plan = make_plan(
            options,
            source.info,
            resolution=self.space.input.resolution,
            stride=self.sampler.costs.total_stride,
            cost=typical_cost(self.sampler),
            misfit=lambda size: misfit(self.space.adapted(resolution=size)),
            phase=method.phase,
            training_share=method.training_share,
            least_seconds=method.least_seconds,
            plan_method=method.plan,
            rivals=self._choose_rivals,
            measure=self._measured_rate,
        )
        TABLE.save()
        torch.set_num_threads(self.plan.threads)
        self.plan = plan = method.prepare(self.plan, options, self.sampler)
        if options.compile:
            check_compiler(plan.device)
        caution = attention_caution(self.sampler, resolution=plan.resolution, train_resolution=plan.train_resolution)
        self.cautions = [*filter(None, (caution,)), *cautions]
        self.portfolio = portfolio(self.sampler, plan.finalists, count=method.count(plan), seed=options.seed)
        return source, kept

    def restore(self, run: Run) -> None:
        """Restores the plan of a run and reads its data."""
        self.backend.prepare()
        manifest, options, method = run.manifest, self.options, self.method
        self.plan = Plan.from_dict(manifest.get("plan", {}), method.plan_type, run.path)
        source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
        recorded = run.part("recipe")
        self.recipe = (
            recorded_recipe(recorded, str(run.path))
            if recorded
            else load_recipe(options.recipe)  # earlier versions did not record it
        )
        check_data(run, source.info, options.data)
        self.space = replace(self.space, presets=()).adapted(
            resolution=self.plan.resolution, channels=source.info.channels, num_classes=source.info.num_classes
        )
        restore(run.part("device_models"), str(run.path))
        trained = method.phase is None or is_finished(run, method.phase)
        self.sampler = method.restore(run, self.plan, options, self.space, self.budgets, trained=trained)
        check_costs(run, self.sampler)
        self.cautions = manifest.get("cautions", [])
        kept: dict[str, Any] = manifest.get("portfolio", {})
        self.portfolio = {name: Architecture.from_dict(each) for name, each in kept.items()}
        self.rivals = {name: Architecture.from_dict(each) for name, each in manifest.get("rivals", {}).items()}
        torch.set_num_threads(self.plan.threads)
        planned: dict[str, Any] = manifest.get("disk_bytes", {})
        left = {name: most for name, most in planned.items() if type(most) is int and not is_finished(run, name)}
        self._load(source, run.path, left)

    def execute(self, run: Run) -> SearchResult:
        """Runs the rest of all phases."""
        began = time.monotonic()
        context = Context(
            run=run,
            space=self.space,
            budgets=self.budgets,
            sampler=self.sampler,
            presets=kept_presets(run),
            portfolio=self.portfolio,
            data=self.dataset,
            plan=self.plan,
            recipe=self.recipe,
            options=self.options,
            progress=self.progress,
            backend=self.backend,
            rivals=self.rivals,
        )
        trials = run.trials() if is_finished(run, "search") else self._search(context)
        # What the search found too is a rival all the same: one would have had it without the search.
        own = [trial for trial in trials if trial.architecture not in context.rivals.values()]
        picks = measured_within(
            context,
            lambda over: choose_finalists(
                [trial for trial in own if trial.architecture not in over],
                self.plan.finalists,
                fixed=context.portfolio,
                front_over=self.objectives if self.options.min_share == 0 else (),
            ),
        )
        picks += rivals_within(context, rival_picks(context.rivals, self.sampler, trials, seed=self.options.seed))
        chosen = [pick.trial.architecture for pick in picks]
        finalists = do_phase(
            run, "finalists", lambda: train_finalists(context, picks, self.method.beginnings(context, chosen))
        )
        alike = [each for each in finalists if self.plan.trains_alike(each.chosen_by)]
        found = ranking(alike, seed=self.options.seed)
        recorded = run.last(RankingEvaluated)
        if recorded is None or recorded.statistics() != found:
            run.append(RankingEvaluated(**found))
        winners = do_phase(run, "export", lambda: export_winners(context, finalists))
        if not run.events(RunFinished):
            run.append(RunFinished(seconds=earlier_seconds(run) + time.monotonic() - began))
        rebuild_report(run)
        return SearchResult(
            run=str(run.path),
            ranking=found,
            score_name=score_name(run),
            objectives=self.objectives,
            winners=winners,
            data=self.options.data,
            seed=self.options.seed,
            parent=parent_line(run),
            accuracy=accuracy_name(run),
        )

    def _search(self, context: Context) -> Any:
        """Trains what the method needs, then proposes and scores; releases what was trained afterwards."""
        run, method = context.run, self.method
        trained: Any = None
        method.before(context)
        if method.phase is not None:
            trained = do_phase(run, method.phase, lambda: method.train(context))
        # All candidates are scored now, and the trainings behind the scores are on record.
        first = (*context.portfolio.values(), *method.first_proposals(run))
        context = replace(context, presets=(*first, *context.presets))
        return do_phase(
            run,
            "search",
            lambda: method.search(context, trained, lambda source: search_candidates(context, source)),
        )

    def _choose_rivals(self, train_resolution: int) -> list[Cost]:
        """Chooses the rivals; returns their costs."""
        own = self.method.rivals(self.sampler) if self.options.rivals else {}
        self.rivals = choose_rivals(own, self.sampler, self.options.rivals, train_resolution=train_resolution)
        return [cost(each) for each in self.rivals.values()]

    def _measured_rate(self, side: int, recipe: Recipe) -> float:
        """Returns the training speed in images per second, over networks such as the finalists will be."""
        seed = self.options.seed
        finalists = portfolio(self.sampler, FINALISTS, count=None, seed=seed).values()
        with threads_set(self.options.threads or available_cores()):
            return measure_images_per_second([each.at_resolution(side) for each in finalists], recipe)

    def _keeps_average(self, info: DataInfo) -> bool:
        """Returns whether checkpoints of finalists or rivals hold an average of their weights."""
        epochs, images = {self.plan.finalist_epochs, self.plan.rival_epochs}, info.divided()[0]
        return any(self.recipe.chosen(epochs=each, images=images).get("ema") for each in epochs)

    def _load(self, source: Source, folder: Path, needed_by_phase: dict[str, int]) -> None:
        """Checks the disk's free space, reads the data and announces the plan."""
        needed = max(needed_by_phase.values(), default=0)
        free = disk.check_room(folder, needed, less=" or fewer --finalists")
        side = self.plan.train_resolution
        reduced = size_lines(source.info, side, self.options.data, resolution=self.plan.resolution)
        for line in [*data_lines(source.info), *reduced]:
            self.progress.note(line)
        data = source.load(
            resolution=side,
            seed=self.method.data_seed(self.options.seed),
            progress=self.progress,
        )
        self.dataset = self.method.adapted(data)
        for line in self._summary(len(self.dataset.train)):
            self.progress.note(line)
        self.progress.note(f"Disk: at most {disk.megabytes(needed)} in {folder}, {disk.megabytes(free)} free")

    def _summary(self, images: int) -> list[str]:
        first, details = self.method.describe(self.plan, self.options, images=images)
        unused = unused_time(self.plan, self.options)
        details += [] if unused is None else [unused]
        details = [*self.cautions, *details, *rival_lines(self.rivals, self.options.rivals, self.sampler)]
        return plan_summary(
            self.plan,
            first=first,
            details=details,
            sampler=self.sampler,
            budgets=self.budgets,
            rivals=len(self.rivals),
        )
