"""What a method is given when `nas rank` judges it on the networks of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nas.architecture import Architecture
from nas.data import Dataset, open_data
from nas.errors import OptionError
from nas.methods.ledger import Ledger, fingerprint
from nas.progress import Progress
from nas.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingSettings:
    """What methods need beside the networks.

    Attributes:
        data: As `--data`; what proxies are computed on and short trainings train on. None is digits, or the data of
            the run whose weights are used.
        supernet: The run whose trained weights `supernet` and `blockwise` score with.
        resolution: Pixels at which proxies see the networks; None is the networks' own.
        augment: Augmentation of short trainings.
        known: The compute of known accuracies, in trainings of the average network, for a row of its own; None has no
            such row.
        work: Where values of proxies, and checkpoints and accuracies of trainings, are kept and found again, apart for
            other data, seeds and epochs; None keeps none.
        device: Where proxies are computed and short trainings train: "cpu", "cuda" or "cuda:N".
        threads: CPU threads of scorers.
        seed: Of scorers and of the bootstrap.
    """

    data: str | None = None
    supernet: str | None = None
    resolution: int | None = None
    augment: str = "none"
    known: int | None = None
    work: Path | None = None
    device: str = "auto"
    threads: int = 1
    seed: int = 0


@dataclass(kw_only=True, eq=False)
class RankingTask:
    """The networks of a table, and what there is to score them with; data are read when they are first asked for.

    Attributes:
        space: What all are members of; None for networks of no space in common.
    """

    architectures: Sequence[Architecture]
    space: SearchSpace | None
    settings: RankingSettings
    progress: Progress

    @cached_property
    def data(self) -> Dataset:
        """The images, at the resolution of the networks.

        Raises:
            OptionError: If they are not of the networks' kind, or the networks are of several kinds.
        """
        source = open_data(self.settings.data or "digits")
        first = self.architectures[0]
        wanted = {"classes": first.num_classes, "channels": first.input.channels}
        found = {"classes": source.info.num_classes, "channels": source.info.channels}
        for what, count in wanted.items():
            if found[what] != count:
                raise OptionError(
                    f"--data {self.settings.data or 'digits'} has {found[what]} {what}, and the table's networks have "
                    f"{count}: give the data that the table is about."
                )
        kinds = [
            f"{each.input.resolution} pixels, {each.input.channels} channels and {each.num_classes} classes"
            for each in self.architectures
        ]
        other = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
        if other is not None:
            raise OptionError(
                f"The table's networks are not of one kind: the first is for {kinds[0]}, number {other + 1} for "
                f"{kinds[other]}. Methods that look at images need one kind: judge each in a table of its own."
            )
        return source.load(resolution=first.input.resolution, seed=self.settings.seed)

    @cached_property
    def ledger(self) -> Ledger:
        """What is known of the networks on these data already."""
        settings = self.settings
        # Another kind of device rounds otherwise, and takes other times.
        elsewhere = {} if settings.device == "cpu" else {"device": settings.device.split(":")[0]}
        name = "" if settings.work is None else fingerprint(self.data, seed=settings.seed, **elsewhere)
        return Ledger(None if settings.work is None else settings.work / name)

    @property
    def recalled_seconds(self) -> float:
        """CPU seconds that other processes spent on what was used."""
        return self.__dict__["ledger"].recalled if "ledger" in self.__dict__ else 0.0
