"""The search: candidates proposed, scored, recorded and observed, in fixed batches or as workers become free."""

from __future__ import annotations

from itertools import count
from typing import Any

from nas.errors import NasError
from nas.formats import score_text
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Executor, Job, Result
from nas.methods.protocol.context import Context
from nas.options.objectives import objectives
from nas.run.events import ScoringRetried, TrialScored
from nas.searchers.searcher import Proposal, make_searcher
from nas.trial import Trial, trial_seed


def search_candidates(context: Context, source: ScorerSource) -> list[Trial]:
    """Scores candidates on the context's backend; returns all trials, in order.

    Raises:
        NasError: If no architecture could be scored.
    """
    executor = context.scoring(source)
    try:
        return score_candidates(context, executor)
    finally:
        executor.close()


def score_candidates(context: Context, executor: Executor) -> list[Trial]:
    """Scores architectures until `plan.trials` are on record; returns all trials, in order.

    Raises:
        NasError: If no architecture could be scored.
    """
    plan, progress = context.plan, context.progress
    candidates = _Candidates(context, executor)
    trials = candidates.trials
    progress.start("search", plan.trials, "networks")
    progress.advance(len(trials), restored=True)
    step = candidates.score_as_free if context.options.asynchronous else candidates.score_batch
    while len(trials) < plan.trials:
        if not step():
            # What is measured proves nothing.
            ended = (
                "No further network was found"
                if context.sampler.measures
                else "The feasible set holds no more networks"
            )
            progress.note(f"{ended}: {len(trials)} were scored.")
            break
    progress.finish()
    if not any(trial.complete for trial in trials):
        raise NasError(
            f"No network could be scored: {(trials[0].error or '').rstrip('.') if trials else 'none was proposed'}."
        )
    return trials


class _Candidates:
    """What a searcher proposes, scored and recorded.

    Attributes:
        trials: All on record, in order.
    """

    def __init__(self, context: Context, executor: Executor) -> None:
        self._context, self._executor = context, executor
        options = self._options = context.options
        assert options.searcher is not None, "a plan names its searcher"
        self._searcher = make_searcher(
            options.searcher,
            context.sampler,
            seed=options.seed,
            objectives=objectives(options.objective, context.budgets),
            presets=context.presets,
        )
        self.trials = context.run.trials()
        self._searcher.tell(self.trials)
        self._best = max((trial.score for trial in self.trials if trial.score is not None), default=None)

    def score_batch(self) -> int:
        """Scores the rest of one batch; returns the number of its trials, which is 0 if there was nothing new."""
        plan, first = self._context.plan, len(self.trials)
        batch, done = divmod(first, plan.population)
        size = min(plan.population, plan.trials - batch * plan.population)
        todo = self._searcher.ask(size, batch)[done:]
        jobs = [
            Job(architecture=proposal.architecture.to_dict(), seed=trial_seed(self._options.seed, number))
            for number, proposal in enumerate(todo, start=first)
        ]
        for proposal, job, result in zip(todo, jobs, self._executor.map(jobs), strict=True):
            self._record(proposal, job, result, batch)
        self._searcher.tell(self.trials[first:])
        return len(todo)

    def score_as_free(self) -> int:
        """Scores the rest of all; a batch is what is proposed for the workers that are free at a time.

        Trials are recorded, and observed, in the order in which scores come. What was being scored when a search was
        stopped is not on record; numbers of batches and seeds go on after the largest that are.

        Returns:
            The number of trials, which is 0 if there was nothing new.
        """
        first, places, scoring = len(self.trials), count(), dict[int, tuple[Proposal, Job, int]]()
        batches = count(1 + max((trial.batch for trial in self.trials), default=-1))
        seeds = count(1 + max((trial.seed for trial in self.trials), default=trial_seed(self._options.seed, -1)))

        def ask(free: int) -> list[Job]:
            batch = next(batches)
            jobs = list[Job]()
            for proposal in self._searcher.ask(free, batch):
                jobs.append(Job(architecture=proposal.architecture.to_dict(), seed=next(seeds)))
                scoring[next(places)] = proposal, jobs[-1], batch
            return jobs

        for place, result in self._executor.completed(ask, self._context.plan.trials - first):
            proposal, job, batch = scoring.pop(place)
            self._searcher.tell([self._record(proposal, job, result, batch)])
        return len(self.trials) - first

    def _record(self, proposal: Proposal, job: Job, result: Result, batch: int) -> Trial:
        run, progress = self._context.run, self._context.progress
        trial = Trial(
            number=len(self.trials),
            architecture=proposal.architecture,
            cost=proposal.cost,
            status=result.status,
            score=result.value,
            seed=job.seed,
            seconds=result.seconds,
            error=result.error,
            layout=proposal.layout,
            origin=proposal.origin,
            batch=batch,
        )
        if result.retries:
            run.append(ScoringRetried(number=trial.number, reasons=list(result.retries)))
            progress.note(f"Trial {trial.number} took {len(result.retries) + 1} tries: {result.retries[-1]}")
        run.append(TrialScored(trial=trial.to_dict()))
        self.trials.append(trial)
        if trial.score is not None:
            self._best = trial.score if self._best is None else max(self._best, trial.score)
        shown: dict[str, Any] = {} if self._best is None else {"best": score_text(self._best)}
        progress.advance(1, **shown, last=trial.layout)
        return trial
