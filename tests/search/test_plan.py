"""Plans: they follow from options, data and machine alone, and do what is asked."""

from __future__ import annotations

import random
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.budget import Budget, Cost
from nas.costs import misfit
from nas.data import DataInfo
from nas.errors import OptionError
from nas.methods.calibrated.planning import FEWEST, TRAININGS, WORTH_IT, CalibratedPlan, least_epochs
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.method import SupernetPlan
from nas.options import METHODS, SearchOptions
from nas.pipeline import plan as plans
from nas.pipeline.plan import make_plan, typical_cost, unused_time
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import learning_rate_for

from ..small_space import small_space

OPTIONS = SearchOptions.of(space="coatnet", threads=2, device="cpu")


def info(side: int = 8, train: int = 1797, channels: int = 1, glyphs: bool = True) -> DataInfo:
    return DataInfo(
        name="x",
        kind="npz",
        num_classes=10,
        class_names=tuple("0123456789"),
        channels=channels,
        height=side,
        width=side,
        train_count=train,
        validation_count=0,
        test_count=0,
        glyphs=glyphs,
        class_counts=(train // 10,) * 10,
    )


def planned(options: SearchOptions = OPTIONS, data: DataInfo | None = None, **given: Any) -> Plan:
    macs, more = given.pop("macs", 4_000_000_000), {name: given.pop(name) for name in ("measure",) if name in given}
    where: dict[str, Any] = {"resolution": 224, "stride": 32, **given}
    method = METHODS[options.method].load()(options.method, options.of_method())
    cost = Cost(macs=macs, params=25_000_000)
    asked = {"phase": method.phase, "training_share": method.training_share, "plan_method": method.plan}
    return make_plan(options, data or info(), **where, cost=cost, **asked, **more)


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_the_same_question_has_the_same_plan() -> None:
    assert planned() == planned()


def test_a_plan_survives_being_written_down() -> None:
    assert Plan.from_dict(planned().to_dict(), CalibratedPlan, Path("here")) == planned()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 7),
        ("trials", 33),
        ("finalists", 5),
        ("finalist_epochs", 9),
        ("train_resolution", 96),
        ("batch_size", 48),
        ("strategy", "single-path"),
        ("strategy", "sandwich"),
        ("threads", 1),
        ("dtype", "bfloat16"),
        ("augment", "none"),
    ],
)
def test_what_a_person_gives_is_what_is_planned(name: str, value: Any) -> None:
    options = SearchOptions.of(**{"space": "coatnet", "threads": 2, "device": "cpu", name: value})
    plan = planned(options)
    assert getattr(plan.method if hasattr(plan.method, name) else plan, name) == value


def test_no_more_finalists_than_trials() -> None:
    assert planned(OPTIONS.replaced(trials=2)).finalists == 2
    with pytest.raises(OptionError, match="--finalists 8 of --trials 2: .* --trials 8 or --finalists 2"):
        planned(OPTIONS.replaced(trials=2, finalists=8))
    assert planned(OPTIONS.replaced(finalists=300)).trials >= 300


def test_small_images_train_at_a_lower_resolution_than_the_budget_counts() -> None:
    plan = planned()
    assert plan.resolution == 224
    assert plan.train_resolution < 224
    assert plan.train_resolution % 32 == 0


def test_images_are_never_enlarged_beyond_what_is_counted() -> None:
    small = planned(data=info(side=300, train=500), resolution=32, stride=8, macs=100_000)
    assert small.train_resolution == 32


@pytest.mark.parametrize("train", [60, 1797, 50_000, 1_300_000])
@pytest.mark.parametrize("macs", [1_000_000, 4_000_000_000])
@pytest.mark.parametrize(("method", "phase"), [("calibrated", "calibration"), ("supernet", "supernet")])
def test_every_figure_is_usable(train: int, macs: int, method: str, phase: str) -> None:
    plan = planned(OPTIONS.replaced(method=method), data=info(side=224, train=train, channels=3), macs=macs)
    for part in (plan, plan.method):
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, int | float):
                assert value > 0 or part.trainings == 0, field.name
    assert set(plan.seconds) == {phase, "search", "finalists", "export"}
    if isinstance(plan.method, SupernetPlan):
        assert plan.method.watch_every <= plan.method.epochs
    assert plan.population <= max(plan.trials, 4)


