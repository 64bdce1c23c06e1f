"""`nas profile`: what one network costs, stage by stage."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.budget import format_quantity
from nas.cli.console import Console, plain
from nas.cli.drawing import has_blocks, stage_lines
from nas.cli.parsing import reader
from nas.errors import LatencyError, OptionError
from nas.options import SearchOptions, declared, flag
from nas.options.device_options import DeviceOptions
from nas.options.kinds import Text
from nas.setting import Setting

if TYPE_CHECKING:
    from nas.architecture import Architecture

DESCRIPTION = """\
Count a network's multiply-adds and parameters, per stage and in total, and its peak memory; with --latency, measure
it here, in turn with a reference workload, and by stage where the runtime allows.

  nas profile coatnet_0
  nas profile runs/a/winners/1/architecture.yaml --latency --threads 1
  nas profile coatnet_0 --latency onnxruntime:threads=2,batch=16

Letters: C is a layer of convolutions only, A one with attention, M one with a state-space model."""
DEFAULT = str(Setting())
PARTS = ("runtime", "device", "threads", "batch", "dtype")
"""Of a setting, by their names there; `nas device` has the same options."""
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
    for name in PARTS:
        each = declared(DeviceOptions)[name]
        default = f" (default: {each.default_help})" if each.default_help else ""
        group.add_argument(
            flag(name), type=reader(name, each.kind), metavar=each.kind.metavar, help=each.help + default
        )


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    setting = read_setting(given)
    from nas.spaces import catalog

    catalog.find(given["config"], zoo=True)  # checks the name before torch is imported
    from nas.costs import profile
    from nas.networks.loading import load_architecture

    architecture = load_architecture(given["config"])
    if "resolution" in given:
        from nas.costs import sized_architecture

        architecture = sized_architecture(architecture, given["resolution"])
    of = setting or Setting()
    found = plain(profile(architecture, dtype=of.dtype, batch=of.batch))
    if setting is not None:
        from nas.latency import measure

        latency = measure(architecture, setting, stages=True)
        found |= {**latency.to_dict(), "peak_memory_bytes": found["peak_memory_bytes"]}
        found["latency_predicted_s"] = _predicted(architecture, latency.setting, console)
        found["peak_memory_measured_bytes"] = latency.peak_memory_bytes
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
    parts = {name: given[name] for name in PARTS if name in given}
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


def _predicted(architecture: Architecture, setting: Setting, console: Console) -> float | None:
    """Returns the latency that this device's model predicts, in seconds; None where there is none that can be used."""
    from nas.latency.budgets import model_here

    try:
        model = model_here(setting)
    except LatencyError as fault:  # what was measured stands without it
        console.note(f"No prediction: {fault}")
        return None
    if model is None:
        return None
    if model.space:
        console.note(f"The prediction is by a model of {model.space}'s networks; nas device calibrate makes the zoo's")
    return model.predict(architecture)


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
    lines.append(_memory_line(found["memory"]))
    if found["unsupported"]:
        lines += textwrap.wrap(_not_counted(found["unsupported"], found["reasons"]), LINE, subsequent_indent="  ")
    if "latency_s" in found:
        lines += textwrap.wrap(_latency_words(found), LINE, subsequent_indent="  ", break_on_hyphens=False)
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


def _latency_words(found: Mapping[str, Any]) -> str:
    """Returns what was measured, and how: "Latency 8.10 ms at cpu:threads=1: median of 15 blocks, …"."""
    disturbed = f" ({found['disturbed']} more were disturbed)" if found["disturbed"] else ""
    memory, predicted = found["peak_memory_measured_bytes"], found["latency_predicted_s"]
    median, iqr, reference = (
        format_quantity("latency_s", found[key]) for key in ("latency_s", "latency_iqr_s", "reference_s")
    )
    return (
        f"Latency {median} at {found['setting']}: median of {found['blocks']} blocks of {found['calls']} "
        f"inferences{disturbed}, interquartile range {iqr}; reference workload {reference}; "
        f"{found['runtime']} on {found['device']}"
        + (f"; peak memory {format_quantity('memory_bytes', memory)}" if memory else "")
        + (f"; the device model predicts {format_quantity('latency_s', predicted)}" if predicted else "")
    )


def _not_counted(unsupported: dict[str, int], reasons: dict[str, str]) -> str:
    """Returns the line on unsupported ops: "Not counted: 2 x exp (mamba: elementwise scan)"."""
    groups: dict[str, list[str]] = {}
    for name, calls in sorted(unsupported.items(), key=lambda item: (-item[1], item[0])):
        groups.setdefault(reasons.get(name, "no formula"), []).append(f"{calls} x {name}")
    return "Not counted: " + "; ".join(f"{', '.join(ops)} ({reason})" for reason, ops in groups.items())
