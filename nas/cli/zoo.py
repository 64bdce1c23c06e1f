"""`nas zoo`: lists the named networks with costs and published accuracies, or describes one of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from nas.budget import Budget, format_quantity
from nas.budget_metrics import ADDITIVE
from nas.cli.console import Console, table
from nas.cli.parsing import reader
from nas.errors import ArchitectureError, BudgetError, OptionError
from nas.options import SearchOptions, declared
from nas.options.kinds import Text

DESCRIPTION = """\
List the named networks: their exact costs, and the ImageNet-1K top-1 accuracy that their papers report.

  nas zoo
  nas zoo --fits 4.2GFLOPs --fits 30Mparams
  nas zoo --fits 20MFLOPs --resolution 64
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
    kind = declared(SearchOptions)["resolution"].kind
    parser.add_argument(
        "--resolution",
        type=reader("resolution", kind),
        metavar=kind.metavar,
        help="image side at which costs are counted (default: each network's own)",
    )


def run(args: argparse.Namespace, console: Console) -> None:
    budgets: list[Budget] = vars(args).get("fits", [])
    from nas.spaces import catalog

    name, resolution = vars(args).get("name"), vars(args).get("resolution")
    if name is not None:
        _show(name, budgets, resolution, console)
        return
    rows, unfit = _rows(catalog.zoo_names(), resolution)
    if budgets:
        from nas.costs.zoo import fitting

        rows = fitting(rows, budgets)
    console.document(rows)
    for line in zoo_lines(rows):
        console.say(line)
    if budgets:
        console.note("Costs are of each network's own classes, mostly 1,000: with fewer a network costs a little less.")
    if resolution is not None:
        console.note(f"Top-1 is as published, at each network's own size, not at {resolution} pixels.")
    if unfit:
        console.note(
            f"{len(unfit)} networks, such as {unfit[0]}, cannot be built for images of {resolution}x{resolution}."
        )


def _rows(names: Sequence[str], resolution: int | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the networks by family and size, and the names of those that cannot be built at the resolution."""
    from nas.costs import TABLE
    from nas.costs.zoo import describe

    rows: list[dict[str, Any]] = []
    unfit: list[str] = []
    for name in names:
        try:
            rows.append(describe(name, resolution))
        except ArchitectureError:
            if resolution is None:
                raise
            unfit.append(name)
    TABLE.save()  # not in the shipped counts
    return sorted(rows, key=lambda row: (row["family"], row["params"])), unfit


def _show(name: str, budgets: Sequence[Budget], resolution: int | None, console: Console) -> None:
    from nas.spaces import catalog

    if budgets:
        raise OptionError(f"--fits filters the list of networks; leave it out, or the name {name!r}.")
    catalog.find(name, zoo=True)  # checks the name before torch is imported
    from nas.costs import sized_architecture
    from nas.costs.zoo import describe
    from nas.networks.loading import load_architecture

    if resolution is not None:
        sized_architecture(load_architecture(name), resolution)
    row = describe(name, resolution)
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
