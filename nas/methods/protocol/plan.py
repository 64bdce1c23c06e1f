"""What a search will do on this machine with this data: every number that the user left open.

A plan follows from the options, the data's size, the space and the number of cores alone, never from a timing, so the
same command on a like machine does the same work. The rates below are what one core and one GPU were seen to train
at; they decide how much work is planned, not what any result says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from nas.budget import Cost
from nas.data import Augment, DataInfo, Dataset, choose_augment
from nas.errors import OptionError, RunError
from nas.machine import available_cores
from nas.options import BLOCKWISE, COUNTED, DISTILLING, UNTRAINED, SearchOptions
from nas.run.schema import check_fields
from nas.training import Recipe, learning_rate_for

# Multiply-adds of training (three times the forward's) a second: small layers leave most of a core idle.
_CPU_RATE, _GPU_RATE, _RATE_AT = 9e9, 2e12, 5e6
_SMALL_DATA, _SHORT_SECONDS, _LONG_SECONDS = 5000, 480.0, 3600.0
FLOOR = 0.5
"""The least share of the budget that trains the supernet; `--supernet` can then search half the budget."""
_PATHS, _LEAST_IMAGES = 4, 2000
"""Of a block-wise search: paths per cell and step, as BossNAS has them for HyTra; images that train at least."""
_PROXY_IMAGES = 400
"""All zero-cost proxies of one network took as long as training it on so many images, or fewer."""
_COUNTING_SECONDS = 0.01
_SHARES = {"supernet": 0.4, "search": 0.15, "finalists": 0.45}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every number of a run that depends on the machine or the data.

    Attributes:
        resolution: What budgets are counted at; `train_resolution` is what networks are trained and scored at.
        floor: The least share of the budget that networks use which train the supernet. It is below the share that
            proposals use, so that the supernet can serve lower budgets too.
        population: Architectures asked for, and told, together.
        job_threads: CPU threads of one scoring job.
        seconds: What each phase is expected to take.
        calibration: Of a search that scores by proxies: `reference` networks that scores are relative to, and for the
            scorer "calibrated" trainings of so many `epochs` that cost what so many average `trainings` do; else empty.
        blocks: Of a block-wise search: `paths` per cell and step, `images` that train, and the widths of projector and
            predictor, `hidden` and `features`; else empty.
        teacher: Of block-wise distillation: the teacher's `path`, and the digests of its `architecture` and of its
            weights, `sha256`; else empty.
    """

    device: str
    dtype: str
    threads: int
    job_threads: int
    resolution: int
    train_resolution: int
    batch_size: int
    strategy: str
    epochs: int
    watch_every: int
    trials: int
    population: int
    recalibration_images: int
    validation_images: int
    finalists: int
    finalist_epochs: int
    learning_rate: float
    augment: Augment
    floor: float
    seconds: dict[str, float]
    blocks: dict[str, int] = field(default_factory=dict[str, int])
    calibration: dict[str, int] = field(default_factory=dict[str, int])
    teacher: dict[str, str] = field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], where: Path) -> Plan:
        """The plan that `to_dict` wrote.

        Raises:
            RunError: If another version wrote it.
            OptionError: If this machine lacks its device.
        """
        names = {field.name: field.default_factory is MISSING for field in fields(cls)}
        differing = sorted({*plain} - {*names} | {name for name, needed in names.items() if needed} - {*plain})
        if differing:
            raise RunError(
                f"{where} was planned by another version of hybrid-nas ({differing[0]!r} is not in both): go on with "
                "that version, or start a new run."
            )
        check_fields(cls, plain, where, least=1)
        choose_device(plain["device"], remedy=f"Go on with {where} on a machine that has it.")
        return cls(**plain)

    @property
    def proxy_device(self) -> str:
        """Where zero-cost proxies look at networks; some need float64, which MPS lacks."""
        return self.device if self.device.startswith("cuda") else "cpu"

    def recipe(self, *, epochs: int, seed: int) -> Recipe:
        """The recipe for the supernet or for a finalist."""
        return Recipe(
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            augment=self.augment,
            dtype=self.dtype,
            device=self.device,
            seed=seed,
        )


