"""`nas profile`: what one network costs, stage by stage."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from typing import Any

from nas.budget import format_quantity
from nas.cli.console import Console, plain
from nas.cli.drawing import has_blocks, stage_lines
from nas.cli.parsing import reader
from nas.errors import OptionError
from nas.options import SearchOptions, declared, flag
from nas.options.kinds import Choice, Text, Whole, one_of
from nas.setting import DTYPE_BYTES, LARGEST_BATCH, MOST_THREADS, RUNTIMES, Setting

DESCRIPTION = """\
Count a network's multiply-adds and parameters, per stage and in total; with --latency, measure it here, in turn
with a reference workload, and by stage where the runtime has them apart.

  nas profile coatnet_0
  nas profile runs/a/winners/1/architecture.yaml --latency --threads 1
  nas profile coatnet_0 --latency onnxruntime:threads=2,batch=16

Of the letters, C is a layer of convolutions alone, A one with attention and M one with a state-space model."""
DEFAULT = str(Setting())
# Of a setting, by their names there.
PARTS = (
    ("runtime", Choice(lambda: tuple(RUNTIMES), "R"), f"what runs it: {one_of(RUNTIMES)} (default: torch)"),
    ("device", Text("D"), "cpu, cuda, cuda:N or mps (default: cpu)"),
    ("threads", Whole(1, MOST_THREADS, 2), "CPU threads (default: one per core)"),
    ("batch", Whole(1, LARGEST_BATCH, 16), "images of one inference (default: 1)"),
    ("dtype", Choice(tuple(DTYPE_BYTES), "T"), f"of weights and images: {one_of(DTYPE_BYTES)} (default: float32)"),
)
# Columns of a line, and the most characters of a stage's blocks; --json has all of them.
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
    group = parser.add_argument_group("latency")
    group.add_argument(
        "--latency",
        nargs="?",
        const=DEFAULT,
        type=reader("latency", Text()),
        metavar="SETTING",
        help="measure: median and interquartile range, here and in this setting, written as in a budget "
        f"(default: {DEFAULT}), or by the options below",
    )
    for name, kind, help in PARTS:
        group.add_argument(flag(name), type=reader(name, kind), metavar=kind.metavar, help=help)


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    setting = read_setting(given)
    from nas.spaces import catalog

    catalog.find(given["config"], zoo=True)  # an unknown name answers before torch is imported
    from nas.costs import profile
    from nas.networks.loading import load_architecture

    architecture = load_architecture(given["config"])
    if "resolution" in given:
        architecture = architecture.at_resolution(given["resolution"])
    found = plain(profile(architecture))
    if setting is not None:
        from nas.latency import measure

        latency = measure(architecture, setting, stages=True)
        found |= latency.to_dict()
        for stage in found["stages"]:
            stage["latency_s"] = dict(latency.stages).get(stage["name"])
    network = {
        "name": given["config"],
        "digest": architecture.digest,
        "resolution": architecture.input.resolution,
    }
    console.document({**network, **found})
    for line in profile_lines(network, found, blocks=has_blocks()):
        console.say(line)


def read_setting(given: Mapping[str, Any]) -> Setting | None:
    """Returns the setting that the options give; None without --latency.

    Raises:
        OptionError: If they mean nothing, or do not go together.
    """
    parts = {name: given[name] for name, _, _ in PARTS if name in given}
    first = flag(next(iter(parts), "latency"))
    if "latency" not in given:
        if parts:
            raise OptionError(f"{first} is of a measurement: add --latency.")
        return None
    if not parts:
        return Setting.parse(given["latency"])
    if given["latency"] != DEFAULT:
        raise OptionError(f"{first} and --latency {given['latency']} both say the setting: give one of them.")
    return Setting(**parts)


def profile_lines(network: dict[str, Any], found: dict[str, Any], *, blocks: bool = False) -> list[str]:
    """Returns the lines of a profile: the stages as a drawing, then the blocks of each."""
    side = network["resolution"]
    lines = [f"{network['name']} ({network['digest']}) at {side}x{side}", ""]
    timed = found.get("latency_s") if all(stage.get("latency_s") for stage in found["stages"]) else None
    lines += stage_lines(found["stages"], found["macs"], found["params"], latency_s=timed, blocks=blocks)
    margin = max(len(stage["name"]) for stage in found["stages"]) + 2
    lines.append("")
    for stage in found["stages"]:
        said = textwrap.shorten(stage["ops"], MOST_WORDS, placeholder=" …")
        lines += textwrap.wrap(
            stage["name"].ljust(margin) + said, LINE, subsequent_indent=" " * margin, break_on_hyphens=False
        )
    lines += ["", f"{found['macs']:,} multiply-adds (what papers call FLOPs), {found['params']:,} parameters"]
    if found["unsupported"]:
        lines += textwrap.wrap(_not_counted(found["unsupported"], found["reasons"]), LINE, subsequent_indent="  ")
    if "latency_s" in found:
        lines += textwrap.wrap(_latency_words(found), LINE, subsequent_indent="  ", break_on_hyphens=False)
    return lines


def _latency_words(found: Mapping[str, Any]) -> str:
    """Returns what was measured, and how: "Latency 8.10 ms at cpu:threads=1: median of 15 blocks, …"."""
    disturbed = f" ({found['disturbed']} more were disturbed)" if found["disturbed"] else ""
    memory = found["peak_memory_bytes"]
    median, iqr, reference = (
        format_quantity("latency_s", found[key]) for key in ("latency_s", "latency_iqr_s", "reference_s")
    )
    return (
        f"Latency {median} at {found['setting']}: median of {found['blocks']} blocks of {found['calls']} "
        f"inferences{disturbed}, interquartile range {iqr}; reference workload {reference}; "
        f"{found['runtime']} on {found['device']}"
        + (f"; peak memory {format_quantity('memory_bytes', memory)}" if memory else "")
    )


def _not_counted(unsupported: dict[str, int], reasons: dict[str, str]) -> str:
    """Returns the line on unsupported ops: "Not counted: 2 x exp (mamba: elementwise scan)"."""
    groups: dict[str, list[str]] = {}
    for name, calls in sorted(unsupported.items(), key=lambda item: (-item[1], item[0])):
        groups.setdefault(reasons.get(name, "no formula"), []).append(f"{calls} x {name}")
    return "Not counted: " + "; ".join(f"{', '.join(ops)} ({reason})" for reason, ops in groups.items())
