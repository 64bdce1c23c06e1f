"""Every feasible architecture of one layout, listed for when sampling finds nothing new."""

from __future__ import annotations

from collections.abc import Iterator

from nas.costs import Option
from nas.sampling.budget_sampler import BudgetSampler, Member
from nas.spaces import END, START

MOST_VISITS = 200_000
MOST_REJECTED = 2_000
"""Networks within the additive budgets that a measured one may refuse before the listing gives up."""


def members(sampler: BudgetSampler, layout: str, *, most_visits: int = MOST_VISITS) -> Iterator[Member]:
    """Yields every feasible member of a layout, each once, in a fixed order.

    A depth-first walk through the layout's graph that turns back where the least that remains exceeds a bound, or the
    most that remains falls short of the least share of the budget.

    Args:
        most_visits: Decisions to look at before giving up; a layout with few feasible members for its size may hold
            more of them than were listed by then.
    """
    graph, tabled = sampler.graph(layout), sampler.tabled
    least = [graph.remaining(metric) for metric in tabled.metrics]
    most = [graph.remaining(metric, smallest=False) for metric in tabled.metrics]
    picked: list[Option] = []
    waiting: list[tuple[Iterator[Option], tuple[int, ...]]] = []
    if graph.nodes:
        waiting.append((iter(graph.options[START]), (0,) * len(tabled.metrics)))
    visits = rejected = 0
    while waiting and visits < most_visits and rejected < MOST_REJECTED:
        options, before = waiting[-1]
        del picked[len(waiting) - 1 :]
        option = next(options, None)
        if option is None:
            waiting.pop()
            continue
        visits += 1
        spent = tuple(s + option.of(metric) for s, metric in zip(before, tabled.metrics, strict=True))
        ahead, at_most = ([rest[option.node] for rest in each] for each in (least, most))
        if not tabled.may_still_reach(spent, ahead, at_most):
            continue
        picked.append(option)
        if option.node != END:
            waiting.append((iter(graph.options[option.node]), spent))
            continue
        found = sampler.member_of(picked)
        if found is not None:
            yield found
        elif sampler.measures:
            rejected += 1
