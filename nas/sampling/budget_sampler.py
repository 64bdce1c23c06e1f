"""Architectures sampled inside budgets: by layout, uniformly within, in a bounded number of tries.

`nas.sampling.weight_table` samples over budgets cut into bins; what falls outside the exact budget is rejected, which
leaves the samples uniform (or fair) over the exact one. The cheapest member is an exact shortest path: a proof that a
budget cannot be met. A budget on a metric that is measured per architecture is met by rejection from the members that
may fit: those within the metric's bounds (`nas.sampling.measured_bounds`), sampled from tables of its guide
(`nas.sampling.guides`), where it declares them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from nas.architecture import Architecture
from nas.budget import Budget, Cost, check_budgets
from nas.budget_metrics import ADDITIVE
from nas.costs import CostGraph, Option
from nas.costs.zoo import cost_within
from nas.errors import BudgetError, SpaceError
from nas.sampling.feasible_set import FeasibleSet
from nas.sampling.guides import extreme_members, guided_costs, guides_of, measures_of, tightest
from nas.sampling.infeasible import infeasible, infeasible_by_params, infeasible_together, none_found
from nas.sampling.measured_bounds import bounds_of, most_params, within
from nas.sampling.shortest_paths import meets_all, shortest
from nas.sampling.weight_table import WeightTable, Window
from nas.spaces import START, Genotype, SearchSpace

MAX_TRIES = 500
_BEYOND = 100
"""Members of few parameters that are measured where the bounds of a measured metric leave none to sample."""
_LISTED = 2_000


class Member(NamedTuple):
    """An architecture of a space with its exact cost, and its string of letters."""

    architecture: Architecture
    cost: Cost
    layout: str


class BudgetSampler:
    """Samples the members of a space whose costs are in the feasible set of budgets.

    A bound on multiply-adds or parameters above the largest member is lowered to it, and one on a measured metric to
    what no member exceeds where that is known, so that `min_share` means something in a small space.

    Where a space does not list its layouts (`SearchSpace.lists_layouts`), `layouts` is `("*",)`, and sampling "by
    layout" is by the fair measure (see `nas.spaces.decision_graph`) among the feasible members, exactly.

    Threads may share a sampler: what it remembers is a function of its key alone.

    Args:
        budgets: At most one per metric. None: the whole space.
        min_share: The least share of the budget to use (of one of several), from 0 to just below 1.

    Attributes:
        feasible: The costs that samples may have.
        counted: The feasible set of the additive budgets alone, those that measured metrics imply included, or
            multiply-adds up to the largest member's; the same as `feasible` where no budget is on a measured metric.
        tabled: What the tables are of: the two tightest of the additive budgets and the guides of measured ones.
        layouts: Those that have feasible members.
        measures: What measures the metrics of budgets that are not additive.

    Raises:
        BudgetError: If no member fits, with the smallest quoted, or none was found.
    """

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget] = (), *, min_share: float = 0.0) -> None:
        self.space, self.budgets, self.min_share = space, check_budgets(budgets), min_share
        if not 0 <= min_share < 1:
            raise BudgetError(f"min_share must be at least 0 and below 1, not {min_share}: give one such as 0.75.")
        self.guides = guides_of(budgets)
        self.costs = guided_costs(space, self.guides)
        self._lowest = {metric: shortest(self.costs, metric, smallest=True) for metric in ADDITIVE}
        self._highest = {metric: shortest(self.costs, metric, smallest=False) for metric in ADDITIVE}
        self.measures = measures_of(budgets)
        self._smallest_seen: dict[str, int | float] = {}
        self._measured = 0
        self._graphs: dict[str, CostGraph] = {}
        counted = [budget for budget in budgets if budget.metric in ADDITIVE]
        self._bounds = bounds_of(self.costs, budgets)
        self._prove_feasible(counted)
        self.counted = self._counted([*counted, *self._implied()], 0.0 if self.measures else min_share)
        self.feasible = self.counted
        if self.measures:
            most = {**self._highest, **{budget.metric: bounds.most() for budget, bounds in self._bounds}}
            self.feasible = FeasibleSet(
                metrics=tuple(budget.metric for budget in budgets),
                bounds=tuple(min(budget.bound, most.get(budget.metric, budget.bound)) for budget in budgets),
                min_share=min_share,
            )
        self.tabled = self.counted
        if self.guides:
            known = dict(zip(self.counted.metrics, self.counted.bounds, strict=True)) if counted or self._bounds else {}
            self.tabled = tightest(self.costs, known | {metric: g.bound for metric, g in self.guides.items()})
        self._tables: dict[tuple[str, bool], WeightTable | None] = {}
        self._listed: dict[str, list[Member]] = {}
        self.layouts = tuple(layout for layout in space.layouts if self._fits(layout))
        if not self.layouts:
            for metric in self.guides:
                for architecture in extreme_members(self.costs, metric, smallest=True):
                    self._measure(architecture, Cost(macs=0, params=0))
            raise self._none_found(len(space.layouts) * MAX_TRIES)

    # -- sampling -----------------------------------------------------------------------------------------------

    def sample(self, rng: random.Random, *, by: str = "layout", layout: str | None = None) -> Member:
        """Samples a layout uniformly (or takes the given one), then a feasible member uniformly within it.

        Args:
            by: "architecture" weighs the layouts by how many feasible architectures they hold.

        Raises:
            BudgetError: If nothing was found in a bounded number of tries.
        """
        check_by(by)
        alike = by == "architecture" and not layout
        chosen = layout or rng.choice(self.layouts)
        for _ in range(MAX_TRIES):
            # Among all architectures, one that falls outside must not count for its layout; within a layout it must.
            chosen = self._pick_layout(rng) if alike else chosen
            found = self._try(chosen, rng, alike=alike)
            if found is not None:
                return found
        listed = self._list(chosen)
        if listed:
            return rng.choice(listed)
        raise self._none_found(MAX_TRIES)

    def contains(self, cost: Cost) -> bool:
        """Returns whether a network of this cost, measured where a budget needs that, may be sampled."""
        return self.feasible.contains(cost)

    def cost_within(self, architecture: Architecture) -> Cost | None:
        """Returns the cost of any network, a member or not, measured where a budget needs that; None if it is over one.

        Where a budget is on a measured metric, no network is measured that is over the bounds of `counted`.

        Raises:
            ArchitectureError: If its stages do not fit one another.
        """
        counted = zip(self.counted.metrics, self.counted.bounds, strict=True) if self.measures else ()
        bounds = [*self.budgets, *(Budget(metric=metric, bound=bound) for metric, bound in counted)]
        cost = cost_within(architecture, bounds)
        if cost is None:
            return None
        for metric, measure in self.measures.items():
            cost = cost.measured(metric, measure(architecture))
        return cost if all(budget.allows(cost) for budget in self.budgets) else None

    def largest(self, rng: random.Random, layout: str, *, tries: int = 8) -> Member:
        """Samples some members from the top two hundredths of one layout's range of costs; returns the largest."""
        return self._extreme(rng, layout, tries, top=True)

    def smallest(self, rng: random.Random, layout: str, *, tries: int = 8) -> Member:
        """Samples some members from the lowest part of one layout's range of costs; returns the smallest."""
        return self._extreme(rng, layout, tries, top=False)

    # -- members ------------------------------------------------------------------------------------------------

    def member_of(self, options: Sequence[Option]) -> Member | None:
        """Returns the member that a path of decisions makes; None if it is not feasible."""
        cost = Cost(macs=sum(o.spent.macs for o in options), params=sum(o.spent.params for o in options))
        if not self._may_contain(cost):
            return None
        return self._completed(self.space.genotype(option.choice for option in options), cost)

    def member(self, genotype: Genotype) -> Member | None:
        """Returns the member of a genotype that keeps the space's rules; None if it is not feasible."""
        cost = self.costs.cost(genotype)
        return self._completed(genotype, cost) if self._may_contain(cost) else None

    def cost(self, genotype: Genotype) -> Cost:
        """Returns the cost of a genotype that keeps the space's rules, measured where a budget needs that."""
        cost = self.costs.cost(genotype)
        return self._measure(self.space.decode(genotype), cost) if self.measures else cost

    def graph(self, layout: str) -> CostGraph:
        """Returns the members of a layout without decisions that no member within a measured metric's bounds makes."""
        if layout not in self._graphs:
            graph = self.costs.graph(layout)
            for budget, bounds in self._bounds:
                graph = within(graph, bounds, budget.bound)
            self._graphs[layout] = graph
        return self._graphs[layout]

    def feasible_choices(self) -> list[set[Any]]:
        """Returns, for the stem, then each stage, the choices that at least one member within the bounds makes.

        Of a stage with a choice per layer: its `LayerChoice`s, and a `StageChoice` without letters for every width
        and depth. Exact for one additive budget; with several, a choice is kept if each budget taken alone leaves room
        for it. A measured metric leaves all choices that its bounds do.
        """
        kept: list[set[Any]] = [set() for _ in range(self.costs.positions)]
        for layout in self.layouts:
            for node, options in self.tabled.options_within(self.graph(layout)).items():
                for option in options:
                    if option.choice is not None:
                        kept[node.stage + 1].add(option.choice)
        return kept

    def extremes(self, metric: str) -> tuple[int, int]:
        """Returns the exact smallest and largest of an additive metric over the whole space, whatever the budgets."""
        return self._lowest[metric], self._highest[metric]

    # -- inside -------------------------------------------------------------------------------------------------

    def _prove_feasible(self, counted: Sequence[Budget]) -> None:
        for budget in counted:
            if budget.bound < self._lowest[budget.metric]:
                raise infeasible(self.space.name, budget, self._lowest[budget.metric])
        if len(counted) > 1:
            bounds = {budget.metric: budget.bound for budget in counted}
            if not any(meets_all(self.costs.graph(layout), bounds) for layout in self.space.layouts):
                raise infeasible_together(self.space.name, counted)
        for budget, bounds in self._bounds:
            if self._lowest["params"] * bounds.per_param > budget.bound:
                raise infeasible_by_params(self.space.name, budget, self._lowest["params"], bounds.per_param)

    def _implied(self) -> list[Budget]:
        """The budgets on parameters that those on measured metrics imply."""
        found: list[Budget] = []
        graphs = [graph for graph in map(self.graph, self.space.layouts if self._bounds else ()) if graph.nodes]
        for budget, bounds in self._bounds:
            if not graphs:
                raise self._none_found(0)
            found.append(Budget(metric="params", bound=most_params(budget, bounds, graphs)))
        return found

    def _counted(self, budgets: Sequence[Budget], min_share: float) -> FeasibleSet:
        bounds: dict[str, int] = {}
        for budget in budgets or [Budget(metric="macs", bound=self._highest["macs"])]:
            most = bounds.get(budget.metric, self._highest[budget.metric])
            bounds[budget.metric] = int(min(budget.bound, most))
        return FeasibleSet(metrics=tuple(bounds), bounds=tuple(bounds.values()), min_share=min_share)

    def _may_contain(self, cost: Cost) -> bool:
        """Whether a cost that is not measured yet may be feasible."""
        return self.counted.contains(cost) if self.measures else self.contains(cost)

    def _completed(self, genotype: Genotype, cost: Cost) -> Member | None:
        architecture = self.space.decode(genotype)
        if self.measures:
            cost = self._measure(architecture, cost)
            if not self.contains(cost):
                return None
        return Member(architecture, cost, self.space.layout(genotype))

    def _measure(self, architecture: Architecture, cost: Cost) -> Cost:
        self._measured += 1
        for metric, measure in self.measures.items():
            value = measure(architecture)
            cost = cost.measured(metric, value)
            self._smallest_seen[metric] = min(value, self._smallest_seen.get(metric, value))
        return cost

    def _none_found(self, tries: int) -> BudgetError:
        if self._bounds and not self._measured:
            self._measure_small()
        tried = self._measured or tries
        return none_found(self.space.name, self.budgets, self.min_share, tried, self._smallest_seen)

    def _measure_small(self) -> None:
        """Measures each layout's cheapest members, and some of few parameters: the smallest is named in a refusal."""
        for metric in ADDITIVE:
            for architecture in extreme_members(self.costs, metric, smallest=True):
                self._measure(architecture, Cost(macs=0, params=0))
        lowest, highest = self._lowest["params"], self._highest["params"]
        bound = lowest + (highest - lowest) // 10
        rng = random.Random(0)
        for layout in self.space.layouts:
            graph = self.costs.graph(layout)
            if not graph.nodes or graph.remaining("params")[START] > bound:
                continue
            table = WeightTable(graph, ("params",), (bound,), fair=not self.space.lists_layouts)
            for _ in range(max(1, _BEYOND // len(self.space.layouts))):
                options = table.sample(rng, ((0,), table.top))
                if options is None:
                    break
                cost = Cost(macs=sum(o.macs for o in options), params=sum(o.params for o in options))
                self._measure(self.space.decode(self.space.genotype(option.choice for option in options)), cost)

    def _table(self, layout: str, *, alike: bool = False) -> WeightTable | None:
        """The table of a layout, of members all alike or by the fair measure; None if no member is within bounds."""
        key = (layout, alike or self.space.lists_layouts)
        if key not in self._tables:
            graph, metrics, bounds = (
                self.graph(layout),
                self.tabled.metrics,
                [int(b) for b in self.tabled.bounds],
            )
            least = [graph.remaining(metric)[START] for metric in metrics] if graph.nodes else []
            within = bool(least) and self.tabled.may_still_reach([0] * len(least), least)
            self._tables[key] = WeightTable(graph, metrics, bounds, fair=not key[1]) if within else None
        return self._tables[key]

    def _window(self, table: WeightTable) -> Window:
        """The bins of all feasible members, and of few others."""
        low: list[int] = []
        for bound, slack, lost in zip(self.tabled.bounds, table.slack, table.lost, strict=True):
            excess = self.tabled.min_share * bound - (bound - slack)
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
        """Whether the layout has feasible members: the bins' count, confirmed by sampling or listing one."""
        table = self._table(layout)
        if table is None or table.weight(self._window(table)) <= 0:
            return False
        rng = random.Random(0)
        return any(self._try(layout, rng) is not None for _ in range(MAX_TRIES)) or bool(self._list(layout))

    def _list(self, layout: str) -> list[Member]:
        """The first feasible members of a layout, for one that has too few of them to hit by sampling."""
        from nas.sampling.enumeration import members

        if layout not in self._listed:
            self._listed[layout] = list(islice(members(self, layout), _LISTED))
        return self._listed[layout]

    def _try(
        self, layout: str, rng: random.Random, window: Window | None = None, *, alike: bool = False
    ) -> Member | None:
        """One sample over the binned budget, or None if it falls outside the exact one."""
        table = self._table(layout, alike=alike)
        options = table.sample(rng, window or self._window(table)) if table else None
        return self.member_of(options) if options else None

    def _extreme(self, rng: random.Random, layout: str, tries: int, *, top: bool) -> Member:
        table = self._table(layout)
        assert table is not None, "only layouts with feasible members have extremes"
        lowest, highest = self._window(table)
        step = max(1, table.bins // 50)
        found: list[Member] = []
        for width in range(step, table.bins + step, step):
            if top:
                window = tuple(max(low, high - width) for low, high in zip(lowest, highest, strict=True)), highest
            else:
                window = lowest, tuple(min(low + width, high) for low, high in zip(lowest, highest, strict=True))
            found = [each for each in (self._try(layout, rng, window) for _ in range(tries)) if each]
            if found:
                break
        if not found:
            return self.sample(rng, layout=layout)
        return (max if top else min)(found, key=lambda each: each.cost.value(self.tabled.metrics[0]) or 0)


def check_by(by: str) -> None:
    """Refuses an unknown way of sampling.

    Raises:
        SpaceError: If it is unknown.
    """
    if by not in ("layout", "architecture"):
        raise SpaceError(f"by must be 'layout' or 'architecture', not {by!r}.")
