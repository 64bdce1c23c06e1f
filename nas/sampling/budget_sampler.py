"""Drawing architectures inside budgets: by layout, uniform within, never without end.

`nas.sampling.weight_table` draws over budgets cut into bins; what falls outside the exact budget is rejected, which
leaves the draws uniform (or fair) over the exact one. The cheapest member is an exact shortest path: a proof that a
budget cannot be met.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nas.architecture import Architecture
from nas.budget import Budget, Cost, check_budgets, format_quantity
from nas.costs import CostGraph, Option, SpaceCosts
from nas.errors import BudgetError, SpaceError
from nas.sampling.weight_table import Table, Window
from nas.spaces import END, START, SearchSpace

MAX_TRIES = 500
_LISTED = 2_000


class Draw(NamedTuple):
    """An architecture with its exact cost, and its string of letters."""

    architecture: Architecture
    cost: Cost
    layout: str


class BudgetSampler:
    """Draws members of a space that fit budgets and use at least a share `aim` of one of them.

    A member is in range if every metric is within its bound and at least one metric is at or above `aim` times its
    bound. A bound above the largest member is lowered to it, so that `aim` means something in a small space.

    Where a space does not list its layouts (`SearchSpace.listed`), `layouts` is `("*",)`, and drawing "by layout" is
    by the fair measure (see `nas.spaces.decision_graph`) among the members in range, exactly.

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
        self._tables: dict[tuple[str, bool], Table | None] = {}
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
        alike = by == "architecture" and not layout
        chosen = layout or rng.choice(self.layouts)
        for _ in range(MAX_TRIES):
            # Among all architectures, one that falls outside must not count for its layout; within a layout it must.
            chosen = self._pick_layout(rng) if alike else chosen
            drawn = self._try(chosen, rng, alike=alike)
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

        Of a stage with a choice per layer: its `LayerChoice`s, and a `StageChoice` without letters for every width
        and depth. Exact for one budget; with several, a choice is kept if each budget taken alone leaves room for it.
        """
        kept: list[set[Any]] = [set() for _ in range(self.costs.positions)]
        for layout in self.layouts:
            graph = self.costs.graph(layout)
            ways = [(m, b, graph.spent(m), graph.remaining(m)) for m, b in zip(self.metrics, self.bounds, strict=True)]
            for node, options in graph.options.items():
                for option in options:
                    if option.choice is not None and all(
                        spent[node] + getattr(option, m) + ahead[option.node] <= b for m, b, spent, ahead in ways
                    ):
                        kept[node.stage + 1].add(option.choice)
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
        if len(self.budgets) > 1:
            bounds = {budget.metric: budget.bound for budget in self.budgets}
            if not any(meets_all(self.costs.graph(layout), bounds) for layout in self.space.layouts):
                raise BudgetError(
                    f"No {self.space.name} network fits {' and '.join(map(str, self.budgets))} at once, though some "
                    "fit each alone. Raise one --budget."
                )

    def _table(self, layout: str, *, alike: bool = False) -> Table | None:
        """The table of a layout, of members all alike or by the fair measure; None if no member is under the bounds."""
        key = (layout, alike or self.space.listed)
        if key not in self._tables:
            graph = self.costs.graph(layout)
            bounds = zip(self.metrics, self.bounds, strict=True)
            under = bool(graph.nodes) and all(graph.remaining(m)[START] <= b for m, b in bounds)
            self._tables[key] = Table(graph, self.metrics, self.bounds, fair=not key[1]) if under else None
        return self._tables[key]

    def _window(self, table: Table) -> Window:
        """The bins of all members in range, and of few others."""
        low: list[int] = []
        for bound, slack, lost in zip(self.bounds, table.slack, table.lost, strict=True):
            excess = self.aim * bound - (bound - slack)
            low.append(max(0, int(excess / (slack + 1) * table.bins - lost - 1e-6)))
        return tuple(low), table.top

    def _pick_layout(self, rng: random.Random) -> str:
        if len(self.layouts) == 1:
            return self.layouts[0]
        total, weights = self.space.size(), []
        for layout in self.layouts:
            table = self._table(layout, alike=True)
            weights.append(self.space.size(layout) / total * table.weight(self._window(table)) if table else 0.0)
        return rng.choices(self.layouts, weights)[0]

    def _fits(self, layout: str) -> bool:
        """Whether the layout has members in range: the bins' count, confirmed by drawing or listing one."""
        table = self._table(layout)
        if table is None or table.weight(self._window(table)) <= 0:
            return False
        rng = random.Random(0)
        return any(self._try(layout, rng) is not None for _ in range(MAX_TRIES)) or bool(self._list(layout))

    def _list(self, layout: str) -> list[Draw]:
        """The members in range (or the first many of them) of a layout whose range is too narrow to hit by drawing."""
        from nas.sampling.enumeration import members

        if layout not in self._listed:
            self._listed[layout] = list(islice(members(self, layout), _LISTED))
        return self._listed[layout]

    def _try(
        self, layout: str, rng: random.Random, window: Window | None = None, *, alike: bool = False
    ) -> Draw | None:
        """One draw over the binned range, or None if it falls outside the exact one."""
        table = self._table(layout, alike=alike)
        picked = table.draw(rng, window or self._window(table)) if table else None
        return self.drawn(picked) if picked else None

    def drawn(self, picked: Sequence[Option]) -> Draw | None:
        """The member that some decisions make; None if it is out of range."""
        cost = Cost(macs=sum(o.macs for o in picked), params=sum(o.params for o in picked))
        if not self.in_range(cost):
            return None
        genotype = self.space.genotype(option.choice for option in picked)
        return Draw(self.space.decode(genotype), cost, self.space.layout(genotype))

    def _extreme_draw(self, rng: random.Random, layout: str, tries: int, *, top: bool) -> Draw:
        table = self._table(layout)
        assert table is not None, "only layouts in range have extremes"
        lowest, highest = self._window(table)
        step = max(1, table.bins // 50)
        found: list[Draw] = []
        for width in range(step, table.bins + step, step):
            if top:
                window = tuple(max(low, high - width) for low, high in zip(lowest, highest, strict=True)), highest
            else:
                window = lowest, tuple(min(low + width, high) for low, high in zip(lowest, highest, strict=True))
            found = [d for d in (self._try(layout, rng, window) for _ in range(tries)) if d]
            if found:
                break
        if not found:
            return self.draw(rng, layout=layout)
        return (max if top else min)(found, key=lambda d: getattr(d.cost, self.metrics[0]))


def shortest(costs: SpaceCosts, metric: str, *, smallest: bool) -> int:
    """The exact least (or most) that any member of a space costs: a shortest (longest) path."""
    graphs = [costs.graph(layout) for layout in costs.space.layouts]
    found = [graph.remaining(metric, smallest=smallest)[START] for graph in graphs if graph.nodes]
    return min(found) if smallest else max(found)


def meets_all(graph: CostGraph, bounds: Mapping[str, int | float]) -> bool:
    """Whether a member meets two bounds at once: an exact search over undominated partial sums."""
    (one, two), ahead = bounds, [graph.remaining(metric) for metric in bounds]
    if not graph.nodes or any(rest[START] > b for rest, b in zip(ahead, bounds.values(), strict=True)):
        return False
    if any(_meets_mixed(graph, bounds, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)):
        return True
    labels: dict[Any, set[tuple[int, int]]] = {START: {(0, 0)}}
    for node in graph.nodes[:-1]:
        sums = _undominated(labels.pop(node, set()))
        for option in graph.options[node] if sums else ():
            left = bounds[one] - ahead[0][option.node], bounds[two] - ahead[1][option.node]
            a, b = getattr(option, one), getattr(option, two)
            further = {(x + a, y + b) for x, y in sums if x + a <= left[0] and y + b <= left[1]}
            labels.setdefault(option.node, set()).update(further)
    return bool(labels.get(END))


def _meets_mixed(graph: CostGraph, bounds: Mapping[str, int | float], share: float) -> bool:
    """Whether the member that is cheapest in a mix of two metrics meets both bounds."""
    (one, a), (two, b) = bounds.items()
    best: dict[Any, tuple[float, int, int]] = {END: (0.0, 0, 0)}
    for node in reversed(graph.nodes[:-1]):
        found = []
        for option in graph.options[node]:
            mixed, x, y = best[option.node]
            x, y = x + getattr(option, one), y + getattr(option, two)
            found.append((mixed + (1 - share) * getattr(option, one) / a + share * getattr(option, two) / b, x, y))
        best[node] = min(found)
    return best[START][1] <= a and best[START][2] <= b


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


def _undominated(sums: set[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for total in sorted(sums):
        if not kept or total[1] < kept[-1][1]:
            kept.append(total)
    return kept
