"""Finalists through Ray Tune: side by side, those that fall behind stopped by ASHA (Li et al. 2020, arXiv:1810.05934).

Tune decides who trains when and who stops. The record is written by this process, as it hears of each epoch; networks
go on from their own checkpoints, in a new `Tuner`. What Tune itself stores is never read, and removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from nas.executors.finalist_relay import FinalistRelay
from nas.executors.ray.keeping import mirrored, start_keeper
from nas.executors.ray.session import in_short
from nas.executors.silence import environment
from nas.executors.temp_folders import scratch
from nas.executors.worker import FinalistSetup, train_finalist
from nas.jobs.backend import FinalistJob, FinalistWork
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
    jobs: Sequence[FinalistJob],
    work: FinalistWork,
    setup: FinalistSetup,
    relay: FinalistRelay,
    *,
    side: int,
    gpus: float,
    step_s: float | None,
    check: Callable[[], None],
) -> None:
    """Trains finalists, `side` at a time, each on `work.threads` CPUs.

    Args:
        check: Raises if the cluster is gone.

    Raises:
        RunError: If the processes of this node do not see the run's folder.
    """
    home = ray.get_runtime_context().get_node_id()
    trainable = tune.with_parameters(
        _train_one,
        jobs=list(jobs),
        setup=setup,
        home=home,
        folder=work.folder,
        keeper=start_keeper(work.folder, home),
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
                    callbacks=[_Listener(relay, jobs, check)],
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
    jobs: list[FinalistJob],
    setup: FinalistSetup,
    home: str,
    folder: Path,
    keeper: Any,
    threads: int,
    step_s: float | None,
) -> None:
    """Trains one finalist in a process of Tune's: beside the run's folder, or elsewhere with a mirror of it."""
    job = jobs[config["finalist"]]
    train = partial(train_finalist, job, setup, tell=_tell, threads=threads, step_s=step_s)
    if ray.get_runtime_context().get_node_id() == home:
        train(folder=folder / job.digest, after_save=None)
        return
    with scratch("finalist") as local:
        mirror = mirrored(keeper, job.digest, local)
        train(folder=mirror.folder, after_save=mirror.send)


def _tell(row: dict[str, Any]) -> None:
    tune.report(row)


class _Listener(tune.Callback):
    """Tune's callbacks; it makes them in the process that started it."""

    def __init__(self, relay: FinalistRelay, jobs: Sequence[FinalistJob], check: Callable[[], None]) -> None:
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
