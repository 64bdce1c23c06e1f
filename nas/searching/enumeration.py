"""Listing every architecture in range of one layout, for when drawing finds nothing new."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from nas.budget import Cost
from nas.costing import Option
from nas.searching.sampling import BudgetSampler, Draw
from nas.space import Genotype

MOST_VISITS = 200_000


def members(sampler: BudgetSampler, layout: str, *, most_visits: int = MOST_VISITS) -> Iterator[Draw]:
    """Every member of a layout within the sampler's range, each once, in a fixed order.

    A depth-first walk along the chain that turns back where the least that remains exceeds a bound, or the most that
    remains falls short of the aim.

    Args:
        most_visits: Partly chosen networks to look at before giving up; a range that is narrow against its layout
            may hold more members than were listed by then.
    """
    costs, metrics, last = sampler.costs, sampler.metrics, len(layout)
    visits = 0

    def options(position: int, width: int) -> list[Option]:
        return costs.options(position - 1, width, layout[position - 1]) if position else costs.stems

    @cache
    def ahead(position: int, width: int) -> tuple[tuple[int, int], ...] | None:
        """Per metric, the least and the most that can be spent from here on; None at a dead end."""
        if position > last:
            return ((0, 0),) * len(metrics)
        found = [(option, ahead(position + 1, option.width)) for option in options(position, width)]
        ends = [(option, rest) for option, rest in found if rest is not None]
        if not ends:
            return None
        return tuple(
            (
                min(getattr(option, metric) + rest[m][0] for option, rest in ends),
                max(getattr(option, metric) + rest[m][1] for option, rest in ends),
            )
            for m, metric in enumerate(metrics)
        )

    def promising(spent: tuple[int, ...], rest: tuple[tuple[int, int], ...]) -> bool:
        fits = all(s + least <= b for s, (least, _), b in zip(spent, rest, sampler.bounds, strict=True))
        return fits and any(
            s + most >= sampler.aim * b for s, (_, most), b in zip(spent, rest, sampler.bounds, strict=True)
        )

    def walk(picked: tuple[Option, ...]) -> Iterator[Draw]:
        nonlocal visits
        if len(picked) > last:
            cost = Cost(macs=sum(o.macs for o in picked), params=sum(o.params for o in picked))
            if sampler.in_range(cost):
                genotype = Genotype(picked[0].choice, tuple(option.choice for option in picked[1:]))
                yield Draw(sampler.space.decode(genotype), cost, layout)
            return
        for option in options(len(picked), picked[-1].width if picked else 0):
            visits += 1
            if visits > most_visits:
                return
            rest = ahead(len(picked) + 1, option.width)
            spent = tuple(sum(getattr(o, metric) for o in (*picked, option)) for metric in metrics)
            if rest is not None and promising(spent, rest):
                yield from walk((*picked, option))

    yield from walk(())
