"""The scorers that `nas rank` can judge, made ready for the networks of a table."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nas.architecture import Architecture
from nas.benchmark.ledger import Ledger, fingerprint
from nas.costs import cost
from nas.data import Augment, Dataset, choose_augment, open_data
from nas.errors import OptionError
from nas.jobs.executor import InProcess, Job, Scorer
from nas.methods.calibrated.scorer import CalibratedScorer, Calibration, Frame, Measured, Proxies
from nas.methods.counted import COUNTS, CountedScoring
from nas.methods.protocol.plan import choose_device
from nas.methods.saved_scorers import member_scorer_of, scoring_of
from nas.methods.zero_cost.aggregated import PARTS, AggregatedScorer
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues, ZeroCostScorer
from nas.options import SCORERS, SHARED_WEIGHTS, check_choice
from nas.progress import Progress, Silent
from nas.run import atomic_write
from nas.spaces import SearchSpace
from nas.training import Recipe, fresh_network, learning_rate_for, train_network
from nas.training.threads import threads_set

SPENT = "cpu-seconds.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What scorers need beside the networks.

    Attributes:
        data: As `--data`; what proxies look at and short trainings train on.
        supernet: The run whose weights `supernet`, `supernet-loss` or `blockwise` scores with.
        supernet_data: What these weights are scored on; None is the run's own, and `blockwise` takes no other.
        calibrations: What `calibrated` may train, for `calibration_epochs` each: as many networks as cost what so many
            average ones do.
        augment: How images are varied in these trainings, of `nas.options.AUGMENTS`.
        known: Networks whose true accuracies are looked at, for a row of its own; None has no such row.
        work: Where the values of proxies, and checkpoints and accuracies of trainings, are kept and found again, apart
            for other data, seeds and epochs; None keeps none.
        device: Where proxies look and short trainings train, as `--device`.
    """

    data: str = "digits"
    supernet: str | None = None
    supernet_data: str | None = None
    calibrations: int = 12
    calibration_epochs: int = 1
    augment: str = "none"
    known: int | None = None
    work: Path | None = None
    device: str = "auto"
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a scorer said of each network, NaN where it failed.

    Attributes:
        seconds: Of CPU time, set-up and what was found in `Settings.work` included; None for a column of a table.
        notes: What it did, for people.
        looked_at: Places of the networks whose true accuracies it was told.
        known_trainings: What full trainings of these cost, in those of the average network.
    """

    values: list[float]
    seconds: float | None
    notes: list[str] = field(default_factory=list)
    looked_at: tuple[int, ...] = ()
    known_trainings: float = 0.0


def check_scorers(names: Sequence[str], settings: Settings) -> None:
    """Finds out what can be known before anything is read.

    Raises:
        OptionError: If a name is unknown or lacks what it needs.
    """
    for name in names:
        check_choice("scorer", name, SCORERS)
    choose_device(settings.device)
    for name in SHARED_WEIGHTS:
        if name in names and settings.supernet is None:
            raise OptionError(
                f"--scorer {name} needs a trained supernet: give --supernet RUN, the folder of a search in this space "
                "by --scorer supernet."
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
        making = _Making(name, architectures, space, settings, progress, notes)
        executor = InProcess(making.maker(), threads=settings.threads)
        jobs = [Job(architecture=each.to_dict(), seed=settings.seed) for each in architectures]
        values: list[float] = []
        progress.start(name, len(jobs), "networks")
        for result in executor.map(jobs):
            values.append(float("nan") if result.score is None else result.score)
            if result.error is not None and not any("failed" in note for note in notes):
                notes.append(f"network {len(values)} failed: {result.error}")
            progress.advance()
        progress.finish()
    return Scores(values=values, seconds=time.process_time() - began + making.recalled, notes=notes)


class _Making:
    """How one scorer is made; data are read here, so that they are refused before anything is scored."""

    def __init__(
        self,
        name: str,
        architectures: Sequence[Architecture],
        space: SearchSpace,
        settings: Settings,
        progress: Progress,
        notes: list[str],
    ) -> None:
        self.name, self.architectures, self.space = name, architectures, space
        self.settings = replace(settings, device=choose_device(settings.device))
        self.progress, self.notes = progress, notes
        self._ledger: Ledger | None = None

    @property
    def recalled(self) -> float:
        """CPU seconds that other processes spent on what was used."""
        return 0.0 if self._ledger is None else self._ledger.recalled

    def maker(self) -> Callable[[], Scorer]:
        """What makes the scorer."""
        name, settings = self.name, self.settings
        if name in COUNTS:
            return lambda: CountedScoring(name=name)
        if name in SHARED_WEIGHTS:
            assert settings.supernet is not None
            return scoring_of(settings.supernet, self.space, settings.supernet_data, scorer=name).make
        if name == "blockwise":
            assert settings.supernet is not None
            members = member_scorer_of(settings.supernet, self.space, settings.supernet_data)
            measured = members.prepare(self.architectures)
            self.notes.append(f"{measured} paths were measured that {settings.supernet} had not scored")
            return lambda: members
        data = _data(self.architectures, self.space, settings)
        # Another kind of device rounds otherwise, and takes other times.
        elsewhere = {} if settings.device == "cpu" else {"device": settings.device.split(":")[0]}
        folder = None if settings.work is None else settings.work / fingerprint(data, seed=settings.seed, **elsewhere)
        ledger = self._ledger = Ledger(folder)
        values = ProxyValues(data, seed=settings.seed, device=settings.device, memory=ledger)
        if name in PROXIES.names():
            return lambda: ZeroCostScorer(name, values)
        if name in PARTS:
            return lambda: AggregatedScorer(name, values, self.architectures)
        return lambda: self._calibrated(data, values, ledger)

    def _calibrated(self, data: Dataset, values: ProxyValues, ledger: Ledger) -> Scorer:
        settings, proxies = self.settings, Proxies(values)
        reference = Measured.of(self.architectures, proxies, progress=self.progress)
        train = ShortTraining(data, settings, ledger, self.progress)
        rows = Frame(reference).telling(settings.calibrations)
        trained = tuple((row, train(self.architectures[row])) for row in rows)
        shown = ", ".join(f"{accuracy:.3f}" for _, accuracy in trained)
        epochs = settings.calibration_epochs
        self.notes.append(f"{len(trained)} networks were trained for {epochs} epoch{'s' * (epochs != 1)}: {shown}")
        digests = tuple(each.digest for each in self.architectures)
        return CalibratedScorer(Calibration(reference=reference, digests=digests, trained=trained), proxies)


class ShortTraining:
    """Trains a network from scratch for a few epochs; gives its search-validation accuracy.

    One that was stopped goes on from its checkpoint, beside which stands what it has cost so far.
    """

    def __init__(self, data: Dataset, settings: Settings, ledger: Ledger, progress: Progress) -> None:
        self._data, self._settings, self._ledger, self._progress = data, settings, ledger, progress
        self._augment: Augment = choose_augment(settings.augment, data.info)

    def __call__(self, architecture: Architecture) -> float:
        epochs, path = self._settings.calibration_epochs, self._ledger.path
        varied = "" if self._augment == "none" else f", {self._augment}"
        folder = None if path is None else path.parent / f"{architecture.digest}-{epochs}{varied.replace(', ', '-')}"
        before = 0.0 if folder is None else _spent(folder / SPENT)
        return self._ledger.recall(
            architecture.digest,
            f"accuracy after {epochs} epochs{varied}",
            lambda: self._train(architecture, epochs, folder, before),
            before=before,
        )

    def _train(self, architecture: Architecture, epochs: int, folder: Path | None, before: float) -> float:
        seed, data, began = self._settings.seed, self._data, time.process_time()

        def spend() -> None:
            if folder is not None:
                atomic_write(folder / SPENT, f"{before + time.process_time() - began}")

        recipe = Recipe(
            epochs=epochs,
            batch_size=64,
            learning_rate=learning_rate_for(cost(architecture).params, 64),
            augment=self._augment,
            dtype="float32",
            device=self._settings.device,
            seed=seed,
        )
        network = fresh_network(architecture.at_resolution(data.resolution), seed=seed)
        accuracy = train_network(
            network,
            data,
            recipe,
            progress=self._progress,
            phase="calibration",
            folder=folder,
            after_save=spend,
        )
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)  # what it was for goes on record
        return accuracy


def _spent(path: Path) -> float:
    """CPU seconds that a training that was stopped has taken; none where there was none."""
    try:
        return float(path.read_text()) if path.exists() else 0.0
    except ValueError:
        raise OptionError(f"{path} is damaged: it must hold a number of seconds. Delete {path.parent}.") from None


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
    kinds = [
        f"{each.input.resolution} pixels, {each.input.channels} channels and {each.num_classes} classes"
        for each in architectures
    ]
    other = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise OptionError(
            f"The table's networks are not of one kind: the first is for {kinds[0]}, number {other + 1} for "
            f"{kinds[other]}. What looks at images needs one kind: judge each in a table of its own."
        )
    return source.load(resolution=first.input.resolution, seed=settings.seed)