@pytest.mark.parametrize(("scorer", "images"), [("accuracy", 5000), ("loss", 1000)])
def test_a_supernet_scores_on_as_many_images_as_its_metric_needs(scorer: str, images: int) -> None:
    options = OPTIONS.replaced(method="supernet", scorer=scorer)
    assert planned(options, info(train=50_000)).of(SupernetPlan).validation_images == images
    assert planned(options, info(train=1000)).of(SupernetPlan).validation_images == 160


def test_more_cores_never_plan_less_work() -> None:
    # On one thread there is no time for a calibration, and counted scores cost nothing.
    few, many = (planned(OPTIONS.replaced(threads=threads)) for threads in (4, 16))
    assert many.trials >= few.trials
    assert many.train_resolution >= few.train_resolution


def test_digits_and_grey_images_are_not_mirrored() -> None:
    assert planned().augment == "crop"
    assert planned(data=info(channels=3, glyphs=False)).augment == "crop-flip"


@pytest.mark.usefixtures("with_cuda")
def test_a_gpu_is_used_where_there_is_one() -> None:
    plan = planned(OPTIONS.replaced(device="auto"))
    assert (plan.device, plan.dtype) == ("cuda", "bfloat16")
    assert planned(OPTIONS).device == "cpu"


def test_without_a_gpu_auto_is_the_cpu_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plan = planned(OPTIONS.replaced(device="auto"))
    assert (plan.device, plan.dtype) == ("cpu", "float32")
    with pytest.raises(OptionError, match=r"--device cuda: .* has none\. Use --device cpu\."):
        planned(OPTIONS.replaced(device="cuda"))


def test_threads_left_open_are_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "available_cores", lambda: 3)
    assert planned(OPTIONS.replaced(threads=None)).threads == 3


def test_a_recipe_has_the_plan_s_figures() -> None:
    plan = planned()
    recipe = plan.recipe(epochs=4, seed=9)
    assert (recipe.epochs, recipe.seed) == (4, 9)
    for name in ("batch_size", "learning_rate", "augment", "dtype", "device"):
        assert getattr(recipe, name) == getattr(plan, name)


def test_a_network_trained_alone_has_the_learning_rate_of_its_size() -> None:
    plan = planned()
    small, large = (plan.recipe(epochs=4, seed=9, params=params) for params in (100_000, 3_200_000))
    assert small.learning_rate == learning_rate_for(100_000, plan.batch_size)
    assert large.learning_rate == pytest.approx(small.learning_rate * 32**-0.3)
    assert large.learning_rate != plan.learning_rate


def test_a_typical_cost_is_the_median_of_feasible_ones() -> None:
    sampler = BudgetSampler(small_space(), [Budget.parse("40kFLOPs")])
    rng = random.Random(0)
    costs = [sampler.sample(rng).cost for _ in range(9)]
    assert typical_cost(sampler) == typical_cost(sampler)
    assert typical_cost(sampler).macs == sorted(cost.macs for cost in costs)[4]
    assert typical_cost(sampler).params == sorted(cost.params for cost in costs)[4]


