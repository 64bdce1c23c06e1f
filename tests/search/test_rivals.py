"""Rivals: which networks they are, what their training costs, and what a run says where one of them wins."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nas
from nas import ops
from nas.architecture import Architecture
from nas.budget import Budget, Cost
from nas.costs import cost
from nas.costs import zoo as zoo_costs
from nas.costs.zoo import describe, fitting
from nas.data import open_data
from nas.formats import compare_choices, rival_line
from nas.methods.protocol.plan import MethodPlan, Planned
from nas.options import SearchOptions
from nas.pipeline.plan import make_plan
from nas.pipeline.rivals import choose_rivals, rival_lines, rival_picks
from nas.pipeline.search import resume
from nas.progress import Silent
from nas.report import summarise
from nas.report.page_data import page_data
from nas.run import RunRecord, read_run
from nas.run.events import FinalistTrained, WinnerExported
from nas.sampling import BudgetSampler
from nas.spaces import catalog

from ..small_space import small_space
from .block_cases import StopAt, Stopped, few_images

NAMES = ("edgenext_xxs", "mobilenetv2_100", "resnet18", "tf_efficientnet_lite0")
TINY = "mobilenetv2_100"
BUDGET = Budget.parse("5MFLOPs")


@pytest.fixture
def zoo_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leaves some of the zoo's networks, so that not all are counted."""

    def leave(*names: str) -> None:
        kept = tuple(each for each in zoo_costs._published() if each[1] in names)
        monkeypatch.setattr(zoo_costs, "_published", lambda: kept)

    return leave


def sampler(budget: str, **given: Any) -> BudgetSampler:
    space = nas.load_space("coatnet-small").adapted(num_classes=10, **given)
    return BudgetSampler(space, [Budget.parse(budget)], min_share=0.5)


def test_the_rivals_are_those_that_nas_zoo_lists_first(zoo_of: Any) -> None:
    zoo_of(*NAMES)
    rows = [describe(name, 64) for name in NAMES]
    bound = sorted(row["macs"] for row in rows)[2] + 1_000_000  # the head for 1,000 classes is larger
    listed = [row["name"] for row in fitting(rows, [Budget(metric="macs", bound=bound)])]
    found = choose_rivals({}, sampler(f"{bound}FLOPs", resolution=64), 9, train_resolution=64)
    assert [name.removeprefix("zoo:") for name in found] == listed
    assert len(found) == 3
    top1 = [describe(name)["top1"] for name in listed]
    assert top1 == sorted(top1, reverse=True)
    for network in found.values():
        assert network.num_classes == 10
        assert network.input.resolution == 64
        assert cost(network).macs <= bound


def test_those_of_the_method_go_first_and_none_is_there_twice(zoo_of: Any) -> None:
    zoo_of(*NAMES)
    within = sampler("40MFLOPs", resolution=64)
    best, second = choose_rivals({}, within, 2, train_resolution=64).items()
    assert choose_rivals({"scaled": best[1]}, within, 1, train_resolution=64) == {"scaled": best[1]}
    assert choose_rivals({"scaled": best[1]}, within, 2, train_resolution=64) == {
        "scaled": best[1],
        second[0]: second[1],
    }
    assert choose_rivals({}, within, 0, train_resolution=64) == {}


def test_where_no_network_fits_there_is_none_and_it_is_said(zoo_of: Any) -> None:
    zoo_of(*NAMES)
    within = sampler("1.2MFLOPs", resolution=32)
    network = next(iter(choose_rivals({}, sampler("60MFLOPs", resolution=64), 1, train_resolution=64).values()))
    assert cost(network).macs > 1_200_000
    assert choose_rivals({}, within, 1, train_resolution=32) == {}
    [line] = rival_lines({}, 1, within)
    assert line == "Rivals: no zoo network fits 1.2MFLOPs at 32 pixels, so there is none"
    assert rival_lines({}, 0, within) == []


