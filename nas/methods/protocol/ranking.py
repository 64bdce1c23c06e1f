"""The objects that `nas rank` passes to a method to evaluate it on the networks of a table."""

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
    """The settings of a ranking that methods use.

    Attributes:
        data: As `--data`: the data for proxies and short trainings. None means digits, or the data of the run whose
            weights are used.
        supernet: The run whose trained weights `supernet` and `blockwise` score with.
        resolution: Resolution in pixels for proxies; None means the networks' own.
        augment: Augmentation of short trainings.
        known: Compute of the accuracies used for the row "known", in trainings of the average network; None for no
            such row.
        work: Folder to store and reuse proxy values, checkpoints and accuracies, separately per data, seed and epochs;
            None stores nothing.
        device: Device of proxies and short trainings: "cpu", "cuda" or "cuda:N".
        threads: CPU threads of scorers.
        seed: Random seed of scorers and of the bootstrap.
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
    """The networks of a table and the settings to score them with; data are loaded on first use.

    Attributes:
        space: The space that all are members of; None if they have no space in common.
    """

    architectures: Sequence[Architecture]
    space: SearchSpace | None
    settings: RankingSettings
    progress: Progress

    @cached_property
    def data(self) -> Dataset:
        """The images, at the resolution of the networks.

        Raises:
            OptionError: If channels or classes are not those of the networks, or the networks' inputs differ.
        """
        source = open_data(self.settings.data or "digits")
        first = self.architectures[0]
        wanted = {"classes": first.num_classes, "channels": first.input.channels}
        found = {"classes": source.info.num_classes, "channels": source.info.channels}
        for what, count in wanted.items():
            if found[what] != count:
                raise OptionError(
                    f"--data {self.settings.data or 'digits'} has {found[what]} {what}, and the table's networks have "
                    f"{count}: give the data that the table's accuracies are on."
                )
        kinds = [
            f"{each.input.resolution} pixels, {each.input.channels} channels and {each.num_classes} classes"
            for each in self.architectures
        ]
        other = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
        if other is not None:
            raise OptionError(
                f"The table's networks must have equal inputs and classes: the first is for {kinds[0]}, number "
                f"{other + 1} for {kinds[other]}. Rank each kind in a table of its own."
            )
        return source.load(resolution=first.input.resolution, seed=self.settings.seed)

    @cached_property
    def ledger(self) -> Ledger:
        """The stored values of the networks on these data."""
        settings = self.settings
        # Another kind of device rounds differently and takes other times.
        elsewhere = {} if settings.device == "cpu" else {"device": settings.device.split(":")[0]}
        name = "" if settings.work is None else fingerprint(self.data, seed=settings.seed, **elsewhere)
        return Ledger(None if settings.work is None else settings.work / name)

    @property
    def recalled_seconds(self) -> float:
        """CPU seconds that other processes spent on the stored values used here."""
        return self.__dict__["ledger"].recalled if "ledger" in self.__dict__ else 0.0
