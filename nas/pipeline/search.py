"""The main job: supernet, search, finalists, export; every step recorded, every phase able to go on after a stop."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.budget import Budget, check_budgets
from nas.costs import TABLE, misfit
from nas.data import DataInfo, Dataset, open_data
from nas.data.dataset import Source
from nas.errors import OptionError
from nas.jobs.backend import Backend, InThisProcess, ScorerSource
from nas.methods.blockwise.blocks import Blocks
from nas.methods.blockwise.network import BlockSupernet
from nas.methods.blockwise.phase import budget_blocks, build_block_supernet, describe_blocks, propose_best, train_blocks
from nas.methods.blockwise.teacher import TrainedTeacher, planned_teacher
from nas.methods.calibrated.phase import calibrate
from nas.methods.protocol.context import Context
from nas.methods.protocol.manifest import (
    check_data,
    check_program,
    keep,
    kept_presets,
    kept_space,
    last_written,
    resolved_data,
)
from nas.methods.protocol.phases import do_phase, is_finished
from nas.methods.protocol.plan import Plan, make_plan
from nas.methods.supernet import reuse as trained
from nas.methods.supernet.phase import build_supernet, make_supernet
from nas.methods.supernet.reuse import Borrowed, Trained, TrainedSampler
from nas.networks.supernet import Supernet
from nas.options import BLOCKWISE, DISTILLING, SHARED_WEIGHTS, UNTRAINED, SearchOptions
from nas.pipeline import disk
from nas.pipeline.export_winners import Winner, hand_over
from nas.pipeline.finalists import choose_finalists, ranking, train_finalists
from nas.pipeline.plan_summary import announcement
from nas.pipeline.scoring import calibrated_scoring, search_candidates, supernet_scoring, untrained_scoring
from nas.progress import Progress, Silent
from nas.run import Run, RunRecord, check_out, data_of, default_folder
from nas.run.events import RankingEvaluated, RunFinished, WinnerExported
from nas.run.sessions import earlier_seconds, record_resumed
from nas.run.signals import stoppable
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import SearchSpace


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
    data: str | None = None,
    options: SearchOptions | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
) -> SearchResult:
    """Searches a space within budgets and writes everything into a fresh run folder.

    Args:
        data: As `--data`. None is the data of the run whose supernet is used, else digits.
        options: All else; its space, budgets and data are overridden by the arguments.
        backend: Where jobs run (`nas.executors.open_backend` for Ray); None is this process.

    Raises:
        NasError: If a budget cannot be met, the data cannot be used or the folder cannot be written; before any
            training wherever that can be known.
        KeyboardInterrupt: On SIGINT and SIGTERM, where they have no handlers of yours, once what is done is saved.
    """
    progress = progress or Silent()
    check_budgets(budgets)
    given = (options or SearchOptions(space=space.name)).to_dict()
    if data is None:
        data = data_of(given["supernet"]) if given["supernet"] else "digits"
    options = SearchOptions(**{**given, "budgets": [str(b) for b in budgets], "data": data})
    options.validate()
    teacher = None if options.teacher is None else os.path.abspath(os.path.expanduser(options.teacher))
    # The record says what it scored by, whatever a later version makes of auto.
    options = replace(options, data=resolved_data(data), teacher=teacher, scorer=options.scoring)
    folder = Path(options.out) if options.out else default_folder(space.name)
    with stoppable():
        job = _Job(space, tuple(budgets), options, progress, choose_backend(options, backend))
        manifest = job.plan_fresh(folder)
        with Run.create(folder, manifest) as run:
            return job.go(run)


def resume(path: str | Path, *, progress: Progress | None = None, backend: Backend | None = None) -> SearchResult:
    """Goes on with a stopped run, by its own options and plan.

    Args:
        backend: As for `search`; a run may go on with other workers than it began with, and its trials are the same.

    Raises:
        RunError: If the folder is no run, is busy, or was made with another version of its space, data or ops.
        KeyboardInterrupt: As for `search`.
    """
    progress = progress or Silent()
    with stoppable(), Run.open(path) as run:
        space = kept_space(run)
        found = _finished(run)
        if found is not None:
            return found
        check_program(run, progress)
        options = SearchOptions.from_dict(run.manifest["options"])
        budgets = tuple(Budget.parse(text) for text in run.manifest["budgets"])
        job = _Job(space, budgets, options, progress, backend or InThisProcess())
        job.plan_again(run)
        record_resumed(run, last_sign=last_written(run.path))
        return job.go(run)


def choose_backend(options: SearchOptions, backend: Backend | None) -> Backend:
    """The backend given, or this process where the options ask for no workers.

    Raises:
        OptionError: If the options ask for workers and none are given.
    """
    if backend is None and (options.workers or options.ray):
        raise OptionError(
            "workers need a backend: hand nas.search backend=nas.executors.open_backend(options), or leave workers out."
        )
    return backend or InThisProcess()


class _Job:
    """One search on its way; `plan_fresh` and `plan_again` refuse what cannot work, `go` does the rest."""

    plan: Plan
    trained: Trained
    training: BudgetSampler
    sampler: BudgetSampler
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
        self.borrowed: Borrowed | None = None
        self.blocks: Blocks | None = None
        self.teacher: TrainedTeacher | None = None
        self._supernet: Supernet | BlockSupernet | None = None

    def plan_fresh(self, folder: Path) -> dict[str, Any]:
        """Plans a new run, reads its data and gives what it is to keep of all that."""
        self.backend.prepare()
        check_out(folder)  # the rest may take minutes
        options, space = self.options, self.space
        lender: RunRecord | None = None
        if options.supernet is not None:
            lender, self.borrowed = trained.borrow(options.supernet, space)
            check_program(lender, self.progress)
            options = self.options = trained.borrowing_options(options, self.borrowed)
        source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
        if lender is not None:
            trained.check_borrowed_data(lender, source.info, options.data)
        kept = keep(space, options.space, source.info)
        self.space = space.adapted(
            resolution=options.resolution, channels=source.info.channels, num_classes=source.info.num_classes
        )
        self._plan_range(source.info)
        TABLE.save()
        torch.set_num_threads(self.plan.threads)
        self._supernet = None if options.scoring in UNTRAINED else self._build()
        needed = disk.most_bytes(
            self.plan,
            self._supernet,
            self.sampler,
            borrowed=lender is not None,
            at_once=int(self.backend.facts().get("workers", 0)),
        )
        self._load(source, folder, needed)
        return {
            "options": options.to_dict(),
            "plan": self.plan.to_dict(),
            "seed": options.seed,
            "budgets": [str(budget) for budget in self.budgets],
            **kept,
            "trained": self.trained.to_dict(),
            "supernet": None if self.borrowed is None else self.borrowed.to_dict(),
            "disk_bytes": needed,
            "workers": self.backend.facts(),
        }

    def plan_again(self, run: Run) -> None:
        """Takes up the plan of a run, and reads its data."""
        self.backend.prepare()
        manifest, options = run.manifest, self.options
        self.plan = Plan.from_dict(manifest.get("plan", {}), run.path)
        self.trained = Trained.from_dict(manifest.get("trained", {}), run.path)
        if manifest.get("supernet"):
            self.borrowed = Borrowed.from_dict(manifest["supernet"], self.trained, run.path)
        source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
        check_data(run, source.info, options.data)
        self.space = replace(self.space, presets=()).adapted(
            resolution=self.plan.resolution, channels=source.info.channels, num_classes=source.info.num_classes
        )
        self.training = self.trained.sampler(self.space)
        if options.scoring in UNTRAINED:
            self.sampler = BudgetSampler(self.space, self.budgets, aim=options.aim)
        elif self.plan.strategy in BLOCKWISE and self.borrowed is None:
            self.sampler = BudgetSampler(self.space, self.budgets, aim=options.aim)
            self.blocks = budget_blocks(self.sampler, seed=options.seed)
            if self.plan.strategy == DISTILLING and not is_finished(run, "supernet"):
                self.teacher = planned_teacher(self.plan, self.space, self.blocks, run.path)
        else:
            self.sampler = TrainedSampler(self.space, self.budgets, aim=options.aim, trained=self.trained)
        torch.set_num_threads(self.plan.threads)
        planned: dict[str, Any] = manifest.get("disk_bytes", {})
        left = {name: most for name, most in planned.items() if type(most) is int and not is_finished(run, name)}
        self._load(source, run.path, left)

    def go(self, run: Run) -> SearchResult:
        """Does what is left of all phases."""
        began = time.monotonic()
        context = Context(
            run=run,
            space=self.space,
            budgets=self.budgets,
            training=self.training,
            sampler=self.sampler,
            presets=kept_presets(run),
            data=self.dataset,
            plan=self.plan,
            options=self.options,
            progress=self.progress,
            backend=self.backend,
        )
        if is_finished(run, "search"):
            trials = run.trials()
        elif self.blocks is not None:
            blocks = self.blocks
            distances = do_phase(
                run, "supernet", lambda: train_blocks(context, blocks, self._take_block_supernet, self.teacher)
            )
            trials = do_phase(run, "search", lambda: propose_best(context, blocks, distances))
        else:
            source = self._scorer_source(context)
            trials = do_phase(run, "search", lambda: search_candidates(context, source))
            del source
        chosen = choose_finalists(trials, self.plan.finalists)
        finalists = do_phase(run, "finalists", lambda: train_finalists(context, chosen))
        found = ranking(finalists, seed=self.options.seed)
        if not run.events(RankingEvaluated):
            run.append(RankingEvaluated(**found))
        exported = do_phase(run, "export", lambda: hand_over(context, finalists))
        if not run.events(RunFinished):
            run.append(RunFinished(seconds=earlier_seconds(run) + time.monotonic() - began))
        _rebuild(run)
        return SearchResult(run=str(run.path), ranking=found, winners=exported)

    def _scorer_source(self, context: Context) -> ScorerSource:
        """Does the phase that the scorer needs first."""
        run, scorer = context.run, self.options.scoring
        if scorer in SHARED_WEIGHTS:
            supernet = do_phase(run, "supernet", lambda: make_supernet(context, self._take_supernet(), self.borrowed))
            return supernet_scoring(context, supernet)
        if scorer == "calibrated":
            return calibrated_scoring(context, do_phase(run, "calibration", lambda: calibrate(context)))
        return untrained_scoring(context)

    def _plan_range(self, info: DataInfo) -> None:
        """Plans, and settles what trains the supernet and what is searched."""
        options, budgets = self.options, self.budgets
        if self.borrowed is None:
            self.sampler = BudgetSampler(self.space, budgets, aim=options.aim)
            if options.strategy in BLOCKWISE:
                self.blocks = budget_blocks(self.sampler, seed=options.seed)
        else:
            self.trained = self.borrowed.trained
            self.training = self.trained.sampler(self.space)
            trained.check_trained(self.trained, budgets, self.training, str(options.supernet))
            self.sampler = TrainedSampler(self.space, budgets, aim=options.aim, trained=self.trained)
        self.plan = make_plan(
            options,
            info,
            resolution=self.space.input.resolution,
            stride=self.sampler.costs.total_stride,
            cost=self.sampler.draw(random.Random(0)).cost,
            misfit=lambda size: None if self.borrowed else misfit(self.space.adapted(resolution=size)),
            networks=self.blocks.networks if self.blocks else 0,
        )
        if options.teacher is not None and self.blocks is not None:
            size = self.plan.train_resolution
            self.teacher = TrainedTeacher(options.teacher, self.space, self.blocks, train_resolution=size)
            self.plan = replace(self.plan, teacher=self.teacher.facts)
        if self.borrowed is None:
            self.training = BudgetSampler(self.space, budgets, aim=self.plan.floor)
            self.trained = Trained.of(self.training, self.plan, seed=options.seed)
        else:
            self.plan = trained.borrowing_plan(self.plan, self.trained)

    def _load(self, source: Source, folder: Path, needed_by_phase: dict[str, int]) -> None:
        """Reads the data, once it is known that the disk has room, and says what is about to be done."""
        needed = max(needed_by_phase.values(), default=0)
        free = disk.check_room(folder, needed)
        # The division that the supernet was trained on: another would score on images that it has learnt.
        self.dataset = source.load(
            resolution=self.plan.train_resolution, seed=self.trained.seed, progress=self.progress
        )
        for line in self._announced():
            self.progress.note(line)
        self.progress.note(f"Disk: at most {disk.megabytes(needed)} in {folder}, {disk.megabytes(free)} free")

    def _announced(self) -> list[str]:
        """What is about to be done, a line each."""
        borrowed, blocks = self.borrowed, self.blocks
        return announcement(
            self.plan,
            scorer=self.options.scoring,
            sampler=self.sampler,
            budgets=self.budgets,
            images=len(self.dataset.train),
            lender=None if borrowed is None else borrowed.run,
            details=(
                None if borrowed is None else trained.left_out(self.trained, self.budgets, self.options.aim),
                None if blocks is None else describe_blocks(blocks, self.plan),
            ),
        )

    def _build(self) -> Supernet | BlockSupernet:
        """Fresh weights for all that is to be trained."""
        seed = self.options.seed
        if self.blocks is not None:
            return build_block_supernet(self.sampler, self.blocks, self.plan, self.teacher, seed=seed)
        return build_supernet(self.training, self.plan, seed=seed)

    def _take_supernet(self) -> Supernet:
        """The supernet's weights, which this lets go of."""
        taken, self._supernet = self._supernet or self._build(), None
        assert isinstance(taken, Supernet)
        return taken

    def _take_block_supernet(self) -> BlockSupernet:
        """The same of a block-wise search."""
        taken, self._supernet = self._supernet or self._build(), None
        assert isinstance(taken, BlockSupernet)
        return taken


def _finished(run: Run) -> SearchResult | None:
    """What a run found whose work is all done; its tables and report are made again. None for other runs."""
    winners = {event.rank: event for event in run.events(WinnerExported)}
    found = run.last(RankingEvaluated)
    if run.last(RunFinished) is None or found is None or not winners:
        return None
    if not all((run.path / event.path).is_dir() for event in winners.values()):
        return None
    _rebuild(run)
    names = ("rank", "digest", "macs", "params", "score", "test_accuracy")
    return SearchResult(
        run=str(run.path),
        ranking=found.statistics(),
        winners=[
            Winner(path=str(run.path / event.path), **{name: getattr(event, name) for name in names})
            for _, event in sorted(winners.items())
        ],
    )


def _rebuild(run: Run) -> None:
    # Imported late: pandas, matplotlib and optuna are slow to load and only needed here.
    from nas.report import rebuild

    rebuild(run.path)
