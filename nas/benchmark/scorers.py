"""Scores of search methods for the networks of a table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nas.architecture import Architecture
from nas.benchmark.whole import as_seen
from nas.jobs.executor import InProcess, Job
from nas.methods.protocol.ranking import RankingSettings, RankingTask
from nas.methods.protocol.search_method import SearchMethod
from nas.options import METHODS, declared, method_options
from nas.progress import Progress, Silent
from nas.spaces import SearchSpace
from nas.training.device import choose_device
from nas.training.freed_memory import freed_memory_kept
from nas.training.threads import threads_set


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of networks, NaN where a method failed.

    Attributes:
        seconds: Of CPU time, with set-up and what was found in `RankingSettings.work`; None for a column of a table.
        notes: What it did, for people.
        observed: Places of the networks whose true accuracies it was fitted to.
        known_trainings: What full trainings of these cost, in those of the average network.
    """

    values: list[float]
    seconds: float | None
    notes: list[str] = field(default_factory=list)
    observed: tuple[int, ...] = ()
    known_trainings: float = 0.0


def make_methods(
    names: Sequence[str], settings: RankingSettings, given: Mapping[str, Any]
) -> tuple[list[SearchMethod[Any]], RankingSettings]:
    """The methods to judge, and the settings with the device that "auto" stands for; finds out what can be known
    before anything is read.

    Args:
        given: Options of methods, each for those that have it.

    Raises:
        OptionError: If a name is unknown, a value is wrong or a method lacks what it needs.
    """
    found: list[SearchMethod[Any]] = []
    for name in dict.fromkeys(names):
        entry = METHODS[name]
        own = {key: value for key, value in given.items() if key in declared(entry.options_type())}
        method: SearchMethod[Any] = entry.load()(name, method_options(name, own))
        method.check_ranking(settings)
        found.append(method)
    return found, replace(settings, device=choose_device(settings.device))


def score_all(
    method: SearchMethod[Any],
    architectures: Sequence[Architecture],
    space: SearchSpace | None,
    settings: RankingSettings,
    progress: Progress | None = None,
) -> Scores:
    """Scores networks by one method, on `settings.threads` CPU threads.

    Args:
        space: What they are members of; None for whole networks of no space in common.

    Raises:
        NasError: If the scorer cannot be made; a network that cannot be scored is NaN.
    """
    progress = progress or Silent()
    began = time.process_time()
    if "resolution" in type(method.options).ranking_uses:
        architectures = as_seen(architectures, settings, whole=space is None)
    task = RankingTask(architectures=architectures, space=space, settings=settings, progress=progress)
    with threads_set(settings.threads), freed_memory_kept():
        ranked = method.ranked(task)
        executor = InProcess(ranked.make, threads=settings.threads)
        jobs = [Job(architecture=each.to_dict(), seed=settings.seed) for each in architectures]
        values: list[float] = []
        failures: list[str] = []
        progress.start(method.name, len(jobs), "networks")
        for result in executor.map(jobs):
            values.append(float("nan") if result.value is None else result.value)
            if result.error is not None and not failures:
                failures.append(f"network {len(values)} failed: {result.error}")
            progress.advance()
        progress.finish()
    seconds = time.process_time() - began + task.recalled_seconds
    return Scores(values=values, seconds=seconds, notes=[*ranked.notes, *failures])
