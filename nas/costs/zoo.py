"""The zoo's named networks by published accuracy, and which of them fit budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from nas import ops
from nas.architecture import Architecture
from nas.budget import Budget, Cost, format_quantity
from nas.budget_metrics import ADDITIVE
from nas.costs.count_table import TABLE, cost
from nas.errors import ArchitectureError, BudgetError
from nas.spaces import catalog


def describe(name: str, resolution: int | None = None) -> dict[str, Any]:
    """Returns one network as plain data.

    Args:
        resolution: The image side at which it is counted; None is its own.

    Raises:
        ArchitectureError: If it cannot be built for images of that side.
    """
    read, about = catalog.read_architecture(name)
    read = read if resolution is None else read.at_resolution(resolution)
    spent = cost(ops.normalize(read))
    return {
        "name": name,
        "family": about.get("family"),
        "params": spent.params,
        "macs": spent.macs,
        "resolution": read.input.resolution,
        "top1": about.get("top1"),
    }


def fitting(rows: Sequence[dict[str, Any]], budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    """Returns the networks within all budgets, best published accuracy first, those without one last.

    Raises:
        BudgetError: If no network fits.
    """
    costs = [Cost(macs=row["macs"], params=row["params"]) for row in rows]
    found = [row for row, cost in zip(rows, costs, strict=True) if all(budget.allows(cost) for budget in budgets)]
    if not found:
        nearest = min(range(len(rows)), key=lambda i: max(budget.share(costs[i]) for budget in budgets))
        needs = " and ".join(
            format_quantity(metric, rows[nearest][metric]) for metric in dict.fromkeys(b.metric for b in budgets)
        )
        raise BudgetError(
            f"No zoo network fits {' and '.join(map(str, budgets))}: the nearest, {rows[nearest]['name']}, "
            f"needs {needs}. Raise the budget."
        )
    return sorted(found, key=lambda row: best_first(row["top1"], row["macs"]))


def best_first(top1: float | None, macs: int) -> tuple[float, int]:
    """Returns the key that puts networks in order: by published accuracy, of equal ones the cheaper first."""
    return -(top1 or 0.0), macs


def best_within(
    within: Callable[[Architecture], Cost | None], adapted: Callable[[Architecture], Architecture]
) -> Iterator[tuple[str, Architecture]]:
    """Yields the networks that fit and have a published accuracy, best first, counting no more than it takes.

    Args:
        within: Returns a network's cost if it fits, else None.
        adapted: Returns a network for other images or classes.
    """
    for _, alike in groupby(_published(), key=lambda each: each[0]):
        found: list[tuple[tuple[float, int], str, Architecture]] = []
        for top1, name, read in alike:
            try:
                network = ops.normalize(adapted(read))
                spent = within(network)
            except ArchitectureError:  # it cannot be built for images of that side
                continue
            if spent is not None:
                found.append((best_first(top1, spent.macs), name, network))
        yield from ((name, network) for _, name, network in sorted(found, key=lambda each: each[:2]))


def cost_within(architecture: Architecture, budgets: Sequence[Budget]) -> Cost | None:
    """Returns a network's cost; None if it is over a budget on multiply-adds or parameters.

    Parts are counted only until that is known.

    Raises:
        ArchitectureError: If the stages do not fit one another.
    """
    counted = [budget for budget in budgets if budget.metric in ADDITIVE]
    spent = Cost(macs=0, params=0)
    for _, part in TABLE.parts(architecture):
        spent = Cost(macs=spent.macs + part.macs, params=spent.params + part.params)
        if not all(budget.allows(spent) for budget in counted):
            return None
    return spent


@lru_cache(maxsize=1)
def _published() -> tuple[tuple[float, str, Architecture], ...]:
    """The networks with a published top-1 accuracy, best first."""
    read: Mapping[str, tuple[Architecture, dict[str, Any]]] = {
        name: catalog.read_architecture(name) for name in catalog.zoo_names()
    }
    found = [(float(about["top1"]), name, network) for name, (network, about) in read.items() if about.get("top1")]
    return tuple(sorted(found, key=lambda each: (-each[0], each[1])))