def test_networks_that_cannot_be_built_for_the_images_are_no_rivals(zoo_of: Any) -> None:
    zoo_of("coatnet_0", TINY)
    within = BudgetSampler(nas.load_space("coatnet").adapted(num_classes=10), [Budget.parse("8GFLOPs")])
    assert [*choose_rivals({}, within, 1, train_resolution=224)] == ["zoo:coatnet_0"]
    # Its windows do not divide a map of 225 pixels, say: whatever cannot be counted there is left out.
    broken = {"zoo:coatnet_0"} - {*choose_rivals({}, within, 1, train_resolution=16)}
    assert bool(broken) == (misfit("coatnet_0", 16) is not None)


def misfit(name: str, side: int) -> str | None:
    try:
        describe(name, side)
    except nas.ArchitectureError as fault:
        return str(fault)
    return None


# -- the plan ----------------------------------------------------------------------------------------------------


def planned(rivals: list[Cost], *, macs: int = 4_000_000, **given: Any) -> Any:
    options = SearchOptions.of(space="coatnet", method="params", threads=2, trials=50, finalists=4, **given)
    info = replace(open_data("digits").info, train_count=1797)
    own = Planned(own=MethodPlan(), training_seconds=20.0, trial_seconds=0.1)
    return make_plan(
        options,
        info,
        resolution=32,
        stride=32,
        cost=Cost(macs=macs, params=10_000),
        phase="training",
        plan_method=lambda _: own,
        rivals=lambda _: rivals,
    )


def test_the_training_of_rivals_is_in_the_planned_time() -> None:
    alike = Cost(macs=4_000_000, params=10_000)
    plain, one, two = (planned([alike] * n, finalist_epochs=6) for n in range(3))
    assert one.seconds["finalists"] == pytest.approx(plain.seconds["finalists"] * 5 / 4)
    assert two.seconds["finalists"] == pytest.approx(plain.seconds["finalists"] * 6 / 4)
    assert one.seconds["export"] > plain.seconds["export"]
    large = planned([replace(alike, macs=40_000_000)], finalist_epochs=6)
    assert large.seconds["finalists"] > one.seconds["finalists"]
    # What is not asked for makes room.
    large = replace(alike, macs=100_000_000)
    assert planned([large] * 4, macs=large.macs).finalist_epochs < planned([], macs=large.macs).finalist_epochs


def test_rivals_train_as_long_as_finalists_or_as_asked_or_as_the_search() -> None:
    alike = Cost(macs=4_000_000, params=10_000)
    assert planned([alike], finalist_epochs=6).rival_epochs == 6
    fifty = planned([alike], finalist_epochs=6, rival_epochs=50)
    assert (fifty.finalist_epochs, fifty.rival_epochs) == (6, 50)
    whole = planned([alike], finalist_epochs=6, rival_epochs="search")
    spent = whole.seconds["training"] + whole.seconds["search"]
    assert spent == pytest.approx(25.0)
    alone = planned([], finalist_epochs=6).seconds["finalists"] / 4
    # One epoch at most is lost by rounding; a finalist's seconds hold its validations too.
    longer = (whole.rival_epochs - 6) / 6
    assert longer * alone == pytest.approx(spent, abs=alone / 3)


# -- a run -------------------------------------------------------------------------------------------------------


def searched(out: Path, progress: Any = None, **given: Any) -> RunRecord:
    data = few_images(out.parent / f"{out.name}.npz")
    options = SearchOptions.of(
        space="small", method="params", trials=4, finalists=2, finalist_epochs=1, threads=1, device="cpu",
        batch_size=16, onnx=False, augment="none", out=str(out), **given,
    )  # fmt: skip
    nas.search(small_space(), budgets=[BUDGET], data=data, options=options, progress=progress or Silent())
    return read_run(out)


