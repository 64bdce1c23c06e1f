"""`nas zoo`: the named networks, with what they cost and what their papers report."""

from __future__ import annotations

import argparse
from typing import Any

from nas.budget import format_quantity
from nas.cli.console import Console, table

DESCRIPTION = """\
List the named networks: exact costs of ours, and the ImageNet-1K top-1 accuracy that their papers report.

  nas zoo
  nas profile coatnet_0"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace, console: Console) -> None:
    rows = [describe(name) for name in _names()]
    console.document(rows)
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
    header = ["name", "family", "params", "MACs", "pixels", "top-1"]
    for line in table(header, shown, left=(0, 1)):
        console.say(line)


def describe(name: str) -> dict[str, Any]:
    """One network as plain data."""
    from nas import catalog
    from nas.costing import cost
    from nas.loading import load_architecture

    _, about = catalog.read_architecture(name)
    architecture = load_architecture(name)
    spent = cost(architecture)
    return {
        "name": name,
        "family": about.get("family"),
        "params": spent.params,
        "macs": spent.macs,
        "resolution": architecture.input.resolution,
        "top1": about.get("top1"),
    }


def _names() -> list[str]:
    from nas import catalog

    return catalog.zoo_names()
