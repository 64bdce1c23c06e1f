"""`nas zoo`: lists the named networks with costs and published accuracies, or describes one of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from nas.budget import Budget, Cost, format_quantity
from nas.budget_metrics import ADDITIVE
from nas.cli.console import Console, table
from nas.cli.parsing import reader
from nas.errors import BudgetError, OptionError
from nas.options.kinds import Text

DESCRIPTION = """\
List the named networks: their exact costs, and the ImageNet-1K top-1 accuracy that their papers report.

  nas zoo
  nas zoo --fits 4.2GFLOPs --fits 30Mparams
  nas zoo coatnet_0               # its source and published figures; `nas profile coatnet_0` draws its stages
  nas spaces derive coatnet_0     # a search space around it"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", type=reader("name", Text()), metavar="NAME", help="describe one network")
    parser.add_argument(
        "--fits",
        type=_budget,
        action="append",
        metavar="BUDGET",
        help="only those within a budget such as 4.2GFLOPs or 25Mparams, best published accuracy first; repeatable",
    )


def run(args: argparse.Namespace, console: Console) -> None:
    budgets: list[Budget] = vars(args).get("fits", [])
    from nas.spaces import catalog

    name = vars(args).get("name")
    if name is not None:
        _show(name, budgets, console)
        return
    rows = sorted((describe(name) for name in catalog.zoo_names()), key=lambda row: (row["family"], row["params"]))
    from nas.costs import TABLE

    TABLE.save()  # not in the shipped counts
    if budgets:
        rows = fitting(rows, budgets)
    console.document(rows)
    for line in zoo_lines(rows):
        console.say(line)


def _show(name: str, budgets: Sequence[Budget], console: Console) -> None:
    from nas.spaces import catalog

    if budgets:
        raise OptionError(f"--fits filters the list of networks; leave it out, or the name {name!r}.")
    catalog.find(name, zoo=True)  # checks the name before torch is imported
    row = describe(name)
    _, about = catalog.read_architecture(name)
    facts = {key: about[key] for key in ("source", "published", "note") if key in about}
    console.document([{**row, **facts}])
    for line in zoo_lines([row]):
        console.say(line)
    console.say()
    for key, value in facts.items():
        words = ", ".join(f"{part} {given}" for part, given in value.items()) if isinstance(value, dict) else str(value)
        console.say(f"{key:<10} {words}")
    console.say(f"{'stages':<10} nas profile {name}")
    console.say(f"{'a space':<10} nas spaces derive {name}")


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
    return sorted(found, key=lambda row: (-(row["top1"] or 0), row["macs"]))


def describe(name: str) -> dict[str, Any]:
    """Returns one network as plain data."""
    from nas import ops
    from nas.costs import cost
    from nas.spaces import catalog

    read, about = catalog.read_architecture(name)
    spent = cost(ops.normalize(read))
    return {
        "name": name,
        "family": about.get("family"),
        "params": spent.params,
        "macs": spent.macs,
        "resolution": read.input.resolution,
        "top1": about.get("top1"),
    }


def zoo_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the lines of the networks."""
    shown = [
        [
            row["name"],
            row["family"] or "",
            format_quantity("params", row["params"]),
            format_quantity("macs", row["macs"]),
            str(row["resolution"]),
            "" if row["top1"] is None else f"{row['top1']:.1f}",
        ]
        for row in rows
    ]
    return table(["name", "family", "params", "MACs", "pixels", "top-1"], shown, left=(0, 1))


def _budget(given: str) -> Budget:
    budget = Budget.parse(given)
    if budget.metric not in ADDITIVE:
        raise BudgetError(
            f"--fits {budget}: the zoo's networks are counted, not measured. Give multiply-adds or parameters, such as "
            "4.2GFLOPs or 25Mparams; `nas profile NAME --latency` measures one."
        )
    return budget