def test_a_rival_is_trained_like_the_finalists_and_exported_as_one(tmp_path: Path, zoo_of: Any) -> None:
    zoo_of(TINY)
    run = searched(tmp_path / "run")
    [rival] = [event for event in run.events(FinalistTrained) if event.chosen_by == f"zoo:{TINY}"]
    others = [event for event in run.events(FinalistTrained) if event is not rival]
    assert len(others) == 2
    assert {event.epochs for event in others} == {rival.epochs}
    assert rival.score is None
    own, _ = catalog.read_architecture(TINY)
    trained = Architecture.from_dict(rival.architecture)
    assert trained.stages == ops.normalize(own).stages
    assert (trained.num_classes, trained.input.channels, trained.input.resolution) == (3, 1, 8)
    [exported] = [event for event in run.events(WinnerExported) if event.digest == rival.digest]
    card = (run.path / exported.path / "card.md").read_text()
    assert f"rival: {TINY}, from scratch" in card
    assert f"Rival at rank {exported.rank}" in card
    page = (run.path / "report.html").read_text()
    assert f"rival: {TINY}, from scratch" in page
    assert f'class="drawing" data-rival="zoo:{TINY}"' in page
    shown = page_data(summarise(run), [])
    [stages] = [[shown["stages"][number] for number in numbers] for numbers in shown["rivals"].values()]
    assert [depth for _, _, depth, *_ in stages] == [len(stage.layers) for stage in trained.stages]
    assert set(run.manifest["rivals"]) == {f"zoo:{TINY}"}


def test_without_rivals_there_is_none(tmp_path: Path) -> None:
    run = searched(tmp_path / "run", rivals=0)
    assert {event.chosen_by for event in run.events(FinalistTrained)} <= {"score", "log_channels", "random"}
    assert run.manifest["rivals"] == {}


def test_a_stopped_rival_goes_on_for_its_own_epochs(tmp_path: Path, zoo_of: Any) -> None:
    zoo_of(TINY)
    whole = searched(tmp_path / "whole", rival_epochs=3)
    with pytest.raises(Stopped):
        searched(tmp_path / "run", StopAt("finalist 3 of 3", 4), rival_epochs=3)
    resume(tmp_path / "run")
    stopped = read_run(tmp_path / "run")
    mine, theirs = ({e.digest: (e.epochs, e.validation_accuracy, e.weights_sha256) for e in run.events(FinalistTrained)}
                    for run in (stopped, whole))  # fmt: skip
    assert mine == theirs
    assert sorted(epochs for epochs, _, _ in mine.values()) == [1, 1, 3]


def test_a_rival_has_a_number_after_those_of_all_trials() -> None:
    within = BudgetSampler(small_space(), [BUDGET])
    network = nas.sample(small_space(), random.Random(0))
    [pick] = rival_picks({"scaled": network}, within, [], seed=0)
    assert (pick.trial.number, pick.trial.complete, pick.chosen_by) == (0, False, "scaled")
    scored = replace(pick.trial, status="complete", score=0.5, number=3)
    other = replace(scored, architecture=nas.sample(small_space(), random.Random(1)))
    assert rival_picks({"scaled": network}, within, [scored, other], seed=0)[0].trial is scored
    assert rival_picks({"scaled": network}, within, [other], seed=0)[0].trial.number == 1


# -- what is said ------------------------------------------------------------------------------------------------


def test_where_a_rival_wins_it_is_said_first() -> None:
    found = [("zoo:resnet18", 0.9, 0.03), ("score", 0.85, 0.04), ("random", 0.8, 0.04)]
    said = rival_line(found)
    assert said.startswith("A rival is best")
    assert "resnet18, from scratch" in said
    assert "0.8500 (-0.0500 ± 0.0500)" in said
    assert "of a rival 0.9000" in compare_choices(found)
    assert "85.0 % (-5.0 ± 5.0 points)" in rival_line(found, in_percent=True)
    assert "score 85.0 %; of a rival 90.0 % (-5.0 ± 5.0 points)" in compare_choices(found, in_percent=True)
    assert rival_line(found[1:]) == ""
    assert rival_line([found[1], found[0]]) == "", "by rank: the search's is first"
    assert rival_line(found[:1]) == "", "there is nothing to compare it with"


def test_a_rival_ahead_by_less_than_the_error_does_not_make_a_search_needless() -> None:
    said = rival_line([("zoo:resnet18", 0.88, 0.03), ("score", 0.85, 0.04)])
    assert said.startswith("A rival ranks first, within the standard error: resnet18, from scratch has")
    assert "0.8500 (-0.0300 ± 0.0500)" in said


def test_a_rival_that_only_ties_is_not_called_best() -> None:
    said = rival_line([("zoo:resnet18", 0.9, 0.03), ("score", 0.9, 0.03)])
    assert said.startswith("A rival is as good with no more multiply-adds")
    assert said.endswith("resnet18, from scratch and the best network of the search have validation accuracy 0.9000.")