def test_a_size_that_windows_do_not_divide_is_not_planned_and_refused_where_it_is_given() -> None:
    space = nas.load_space("maxvit")

    def fits(size: int) -> str | None:
        return misfit(space.adapted(resolution=size))

    asked = {"resolution": 224, "stride": 32, "cost": Cost(macs=4_000_000_000, params=25_000_000), "misfit": fits}
    assert [size for size in (28, 32, 56, 64, 112, 224) if fits(size) is None] == [28, 56, 112, 224]
    assert make_plan(OPTIONS, info(side=28), **asked).train_resolution == 28
    given = OPTIONS.replaced(train_resolution=64)
    with pytest.raises(OptionError, match=r"--train-resolution 64: maxvit, stage 1, op A.* The next .* is 56\.$"):
        make_plan(given, info(), **asked)
    assert make_plan(OPTIONS.replaced(train_resolution=56), info(), **asked).train_resolution == 56
    with pytest.raises(OptionError, match=r"Give another size\.$"):
        make_plan(OPTIONS, info(), **{**asked, "misfit": lambda _: "Nothing fits."})


# -- a search that is planned for a time ----------------------------------------------------------------------


def timed(seconds: int, *, rate: float = 100.0, train: int = 3000, **given: Any) -> Plan:
    """On a machine that trains so many images a second."""
    options = OPTIONS.replaced(time=seconds, onnx=False, **given)
    return planned(options, info(side=64, train=train, channels=3), measure=lambda side, recipe: rate)


TOO_SHORT = {("supernet", 300, 100.0), ("nwot", 300, 100.0)}


@pytest.mark.parametrize("seconds", [300, 1200, 3600, 36_000])
@pytest.mark.parametrize("method", ["calibrated", "params", "supernet", "nwot"])
@pytest.mark.parametrize("rate", [100.0, 400.0])
def test_a_planned_time_is_kept_and_used(seconds: int, method: str, rate: float) -> None:
    try:
        plan = timed(seconds, rate=rate, method=method)
    except OptionError as refused:
        least = re.search(
            rf"^--time {seconds // 60}min is too short: .* about (\d+)min on this machine\. Give --time \1min,",
            str(refused),
        )
        assert least is not None
        assert int(least[1]) * 60 > 1.15 * seconds
        assert (method, seconds, rate) in TOO_SHORT
        assert timed(int(least[1]) * 60, rate=rate, method=method)
        return
    assert plan.images_per_second == rate
    spent = sum(plan.seconds.values())
    assert spent < 1.15 * seconds
    # At the longest, every finalist has all the epochs that it can use, or the supernet has.
    most = 60 in (plan.finalist_epochs, getattr(plan.method, "epochs", 0))
    assert spent > 0.7 * seconds or most


@pytest.mark.parametrize("train", [600, 3000])
@pytest.mark.parametrize("rate", [150.0, 300.0])
def test_a_counted_search_never_plans_more_than_its_time(train: int, rate: float) -> None:
    for minutes in (10, 20, 60):
        plan = timed(60 * minutes, rate=rate, train=train, method="params")
        assert sum(plan.seconds.values()) <= 60 * minutes


def test_more_time_never_trains_finalists_for_less_than_a_calibration_of_theirs_is_worth() -> None:
    epochs = {seconds: timed(seconds) for seconds in range(300, 6000, 300)}
    for plan in epochs.values():
        own = plan.of(CalibratedPlan)
        if own.trainings:
            assert own.trainings >= FEWEST
            assert plan.finalist_epochs >= WORTH_IT
            assert least_epochs(plan.finalist_epochs) <= own.epochs <= plan.finalist_epochs
        else:
            assert own.epochs == 0
    assert {bool(plan.of(CalibratedPlan).trainings) for plan in epochs.values()} == {True, False}


@pytest.mark.parametrize("finalist_epochs", [12, 16, 30, 60])
def test_a_calibration_is_a_sixth_of_the_finalists_epochs_whatever_else_is_asked(finalist_epochs: int) -> None:
    plan = planned(OPTIONS.replaced(finalist_epochs=finalist_epochs, calibrations=10))
    assert plan.of(CalibratedPlan).epochs >= finalist_epochs / 6
    assert plan.of(CalibratedPlan).trainings == 10
    too_short = OPTIONS.replaced(finalist_epochs=finalist_epochs, calibration_epochs=1)
    with pytest.raises(
        OptionError, match=rf"--calibration-epochs 1 must be at least a sixth of the {finalist_epochs} epochs"
    ):
        planned(too_short)
    with pytest.raises(OptionError, match=r"must not exceed the .* epochs of a finalist"):
        planned(OPTIONS.replaced(finalist_epochs=finalist_epochs, calibration_epochs=finalist_epochs + 1))


