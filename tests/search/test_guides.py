"""A measured metric with a guide: sampled from tables of a sum that follows it, exactly inside its bound."""

from __future__ import annotations

import random
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.budget_metrics import METRICS, Guide, Metric
from nas.costs import SpaceCosts
from nas.costs.count_table import TABLE
from nas.errors import BudgetError
from nas.sampling import BudgetSampler
from nas.sampling.dry_run import dry_run
from nas.setting import Setting

from ..small_space import listed, small_space

SPACE = small_space()
COUNTED = SpaceCosts(SPACE)


class Joules:
    """Energy that is not additive: a part per block, and a factor by the number of layers."""

    asked = 0

    @classmethod
    def measure(cls, architecture: Architecture, setting: Setting) -> float:
        cls.asked += 1
        cost = nas.cost(architecture)
        layers = sum(len(stage.layers) for stage in architecture.stages)
        return setting.batch * (cost.macs + 10 * cost.params) * (1 + 0.01 * layers)

    @classmethod
    def guide(cls, bound: float, setting: Setting) -> Guide:
        def part(config: Any, shape: Any) -> int:
            counted = TABLE.stage(config, shape) if hasattr(config, "layers") else TABLE.block(config, shape)
            return setting.batch * (counted.macs + 10 * counted.params)

        return Guide(part=part, bound=int(bound))


if "joules" not in METRICS:
    METRICS.add(
        Metric(
            name="joules",
            noun="energy",
            units={"joules": 1},
            whole=False,
            on_device=True,
            measure=Joules.measure,
            guide=Joules.guide,
        )
    )


ENERGY = {point: Joules.measure(SPACE.decode(point), Setting()) for point in listed(SPACE)}


def budget(share: float, setting: str = "cpu") -> Budget:
    """The budget that about so large a share of the space fits."""
    values = sorted(ENERGY.values())
    return Budget.parse(f"{values[int(share * (len(values) - 1))]:.2f}joules@{setting}")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_samples_are_inside_and_reach_every_member(share: float) -> None:
    bound = budget(share)
    fitting = {point for point, energy in ENERGY.items() if energy <= bound.bound}
    sampler, rng = BudgetSampler(SPACE, [bound]), random.Random(0)
    assert sampler.tabled.metrics == ("joules",)
    found = {sampler.sample(rng).architecture for _ in range(60 * len(fitting))}
    assert found == {SPACE.decode(point) for point in fitting}


def test_few_are_rejected_where_little_fits() -> None:
    sampler = BudgetSampler(SPACE, [budget(0.02)])
    Joules.asked = 0
    rng = random.Random(0)
    for _ in range(50):
        sampler.sample(rng)
    # By rejection from the whole space each would take about fifty tries.
    assert Joules.asked < 50 * 5


def test_a_setting_has_figures_of_its_own() -> None:
    one, two = (BudgetSampler(SPACE, [budget(0.3, setting)]) for setting in ("cpu", "cpu:batch=2"))
    rng = random.Random(0)
    costs = [two.sample(rng).cost.value("joules") for _ in range(20)]
    assert max(float(cost or 0) for cost in costs) <= two.budgets[0].bound
    assert len({one.sample(rng).architecture for _ in range(400)}) > len(
        {two.sample(rng).architecture for _ in range(400)}
    )


def test_two_counted_budgets_and_a_guided_one_hold_together() -> None:
    macs = sorted(COUNTED.cost(point).macs for point in ENERGY)[len(ENERGY) // 2]
    params = sorted(COUNTED.cost(point).params for point in ENERGY)[len(ENERGY) // 2]
    budgets = [Budget(metric="macs", bound=macs), Budget(metric="params", bound=params), budget(0.4)]
    fitting = {
        SPACE.decode(point)
        for point, energy in ENERGY.items()
        if energy <= budgets[2].bound and COUNTED.cost(point).macs <= macs and COUNTED.cost(point).params <= params
    }
    sampler, rng = BudgetSampler(SPACE, budgets), random.Random(0)
    assert len(sampler.tabled.metrics) == 2
    assert {sampler.sample(rng).architecture for _ in range(60 * len(fitting))} == fitting


def test_nothing_found_quotes_the_smallest_seen_and_is_no_proof() -> None:
    with pytest.raises(BudgetError) as caught:
        BudgetSampler(SPACE, [Budget.parse("1joules@cpu")])
    smallest = METRICS["joules"].format(min(ENERGY.values()))
    assert "was found in" in str(caught.value)
    assert str(caught.value).endswith(f"the smallest seen needs {smallest}. Raise --budget.")


def test_a_dry_run_shows_the_range_and_the_share_that_fits() -> None:
    bound = budget(0.1)
    found = dry_run(SPACE, [bound])
    exact = sum(energy <= bound.bound for energy in ENERGY.values()) / len(ENERGY)
    assert found.costs["joules"]["min"] == min(ENERGY.values())
    assert found.costs["joules"]["min"] <= found.costs["joules"]["median"] <= found.costs["joules"]["max"]
    assert abs(found.fits - exact) < 0.05
    assert not found.exact
