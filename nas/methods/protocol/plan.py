"""The plan of a search: every number that the user left open, for this machine and this data.

Without `--time` a plan's work follows from the options, the data's size, the space and the number of cores alone,
never from a timing, so the same command on a like machine does the same work. The rates below are what one core and
one GPU were seen to train at; they decide how much work is planned, not what any result says. With `--time` the work
follows from the rate that was measured, which is on record: a resumed run keeps its plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from nas.data import Augment
from nas.errors import RunError
from nas.options import SearchOptions
from nas.run.schema import check_fields
from nas.training import Recipe, learning_rate_for
from nas.training.device import choose_device
from nas.training.standalone import RECALIBRATION_IMAGES

# Multiply-adds of training (three times the forward's) a second: small layers leave most of a core idle.
_CPU_RATE, _GPU_RATE, _RATE_AT = 9e9, 2e12, 5e6
TRAINING_SHARE, SEARCH_SHARE = 0.4, 0.15
"""Of the time planned for a search: what its method trains first, if anything, and the search; finalists have the
rest."""
FEWEST_FINALISTS, FINALISTS, MOST_FINALISTS = 2, 4, 8
"""By score, by either count, at random; with more time more by score, with less the best by score and by parameters."""
LEAST_EPOCHS, _LONG_EPOCHS, MOST_EPOCHS = 6, 24, 60
"""Of a finalist where the user says nothing; there are more than four once all can have the second number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPlan:
    """The numbers of a search that belong to its method; a method that has some declares them in a subclass."""


P = TypeVar("P", bound=MethodPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every number of a run that depends on the machine or the data.

    Attributes:
        resolution: What budgets are counted at; `train_resolution` is what networks are trained and scored at.
        population: Architectures that are proposed, and observed, together.
        job_threads: CPU threads of one scoring job.
        learning_rate: Of weights that networks share; a network trained alone has its own.
        seconds: What each phase is expected to take.
        images_per_second: The rate of training that was measured for this plan; None where none was.
        method: The method's own numbers.
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
    learning_rate: float
    augment: Augment
    seconds: dict[str, float]
    images_per_second: float | None
    method: MethodPlan

    def of(self, kind: type[P]) -> P:
        """The numbers of the method, which are of this kind."""
        assert isinstance(self.method, kind), f"the plan is of {type(self.method).__name__}, not {kind.__name__}"
        return self.method

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], kind: type[MethodPlan], where: Path) -> Plan:
        """The plan that `to_dict` wrote.

        Args:
            kind: Of the method's own numbers.
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

    @property
    def proxy_device(self) -> str:
        """Where zero-cost proxies are computed; some need float64, which MPS lacks."""
        return self.device if self.device.startswith("cuda") else "cpu"

    def recipe(self, *, epochs: int, seed: int, params: int | None = None) -> Recipe:
        """The recipe for whatever is trained in this search.

        Args:
            params: Of the network that is trained alone, whose learning rate follows from its size; None for weights
                that networks share.
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
    """What a method plans its own part with.

    Attributes:
        images: Training images.
        held_out: Search-validation images.
        seconds: How long the search may take, from its method's training to its finalists'.
        training_share: Of that, what the method trains before the search may take.
        rate: Images a second in training, with all threads.
        scoring_rate: The same on the threads of one scoring job, whatever the number of workers: that must not decide
            which networks are looked at.
    """

    options: SearchOptions
    images: int
    held_out: int
    seconds: float
    training_share: float
    rate: float
    scoring_rate: float
    gpu: bool

    @property
    def affordable(self) -> float:
        """Images that can be trained on before the search."""
        return self.seconds * self.training_share * self.rate

    @property
    def validating(self) -> float:
        """The epochs that one validation of a trained network costs, BatchNorm recalibrated before it."""
        return (min(RECALIBRATION_IMAGES, self.images) + self.held_out) / (3 * self.images)

    def finalists(self, affordable: float) -> tuple[int, int]:
        """The number of finalists and the epochs of each, given the epochs that can be spent on all together."""
        if self.options.finalists is None:
            enough = int(affordable / (LEAST_EPOCHS + self.validating))
            many = affordable / MOST_FINALISTS >= _LONG_EPOCHS + self.validating
            count = MOST_FINALISTS if many else within(enough, FEWEST_FINALISTS, FINALISTS)
        else:
            count = self.options.finalists
        # Without --time there is no promise to keep, and fewer epochs would say little.
        least = LEAST_EPOCHS if self.options.time is None else 1
        epochs = within(int(affordable / count - self.validating), least, MOST_EPOCHS)
        return count, self.options.finalist_epochs or epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a method plans.

    Attributes:
        own: Its own numbers.
        training_seconds: Of what it trains first.
        setup_seconds: Of what it does before it scores the first architecture.
        trial_seconds: Of scoring one architecture.
        trials: Architectures to score where the user says nothing; None is as many as can be afforded.
        known: Of these, how many will have been measured before the search, and take no time in it.
        finalists: Their number and the epochs of each; None is what the rest of the time allows.
    """

    own: MethodPlan
    training_seconds: float = 0.0
    setup_seconds: float = 0.0
    trial_seconds: float
    trials: int | None = None
    known: int = 0
    finalists: tuple[int, int] | None = None


def images_per_second(macs: float, *, gpu: bool, threads: int) -> float:
    """Images a second in training; larger networks use a machine better.

    Args:
        macs: Of a typical network's forward pass, at the resolution of training.
    """
    rate = _GPU_RATE if gpu else _CPU_RATE * threads
    return rate * (max(macs, 1e5) / _RATE_AT) ** 0.2 / (3 * max(macs, 1e5))


def within(value: int, low: int, high: int) -> int:
    """The number nearest to `value` from `low` to `high`."""
    return max(low, min(high, value))


def _check_names(kind: type[Any], plain: Mapping[str, Any], where: Path) -> None:
    names = {each.name for each in fields(kind)}
    differing = sorted({*plain} ^ names)
    if differing:
        raise RunError(
            f"{where} was planned by another version of hybrid-nas ({differing[0]!r} is not in both): continue it with "
            "that version, or start a new run."
        )