@pytest.mark.parametrize("seconds", [1200, 3600, 7200, 36_000])
@pytest.mark.parametrize("finalists", [1, 4])
@pytest.mark.parametrize("finalist_epochs", [12, 20])
def test_a_planned_calibration_costs_three_trainings_of_the_winner_at_most(
    seconds: int, finalists: int, finalist_epochs: int
) -> None:
    given = OPTIONS.replaced(time=seconds, finalists=finalists, finalist_epochs=finalist_epochs)
    own = planned(given, macs=5_000_000, measure=lambda *_: 600.0).of(CalibratedPlan)
    assert own.trainings * own.epochs <= 3 * finalist_epochs
    if seconds == 36_000:
        assert own.trainings == TRAININGS
        assert own.epochs == finalist_epochs // 4
    # What a person asks for is planned.
    asked = planned(given.replaced(calibrations=30), macs=5_000_000, measure=lambda *_: 600.0).of(CalibratedPlan)
    assert (asked.trainings, asked.epochs) == (30, least_epochs(finalist_epochs))


def test_epochs_of_a_calibration_alone_bound_those_of_finalists() -> None:
    assert planned(OPTIONS.replaced(calibration_epochs=1)).finalist_epochs <= 6


def test_counting_is_the_score_where_no_calibration_is_long_enough_and_says_so() -> None:
    plan, method = timed(300), METHODS["calibrated"].load()("calibrated", OPTIONS.of_method())
    assert plan.of(CalibratedPlan).trainings == 0
    assert method.count(plan) == "params"
    first, [reason] = method.describe(plan, OPTIONS, images=2400)
    assert first == "Scores: params, counted"
    assert "no time to train 4 networks for a sixth of the finalists' epochs" in reason
    assert "finalists for 24 epochs" in reason


def test_finalists_too_short_for_calibrations_are_no_lack_of_time() -> None:
    asked = OPTIONS.replaced(finalist_epochs=8, time=20_000)
    plan, method = planned(asked), METHODS["calibrated"].load()("calibrated", asked.of_method())
    assert plan.of(CalibratedPlan).trainings == 0
    _, [reason] = method.describe(plan, asked, images=2400)
    assert reason.endswith(
        "--finalist-epochs 8 is below the 12 that calibrations need. Give as many, or --calibrations."
    )


def test_a_plan_that_leaves_most_of_the_time_says_so() -> None:
    asked = OPTIONS.replaced(time=36_000)
    said = unused_time(planned(asked), asked)
    assert said is not None
    assert said.endswith("--finalist-epochs, --finalists and --trials use more")
    assert "of 600 minutes: it has at most 8 finalists of 60 epochs" in said
    assert unused_time(timed(300), OPTIONS.replaced(time=300)) is None
    assert unused_time(planned(OPTIONS), OPTIONS) is None


def test_a_short_search_is_not_measured_and_a_long_one_is_for_what_it_says_alone() -> None:
    asked: list[int] = []

    def measure(side: int, recipe: Any) -> float:
        asked.append(side)
        return 50.0

    short = OPTIONS.replaced(finalists=1, finalist_epochs=1, method="params", trials=3)
    assert planned(short, measure=measure).images_per_second is None
    assert not asked
    plan, told = planned(measure=measure), planned()
    assert (plan.images_per_second, len(asked)) == (50.0, 1)
    same = ("trials", "finalists", "finalist_epochs", "train_resolution", "method")
    assert [getattr(plan, name) for name in same] == [getattr(told, name) for name in same]
    assert plan.seconds != told.seconds
