"""The search: candidates proposed in fixed batches, scored, recorded and observed in order."""

from __future__ import annotations

from typing import Any

from nas.errors import NasError
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Executor, Job
from nas.methods.protocol.context import Context
from nas.options.objectives import objectives
from nas.run.events import ScoringRetried, TrialScored
from nas.searchers.searcher import make_searcher
from nas.trial import Trial, trial_seed


def search_candidates(context: Context, source: ScorerSource) -> list[Trial]:
    """Scores candidates on the context's backend; returns all trials, in order.

    Raises:
        NasError: If no architecture could be scored.
    """
    plan = context.plan
    expected = plan.seconds["search"] / plan.trials
    splits = (context.data.train, context.data.search_validation)
    executor = context.backend.scoring(
        source,
        threads=plan.job_threads,
        expected_s=expected,
        data_bytes=sum(split.images.nbytes + split.labels.nbytes for split in splits),
    )
    try:
        return score_candidates(context, executor)
    finally:
        executor.close()


def score_candidates(context: Context, executor: Executor) -> list[Trial]:
    """Scores architectures until `plan.trials` are on record; returns all trials, in order.

    Raises:
        NasError: If no architecture could be scored.
    """
    plan, options, progress = context.plan, context.options, context.progress
    assert options.searcher is not None, "a plan names its searcher"
    searcher = make_searcher(
        options.searcher,
        context.sampler,
        seed=options.seed,
        objectives=objectives(options.objective, context.budgets),
        presets=context.presets,
    )
    trials = context.run.trials()
    searcher.tell(trials)
    progress.start("search", plan.trials, "networks")
    progress.advance(len(trials), restored=True)
    while len(trials) < plan.trials:
        if not _batch(context, searcher, executor, trials):
            progress.note(f"The feasible set holds no more networks: {len(trials)} were scored.")
            break
    progress.finish()
    if not any(trial.complete for trial in trials):
        raise NasError(
            f"No network could be scored: {(trials[0].error or '').rstrip('.') if trials else 'none was proposed'}."
        )
    return trials


def _batch(context: Context, searcher: Any, executor: Executor, trials: list[Trial]) -> bool:
    """Scores the rest of one batch; returns False if there was nothing new to propose."""
    plan, seed = context.plan, context.options.seed
    batch, done = divmod(len(trials), plan.population)
    size = min(plan.population, plan.trials - batch * plan.population)
    todo = searcher.ask(size, batch)[done:]
    jobs = [
        Job(architecture=proposal.architecture.to_dict(), seed=trial_seed(seed, number))
        for number, proposal in enumerate(todo, start=len(trials))
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
        if result.retries:
            context.run.append(ScoringRetried(number=trial.number, reasons=list(result.retries)))
            context.progress.note(f"Trial {trial.number} took {len(result.retries) + 1} tries: {result.retries[-1]}")
        context.run.append(TrialScored(trial=trial.to_dict()))
        trials.append(trial)
        fresh.append(trial)
        if trial.score is not None:
            best = trial.score if best is None else max(best, trial.score)
        if best is None:
            context.progress.advance(1, last=trial.layout)
        else:
            context.progress.advance(1, best=f"{best:.4f}", last=trial.layout)
    searcher.tell(fresh)
    return bool(todo)
