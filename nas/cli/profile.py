"""`nas profile`: what one network costs, stage by stage."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from nas.budget import format_quantity
from nas.cli.console import Console, plain
from nas.cli.drawing import has_blocks, stage_lines
from nas.cli.parsing import reader
from nas.options import SearchOptions, declared
from nas.options.kinds import Device, Text, Whole

DESCRIPTION = """\
Count a network's multiply-adds and parameters, per stage and in total, and its peak memory; with --latency,
measure that here.

  nas profile coatnet_0
  nas profile runs/a/winners/1/architecture.yaml --latency --batch-size 16

Letters: C is a layer of convolutions only, A one with attention, M one with a state-space model."""
# Columns of a line, and the characters after which a stage's blocks are cut off; --json has all of them.
LINE, MOST_WORDS = 116, 240


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=reader("config", Text()), metavar="CONFIG", help="an architecture.yaml, or a zoo name"
    )
    parser.add_argument(
        "--resolution",
        type=reader("resolution", declared(SearchOptions)["resolution"].kind),
        metavar="R",
        help="side of the square images",
    )
    parser.add_argument("--latency", action="store_true", help="measure: median and interquartile range after warm-up")
    parser.add_argument(
        "--batch-size",
        type=reader("batch_size", Whole(1, 65_536, 16)),
        metavar="N",
        help="images at once, of memory and latency (default: 1)",
    )
    parser.add_argument(
        "--threads",
        type=reader("threads", declared(SearchOptions)["threads"].kind),
        metavar="N",
        help="CPU threads (default: 1)",
    )
    parser.add_argument(
        "--device", type=reader("device", Device()), metavar="D", help="cpu, cuda, cuda:0, mps or auto (default: cpu)"
    )


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    from nas.spaces import catalog

    catalog.find(given["config"], zoo=True)  # checks the name before torch is imported
    from nas.costs import profile
    from nas.networks.loading import load_architecture

    architecture = load_architecture(given["config"])
    if "resolution" in given:
        architecture = architecture.at_resolution(given["resolution"])
    found = plain(
        profile(
            architecture,
            latency=given.get("latency", False),
            batch_size=given.get("batch_size", 1),
            threads=given.get("threads", 1),
            device=given.get("device", "cpu"),
        )
    )
    network = {
        "name": given["config"],
        "digest": architecture.digest,
        "resolution": architecture.input.resolution,
    }
    console.document({**network, **found})
    for line in profile_lines(network, found, blocks=has_blocks()):
        console.say(line)


def profile_lines(network: dict[str, Any], found: dict[str, Any], *, blocks: bool = False) -> list[str]:
    """Returns the lines of a profile: the stages as a drawing, then the blocks of each."""
    side = network["resolution"]
    lines = [f"{network['name']} ({network['digest']}) at {side}x{side}", ""]
    lines += stage_lines(found["stages"], found["macs"], found["params"], blocks=blocks)
    margin = max(len(stage["name"]) for stage in found["stages"]) + 2
    lines.append("")
    for stage in found["stages"]:
        said = textwrap.shorten(stage["ops"], MOST_WORDS, placeholder=" …")
        lines += textwrap.wrap(
            stage["name"].ljust(margin) + said, LINE, subsequent_indent=" " * margin, break_on_hyphens=False
        )
    lines += ["", f"{found['macs']:,} multiply-adds (what papers call FLOPs), {found['params']:,} parameters"]
    lines.append(_memory_line(found["memory"]))
    if found["unsupported"]:
        lines += textwrap.wrap(_not_counted(found["unsupported"], found["reasons"]), LINE, subsequent_indent="  ")
    if found.get("latency"):
        latency = found["latency"]
        lines.append(
            f"Latency {format_quantity('latency_s', latency['median_s'])} median, "
            f"{format_quantity('latency_s', latency['iqr_s'])} interquartile range, "
            f"{latency['runs']} runs after {latency['warmup']} to warm up; {latency['setting']}"
        )
    return lines


def _memory_line(memory: dict[str, Any]) -> str:
    whole, weights, activations = (
        format_quantity("memory_bytes", size)
        for size in (memory["weights"] + memory["activations"], memory["weights"], memory["activations"])
    )
    images = f"{memory['batch']} image{'s' * (memory['batch'] != 1)}"
    return (
        f"Peak memory {whole} in {memory['dtype']}: {weights} of weights, {activations} of tensors live at once "
        f"({memory['place']}, {images})"
    )


def _not_counted(unsupported: dict[str, int], reasons: dict[str, str]) -> str:
    """Returns the line on unsupported ops: "Not counted: 2 x exp (mamba: elementwise scan)"."""
    groups: dict[str, list[str]] = {}
    for name, calls in sorted(unsupported.items(), key=lambda item: (-item[1], item[0])):
        groups.setdefault(reasons.get(name, "no formula"), []).append(f"{calls} x {name}")
    return "Not counted: " + "; ".join(f"{', '.join(ops)} ({reason})" for reason, ops in groups.items())
