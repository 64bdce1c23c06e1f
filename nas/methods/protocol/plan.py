"""The plan of a search: values for all options that the user left open, for this machine and data.

Without `--time`, a plan depends only on the options, the data's size, the space and the number of cores, never on a
timing, so the same command on a similar machine does the same work. The rates below are measured training speeds of
one core and one GPU; they determine the amount of work, not its results. With `--time`, the plan depends on the
measured training speed, which is recorded: a resumed run keeps its plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from nas.data import Augment
from nas.errors import RunError
from nas.formats import is_rival
from nas.options import SearchOptions
from nas.run.schema import check_fields
from nas.training import Recipe, learning_rate_for
from nas.training.device import choose_device
from nas.training.standalone import RECALIBRATION_IMAGES

_CURVE_POINTS = 4
# Multiply-adds of training (three times the forward's) a second: small layers leave most of a core idle.
_CPU_RATE, _GPU_RATE, _RATE_AT = 9e9, 2e12, 5e6
TRAINING_SHARE, SEARCH_SHARE = 0.4, 0.15
"""Shares of the planned time for the method's own training, if any, and for the search; finalists have the rest."""
FEWEST_FINALISTS, FINALISTS, MOST_FINALISTS = 2, 4, 8
"""One by score, one by each of two counts, one at random; with more time more by score, with less only the best by
score and the largest by parameters."""
LEAST_EPOCHS, _LONG_EPOCHS, MOST_EPOCHS = 6, 24, 60
"""Of a finalist where the user says nothing; there are more than four once all can have the second number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPlan:
    """The method's own part of a plan; a method that has one declares it in a subclass."""


