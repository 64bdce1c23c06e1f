"""The largest feasible member by a count, against brute force, and against what evolution finds."""

from __future__ import annotations

import random

import pytest

import nas
from nas.methods.counted import BASELINES, COUNTS
from nas.sampling import BudgetSampler, Member
from nas.sampling import largest_member as search
from nas.sampling.enumeration import members
from nas.searchers.searcher import make_searcher
from nas.spaces import SearchSpace

from ..layered_space import CHANGES, layered_space
from ..small_space import listed, small_space

BUDGETS = (("40kFLOPs",), ("25kFLOPs",), ("4kparams",), ("40kFLOPs", "3kparams"), ())


def sampler(space: SearchSpace, *budgets: str, min_share: float = 0.0) -> BudgetSampler:
    return BudgetSampler(space, [nas.Budget.parse(each) for each in budgets], min_share=min_share)


def largest(within: BudgetSampler, count: str) -> Member | None:
    return search.largest_member(within, lambda node, option: BASELINES[count](within.costs, node, option))


@pytest.mark.parametrize("count", BASELINES)
@pytest.mark.parametrize("min_share", [0.0, 0.9])
@pytest.mark.parametrize("budgets", BUDGETS)
def test_it_is_the_largest_of_all_feasible_members(budgets: tuple[str, ...], min_share: float, count: str) -> None:
    space = small_space()
    within = sampler(space, *budgets, min_share=min_share)
    feasible = [each for each in map(space.decode, listed(space)) if within.contains(nas.cost(each))]
    found = largest(within, count)
    assert found is not None
    assert found.cost == nas.cost(found.architecture)
    assert within.contains(found.cost)
    assert COUNTS[count](found.architecture) == pytest.approx(max(map(COUNTS[count], feasible)))


def test_there_may_be_none_that_uses_the_least_share() -> None:
    # Only members whose ways were dropped spend so nearly all.
    space = nas.load_space("coatnet-small")
    within = sampler(space, "8MFLOPs", min_share=0.9999)
    found = largest(within, "params")
    assert found is None or within.contains(found.cost)


@pytest.mark.parametrize("count", BASELINES)
@pytest.mark.parametrize("name", CHANGES)
def test_it_is_so_where_every_layer_has_a_choice_of_its_own(name: str, count: str) -> None:
    within = sampler(layered_space(name), "40kFLOPs")
    listed = [member for layout in within.layouts for member in members(within, layout)]
    found = largest(within, count)
    assert found is not None
    assert COUNTS[count](found.architecture) == pytest.approx(max(COUNTS[count](each.architecture) for each in listed))


@pytest.mark.parametrize("count", BASELINES)
def test_few_ways_per_node_come_close(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    within = sampler(small_space(), "40kFLOPs")
    exact = largest(within, count)
    monkeypatch.setattr(search, "MOST_WAYS", 6)
    monkeypatch.setattr(search, "LEAST_WAYS", 6)
    found = largest(within, count)
    assert exact is not None
    assert found is not None
    assert within.contains(found.cost)
    best, reached = (COUNTS[count](each.architecture) for each in (exact, found))
    assert 0.9 * best <= reached <= best


@pytest.mark.parametrize("count", BASELINES)
def test_of_a_real_space_it_is_larger_than_any_that_evolution_finds(count: str) -> None:
    within = sampler(nas.load_space("coatnet-small"), "5MFLOPs", min_share=0.75)
    found = largest(within, count)
    assert found is not None
    searcher = make_searcher("evolution", within, seed=0)
    proposed = searcher.ask(128, 0)
    assert COUNTS[count](found.architecture) > max(COUNTS[count](each.architecture) for each in proposed)


def test_budgets_on_measured_metrics_are_kept() -> None:
    within = sampler(small_space(), "30kB", "40kFLOPs")
    found = largest(within, "params")
    assert found is not None
    assert within.contains(found.cost)
    rng = random.Random(0)
    sampled = (within.sample(rng).cost.params for _ in range(30))
    assert found.cost.params >= max(sampled)
