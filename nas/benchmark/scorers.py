"""The scorers that `nas rank` can judge, made ready for the networks of a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.architecture import Architecture
from nas.costing import cost
from nas.data import Dataset, open_data
from nas.errors import OptionError
from nas.options import JUDGED, check_choice
from nas.progress import Progress, Silent
from nas.scoring.calibrated import CalibratedScorer, Calibration, Frame, Measured, Proxies, choose_spread
from nas.scoring.threads import threads_set
from nas.scoring.zero_cost import PARTS, PROXIES, AggregatedScorer, ZeroCostScorer
from nas.searching.executor import InProcess, Job, Scorer
from nas.searching.reopened import member_scorer_of, scoring_of
from nas.space import SearchSpace
from nas.training import Recipe, fresh_network, learning_rate_for, train_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What scorers need beside the networks.

    Attributes:
        data: As `--data`; what proxies look at and short trainings train on.
        supernet: The run whose weights `supernet` or `blockwise` scores with, on its own data.
        calibrations: Networks that `calibrated` trains, for `calibration_epochs` each.
        work: Where its trainings keep checkpoints, and are found again; None keeps none.
    """

    data: str = "digits"
    supernet: str | None = None
    calibrations: int = 12
    calibration_epochs: int = 1
    work: Path | None = None
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a scorer said of each network, NaN where it failed.

    Attributes:
        seconds: Of CPU time, set-up included; None for a column of a table.
        notes: What it did, for people.
    """

    values: list[float]
    seconds: float | None
    notes: list[str] = field(default_factory=list)


def check_scorers(names: Sequence[str], settings: Settings) -> None:
    """Finds out what can be known before anything is read.

    Raises:
        OptionError: If a name is unknown or lacks what it needs.
    """
    for name in names:
        check_choice("scorer", name, JUDGED)
    if "supernet" in names and settings.supernet is None:
        raise OptionError(
            "--scorer supernet needs a trained supernet: give --supernet RUN, the folder of a search in this space."
        )
    if "blockwise" in names and settings.supernet is None:
        raise OptionError(
            "--scorer blockwise needs trained blocks: give --supernet RUN, the folder of a search in this space by "
            "--strategy blockwise."
        )


def score_all(
    name: str,
    architectures: Sequence[Architecture],
    space: SearchSpace,
    settings: Settings,
    progress: Progress | None = None,
) -> Scores:
    """Scores networks by one scorer, on `settings.threads` CPU threads.

    Raises:
        NasError: If the scorer cannot be made; a network that cannot be scored is NaN.
    """
    progress = progress or Silent()
    began, notes = time.process_time(), []
    with threads_set(settings.threads):
        executor = InProcess(_maker(name, architectures, space, settings, progress, notes), threads=settings.threads)
        jobs = [Job(architecture=each.to_dict(), seed=settings.seed) for each in architectures]
        values: list[float] = []
        progress.start(name, len(jobs), "networks")
        for result in executor.map(jobs):
            values.append(float("nan") if result.score is None else result.score)
            if result.error is not None and not any("failed" in note for note in notes):
                notes.append(f"network {len(values)} failed: {result.error}")
            progress.advance()
        progress.finish()
    return Scores(values=values, seconds=time.process_time() - began, notes=notes)


def _maker(
    name: str,
    architectures: Sequence[Architecture],
    space: SearchSpace,
    settings: Settings,
    progress: Progress,
    notes: list[str],
) -> Callable[[], Scorer]:
    """What makes the scorer; data are read here, so that they are refused before anything is scored."""
    if name == "supernet":
        assert settings.supernet is not None
        source = scoring_of(settings.supernet, space)
        return source.make
    if name == "blockwise":
        assert settings.supernet is not None
        members = member_scorer_of(settings.supernet, space)
        measured = members.prepare(architectures)
        notes.append(f"{measured} paths were measured that {settings.supernet} had not scored")
        return lambda: members
    data = _data(architectures, space, settings)
    if name in PROXIES.names():
        return lambda: ZeroCostScorer(name, data, seed=settings.seed)
    if name in PARTS:
        return lambda: AggregatedScorer(name, data, architectures, seed=settings.seed)

    def calibrated() -> Scorer:
        proxies = Proxies(data, seed=settings.seed)
        reference = Measured.of(architectures, proxies, progress=progress)
        train = ShortTraining(data, settings, progress)
        rows = choose_spread(Frame(reference).reference, settings.calibrations)
        trained = tuple((row, train(architectures[row])) for row in rows)
        shown = ", ".join(f"{accuracy:.3f}" for _, accuracy in trained)
        notes.append(f"{len(trained)} networks were trained for {settings.calibration_epochs} epochs: {shown}")
        return CalibratedScorer(Calibration(reference=reference, trained=trained), proxies)

    return calibrated


class ShortTraining:
    """Trains a network from scratch for a few epochs; gives its search-validation accuracy."""

    def __init__(self, data: Dataset, settings: Settings, progress: Progress) -> None:
        self._data, self._settings, self._progress = data, settings, progress

    def __call__(self, architecture: Architecture) -> float:
        settings, data = self._settings, self._data
        recipe = Recipe(
            epochs=settings.calibration_epochs,
            batch_size=64,
            learning_rate=learning_rate_for(cost(architecture).params, 64),
            augment="none",  # too few epochs to see an image twice in vain
            dtype="float32",
            device="cpu",
            seed=settings.seed,
        )
        network = fresh_network(architecture.at_resolution(data.resolution), seed=settings.seed)
        folder = None if settings.work is None else settings.work / f"{architecture.digest}-{settings.seed}"
        return train_network(network, data, recipe, progress=self._progress, phase="calibration", folder=folder)


def _data(architectures: Sequence[Architecture], space: SearchSpace, settings: Settings) -> Dataset:
    source = open_data(settings.data)
    first = architectures[0]
    wanted = {"classes": first.num_classes, "channels": first.input.channels}
    found = {"classes": source.info.num_classes, "channels": source.info.channels}
    for what, count in wanted.items():
        if found[what] != count:
            raise OptionError(
                f"--data {settings.data} has {found[what]} {what}, and the table's networks have {count}: give the "
                "data that the table is about."
            )
    return source.load(resolution=first.input.resolution, seed=settings.seed)
