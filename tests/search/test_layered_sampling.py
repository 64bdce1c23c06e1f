"""Drawing inside budgets from spaces with a choice per layer, against brute force; and from one too large to list."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

import nas
from nas import ops
from nas.budget import Budget, Cost
from nas.costs import SpaceCosts
from nas.errors import BudgetError
from nas.sampling.budget_sampler import BudgetSampler
from nas.sampling.dry_run import dry_run
from nas.sampling.enumeration import members
from nas.sampling.shortest_paths import shortest
from nas.spaces import MANY, Genotype, SearchSpace
from nas.spaces.catalog import parse_space

from ..chi_square import agree
from ..layered_space import NAMES, fairness, layered_data, layered_space, listed_layers

SPACES = {name: layered_space(name) for name in NAMES}


def costs_of(name: str) -> dict[Genotype, Cost]:
    costs = SpaceCosts(SPACES[name])
    return {point: costs.cost(point) for point in listed_layers(SPACES[name])}


ALL = {name: costs_of(name) for name in NAMES}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def bound(name: str, metric: str, share: float) -> Budget:
    """The cost that a share of all members does not exceed."""
    values = sorted(getattr(cost, metric) for cost in ALL[name].values())
    return Budget(metric=metric, bound=values[min(int(share * len(values)), len(values) - 1)])


def budgets_of(name: str, case: str) -> list[Budget]:
    shares = {"macs": 0.4, "params": 0.6} if case == "both" else {case: 0.4}
    return [bound(name, metric, share) for metric, share in shares.items()]


def within(name: str, budgets: list[Budget], aim: float) -> dict[Genotype, Cost]:
    return {
        point: cost
        for point, cost in ALL[name].items()
        if all(b.allows(cost) for b in budgets) and any(b.share(cost) >= aim for b in budgets)
    }


def test_costs_are_those_of_the_networks(name: str) -> None:
    for point in random.Random(0).sample(sorted(ALL[name], key=repr), 60):
        assert ALL[name][point] == nas.cost(SPACES[name].decode(point))


@pytest.mark.parametrize("aim", [0.0, 0.7])
@pytest.mark.parametrize("case", ["macs", "params", "both"])
def test_draws_are_in_range_and_fair(name: str, case: str, aim: float) -> None:
    space, budgets = SPACES[name], budgets_of(name, case)
    fitting = within(name, budgets, aim)
    sampler, rng, draws = BudgetSampler(space, budgets, min_share=aim), random.Random(0), 3000
    found: Counter[Genotype] = Counter()
    for _ in range(draws):
        drawn = sampler.sample(rng)
        point = space.encode(drawn.architecture)
        assert drawn.cost == fitting[point]
        assert drawn.layout == space.layout(point)
        found[point] += 1
    weights = [fairness(space, point) for point in fitting]
    assert agree([found[point] for point in fitting], [draws * w / sum(weights) for w in weights])


@pytest.mark.parametrize("case", ["macs", "both"])
def test_draws_by_architecture_are_uniform(name: str, case: str) -> None:
    budgets = budgets_of(name, case)
    fitting, rng = within(name, budgets, 0.5), random.Random(0)
    sampler = BudgetSampler(SPACES[name], budgets, min_share=0.5)
    draws = 10 * len(fitting)
    found = Counter(SPACES[name].encode(sampler.sample(rng, by="architecture").architecture) for _ in range(draws))
    assert agree([found[point] for point in fitting], [10.0] * len(fitting))


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_the_smallest_fits_exactly_and_nothing_fits_below(name: str, metric: str) -> None:
    values = [getattr(cost, metric) for cost in ALL[name].values()]
    costs = SpaceCosts(SPACES[name])
    assert (shortest(costs, metric, smallest=True), shortest(costs, metric, smallest=False)) == (
        min(values),
        max(values),
    )
    only = BudgetSampler(SPACES[name], [Budget(metric=metric, bound=min(values))]).sample(random.Random(0))
    assert getattr(only.cost, metric) == min(values)
    with pytest.raises(BudgetError, match="the smallest needs"):
        BudgetSampler(SPACES[name], [Budget(metric=metric, bound=min(values) - 1)])


def test_two_budgets_are_refused_exactly_where_nothing_meets_both(name: str) -> None:
    costs = sorted({(cost.macs, cost.params) for cost in ALL[name].values()})
    rng = random.Random(0)
    for _ in range(12):
        macs, params = rng.choice(costs)[0], rng.choice(costs)[1]
        budgets = [Budget(metric="macs", bound=macs), Budget(metric="params", bound=params)]
        if any(a <= macs and b <= params for a, b in costs):
            drawn = BudgetSampler(SPACES[name], budgets).sample(rng)
            assert drawn.cost.macs <= macs
            assert drawn.cost.params <= params
        else:
            with pytest.raises(BudgetError, match="at once|the smallest needs"):
                BudgetSampler(SPACES[name], budgets)


@pytest.mark.parametrize("share", [0.05, 0.4, 1.0])
def test_feasible_choices_equal_brute_force(name: str, share: float) -> None:
    budgets = [bound(name, "macs", share)]
    expected = SPACES[name].choices_of(within(name, budgets, 0.0))
    found = BudgetSampler(SPACES[name], budgets).feasible_choices()
    assert found == expected


def test_listing_gives_every_member_in_range_once(name: str) -> None:
    for case, aim in (("macs", 0.0), ("params", 0.8), ("both", 0.5)):
        budgets = budgets_of(name, case)
        sampler = BudgetSampler(SPACES[name], budgets, min_share=aim)
        found = list(members(sampler, MANY))
        expected = within(name, budgets, aim)
        assert len(found) == len(expected)
        assert {draw.architecture for draw in found} == {SPACES[name].decode(point) for point in expected}


def test_largest_and_smallest_come_from_the_ends(name: str) -> None:
    budgets = budgets_of(name, "macs")
    macs = sorted(cost.macs for cost in within(name, budgets, 0.0).values())
    sampler, rng = BudgetSampler(SPACES[name], budgets), random.Random(0)
    step = 0.1 * (macs[-1] - macs[0])
    assert sampler.largest(rng, MANY).cost.macs >= macs[-1] - step
    assert sampler.smallest(rng, MANY).cost.macs <= macs[0] + step


def test_figures_of_a_dry_run_equal_brute_force(name: str) -> None:
    budgets = budgets_of(name, "params")
    found = dry_run(SPACES[name], budgets)
    assert found.exact
    assert found.size == len(ALL[name])
    assert found.fits == pytest.approx(len(within(name, budgets, 0.0)) / len(ALL[name]), abs=1e-12)
    for metric in ("macs", "params"):
        values = sorted(getattr(cost, metric) for cost in ALL[name].values())
        middle = values[(len(values) + 1) // 2 - 1]
        assert found.costs[metric] == {"min": values[0], "median": middle, "max": values[-1]}


# -- a space of 10 ** 17 members --------------------------------------------------------------------------------


def vast() -> SearchSpace:
    data: dict[str, Any] = layered_data("free")
    data["input"]["resolution"] = 32
    for stage, depth in zip(data["stages"], (6, 12), strict=True):
        stage |= {
            "depth": list(range(1, depth + 1)),
            "width": [8, 16, 24],
            "ops": {"C": "convolution", "A": "transformer"},
        }
    data["layers"]["transformer"]["choices"] = {"expand_ratio": [1, 2, 3, 4]}
    data["layers"]["convolution"]["choices"] = {"kernel_size": [3, 5, 7], "expand_ratio": [1, 2, 3, 4]}
    return parse_space({**data, "rules": {}}, ops)


VAST = vast()


def test_a_vast_space_is_drawn_from_under_a_budget() -> None:
    assert VAST.size() > 10**17
    low, high = BudgetSampler(VAST).extremes("macs")
    # 0.0001 of the space lies below the tightest of these; the loosest binds nothing.
    for share, aim in ((0.05, 0.9), (0.2, 0.75), (0.5, 0.95), (1.0, 0.0)):
        budget = Budget(metric="macs", bound=int(low + share * (high - low)))
        sampler, rng = BudgetSampler(VAST, [budget], min_share=aim), random.Random(0)
        found = [sampler.sample(rng) for _ in range(100)]
        assert all(aim * budget.bound <= draw.cost.macs <= budget.bound for draw in found)
        assert all(draw.cost == nas.cost(draw.architecture) for draw in found[:10])
        assert len({draw.architecture for draw in found}) > 90
        assert sampler.largest(rng, MANY).cost.macs > 0.95 * budget.bound
        least = max(low, aim * budget.bound)
        assert sampler.smallest(rng, MANY).cost.macs < least + 0.1 * (budget.bound - least)


def test_shallow_and_deep_networks_of_a_vast_space_are_drawn_alike() -> None:
    sampler, rng = BudgetSampler(VAST), random.Random(0)
    depths = Counter(VAST.encode(sampler.sample(rng).architecture).stages[1].depth for _ in range(1200))
    assert agree([depths[d] for d in range(1, 13)], [100.0] * 12)
    uniform = [VAST.encode(sampler.sample(rng, by="architecture").architecture).stages[1].depth for _ in range(100)]
    assert min(uniform) > 8  # nearly all members are the deepest


def test_a_thin_share_of_a_vast_space_is_counted_and_not_called_empty() -> None:
    low, high = BudgetSampler(VAST).extremes("macs")
    found = dry_run(VAST, [Budget(metric="macs", bound=low + (high - low) // 50)])
    assert not found.exact
    assert 0 < found.fits < 1e-6
    assert dry_run(VAST, [Budget(metric="macs", bound=low)]).fits >= 1 / VAST.size()
    assert dry_run(VAST, [Budget(metric="macs", bound=low - 1)]).fits == 0
    both = [Budget(metric="macs", bound=low), Budget(metric="params", bound=10**9)]
    assert dry_run(VAST, both).fits > 0


def test_an_estimated_thin_share_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.sampling import dry_run as preview

    for name in ("free", "gaps"):
        budgets = [bound(name, "macs", 0.04)]
        exact = len(within(name, budgets, 0.0)) / len(ALL[name])
        monkeypatch.setattr(preview, "_HALF", 1)
        found = dry_run(SPACES[name], budgets)
        assert not found.exact
        assert found.fits == pytest.approx(exact, rel=0.15)
