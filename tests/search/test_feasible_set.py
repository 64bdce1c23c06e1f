"""The feasible set of budgets, by hand, and that every way of asking agrees."""

from __future__ import annotations

import pytest

from nas.budget import Cost
from nas.sampling import FeasibleSet

BOTH = FeasibleSet(metrics=("macs", "params"), bounds=(100, 10), min_share=0.5)


@pytest.mark.parametrize(
    ("macs", "params", "violation"),
    [
        (100, 10, 0.0),
        (50, 1, 0.0),  # one metric that uses its share is enough
        (1, 5, 0.0),
        (49, 4, 0.01),
        (101, 10, 0.01),
        (150, 12, 0.7),
        (0, 11, 0.1),
    ],
)
def test_a_cost_is_feasible_where_nothing_is_violated(macs: int, params: int, violation: float) -> None:
    cost = Cost(macs=macs, params=params)
    assert BOTH.violation(cost) == pytest.approx(violation)
    assert BOTH.contains(cost) == (violation == 0)
    assert BOTH.contains(cost) == all(broken <= 0 for broken in BOTH.violations(cost).values())


def test_without_a_share_to_use_only_the_bounds_hold() -> None:
    cap = FeasibleSet(metrics=("macs",), bounds=(100,))
    assert cap.contains(Cost(macs=0, params=99))
    assert not cap.contains(Cost(macs=101, params=0))


def test_a_partial_cost_may_be_feasible_if_the_least_rest_fits_and_the_most_reaches_the_share() -> None:
    assert BOTH.may_still_reach((60, 4), (40, 6), (40, 6))
    assert not BOTH.may_still_reach((60, 4), (41, 0), (90, 6))
    assert not BOTH.may_still_reach((20, 1), (0, 0), (29, 3))
    assert BOTH.may_still_reach((20, 1), (0, 0), (29, 4))
    assert BOTH.may_still_reach((20, 1), (0, 0))  # of the upper bounds alone
