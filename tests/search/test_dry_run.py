"""The figures of a dry run, against brute force on a space small enough to list."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from nas.budget import Budget, Cost
from nas.costs import SpaceCosts
from nas.errors import LatencyError
from nas.options import SearchOptions
from nas.sampling import dry_run as preview
from nas.sampling.dry_run import dry_run
from nas.spaces import SearchSpace

from ..small_space import listed, small_space

SPACE = small_space()


def costs_of(space: SearchSpace) -> dict[str, list[Cost]]:
    costs, found = SpaceCosts(space), {layout: [] for layout in space.layouts}
    for point in listed(space):
        found[space.layout(point)].append(costs.cost(point))
    return found


BY_LAYOUT = costs_of(SPACE)
ALL = [cost for costs in BY_LAYOUT.values() for cost in costs]


def middle(values: list[int]) -> int:
    """The smallest value that at least half do not exceed."""
    return sorted(values)[(len(values) + 1) // 2 - 1]


@pytest.mark.parametrize("metric", ["macs", "params"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_figures_equal_brute_force(metric: str, share: float) -> None:
    values = sorted(getattr(cost, metric) for cost in ALL)
    budget = Budget(metric=metric, bound=values[min(int(share * len(values)), len(values) - 1)])
    found = dry_run(SPACE, [budget])
    assert found.exact
    assert found.size == len(ALL) == SPACE.size()
    assert found.digest == SPACE.digest
    for name in ("macs", "params"):
        each = [getattr(cost, name) for cost in ALL]
        assert found.costs[name] == {"min": min(each), "median": middle(each), "max": max(each)}
    assert found.fits == pytest.approx(sum(map(budget.allows, ALL)) / len(ALL), abs=1e-12)
    for layout, costs in BY_LAYOUT.items():
        expected = sum(map(budget.allows, costs)) / len(costs)
        assert found.layouts[layout] == {"size": len(costs), "fits": pytest.approx(expected)}


def test_without_a_budget_everything_fits_and_under_a_tiny_one_nothing() -> None:
    assert dry_run(SPACE, []).fits == 1
    assert dry_run(SPACE, [Budget.parse("1FLOPs")]).fits == 0


def test_two_budgets_are_estimated_and_say_so() -> None:
    budgets = [Budget(metric=m, bound=middle([getattr(c, m) for c in ALL])) for m in ("macs", "params")]
    found = dry_run(SPACE, budgets, rng=random.Random(0))
    assert not found.exact
    assert found.fits == pytest.approx(sum(all(b.allows(c) for b in budgets) for c in ALL) / len(ALL), abs=0.02)
    assert found == dry_run(SPACE, budgets, rng=random.Random(0))
    assert Counter({k: v["size"] for k, v in found.layouts.items()}) == {k: len(v) for k, v in BY_LAYOUT.items()}


def test_spaces_too_large_to_count_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_HALF", 10)
    budget = Budget(metric="macs", bound=middle([c.macs for c in ALL]))
    found = dry_run(SPACE, [budget])
    assert not found.exact
    assert found.fits == pytest.approx(0.5, abs=0.05)
    assert found.costs["macs"]["median"] == pytest.approx(middle([c.macs for c in ALL]), rel=0.05)
    assert found.costs["macs"]["max"] == max(c.macs for c in ALL)


def test_costs_are_at_the_resolution_asked_for() -> None:
    options = SearchOptions.of(space="small", budgets=(), resolution=16)
    found = dry_run(SPACE, [], options)
    large = [cost for costs in costs_of(SPACE.adapted(resolution=16)).values() for cost in costs]
    assert found.costs["macs"]["max"] == max(cost.macs for cost in large)
    assert found.digest == SPACE.adapted(resolution=16).digest


def test_a_latency_without_a_calibration_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    with pytest.raises(LatencyError, match="is not calibrated on this device: run nas device calibrate"):
        dry_run(SPACE, [Budget.parse("8ms@cpu")])
