"""Listing every architecture in range of one layout, for when drawing finds nothing new."""

from __future__ import annotations

from collections.abc import Iterator

from nas.costs import Option
from nas.sampling.budget_sampler import BudgetSampler, Draw
from nas.spaces import END, START

MOST_VISITS = 200_000


def members(sampler: BudgetSampler, layout: str, *, most_visits: int = MOST_VISITS) -> Iterator[Draw]:
    """Every member of a layout within the sampler's range, each once, in a fixed order.

    A depth-first walk through the layout's graph that turns back where the least that remains exceeds a bound, or the
    most that remains falls short of the aim.

    Args:
        most_visits: Decisions to look at before giving up; a range that is narrow against its layout may hold more
            members than were listed by then.
    """
    graph = sampler.costs.graph(layout)
    least = [graph.remaining(metric) for metric in sampler.metrics]
    most = [graph.remaining(metric, smallest=False) for metric in sampler.metrics]
    aims = [sampler.aim * bound for bound in sampler.bounds]

    def promising(option: Option, spent: tuple[int, ...]) -> bool:
        return all(s + rest[option.node] <= b for s, rest, b in zip(spent, least, sampler.bounds, strict=True)) and any(
            s + rest[option.node] >= aim for s, rest, aim in zip(spent, most, aims, strict=True)
        )

    picked: list[Option] = []
    waiting: list[tuple[Iterator[Option], tuple[int, ...]]] = []
    if graph.nodes:
        waiting.append((iter(graph.options[START]), (0,) * len(sampler.metrics)))
    visits = 0
    while waiting and visits < most_visits:
        options, before = waiting[-1]
        del picked[len(waiting) - 1 :]
        option = next(options, None)
        if option is None:
            waiting.pop()
            continue
        visits += 1
        spent = tuple(s + getattr(option, metric) for s, metric in zip(before, sampler.metrics, strict=True))
        if not promising(option, spent):
            continue
        picked.append(option)
        if option.node != END:
            waiting.append((iter(graph.options[option.node]), spent))
            continue
        found = sampler.drawn(picked)
        if found is not None:
            yield found