def make_plan(
    options: SearchOptions,
    info: DataInfo,
    *,
    resolution: int,
    stride: int,
    cost: Cost,
    misfit: Callable[[int], str | None] = lambda _: None,
    networks: float = 0,
) -> Plan:
    """Plans a search, or the training of one network (`nas train` reads what concerns finalists).

    Args:
        resolution: What budgets are counted at.
        stride: How many times smaller the last feature map is than the image.
        cost: Of a typical network in range, at that resolution.
        misfit: Says of an image side why networks cannot be built for it, such as windows that do not divide a map.
        networks: Of a block-wise search: as many whole networks cost what scoring all paths does.

    Raises:
        OptionError: If a device or resolution cannot be had.
    """
    device = choose_device(options.device)
    threads = options.threads or available_cores()
    counted, macs = resolution, cost.macs
    images = max(1, round(info.train_count * 0.8))
    budget = _SHORT_SECONDS if images < _SMALL_DATA else _LONG_SECONDS
    size = options.train_resolution or _train_resolution(info, counted, stride, macs, images, budget, device, threads)
    if size != counted:
        size = _fitting(size, misfit, given=options.train_resolution is not None)
    rate = _images_per_second(macs * (size / counted) ** 2, device, threads)
    batch_size = options.batch_size or (32 if images < 3000 else 64 if images < 20_000 else 128)
    affordable = budget * _SHARES["supernet"] * rate / images
    # The sandwich costs four networks a step. In short trainings single paths got further for the same work
    # (docs/decisions/0002-supernet-training.md), so it is for those who can pay for both many steps and four networks.
    strategy = options.strategy or ("sandwich" if affordable >= 240 else "single-path")
    members = 4 if strategy == "sandwich" else 1
    epochs = options.epochs or _within(round(affordable / members), 4, 60)
    # By loss, 1,000 images order networks as well as all do; by accuracy all are needed (experiments/recalibration).
    enough = 1000 if options.scoring == "supernet-loss" else 5000
    recalibration, validation = 512, min(enough, max(1, round(info.train_count * 0.2)))
    # By the threads of one job, whatever the number of workers: that must not change which networks are looked at.
    scoring_rate = _images_per_second(macs * (size / counted) ** 2, device, options.job_threads)
    each = (recalibration + validation) / (3 * scoring_rate)
    trials = options.trials or _within(round(budget * _SHARES["search"] / each), 24, 240)
    left = budget * _SHARES["finalists"] * rate / images
    finalists = options.finalists or (8 if left / 8 >= 10 else 3)
    finalist_epochs = options.finalist_epochs or _within(round(left / finalists), 6, 60)
    plan = Plan(
        device=device,
        dtype=choose_dtype(options.dtype, device),
        threads=threads,
        job_threads=options.job_threads,
        resolution=counted,
        train_resolution=size,
        batch_size=batch_size,
        strategy=strategy,
        epochs=epochs,
        watch_every=max(1, epochs // 8),
        trials=trials,
        population=min(16, max(4, trials // 6)),
        recalibration_images=recalibration,
        validation_images=validation,
        finalists=min(finalists, trials),
        finalist_epochs=finalist_epochs,
        learning_rate=learning_rate_for(cost.params, batch_size),
        augment=choose_augment(options.augment, info),
        floor=min(FLOOR, options.aim),
        seconds={
            "supernet": epochs * members * images / rate,
            "search": trials * each / (options.workers or 1),
            "finalists": finalists * finalist_epochs * images / rate,
        },
        blocks={},
    )
    if strategy in BLOCKWISE:
        return _blockwise(plan, options, images, rate, budget, networks)
    return _untrained(plan, options, images, rate, scoring_rate, budget) if options.scoring in UNTRAINED else plan


def _untrained(
    plan: Plan, options: SearchOptions, images: int, rate: float, scoring_rate: float, budget: float
) -> Plan:
    """The plan of a search without a supernet: what would train it goes to short trainings, if the scorer wants any."""
    affordable = budget * _SHARES["supernet"] * rate
    counting = options.scoring in COUNTED
    reference = 0 if counting else _within(round(0.25 * affordable / _PROXY_IMAGES), 24, 128)
    trainings = options.calibrations or 12
    most = max(1, plan.finalist_epochs // 2)
    epochs = options.calibration_epochs or _within(round(0.75 * affordable / (trainings * images)), 1, most)
    short = {"trainings": min(trainings, reference), "epochs": epochs} if options.scoring == "calibrated" else {}
    each = _COUNTING_SECONDS if counting else _PROXY_IMAGES / scoring_rate
    trials = options.trials or _within(round(budget * _SHARES["search"] / each), 24, 240)
    return replace(
        plan,
        epochs=epochs,
        watch_every=max(1, epochs // 8),
        trials=trials,
        population=min(16, max(4, trials // 6)),
        finalists=min(plan.finalists, trials),
        seconds={
            "calibration": reference * each + short.get("trainings", 0) * epochs * images / rate,
            "search": trials * each / (options.workers or 1),
            "finalists": plan.seconds["finalists"],
        },
        calibration={"reference": reference, **short} if reference else {},
    )


def _blockwise(plan: Plan, options: SearchOptions, images: int, rate: float, budget: float, networks: float) -> Plan:
    """The plan of a block-wise search, which trains blocks for so many epochs each and proposes without scoring.

    Where one epoch is more than can be afforded, fewer images train.
    """
    gpu = plan.device.startswith("cuda")
    recalibration, validation = (
        (512, min(2048, plan.validation_images)) if gpu else (256, min(512, plan.validation_images))
    )
    # Two views of every path forth and back, in the target only forth: 2 x (3 + 1) forward passes of each block; `rate`
    # is of three. A teacher sees one view, once.
    distilling = options.strategy == DISTILLING
    passes = (3 * _PATHS + 1) / 3 if distilling else 2 * 4 * _PATHS / 3
    affordable = budget * _SHARES["supernet"] * rate / (passes * images)
    epochs = options.epochs or _within(round(affordable), 1, 60)
    used = images if options.epochs or affordable >= 1 else min(images, max(_LEAST_IMAGES, round(affordable * images)))
    left = budget * _SHARES["finalists"] * rate / images
    finalists = options.finalists or (8 if left / 8 >= 10 else 3 if left >= 6 else 1)
    finalist_epochs = options.finalist_epochs or _within(round(left / finalists), 2, 60)
    trials = options.trials or 200
    return replace(
        plan,
        epochs=epochs,
        trials=trials,
        population=min(16, max(4, trials // 6)),
        recalibration_images=recalibration,
        validation_images=validation,
        finalists=min(finalists, trials),
        finalist_epochs=finalist_epochs,
        seconds={
            "supernet": (epochs * passes * used + networks * (recalibration + validation) / 3) / rate,
            "search": 0.01 * trials,
            "finalists": finalists * finalist_epochs * images / rate,
        },
        # The heads of the original are made for maps of 2,048 channels on GPUs.
        blocks={
            "paths": _PATHS,
            "images": used,
            **({} if distilling else {"hidden": 4096 if gpu else 1024, "features": 256}),
        },
    )


def describe_data(data: Dataset) -> str:
    """A data set in a few words: its name, how many images trained, how many classes."""
    return f"{data.info.name} ({len(data.train):,} training images, {data.info.num_classes} classes)"


def choose_device(wanted: str, *, remedy: str = "Use --device cpu.") -> str:
    """The device that "auto" or a name stands for.

    Raises:
        OptionError: If this machine or this build of torch has no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }.get(wanted.split(":")[0], False)
    if not there:
        raise OptionError(f"--device {wanted}: this machine's torch {torch.__version__} has none. {remedy}")
    return wanted


def choose_dtype(wanted: str, device: str) -> str:
    """The dtype of forward passes: bfloat16 on GPUs; float32 on CPUs, where bfloat16 gains little on small layers."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if device.startswith("cuda") else "float32"


def _train_resolution(
    info: DataInfo,
    counted: int,
    stride: int,
    macs: int,
    images: int,
    budget: float,
    device: str,
    threads: int,
) -> int:
    """The images' own size, rounded up to the stride and no more than is counted; less where it would not pay.

    Images much larger than a whole training can afford are reduced, down to two strides or 64 pixels.
    """
    size = min(counted, max(stride, 32, math.ceil(max(info.height, info.width) / stride) * stride))
    least = min(size, max(2 * stride, 64))
    while size > least and images / _images_per_second(macs * (size / counted) ** 2, device, threads) > budget / 30:
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


def _images_per_second(macs: float, device: str, threads: int) -> float:
    """Images a second in training; larger networks use a machine better."""
    rate = _GPU_RATE if device.startswith("cuda") else _CPU_RATE * threads
    return rate * (max(macs, 1e5) / _RATE_AT) ** 0.2 / (3 * max(macs, 1e5))


def _within(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
