"""What a search says that it is about to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.budget import check_budgets
from nas.options import METHODS, SearchOptions
from nas.pipeline.plan_summary import plan_summary
from nas.sampling.budget_sampler import BudgetSampler

PLAN: Any = SimpleNamespace(
    resolution=32, train_resolution=32, trials=4, finalists=1, finalist_epochs=2, device="cpu", threads=1,
    dtype="float32", seconds={"search": 90.0},
)  # fmt: skip


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        (["20MFLOPs"], "nats-size within 20MFLOPs: 1 layout, networks of at least 75% of the budget"),
        (
            ["1GFLOPs"],
            "nats-size within 1GFLOPs: 1 layout, networks of at least 75% of the largest, 274.40 MMACs "
            "(1GFLOPs is above that)",
        ),
        (
            ["20MFLOPs", "90Kparams"],
            "nats-size within 20MFLOPs and 90Kparams: 1 layout, networks of at least 75% of 20MFLOPs or "
            "75% of 90Kparams",
        ),
        ([], "nats-size within the whole space: 1 layout, networks of at least 75% of the largest"),
    ],
)
def test_what_networks_cost_at_least_is_said_as_it_is(budgets: list[str], said: str) -> None:
    asked = check_budgets(budgets)
    sampler = BudgetSampler(nas.load_space("nats-size"), asked, min_share=0.75)
    options = SearchOptions.of(space="nats-size", method="params")
    method = METHODS["params"].load()("params", options.of_method())
    first, details = method.describe(PLAN, options, images=100)
    lines = plan_summary(PLAN, first=first, details=[*details, "one thing more"], sampler=sampler, budgets=asked)
    assert lines == [
        said,
        "one thing more",
        "Scores: params; search: 4 networks; finalists: 1 x 2 epochs; cpu, 1 thread, float32; about 2 minutes",
    ]


def test_a_search_of_seconds_takes_about_a_minute() -> None:
    sampler = BudgetSampler(nas.load_space("nats-size"), [], min_share=0.75)
    short: Any = SimpleNamespace(**{**vars(PLAN), "seconds": {"search": 20.0}})
    *_, last = plan_summary(short, first="Scores: params", details=[], sampler=sampler, budgets=[])
    assert last.endswith("cpu, 1 thread, float32; about 1 minute")
