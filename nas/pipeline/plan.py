"""Planning a search, or the training of one network, for this machine and this data."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import median_low

from nas.budget import Cost
from nas.data import DataInfo, choose_augment
from nas.errors import OptionError
from nas.machine import available_cores
from nas.methods.protocol.plan import (
    FINALISTS_SHARE,
    SEARCH_SHARE,
    MethodPlan,
    Plan,
    Planned,
    Workload,
    images_per_second,
    within,
)
from nas.options import SearchOptions
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import learning_rate_for
from nas.training.device import choose_device, choose_dtype

# An odd number: few, since a budget may be measured.
_TYPICAL = 9
_SMALL_DATA, _SHORT_SECONDS, _LONG_SECONDS = 5000, 480.0, 3600.0


def make_plan(
    options: SearchOptions,
    info: DataInfo,
    *,
    resolution: int,
    stride: int,
    cost: Cost,
    misfit: Callable[[int], str | None] = lambda _: None,
    phase: str | None = None,
    plan_method: Callable[[Workload], Planned] = lambda _: Planned(own=MethodPlan(), trial_seconds=0.0, trials=1),
) -> Plan:
    """Plans a search, or the training of one network (`nas train` reads what concerns finalists).

    Args:
        resolution: What budgets are counted at.
        stride: How many times smaller the last feature map is than the image.
        cost: Of a typical feasible network, at that resolution.
        misfit: Says of an image side why networks cannot be built for it, such as windows that do not divide a map.
        phase: What the method trains first.
        plan_method: The method's part of the plan.

    Raises:
        OptionError: If a device or resolution cannot be had.
    """
    device = choose_device(options.device)
    threads, gpu = options.threads or available_cores(), device.startswith("cuda")
    images = max(1, round(info.train_count * 0.8))
    seconds = _SHORT_SECONDS if images < _SMALL_DATA else _LONG_SECONDS

    def rate_at(side: int, threads: int = threads) -> float:
        return images_per_second(cost.macs * (side / resolution) ** 2, gpu=gpu, threads=threads)

    size = options.train_resolution or _train_resolution(
        info, resolution, stride, epochs=lambda side: rate_at(side) * seconds / images
    )
    if size != resolution:
        size = _fitting(size, misfit, given=options.train_resolution is not None)
    rate = rate_at(size)
    finalists, finalist_epochs = _finalists(options, seconds * FINALISTS_SHARE * rate / images)
    planned = plan_method(
        Workload(
            options=options,
            images=images,
            train_count=info.train_count,
            seconds=seconds,
            rate=rate,
            scoring_rate=rate_at(size, options.job_threads),
            gpu=gpu,
            finalist_epochs=finalist_epochs,
        )
    )
    finalists, finalist_epochs = planned.finalists or (finalists, finalist_epochs)
    each = planned.trial_seconds
    trials = options.trials or planned.trials or within(round(seconds * SEARCH_SHARE / each), 24, 240)
    batch_size = options.batch_size or (32 if images < 3000 else 64 if images < 20_000 else 128)
    return Plan(
        device=device,
        dtype=choose_dtype(options.dtype, device),
        threads=threads,
        job_threads=options.job_threads,
        resolution=resolution,
        train_resolution=size,
        batch_size=batch_size,
        trials=trials,
        population=min(16, max(4, trials // 6)),
        finalists=min(finalists, trials),
        finalist_epochs=finalist_epochs,
        learning_rate=learning_rate_for(cost.params, batch_size),
        augment=choose_augment(options.augment, info),
        seconds={
            **({} if phase is None else {phase: planned.training_seconds}),
            "search": planned.setup_seconds + trials * each / (options.workers or 1),
            "finalists": finalists * finalist_epochs * images / rate,
        },
        method=planned.own,
    )


def typical_cost(sampler: BudgetSampler) -> Cost:
    """The median multiply-adds and the median parameters of a few feasible architectures, the same at every call."""
    rng = random.Random(0)
    costs = [sampler.sample(rng).cost for _ in range(_TYPICAL)]
    return Cost(macs=median_low(cost.macs for cost in costs), params=median_low(cost.params for cost in costs))


def _finalists(options: SearchOptions, affordable: float) -> tuple[int, int]:
    """How many finalists, and epochs of each, given the epochs that all together can be trained for."""
    count = options.finalists or (8 if affordable / 8 >= 10 else 3)
    return count, options.finalist_epochs or within(round(affordable / count), 6, 60)


def _train_resolution(info: DataInfo, counted: int, stride: int, *, epochs: Callable[[int], float]) -> int:
    """The images' own size, rounded up to the stride and no more than is counted; less where it would not pay.

    Images much larger than a whole training can afford are reduced, down to two strides or 64 pixels.

    Args:
        epochs: How many can be trained at an image side in the whole time.
    """
    size = min(counted, max(stride, 32, math.ceil(max(info.height, info.width) / stride) * stride))
    least = min(size, max(2 * stride, 64))
    while size > least and epochs(size) < 30:
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
