"""Drawing architectures inside budgets: by layout, uniform within, never without end.

Costs are exact sums over a chain (stem, stages, head) whose state is the width handed on. Cutting each metric into
bins, the number of ways to finish a partly drawn network with what is left of the budget is a small table; drawing
each choice in proportion to it gives architectures uniformly over the *binned* budget, and rejecting the few that
exceed the exact one leaves them uniform over the exact one. The cheapest member is an exact shortest path, which
proves that a budget cannot be met.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from nas.architecture import Architecture
from nas.budget import Budget, Cost, check_budgets, format_quantity
from nas.costing import Option, SpaceCosts
from nas.errors import BudgetError, SpaceError
from nas.space import Genotype, SearchSpace

BINS = {1: 512, 2: 96}
MAX_TRIES = 500
_CACHED_DRAWS = 20_000
_LISTED = 2_000


class Draw(NamedTuple):
    """An architecture with its exact cost."""

    architecture: Architecture
    cost: Cost
    layout: str


class _Group(NamedTuple):
    width: int
    bins: tuple[int, ...]
    options: list[Option]


class BudgetSampler:
    """Draws members of a space that fit budgets and use at least a share `aim` of one of them.

    A member is in range if every metric is within its bound and at least one metric is at or above `aim` times its
    bound. A bound above the largest member is lowered to it, so that `aim` means something in a small space.

    Args:
        budgets: On multiply-adds or parameters; at most one each. None: the whole space.
        aim: From 0 (everything under the cap) to just below 1.

    Raises:
        BudgetError: If no member fits, with the smallest quoted.
    """

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget] = (), *, aim: float = 0.0) -> None:
        self.space, self.budgets, self.aim = space, check_budgets(budgets), aim
        if not 0 <= aim < 1:
            raise BudgetError(f"aim must be from 0 to just below 1, not {aim}.")
        self.costs = SpaceCosts(space)
        self.metrics = tuple(budget.metric for budget in budgets) or ("macs",)
        self._lowest = {m: shortest(self.costs, m, smallest=True) for m in ("macs", "params")}
        self._highest = {m: shortest(self.costs, m, smallest=False) for m in ("macs", "params")}
        self._prove_feasible()
        highest = [self._highest[m] for m in self.metrics]
        bounds = [budget.bound for budget in budgets] or highest
        self.bounds = tuple(int(min(b, h)) for b, h in zip(bounds, highest, strict=True))
        self._bins = BINS[len(self.metrics)]
        self._tables = {layout: self._count(layout) for layout in space.layouts}
        self._draws: dict[Any, tuple[list[float], list[_Group]]] = {}
        self._listed: dict[str, list[Draw]] = {}
        self.layouts = tuple(layout for layout in space.layouts if self._fits(layout))
        if not self.layouts:
            raise BudgetError(
                f"No {space.name} network found in {len(space.layouts)} x {MAX_TRIES} tries that uses at least "
                f"{aim:.0%} of {' and '.join(map(str, budgets))}. Lower --aim."
            )

    # -- drawing ------------------------------------------------------------------------------------------------

    def draw(self, rng: random.Random, *, by: str = "layout", layout: str | None = None) -> Draw:
        """One architecture: a layout uniformly (or the given one), then uniformly within it.

        Args:
            by: "architecture" weighs the layouts by how many architectures in range they hold.

        Raises:
            BudgetError: If nothing was found in a bounded number of tries.
        """
        _check_by(by)
        chosen = layout or rng.choice(self.layouts)
        for _ in range(MAX_TRIES):
            # Among all architectures, one that falls outside must not count for its layout; within a layout it must.
            chosen = self._pick_layout(rng) if by == "architecture" and not layout else chosen
            drawn = self._try(chosen, rng)
            if drawn is not None:
                return drawn
        listed = self._list(chosen)
        if listed:
            return rng.choice(listed)
        raise BudgetError(f"No {self.space.name} network in range was drawn in {MAX_TRIES} tries. Lower --aim.")

    def in_range(self, cost: Cost) -> bool:
        """Whether a cost is within every bound and at least at the aimed share of one."""
        values = [getattr(cost, metric) for metric in self.metrics]
        return all(v <= b for v, b in zip(values, self.bounds, strict=True)) and any(
            v >= self.aim * b for v, b in zip(values, self.bounds, strict=True)
        )

    def largest(self, rng: random.Random, layout: str, *, tries: int = 8) -> Draw:
        """The largest of some members drawn from the top two hundredths of the range of one layout."""
        return self._extreme_draw(rng, layout, tries, top=True)

    def smallest(self, rng: random.Random, layout: str, *, tries: int = 8) -> Draw:
        """The smallest of some members drawn from the lowest part of the range of one layout."""
        return self._extreme_draw(rng, layout, tries, top=False)

    def feasible_choices(self) -> list[set[Any]]:
        """For the stem, then each stage: the choices that at least one member under the bounds makes.

        Exact for one budget; with several, a choice is kept if each budget taken alone leaves room for it.
        """
        kept: list[set[Any]] = [set() for _ in range(self.costs.positions)]
        for layout in self.layouts:
            ahead = {m: remaining(self.costs, layout, m) for m in self.metrics}
            behind: dict[str, dict[int, int]] = {m: {} for m in self.metrics}
            for option in self.costs.stems:
                if all(
                    getattr(option, m) + ahead[m][0].get(option.width, 1 << 62) <= b
                    for m, b in zip(self.metrics, self.bounds, strict=True)
                ):
                    kept[0].add(option.choice)
                for m in self.metrics:
                    behind[m][option.width] = min(getattr(option, m), behind[m].get(option.width, 1 << 62))
            for i in range(len(self.space.stages)):
                following: dict[str, dict[int, int]] = {m: {} for m in self.metrics}
                for width_in in self.costs.widths_before(i):
                    for option in self.costs.options(i, width_in, layout[i]):
                        fits = True
                        for m, bound in zip(self.metrics, self.bounds, strict=True):
                            spent = behind[m].get(width_in, 1 << 62) + getattr(option, m)
                            fits &= spent + ahead[m][i + 1].get(option.width, 1 << 62) <= bound
                            following[m][option.width] = min(spent, following[m].get(option.width, 1 << 62))
                        if fits:
                            kept[i + 1].add(option.choice)
                behind = following
        return kept

    # -- statistics ---------------------------------------------------------------------------------------------

    def extremes(self, metric: str) -> tuple[int, int]:
        """The exact smallest and largest of a metric over the whole space, whatever the budgets."""
        return self._lowest[metric], self._highest[metric]

    # -- inside -------------------------------------------------------------------------------------------------

    def _prove_feasible(self) -> None:
        for budget in self.budgets:
            smallest = self._lowest[budget.metric]
            if budget.bound < smallest:
                shown = format_quantity(budget.metric, smallest)
                raise BudgetError(
                    f"No {self.space.name} network fits {budget}: the smallest needs {shown}. "
                    f"Raise --budget{' or lower --resolution' if budget.metric == 'macs' else ''}."
                )
        if len(self.budgets) > 1 and not any(self._meets_all(layout) for layout in self.space.layouts):
            raise BudgetError(
                f"No {self.space.name} network fits {' and '.join(map(str, self.budgets))} at once, though some fit "
                "each alone. Raise one --budget."
            )

    def _meets_all(self, layout: str) -> bool:
        """Whether a member meets all bounds at once: an exact search over undominated partial sums."""
        bounds = [budget.bound for budget in self.budgets]
        names = [budget.metric for budget in self.budgets]
        ahead = [remaining(self.costs, layout, m) for m in names]
        labels: dict[int, set[tuple[int, ...]]] = {}
        for o in self.costs.stems:
            labels.setdefault(o.width, set()).add(tuple(getattr(o, m) for m in names))
        for i in range(len(self.space.stages)):
            following: dict[int, set[tuple[int, ...]]] = {}
            for width_in, sums in labels.items():
                for o in self.costs.options(i, width_in, layout[i]):
                    rest = [table[i + 1].get(o.width, 1 << 62) for table in ahead]
                    for spent in sums:
                        total = tuple(s + getattr(o, m) for s, m in zip(spent, names, strict=True))
                        if all(t + r <= b for t, r, b in zip(total, rest, bounds, strict=True)):
                            following.setdefault(o.width, set()).add(total)
            labels = {width: _undominated(sums) for width, sums in following.items()}
        return any(labels.values())

    def _bin(self, option: Option) -> tuple[int, ...]:
        return tuple(
            getattr(option, m) * self._bins // bound for m, bound in zip(self.metrics, self.bounds, strict=True)
        )

    def _groups(self, options: list[Option]) -> list[_Group]:
        groups: dict[tuple[int, tuple[int, ...]], list[Option]] = {}
        for option in options:
            bins = self._bin(option)
            if max(bins) <= self._bins:
                groups.setdefault((option.width, bins), []).append(option)
        return [_Group(width, bins, members) for (width, bins), members in groups.items()]

    def _count(self, layout: str) -> list[tuple[dict[int, np.ndarray], dict[int, list[_Group]]]]:
        """Per position: cumulated numbers of completions by width and bins left, and the grouped options."""
        dims = len(self.metrics)
        shape = (self._bins + 1,) * dims
        end = np.zeros(shape)
        end[(0,) * dims] = 1
        ways = dict.fromkeys(self.space.stages[-1].widths, end)
        tables: list[Any] = [(_cumulated(ways), {})]
        for i in range(len(self.space.stages) - 1, -2, -1):
            before: dict[int, np.ndarray] = {}
            grouped: dict[int, list[_Group]] = {}
            for width_in in self.costs.widths_before(i) if i >= 0 else [0]:
                options = self.costs.options(i, width_in, layout[i]) if i >= 0 else self.costs.stems
                grouped[width_in] = self._groups(options)
                total = np.zeros(shape)
                for group in grouped[width_in]:
                    source = ways.get(group.width)
                    if source is not None:
                        here = tuple(slice(b, None) for b in group.bins)
                        there = tuple(slice(0, self._bins + 1 - b) for b in group.bins)
                        total[here] += len(group.options) * source[there]
                before[width_in] = total
            ways = before
            tables.insert(0, (_cumulated(ways), grouped))
        return tables

    def _range(self, low: float | None = None) -> tuple[int, int]:
        """Lowest and highest admitted sum of bins; rounding down loses up to one bin a position."""
        share = self.aim if low is None else low
        return max(0, int(share * self._bins) - self.costs.positions + 1), self._bins

    def _between(self, cumulated: np.ndarray, spent: tuple[int, ...], low: int, high: int) -> float:
        top = tuple(high - s for s in spent)
        if min(top) < 0:
            return 0.0
        bottom = tuple(low - 1 - s for s in spent)
        return float(cumulated[top]) - (float(cumulated[bottom]) if min(bottom) >= 0 else 0.0)

    def _weight(self, layout: str, low: int | None = None) -> float:
        lowest, high = self._range()
        table = self._tables[layout][0][0][0]
        return self._between(table, (0,) * len(self.metrics), lowest if low is None else low, high)

    def _pick_layout(self, rng: random.Random) -> str:
        return rng.choices(self.layouts, [self._weight(layout) for layout in self.layouts])[0]

    def _fits(self, layout: str) -> bool:
        """Whether the layout has members in range: the bins' count, confirmed by drawing or listing one."""
        rng = random.Random(0)
        if self._weight(layout) <= 0:
            return False
        return any(self._try(layout, rng) is not None for _ in range(MAX_TRIES)) or bool(self._list(layout))

    def _list(self, layout: str) -> list[Draw]:
        """The members in range (or the first many of them) of a layout whose range is too narrow to hit by drawing."""
        from nas.searching.enumeration import members

        if layout not in self._listed:
            self._listed[layout] = list(islice(members(self, layout), _LISTED))
        return self._listed[layout]

    def _try(self, layout: str, rng: random.Random, low: int | None = None, high: int | None = None) -> Draw | None:
        """One draw over the binned range, or None if it falls outside the exact one."""
        lowest, highest = self._range()
        low, high = lowest if low is None else low, highest if high is None else high
        spent, width = (0,) * len(self.metrics), 0
        picked: list[Option] = []
        for position in range(self.costs.positions):
            key = (layout, position, width, spent, low, high)
            weighed = self._draws.get(key)
            if weighed is None:
                weighed = self._weigh(layout, position, width, spent, low, high)
            sums, groups = weighed
            if not sums or sums[-1] <= 0:
                return None
            group = groups[min(bisect_right(sums, rng.random() * sums[-1]), len(groups) - 1)]
            members = group.options
            option = members[int(rng.random() * len(members))]
            picked.append(option)
            width, spent = option.width, tuple(s + b for s, b in zip(spent, group.bins, strict=True))
        cost = Cost(macs=sum(o.macs for o in picked), params=sum(o.params for o in picked))
        if not self.in_range(cost):
            return None
        genotype = Genotype(picked[0].choice, tuple(o.choice for o in picked[1:]))
        return Draw(self.space.decode(genotype), cost, layout)

    def _weigh(
        self, layout: str, position: int, width: int, spent: tuple[int, ...], low: int, high: int
    ) -> tuple[list[float], list[_Group]]:
        following = self._tables[layout][position + 1][0]
        groups, sums, total = [], [], 0.0
        for group in self._tables[layout][position][1].get(width, ()):
            if group.width not in following:
                continue
            then = tuple(s + b for s, b in zip(spent, group.bins, strict=True))
            ways = self._between(following[group.width], then, low, high)
            if ways > 0:
                total += ways * len(group.options)
                sums.append(total)
                groups.append(group)
        if len(self._draws) >= _CACHED_DRAWS:
            self._draws.clear()
        self._draws[layout, position, width, spent, low, high] = sums, groups
        return sums, groups

    def _extreme_draw(self, rng: random.Random, layout: str, tries: int, *, top: bool) -> Draw:
        lowest, highest = self._range()
        step = max(1, self._bins // 50)
        found: list[Draw] = []
        for window in range(0, self._bins + 1, step):
            low, high = (highest - window - step, highest) if top else (lowest, lowest + window + step)
            low = max(low, lowest)
            found = [d for d in (self._try(layout, rng, low, min(high, highest)) for _ in range(tries)) if d]
            if found:
                break
        if not found:
            return self.draw(rng, layout=layout)
        return (max if top else min)(found, key=lambda d: getattr(d.cost, self.metrics[0]))


def remaining(costs: SpaceCosts, layout: str, metric: str, *, smallest: bool = True) -> list[dict[int, int]]:
    """Per stage, the least (or most) that is still to be spent from each incoming width; one entry more for the end."""
    pick = min if smallest else max
    stages = costs.space.stages
    table: list[dict[int, int]] = [dict.fromkeys(stages[-1].widths, 0)]
    for i in range(len(stages) - 1, -1, -1):
        best: dict[int, int] = {}
        for width_in in costs.widths_before(i):
            options = costs.options(i, width_in, layout[i])
            sums = [getattr(o, metric) + table[0][o.width] for o in options if o.width in table[0]]
            if sums:
                best[width_in] = pick(sums)
        table.insert(0, best)
    return table


def shortest(costs: SpaceCosts, metric: str, *, smallest: bool) -> int:
    """The exact least (or most) that any member of a space costs: a shortest (longest) path over the chain."""
    found: list[int] = []
    for layout in costs.space.layouts:
        rest = remaining(costs, layout, metric, smallest=smallest)[0]
        found += [getattr(o, metric) + rest[o.width] for o in costs.stems if o.width in rest]
    return min(found) if smallest else max(found)


def sample(
    space: SearchSpace,
    rng: random.Random,
    budgets: Sequence[Budget] = (),
    *,
    by: str = "layout",
    aim: float = 0.0,
) -> Architecture:
    """Draws one architecture of a space inside budgets; see `BudgetSampler`, which is faster for many.

    Raises:
        BudgetError: If no member fits, with the smallest quoted, or two budgets bound the same metric.
    """
    check_budgets(budgets)
    _check_by(by)
    if not budgets and not aim:
        return space.sample(rng, by=by)
    return BudgetSampler(space, budgets, aim=aim).draw(rng, by=by).architecture


def _check_by(by: str) -> None:
    if by not in ("layout", "architecture"):
        raise SpaceError(f"by must be 'layout' or 'architecture', not {by!r}.")


def _cumulated(ways: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    cumulated = {}
    for width, table in ways.items():
        for axis in range(table.ndim):
            table = table.cumsum(axis)
        cumulated[width] = table
    return cumulated


def _undominated(sums: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    kept: list[tuple[int, ...]] = []
    best = None
    for total in sorted(sums):
        if best is None or total[1] < best:
            kept.append(total)
            best = total[1]
    return set(kept)