P = TypeVar("P", bound=MethodPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every number of a run that depends on the machine or the data.

    Attributes:
        resolution: Resolution at which costs are counted; networks are trained and scored at `train_resolution`.
        population: Batch size of the searcher: architectures that are proposed and observed together.
        job_threads: CPU threads of one scoring job.
        rival_epochs: Epochs of each rival; those of a finalist unless others are asked for.
        learning_rate: Learning rate of shared weights; a network trained alone has its own.
        seconds: Estimated time of each phase.
        images_per_second: Training speed measured for this plan; None if not measured.
        method: The method's own part.
    """

    device: str
    dtype: str
    threads: int
    job_threads: int
    resolution: int
    train_resolution: int
    batch_size: int
    trials: int
    population: int
    finalists: int
    finalist_epochs: int
    rival_epochs: int
    learning_rate: float
    augment: Augment
    seconds: dict[str, float]
    images_per_second: float | None
    method: MethodPlan

    def of(self, kind: type[P]) -> P:
        """Returns the method's own part of the plan, which must be of this class."""
        assert isinstance(self.method, kind), f"the plan is of {type(self.method).__name__}, not {kind.__name__}"
        return self.method

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], kind: type[MethodPlan], where: Path) -> Plan:
        """Restores a plan that `to_dict` wrote.

        Args:
            kind: Class of the method's own part.
            where: The run that it was read from.

        Raises:
            RunError: If another version wrote it.
            OptionError: If this machine lacks its device.
        """
        _check_names(cls, plain, where)
        own = plain["method"]
        if not isinstance(own, Mapping):
            raise RunError(f"{where} is damaged: its plan has no numbers of the method. Restore events.jsonl.")
        _check_names(kind, own, where)
        check_fields(cls, {name: value for name, value in plain.items() if name != "method"}, where, least=1)
        check_fields(kind, own, where)
        choose_device(plain["device"], remedy=f"Continue {where} on a machine that has it.")
        return cls(**{**plain, "method": kind(**own)})

    def trains_alike(self, chosen_by: str) -> bool:
        """Returns whether a network that was chosen so trains for as many epochs as finalists."""
        return not is_rival(chosen_by) or self.rival_epochs == self.finalist_epochs

    @property
    def proxy_device(self) -> str:
        """The device on which zero-cost proxies are computed; some need float64, which MPS lacks."""
        return self.device if self.device.startswith("cuda") else "cpu"

    def recipe(self, *, epochs: int, seed: int, params: int | None = None) -> Recipe:
        """Returns the recipe for a training in this search.

        Args:
            params: Parameters of a network trained alone, which determine its learning rate; None for shared weights.
        """
        own = self.learning_rate if params is None else learning_rate_for(params, self.batch_size)
        return Recipe(
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=own,
            augment=self.augment,
            dtype=self.dtype,
            device=self.device,
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The inputs from which a method plans its own part.

    Attributes:
        images: Training images.
        held_out: Search-validation images.
        seconds: Time for the whole search, from the method's training to that of the finalists.
        training_share: Share of that time for the method's training before the search.
        macs: Multiply-adds of a typical network, at the image side of training.
        rate: Training speed in images per second of such a network, with all threads.
        scoring_rate: The same with the threads of one scoring job, whatever the number of workers, which must not
            influence which networks are scored.
        rivals: Of each rival, how long an epoch takes as a share of that of a typical network.
    """

    options: SearchOptions
    images: int
    held_out: int
    seconds: float
    training_share: float
    macs: float
    rate: float
    scoring_rate: float
    gpu: bool
    rivals: tuple[float, ...] = ()

    @property
    def affordable(self) -> float:
        """Number of images that the method can train on before the search."""
        return self.seconds * self.training_share * self.rate

    @property
    def validating(self) -> float:
        """Cost of validating a trained network, with BatchNorm recalibration, in epochs of training."""
        return (min(RECALIBRATION_IMAGES, self.images) + self.held_out) / (3 * self.images)

    @property
    def rivals_beside(self) -> float:
        """Returns how many typical networks the rivals are worth that train for as many epochs as finalists."""
        return sum(self.rivals) if self.options.rival_epochs is None else 0.0

    def finalists(self, affordable: float) -> tuple[int, int]:
        """Returns the number of finalists and the epochs of each.

        Args:
            affordable: Epochs that all of them, and the rivals beside them, may take together.
        """
        beside = self.rivals_beside
        if self.options.finalists is None:
            enough = int(affordable / (LEAST_EPOCHS + self.validating) - beside)
            many = affordable / (MOST_FINALISTS + beside) >= _LONG_EPOCHS + self.validating
            count = MOST_FINALISTS if many else within(enough, FEWEST_FINALISTS, FINALISTS)
        else:
            count = self.options.finalists
        # Without --time there is no promise to keep, and fewer epochs would say little.
        least = LEAST_EPOCHS if self.options.time is None else 1
        each = affordable / (count + beside)
        epochs = within(int(each - self.validating), least, MOST_EPOCHS)
        while epochs > least and epochs + (1 + len(epochs_validated(epochs))) * self.validating > each:
            epochs -= 1
        return count, self.options.finalist_epochs or epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The result of a method's planning.

    Attributes:
        own: The method's own part of the plan.
        training_seconds: Time of its training before the search.
        before: Time of each of its phases before that one, by name.
        setup_seconds: Time of its preparation before the first architecture is scored.
        trial_seconds: Time to score one architecture.
        trials: Default number of architectures to score; None for as many as the time allows.
        known: Number of these that are measured before the search, and take no time in it.
        finalists: Number of finalists and epochs of each; None for what the rest of the time allows.
        epoch_cost: Time of a finalist's epoch as a share of that of training alone, such as with a teacher.
        shared_seconds: Part of `before` whose results the rivals begin with, too.
    """

    own: MethodPlan
    training_seconds: float = 0.0
    before: Mapping[str, float] = field(default_factory=dict)
    setup_seconds: float = 0.0
    trial_seconds: float
    trials: int | None = None
    known: int = 0
    finalists: tuple[int, int] | None = None
    epoch_cost: float = 1.0
    shared_seconds: float = 0.0


def images_per_second(macs: float, *, gpu: bool, threads: int) -> float:
    """Returns the training speed in images per second; larger networks use a machine better.

    Args:
        macs: Multiply-adds of a typical network's forward pass at the training resolution.
    """
    rate = _GPU_RATE if gpu else _CPU_RATE * threads
    return rate * (max(macs, 1e5) / _RATE_AT) ** 0.2 / (3 * max(macs, 1e5))


def epochs_validated(epochs: int) -> set[int]:
    """Returns the epochs before the last after which a finalist is validated, for its curve in the report.

    They are few, since validating costs up to a third of an epoch: at most four, and none of short trainings.
    """
    points = min(_CURVE_POINTS, epochs // _CURVE_POINTS - 1)
    return {round(epochs * i / (points + 1)) for i in range(1, points + 1)}


def within(value: int, low: int, high: int) -> int:
    """Clips `value` to the range from `low` to `high`."""
    return max(low, min(high, value))


def _check_names(kind: type[Any], plain: Mapping[str, Any], where: Path) -> None:
    names = {each.name for each in fields(kind)}
    differing = sorted({*plain} ^ names)
    if differing:
        raise RunError(
            f"{where} was planned by another version of hybrid-nas ({differing[0]!r} is not in both): continue it with "
            "that version, or start a new run."
        )
