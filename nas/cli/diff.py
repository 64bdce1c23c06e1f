"""`nas diff`: how two architectures differ, stage by stage, and what that costs."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.budget import format_quantity
from nas.cli.console import Console, table
from nas.cli.parsing import reader
from nas.formats import ABSENT
from nas.options import SearchOptions, declared
from nas.options.kinds import Text

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.costs.comparing import Comparison, CostDifference

DESCRIPTION = """\
Show how two architectures differ: op, depth, width, kernel size and further parameters of each stage, and their costs.
Each is a folder of a winner, an architecture.yaml, or a zoo name.

  nas diff runs/a/winners/1 runs/a/winners/2
  nas diff coatnet_0 coatnet_1"""
_WIDEST = 44
_METRICS = {"macs": "MACs", "params": "params", "memory_bytes": "peak memory"}


def add_options(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(name, type=reader(name, Text()), metavar=name.upper(), help="folder, file or zoo name")
    parser.add_argument(
        "--resolution",
        type=reader("resolution", declared(SearchOptions)["resolution"].kind),
        metavar="R",
        help="image side at which both are compared (default: each one's own)",
    )


def run(args: argparse.Namespace, console: Console) -> None:
    names = args.a, args.b
    from nas.spaces import catalog

    sources = [catalog.find(_config(name), zoo=True) for name in names]  # checks the names before torch is imported
    from nas.costs import TABLE
    from nas.costs.comparing import compare
    from nas.networks.loading import load_architecture

    a, b = (load_architecture(source) for source in sources)
    if "resolution" in args:
        a, b = a.at_resolution(args.resolution), b.at_resolution(args.resolution)
    found = compare(a, b)
    TABLE.save()  # not in the shipped counts
    networks = {key: _network(name, each) for key, name, each in (("a", names[0], a), ("b", names[1], b))}
    console.document({**networks, **found.to_dict()})
    for line in diff_lines(names, (a, b), found):
        console.say(line)


def diff_lines(names: tuple[str, str], networks: tuple[Architecture, Architecture], found: Comparison) -> list[str]:
    """Returns the lines of a comparison: the two networks, their differences, their costs."""
    lines = [
        f"{letter}  {name} ({each.digest}) at {each.input.resolution}x{each.input.resolution}"
        for letter, name, each in zip("AB", names, networks, strict=True)
    ]
    if not found.differences:
        return [*lines, "", "They are the same network."]
    rows: list[list[str]] = []
    for each in found.differences:
        cells = [textwrap.wrap(value or ABSENT, _WIDEST, break_on_hyphens=False) for value in (each.a, each.b)]
        for place in range(max(map(len, cells))):
            first = place == 0
            shown = [cell[place] if place < len(cell) else "" for cell in cells]
            rows.append([each.where if first else "", each.what if first else "", *shown])
    lines += ["", *table(["", "", "A", "B"], rows, left=(0, 1, 2, 3)), ""]
    return [*lines, *_cost_lines(found.costs), *_caution(networks)]


def _cost_lines(costs: Sequence[CostDifference]) -> list[str]:
    rows = [
        [
            each.where,
            _METRICS[each.metric],
            *(ABSENT if value is None else format_quantity(each.metric, value) for value in (each.a, each.b)),
            ABSENT if each.a is None or each.b is None else _change(each.a, each.b),
        ]
        for each in costs
    ]
    return table(["", "", "A", "B", "B against A"], rows, left=(0, 1))


def _caution(networks: tuple[Architecture, Architecture]) -> list[str]:
    a, b = (each.input.resolution for each in networks)
    if a == b:
        return []
    return ["", f"Costs are counted at {a} and at {b} pixels; --resolution {min(a, b)} counts both alike."]


def _change(a: int, b: int) -> str:
    return f"{100 * (b - a) / a:+.1f} %" if a else ABSENT


def _config(name: str) -> str:
    """Returns the config in a winner's folder; any other name as it is."""
    config = Path(name) / "architecture.yaml"
    return str(config) if "\0" not in name and config.is_file() else name


def _network(name: str, architecture: Architecture) -> dict[str, object]:
    return {"name": name, "digest": architecture.digest, "resolution": architecture.input.resolution}
