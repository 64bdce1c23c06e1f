"""Planning a search, or the training of one network, for this machine and this data."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median_low
from typing import TypeAlias

from nas.budget import Cost
from nas.data import DataInfo, choose_augment
from nas.errors import OptionError
from nas.machine import available_cores
from nas.methods.protocol.plan import (
    FINALISTS,
    MOST_EPOCHS,
    MOST_FINALISTS,
    SEARCH_SHARE,
    TRAINING_SHARE,
    MethodPlan,
    Plan,
    Planned,
    Workload,
    epochs_validated,
    images_per_second,
    within,
)
from nas.options import SearchOptions, flag, not_default
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import Recipe, learning_rate_for
from nas.training.device import choose_device, choose_dtype
from nas.training.recipe import SHARED

# An odd number: few, since a budget may be measured.
_TYPICAL = 9
ENOUGH = 30
"""Epochs that there should be time for at the image side of training."""
_SMALL_DATA, _SHORT_SECONDS, _LONG_SECONDS = 5000, 720.0, 3600.0
_STARTING_S, _EXPORT_S, _ONNX_S = 6.0, 2.0, 3.0
"""What a search takes for itself on a CPU: reading data, tables and the report; each export, with ONNX or without."""
_LEAST_S = 20.0
_TOO_LONG = 1.15
"""Times the time that was asked for, what a plan may come to: its parts are whole networks and epochs."""
_LONGER = 4
"""Times that a refused plan is made again with the time that it came to, to name one that is enough."""
_MUCH_LESS = 0.7
_UNMEASURED_S = 60.0
"""Searches below this are over before it would pay to measure how long they take."""
Measure: TypeAlias = Callable[[int, Recipe], float]
"""The images a second that typical networks train at, at an image side and by a recipe."""


def make_plan(
    options: SearchOptions,
    info: DataInfo,
    *,
    resolution: int,
    stride: int,
    cost: Cost,
    misfit: Callable[[int], str | None] = lambda _: None,
    phase: str | None = None,
    training_share: float = TRAINING_SHARE,
    least_seconds: float = 0.0,
    plan_method: Callable[[Workload], Planned] = lambda _: Planned(own=MethodPlan(), trial_seconds=0.0, trials=1),
    rivals: Callable[[int], Sequence[Cost]] = lambda _: (),
    measure: Measure | None = None,
    enough: int = ENOUGH,
) -> Plan:
    """Plans a search, or the training of one network (`nas train` reads what concerns finalists).

    Args:
        resolution: What budgets are counted at.
        stride: How many times smaller the last feature map is than the image.
        cost: Of a typical feasible network, at that resolution.
        misfit: Says of an image side why networks cannot be built for it, such as windows that do not divide a map.
        phase: What the method trains first; `training_share` of the time is for it.
        least_seconds: What the method plans for at least where no time is asked for.
        plan_method: The method's part of the plan.
        rivals: Returns the costs of the networks that train beside the finalists, at an image side of training.
        measure: Measures how fast this machine trains; for `--time`, and for what long searches say they take.
        enough: Epochs that the planned time has to suffice for, or else images are reduced.

    Raises:
        OptionError: If a device or resolution cannot be had.
    """
    rates: dict[int, float] = {}

    def measured(side: int, recipe: Recipe) -> float:
        assert measure is not None
        return rates[side] if side in rates else rates.setdefault(side, measure(side, recipe))

    plan_in = partial(
        _plan_in,
        info=info,
        resolution=resolution,
        stride=stride,
        cost=cost,
        misfit=misfit,
        phase=phase,
        training_share=training_share,
        least_seconds=least_seconds,
        plan_method=plan_method,
        rivals=rivals,
        measure=None if measure is None else measured,
        enough=enough,
    )
    plan = plan_in(options)
    if options.time is None or not _is_too_long(plan, options):
        return plan
    # In more time there may be more to train, which takes still more.
    longer = plan
    minutes = 0
    for _ in range(_LONGER):
        minutes = math.ceil(sum(longer.seconds.values()) / 60)
        given = replace(options, time=60 * minutes)
        longer = plan_in(given)
        if not _is_too_long(longer, given):
            break
    asked = f"{options.time}s" if options.time % 60 else f"{options.time // 60}min"
    raise OptionError(
        f"--time {asked} is too short: with these options the least search takes about {minutes}min on this "
        f"machine. Give --time {minutes}min{_others(options)}."
    )


def _plan_in(
    options: SearchOptions,
    *,
    info: DataInfo,
    resolution: int,
    stride: int,
    cost: Cost,
    misfit: Callable[[int], str | None],
    phase: str | None,
    training_share: float,
    least_seconds: float,
    plan_method: Callable[[Workload], Planned],
    rivals: Callable[[int], Sequence[Cost]],
    measure: Measure | None,
    enough: int,
) -> Plan:
    """Makes a plan, however long it takes."""
    machine = _Machine.of(options, info, resolution, cost)
    seconds = max(machine.seconds, least_seconds)
    if options.time is not None:
        seconds = _left(options, FINALISTS)
    size = _training_side(
        options, info, resolution, stride, misfit, affords=lambda side: machine.epochs(seconds, side) >= enough
    )
    measured = None if measure is None or options.time is None else measure(size, machine.recipe)
    # Larger networks use a machine better, as in `images_per_second`.
    beside = tuple((max(1, each.macs) / max(1, cost.macs)) ** 0.8 for each in rivals(size))

    def numbers_in(seconds: float) -> tuple[Workload, Planned, _Numbers]:
        workload = machine.workload(
            options, size, seconds=seconds, training_share=training_share, measured=measured, rivals=beside
        )
        planned = plan_method(workload)
        return workload, planned, _Numbers.of(workload, planned)

    workload, planned, numbers = numbers_in(seconds)
    if options.time is not None and numbers.finalists + len(beside) > FINALISTS:
        workload, planned, numbers = numbers_in(_left(options, numbers.finalists + len(beside)))
    spent = numbers.seconds(workload, planned, phase)
    if measured is None and measure is not None and sum(spent.values()) > _UNMEASURED_S:
        measured = measure(size, machine.recipe)
        spent = {name: value * workload.rate / measured for name, value in spent.items()}
    spent["export"] = _overhead(options, numbers.finalists + len(workload.rivals))
    return Plan(
        device=machine.device,
        dtype=machine.recipe.dtype,
        threads=machine.threads,
        job_threads=options.job_threads,
        resolution=resolution,
        train_resolution=size,
        batch_size=machine.recipe.batch_size,
        trials=numbers.trials,
        population=min(16, max(4, numbers.trials // 6)),
        finalists=numbers.finalists,
        finalist_epochs=numbers.finalist_epochs,
        rival_epochs=numbers.rival_epochs,
        learning_rate=machine.recipe.learning_rate,
        augment=machine.recipe.augment,
        seconds=spent,
        images_per_second=measured,
        method=planned.own,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """What options, data and machine come to before any method is asked.

    Attributes:
        seconds: That a search of so many images is planned to take.
        macs: Of a typical network at an image side.
        rate: The images a second in training at an image side, on all threads or on so many, by rule of thumb.
    """

    device: str
    threads: int
    images: int
    held_out: int
    seconds: float
    recipe: Recipe
    macs: Callable[[int], float]
    rate: Callable[..., float]

    @property
    def gpu(self) -> bool:
        return self.device.startswith("cuda")

    @classmethod
    def of(cls, options: SearchOptions, info: DataInfo, resolution: int, cost: Cost) -> _Machine:
        device = choose_device(options.device)
        threads, gpu = options.threads or available_cores(), device.startswith("cuda")
        images, held_out, _ = info.divided()
        batch_size = options.batch_size or (32 if images < 3000 else 64 if images < 20_000 else 128)

        def macs(side: int) -> float:
            return cost.macs * (side / resolution) ** 2

        def rate(side: int, threads: int = threads) -> float:
            return images_per_second(macs(side), gpu=gpu, threads=threads)

        recipe = Recipe(
            epochs=1,
            batch_size=batch_size,
            learning_rate=learning_rate_for(cost.params, batch_size, base=SHARED),
            augment=choose_augment(options.augment, info),
            dtype=choose_dtype(options.dtype, device),
            device=device,
            seed=options.seed,
        )
        seconds = _SHORT_SECONDS if images < _SMALL_DATA else _LONG_SECONDS
        return cls(
            device=device,
            threads=threads,
            images=images,
            held_out=held_out,
            seconds=seconds,
            recipe=recipe,
            macs=macs,
            rate=rate,
        )

    def epochs(self, seconds: float, side: int) -> float:
        """How many a typical network can be trained for in that time, at an image side."""
        return self.rate(side) * seconds / self.images

    def workload(
        self,
        options: SearchOptions,
        side: int,
        *,
        seconds: float,
        training_share: float,
        measured: float | None,
        rivals: tuple[float, ...],
    ) -> Workload:
        """What the method plans with.

        Args:
            measured: The images a second in training; None where the rule of thumb has to do.
        """
        rate = measured or self.rate(side)
        return Workload(
            options=options,
            images=self.images,
            held_out=self.held_out,
            seconds=seconds,
            training_share=training_share,
            macs=self.macs(side),
            rate=rate,
            scoring_rate=rate * self.rate(side, options.job_threads) / self.rate(side),
            gpu=self.gpu,
            rivals=rivals,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """How much a search does.

    Attributes:
        searching: Seconds that the search itself takes.
    """

    trials: int
    searching: float
    finalists: int
    finalist_epochs: int
    rival_epochs: int

    @classmethod
    def of(cls, workload: Workload, planned: Planned) -> _Numbers:
        """What the options leave open: trials by their share of the time, finalists by what the rest allows.

        Raises:
            OptionError: If more finalists than trials are asked for.
        """
        options, seconds, each = workload.options, workload.seconds, planned.trial_seconds
        least = options.finalists or 1
        if options.trials is not None and options.trials < least:
            raise OptionError(
                f"--finalists {least} of --trials {options.trials}: finalists are chosen among the trials. Give "
                f"--trials {least} or --finalists {options.trials}."
            )
        trials = options.trials or planned.trials or within(round(seconds * SEARCH_SHARE / max(each, 1e-9)), 24, 240)
        trials = max(trials, least)
        searching = planned.setup_seconds + max(1, trials - planned.known) * each / (options.fixed_workers() or 1)
        rest = max(0.0, seconds - sum(planned.before.values()) - planned.training_seconds - searching)
        finalists, epochs = planned.finalists or workload.finalists(rest * workload.rate / workload.images)
        rival_epochs = epochs if options.rival_epochs is None else options.rival_epochs
        if isinstance(rival_epochs, str):  # as long as all that the search trains for its finalist
            spent = sum(planned.before.values()) - planned.shared_seconds + planned.training_seconds + searching
            each = planned.epoch_cost * mean(workload.rivals or (1.0,)) * workload.images / workload.rate
            rival_epochs = epochs + round(spent / each)
        return cls(
            trials=trials,
            searching=searching,
            finalists=min(finalists, trials),
            finalist_epochs=epochs,
            rival_epochs=rival_epochs,
        )

    def seconds(self, workload: Workload, planned: Planned, phase: str | None) -> dict[str, float]:
        """What each phase takes up to the exports, the one before the search by the name that its method gives it."""
        at_once = min(self.finalists + len(workload.rivals), workload.options.fixed_workers() or 1)

        def training(networks: float, epochs: int) -> float:
            validations = 1 + len(epochs_validated(epochs))
            images = networks * (epochs * planned.epoch_cost + validations * workload.validating) * workload.images
            return images / workload.rate

        finalists = training(self.finalists, self.finalist_epochs) + training(sum(workload.rivals), self.rival_epochs)
        return {
            **planned.before,
            **({} if phase is None else {phase: planned.training_seconds}),
            "search": self.searching,
            "finalists": finalists / at_once,
        }


def _is_too_long(plan: Plan, options: SearchOptions) -> bool:
    return options.time is not None and sum(plan.seconds.values()) > _TOO_LONG * options.time


def _others(options: SearchOptions) -> str:
    if options.method == "params" or not_default(options.of_method()):
        return ", or a smaller budget or --train-resolution"
    return ", a smaller budget or --train-resolution, or --method params"


def unused_time(plan: Plan, options: SearchOptions) -> str | None:
    """Returns a line where a plan takes much less than the time that was asked for; None where it does not."""
    planned = sum(plan.seconds.values())
    if options.time is None or planned > _MUCH_LESS * options.time:
        return None
    given = [flag(name) for name in ("finalists", "finalist_epochs") if getattr(options, name) is not None]
    if given:
        why = f"{' and '.join(given)} {'say' if given[1:] else 'says'} so. Larger ones"
    elif options.of_method().derives_from is not None:
        why = "none of its trainings is longer unless you ask. --epochs, --parent-epochs and --finalist-epochs"
    else:
        why = (
            f"it has at most {MOST_FINALISTS} finalists of {MOST_EPOCHS} epochs unless you ask. --finalist-epochs, "
            "--finalists and --trials"
        )
    return f"The plan takes {round(planned / 60)} of {round(options.time / 60)} minutes: {why} use more"


def _left(options: SearchOptions, finalists: int) -> float:
    """Seconds of the time asked for that are left for the phases before so many exports."""
    assert options.time is not None
    return max(_LEAST_S, options.time - _overhead(options, finalists))


def _overhead(options: SearchOptions, finalists: int) -> float:
    """Seconds that belong to no phase of training or scoring: starting, exports, the report."""
    return _STARTING_S + finalists * (_EXPORT_S + (0.0 if options.onnx is False else _ONNX_S))


def typical_cost(sampler: BudgetSampler) -> Cost:
    """The median multiply-adds and the median parameters of a few feasible architectures, the same at every call."""
    rng = random.Random(0)
    costs = [sampler.sample(rng).cost for _ in range(_TYPICAL)]
    return Cost(macs=median_low(cost.macs for cost in costs), params=median_low(cost.params for cost in costs))


def _training_side(
    options: SearchOptions,
    info: DataInfo,
    resolution: int,
    stride: int,
    misfit: Callable[[int], str | None],
    *,
    affords: Callable[[int], bool],
) -> int:
    """The image side that networks are trained at: the one given, or else one that pays and that they can be built for.

    Raises:
        OptionError: If networks cannot be built for the one given, or for none.
    """
    given = options.train_resolution
    size = given or _train_resolution(info, resolution, stride, affords=affords)
    return size if size == resolution else _fitting(size, misfit, given=given is not None)


def _train_resolution(info: DataInfo, counted: int, stride: int, *, affords: Callable[[int], bool]) -> int:
    """The images' own size, rounded up to the stride and no more than is counted; less where it would not pay.

    Images much larger than a whole training can afford are reduced, down to two strides or 64 pixels.

    Args:
        affords: Whether the whole time is enough for a training at an image side.
    """
    size = min(counted, max(stride, 32, math.ceil(info.side / stride) * stride))
    least = min(size, max(2 * stride, 64))
    while size > least and not affords(size):
        size = max(least, size - stride)
    return size


def _fitting(size: int, misfit: Callable[[int], str | None], *, given: bool) -> int:
    """The largest image side up to `size` that networks can be built for; another than one given is refused."""
    fault = misfit(size)
    if fault is None:
        return size
    found = next((side for side in range(size - 1, 0, -1) if misfit(side) is None), None)
    if given or found is None:
        remedy = "Give another size." if found is None else f"The next smaller size that works is {found}."
        raise OptionError(f"--train-resolution {size}: {fault} {remedy}")
    return found
