"""Finalists through Ray Tune: side by side, those that fall behind stopped by ASHA (Li et al. 2020, arXiv:1810.05934).

Tune decides who trains when and who stops. The record is written by this process, as it hears of each epoch; networks
go on from their own checkpoints, in a new `Tuner`. What Tune itself stores is never read, and removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from nas.errors import RunError
from nas.executors.finalist_relay import FinalistRelay
from nas.executors.ray.folders import TrainingFolders
from nas.executors.ray.session import in_short
from nas.executors.silence import environment
from nas.executors.temp_folders import scratch
from nas.executors.worker import STEP_S, TrainingSetup, train_finalist
from nas.formats import count
from nas.jobs.training import TrainingJob, TrainingWork
from nas.run.signals import rearm

RETRIES = 2
"""How often a finalist goes on from its last checkpoint after its process died."""
# Read while `Tuner.fit` runs: nothing on the terminal, no further files, and Ctrl-C is ours.
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def train_by_tune(
    jobs: Sequence[TrainingJob],
    work: TrainingWork,
    setup: TrainingSetup,
    relay: FinalistRelay,
    *,
    side: int,
    gpus: float,
    step_s: float | None,
    check: Callable[[], None],
    start_s: float = STEP_S,
) -> None:
    """Trains finalists, `side` at a time, each on `work.threads` CPUs.

    Args:
        check: Raises if the cluster is gone.
        start_s: How long finalists may wait for a place while none of them has one.

    Raises:
        RunError: If the processes of this node do not see the run's folder, or no finalist gets a place.
    """
    needs = count(work.threads, "CPU") + (f" and {gpus:g} of a GPU" if gpus else "")
    trainable = tune.with_parameters(
        _train_one,
        jobs=list(jobs),
        setup=setup,
        folders=TrainingFolders(work.folder),
        threads=work.threads,
        step_s=step_s,
    )
    with scratch("tune") as storage, environment(_ENVIRONMENT):
        try:
            tune.Tuner(
                tune.with_resources(trainable, {"cpu": work.threads, "gpu": gpus}),
                param_space={"finalist": tune.grid_search(list(range(len(jobs))))},
                tune_config=tune.TuneConfig(
                    metric="validation_accuracy",
                    mode="max",
                    scheduler=_scheduler(jobs[0].recipe["epochs"], early_stopping=work.early_stopping),
                    max_concurrent_trials=side,
                ),
                run_config=tune.RunConfig(
                    name="finalists",
                    storage_path=str(storage),
                    verbose=0,
                    callbacks=[_Listener(relay, jobs, check), _Places(needs, start_s)],
                    stop=lambda _, __: relay.must_stop,
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                ),
            ).fit()
        finally:
            rearm()  # Tune has handlers of its own
    relay.end()


def _scheduler(epochs: int, *, early_stopping: bool) -> TrialScheduler:
    """After a third and after two thirds of the epochs, the better half of those that got there go on."""
    if not early_stopping:
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr="epoch", max_t=epochs + 1, grace_period=-(-epochs // 3), reduction_factor=2
    )


def _train_one(
    config: dict[str, Any],
    *,
    jobs: list[TrainingJob],
    setup: TrainingSetup,
    folders: TrainingFolders,
    threads: int,
    step_s: float | None,
) -> None:
    """Trains one finalist in a process of Tune's."""
    job = jobs[config["finalist"]]
    with folders.of(job.digest) as (folder, after_save):
        train_finalist(job, setup, folder, _tell, threads=threads, step_s=step_s, after_save=after_save)


def _tell(row: dict[str, Any]) -> None:
    tune.report(row)


class _Listener(tune.Callback):
    """Tune's callbacks; it makes them in the process that started it."""

    def __init__(self, relay: FinalistRelay, jobs: Sequence[TrainingJob], check: Callable[[], None]) -> None:
        self._relay, self._digests, self._check = relay, [job.digest for job in jobs], check

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as for `FinalistRelay`

    def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
        self._check()

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
        self._relay.row(self._digest(trial), result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self._relay.ended(self._digest(trial))

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self._relay.lost(self._digest(trial), self._reason(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self._relay.given_up(self._digest(trial), f"Given up after {RETRIES + 1} tries. {self._reason(trial)}")

    def _digest(self, trial: Any) -> str:
        return self._digests[trial.config["finalist"]]

    def _reason(self, trial: Any) -> str:
        """From the text that Tune keeps of all failures of a trial."""
        try:
            said = Path(trial.error_file or "").read_text()
        except OSError:
            return "Its process was lost."
        return f"Its process was lost: {in_short(said.rpartition('(occurred at')[2].partition(')')[2])}"


class _Places(tune.Callback):
    """Ends the search when no finalist gets a place: Tune waits for one for ever, also where a node is gone unnoticed.

    Args:
        needs: What each of them needs, in words.
        start_s: How long they may wait.
    """

    def __init__(self, needs: str, start_s: float) -> None:
        self._needs, self._start_s = needs, start_s
        self._since: float | None = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        states = {trial.status for trial in trials}
        now = time.monotonic()
        if Trial.PENDING not in states or Trial.RUNNING in states:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since > self._start_s:
            raise RunError(
                f"No finalist could be started: for {self._start_s:.0f} s no node has had {self._needs} for one. "
                "Go on with --resume when there is room, or with --resume and --workers 0."
            )
