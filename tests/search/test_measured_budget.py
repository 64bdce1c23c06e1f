"""A budget metric from outside the package is one object: it is read, met, refused, searched under and recorded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import nas
from nas.architecture import Architecture
from nas.budget import Budget, Cost, check_budgets, format_quantity
from nas.budget_metrics import METRICS, Metric
from nas.costs import SpaceCosts
from nas.errors import BudgetError
from nas.run import read_run
from nas.sampling import BudgetSampler
from nas.sampling.enumeration import members
from nas.spaces import Genotype

from ..small_space import listed, small_space


def count_layers(architecture: Architecture) -> int:
    return sum(len(stage.layers) for stage in architecture.stages)


if "layers" not in METRICS:
    METRICS.add(Metric(name="layers", noun="layers", units={"layers": 1, "layer": 1}, measure=count_layers))

SPACE = small_space()
MACS = Budget.parse("40kFLOPs")
COUNTED = SpaceCosts(SPACE)
LAYERS = {point: count_layers(SPACE.decode(point)) for point in listed(SPACE)}
LEAST, MOST = min(LAYERS.values()), max(LAYERS.values())


def fitting(layers: int, min_share: float = 0.0) -> set[Genotype]:
    """The members within `MACS` and so many layers, by brute force."""
    costs = {point: COUNTED.cost(point) for point in LAYERS}
    return {
        point
        for point, found in LAYERS.items()
        if found <= layers
        and costs[point].macs <= MACS.bound
        and (found >= min_share * layers or costs[point].macs >= min_share * MACS.bound)
    }


def test_a_budget_on_it_is_read_and_written() -> None:
    budget = Budget.parse("12layers")
    assert (budget.metric, budget.bound, str(budget)) == ("layers", 12, "12layers")
    assert Budget.parse("1 LAYER") == Budget(metric="layers", bound=1)
    assert format_quantity("layers", 12) == "12 layers"
    with pytest.raises(BudgetError, match="did you mean layers?"):
        Budget.parse("12layerz")
    with pytest.raises(BudgetError, match="12layers and 3layers both bound layers"):
        check_budgets([budget, Budget.parse("3layers")])


def test_a_cost_carries_it_through_plain_data() -> None:
    cost = Cost(macs=3, params=2).measured("layers", 7)
    assert cost.value("layers") == 7
    assert Cost(macs=3, params=2).value("layers") is None
    assert cost.to_dict() == {"macs": 3, "params": 2, "extra": {"layers": 7}}
    assert Cost.from_dict(cost.to_dict()) == cost
    assert hash(cost) == hash(Cost.from_dict(cost.to_dict()))


@pytest.mark.parametrize("min_share", [0.0, 0.75])
def test_samples_are_within_it_and_within_multiply_adds(min_share: float) -> None:
    layers = (LEAST + MOST) // 2
    expected = fitting(layers, min_share)
    sampler = BudgetSampler(SPACE, [MACS, Budget(metric="layers", bound=layers)], min_share=min_share)
    assert set(sampler.layouts) == {SPACE.layout(point) for point in expected}
    rng = random.Random(0)
    for i in range(200):
        found = sampler.sample(rng, by=("layout", "architecture")[i % 2])
        assert SPACE.encode(found.architecture) in expected
        assert found.cost.value("layers") == count_layers(found.architecture)
    all_members = {SPACE.encode(m.architecture) for layout in sampler.layouts for m in members(sampler, layout)}
    assert all_members == expected


def test_it_may_be_the_only_budget() -> None:
    sampler = BudgetSampler(SPACE, [Budget(metric="layers", bound=LEAST)])
    assert {count_layers(sampler.sample(random.Random(i)).architecture) for i in range(20)} == {LEAST}
    architecture = nas.sample(SPACE, random.Random(0), [Budget(metric="layers", bound=LEAST)])
    assert count_layers(architecture) == LEAST


def test_what_was_not_found_is_refused_without_being_called_a_proof() -> None:
    with pytest.raises(BudgetError, match=r"within 1layers and 40KFLOPs was found in [0-9,]+ tries: the smallest seen"):
        BudgetSampler(SPACE, [Budget.parse("1layer"), MACS])
    with pytest.raises(BudgetError, match=f"the smallest seen needs {LEAST} layers. Raise --budget."):
        BudgetSampler(SPACE, [Budget.parse("1layer")])
    with pytest.raises(BudgetError, match="fits 1FLOPs: the smallest needs"):  # that is proved first
        BudgetSampler(SPACE, [Budget.parse("1layer"), Budget.parse("1FLOPs")])


def test_a_dry_run_estimates_what_fits() -> None:
    layers = (LEAST + MOST) // 2
    found = nas.dry_run(SPACE, [MACS, Budget(metric="layers", bound=layers)])
    assert not found.exact
    assert found.fits == pytest.approx(len(fitting(layers)) / len(LAYERS), abs=0.15)
    assert nas.dry_run(SPACE, [Budget(metric="layers", bound=MOST)]).fits == pytest.approx(1)


@pytest.mark.usefixtures("own_threads")
def test_a_search_is_held_to_it_and_records_it(tmp_path: Path) -> None:
    layers = (LEAST + MOST) // 2
    options = nas.SearchOptions.of(
        space="small",
        method="params",
        trials=24,
        finalists=1,
        finalist_epochs=1,
        rivals=0,
        threads=1,
        batch_size=128,
        train_resolution=8,
        onnx=False,
        out=str(tmp_path / "run"),
    )
    budgets = [MACS, nas.Budget.parse(f"{layers}layers")]
    found = nas.search(SPACE, budgets=budgets, data="digits", options=options)
    assert found.winners
    trials = read_run(tmp_path / "run").trials()
    assert trials
    for trial in trials:
        assert trial.cost.value("layers") == count_layers(trial.architecture) <= layers
        assert trial.cost.macs <= MACS.bound
    assert {trial.origin for trial in trials} > {"random"}
