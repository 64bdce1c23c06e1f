"""The search: candidates proposed in fixed batches, scored, recorded and observed in order."""

from __future__ import annotations

from typing import Any

from nas.errors import NasError
from nas.formats import score_text
from nas.jobs.backend import ScorerSource
from nas.jobs.executor import Executor, Job
from nas.methods.protocol.context import Context
from nas.options.objectives import objectives
from nas.run.events import ScoringRetried, TrialScored
from nas.searchers.searcher import Searcher, make_searcher
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
    best = max((trial.score for trial in trials if trial.score is not None), default=None)
    while len(trials) < plan.trials:
        fresh = _batch(context, searcher, executor, trials, best)
        best = max((score for score in (best, *(trial.score for trial in fresh)) if score is not None), default=None)
        if not fresh:
            progress.note(f"The feasible set holds no more networks: {len(trials)} were scored.")
            break
    progress.finish()
    if not any(trial.complete for trial in trials):
        raise NasError(
            f"No network could be scored: {(trials[0].error or '').rstrip('.') if trials else 'none was proposed'}."
        )
    return trials


def _batch(
    context: Context, searcher: Searcher, executor: Executor, trials: list[Trial], best: float | None
) -> list[Trial]:
    """Scores the rest of one batch; returns its trials, which are none if there was nothing new to propose.

    Args:
        best: The best score so far, for display.
    """
    plan, seed = context.plan, context.options.seed
    batch, done = divmod(len(trials), plan.population)
    size = min(plan.population, plan.trials - batch * plan.population)
    todo = searcher.ask(size, batch)[done:]
    jobs = [
        Job(architecture=proposal.architecture.to_dict(), seed=trial_seed(seed, number))
        for number, proposal in enumerate(todo, start=len(trials))
    ]
    fresh: list[Trial] = []
    for proposal, job, result in zip(todo, jobs, executor.map(jobs), strict=True):
        trial = Trial(
            number=len(trials),
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
            context.run.append(ScoringRetried(number=trial.number, reasons=list(result.retries)))
            context.progress.note(f"Trial {trial.number} took {len(result.retries) + 1} tries: {result.retries[-1]}")
        context.run.append(TrialScored(trial=trial.to_dict()))
        trials.append(trial)
        fresh.append(trial)
        if trial.score is not None:
            best = trial.score if best is None else max(best, trial.score)
        shown: dict[str, Any] = {} if best is None else {"best": score_text(best)}
        context.progress.advance(1, **shown, last=trial.layout)
    searcher.tell(fresh)
    return fresh
