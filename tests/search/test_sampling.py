"""Drawing inside budgets, against brute force on a space small enough to list."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import chisquare

import nas
from nas.budget import Budget, Cost
from nas.costs import SpaceCosts
from nas.errors import BudgetError, SpaceError
from nas.networks.loading import load_space
from nas.sampling.budget_sampler import BudgetSampler
from nas.sampling.kept_samplers import MOST_KEPT, kept_sampler
from nas.sampling.shortest_paths import shortest
from nas.spaces import Genotype

from ..small_space import listed, small_space

SPACE = small_space()
COSTS = SpaceCosts(SPACE)
ALL: dict[Genotype, Cost] = {point: COSTS.cost(point) for point in listed(SPACE)}
BUILT = load_space("coatnet-small")


def figure(metric: str, share: float) -> int:
    """The cost that a share of all members does not exceed."""
    values = sorted(getattr(cost, metric) for cost in ALL.values())
    return values[min(int(share * len(values)), len(values) - 1)]


def bound(metric: str, share: float) -> Budget:
    return Budget(metric=metric, bound=figure(metric, share))


def within(budgets: list[Budget], aim: float = 0.0) -> dict[Genotype, Cost]:
    """The members in range, by brute force."""
    return {
        p: c for p, c in ALL.items() if all(b.allows(c) for b in budgets) and any(b.share(c) >= aim for b in budgets)
    }


CASES = {
    "macs": [bound("macs", 0.3)],
    "params": [bound("params", 0.5)],
    "both": [bound("macs", 0.5), bound("params", 0.4)],
}


@pytest.mark.parametrize("budgets", CASES.values(), ids=CASES)
@pytest.mark.parametrize("aim", [0.0, 0.75])
def test_draws_are_within_every_budget_and_at_the_aim(budgets: list[Budget], aim: float) -> None:
    fitting = within(budgets, aim)
    sampler = BudgetSampler(SPACE, budgets, min_share=aim)
    assert set(sampler.layouts) == {SPACE.layout(p) for p in fitting}
    rng = random.Random(0)
    for i in range(300):
        drawn = sampler.sample(rng, by=("layout", "architecture")[i % 2])
        assert SPACE.encode(drawn.architecture) in fitting
        assert drawn.cost == fitting[SPACE.encode(drawn.architecture)] == nas.cost(drawn.architecture)
        assert drawn.layout == SPACE.layout(SPACE.encode(drawn.architecture))


@pytest.mark.parametrize("budgets", CASES.values(), ids=CASES)
def test_draws_are_uniform_within_a_layout_and_over_layouts(budgets: list[Budget]) -> None:
    fitting = within(budgets, 0.5)
    sampler, rng = BudgetSampler(SPACE, budgets, min_share=0.5), random.Random(0)
    for layout in sampler.layouts:
        members = [p for p in fitting if SPACE.layout(p) == layout]
        found = Counter(SPACE.encode(sampler.sample(rng, layout=layout).architecture) for _ in range(10 * len(members)))
        assert len(members) == 1 or chisquare([found[p] for p in members]).pvalue > 1e-4
    layouts = Counter(sampler.sample(rng).layout for _ in range(1500))
    assert chisquare([layouts[layout] for layout in sampler.layouts]).pvalue > 1e-4


def test_draws_by_architecture_are_uniform_over_all_that_fit() -> None:
    fitting = within(CASES["macs"], 0.5)
    sampler, rng = BudgetSampler(SPACE, CASES["macs"], min_share=0.5), random.Random(0)
    found = Counter(SPACE.encode(sampler.sample(rng, by="architecture").architecture) for _ in range(10 * len(fitting)))
    assert chisquare([found[p] for p in fitting]).pvalue > 1e-4


def test_same_seed_same_draws() -> None:
    one, two = (
        [BudgetSampler(SPACE, CASES["both"]).sample(rng) for _ in range(5)]
        for rng in (random.Random(3), random.Random(3))
    )
    assert one == two
    architecture = nas.sample(SPACE, random.Random(0), CASES["macs"], min_share=0.5)
    assert architecture == nas.sample(SPACE, random.Random(0), CASES["macs"], min_share=0.5)
    assert SPACE.encode(architecture) in within(CASES["macs"], 0.5)
    assert SPACE.contains(nas.sample(SPACE, random.Random(0)))


def test_calls_of_nas_sample_share_a_sampler_and_give_what_a_fresh_one_does() -> None:
    for min_share in (0.0, 0.5):
        fresh, rngs = BudgetSampler(SPACE, CASES["both"], min_share=min_share), (random.Random(5), random.Random(5))
        for i in range(100):
            by = ("layout", "architecture")[i % 2]
            found = nas.sample(SPACE, rngs[0], CASES["both"], by=by, min_share=min_share)
            assert found == fresh.sample(rngs[1], by=by).architecture
    again = replace(SPACE)  # an equal space, as from a file that is read again
    assert kept_sampler(SPACE, CASES["both"]) is kept_sampler(again, tuple(CASES["both"]))
    assert kept_sampler(SPACE, CASES["both"]) is not kept_sampler(SPACE, CASES["both"], min_share=0.5)


def test_few_samplers_are_kept_the_last_used_ones() -> None:
    first = kept_sampler(SPACE, CASES["macs"])
    budgets = [[Budget(metric="macs", bound=CASES["macs"][0].bound + i)] for i in range(1, MOST_KEPT + 1)]
    for each in budgets[:-1]:
        kept_sampler(SPACE, each)
    assert kept_sampler(SPACE, CASES["macs"]) is first
    kept_sampler(SPACE, budgets[-1])
    assert kept_sampler(SPACE, CASES["macs"]) is first
    for each in budgets:
        kept_sampler(SPACE, each)
    assert kept_sampler(SPACE, CASES["macs"]) is not first


def test_threads_that_share_a_sampler_get_what_each_would_alone() -> None:
    def samples(seed: int) -> list[str]:
        rng = random.Random(seed)
        return [nas.sample(BUILT, rng, [Budget.parse("5MFLOPs")]).digest for _ in range(100)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(samples, range(4))) == [samples(seed) for seed in range(4)]


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_extremes_equal_brute_force(metric: str) -> None:
    values = [getattr(cost, metric) for cost in ALL.values()]
    assert shortest(COSTS, metric, smallest=True) == min(values)
    assert shortest(COSTS, metric, smallest=False) == max(values)
    assert BudgetSampler(SPACE, CASES["macs"]).extremes(metric) == (min(values), max(values))


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_the_smallest_member_fits_exactly_and_nothing_fits_below(metric: str) -> None:
    least = min(getattr(cost, metric) for cost in ALL.values())
    only = BudgetSampler(SPACE, [Budget(metric=metric, bound=least)]).sample(random.Random(0))
    assert getattr(only.cost, metric) == least
    with pytest.raises(BudgetError, match="the smallest needs") as caught:
        BudgetSampler(SPACE, [Budget(metric=metric, bound=least - 1)])
    assert nas.budget.format_quantity(metric, least) in str(caught.value)


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_the_smallest_member_of_a_large_space_is_found_under_its_own_budget(metric: str) -> None:
    least = shortest(SpaceCosts(BUILT), metric, smallest=True)
    drawn = BudgetSampler(BUILT, [Budget(metric=metric, bound=least)]).sample(random.Random(0))
    assert getattr(drawn.cost, metric) == least


def test_two_budgets_that_hold_alone_but_not_together_are_refused() -> None:
    macs = min(c.macs for c in ALL.values())
    params = min(c.params for c in ALL.values())
    together = {c.params for c in ALL.values() if c.macs == macs}
    budgets = [Budget(metric="macs", bound=macs), Budget(metric="params", bound=params)]
    if params not in together:
        with pytest.raises(BudgetError, match="at once"):
            BudgetSampler(SPACE, budgets)
    # The least parameters that the cheapest in multiply-adds have is the line between refusal and a draw.
    enough = [budgets[0], Budget(metric="params", bound=min(together))]
    assert BudgetSampler(SPACE, enough).sample(random.Random(0)).cost == Cost(macs=macs, params=min(together))
    with pytest.raises(BudgetError):
        BudgetSampler(SPACE, [budgets[0], Budget(metric="params", bound=min(together) - 1)])


@pytest.mark.parametrize("name", ["macs", "params"])
def test_feasible_choices_equal_brute_force(name: str) -> None:
    for share in (0.05, 0.3, 0.8):
        budgets = [bound(name, share)]
        fitting = within(budgets)
        expected: list[set[Any]] = [{p.stem for p in fitting}, *({p.stages[i] for p in fitting} for i in range(2))]
        assert BudgetSampler(SPACE, budgets).feasible_choices() == expected


def test_feasible_choices_of_two_budgets_miss_none() -> None:
    fitting = within(CASES["both"])
    kept = BudgetSampler(SPACE, CASES["both"]).feasible_choices()
    assert {p.stem for p in fitting} <= kept[0]
    assert all({p.stages[i] for p in fitting} <= kept[i + 1] for i in range(2))


def test_largest_and_smallest_come_from_the_ends_of_a_layout() -> None:
    sampler, rng = BudgetSampler(SPACE, CASES["macs"]), random.Random(0)
    for layout in sampler.layouts:
        macs = sorted(c.macs for p, c in within(CASES["macs"]).items() if SPACE.layout(p) == layout)
        large, small = sampler.largest(rng, layout), sampler.smallest(rng, layout)
        assert large.layout == small.layout == layout
        assert large.cost.macs >= macs[-1] - 0.05 * sampler.counted.bounds[0]
        assert small.cost.macs <= macs[0] + 0.05 * sampler.counted.bounds[0]


def test_wrong_requests_are_refused_in_one_line() -> None:
    sampler = BudgetSampler(SPACE, CASES["macs"])
    for error, request in (
        (SpaceError, lambda: sampler.sample(random.Random(0), by="lay")),
        (SpaceError, lambda: nas.sample(SPACE, random.Random(0), by="lay")),
        (BudgetError, lambda: BudgetSampler(SPACE, CASES["macs"] * 2)),
        (BudgetError, lambda: BudgetSampler(SPACE, CASES["macs"], min_share=1.0)),
    ):
        with pytest.raises(error) as caught:
            request()
        assert "\n" not in str(caught.value)
