"""`nas spaces`: the search spaces that are there, or all the choices of one."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any

from nas.cli.console import Console, table
from nas.cli.parsing import text

if TYPE_CHECKING:
    from nas.space import SearchSpace

DESCRIPTION = """\
List the search spaces, or describe one: its stages and everything that may vary in them.

  nas spaces
  nas spaces coatnet-small
  nas spaces my-space.yaml"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", type=text("name"), metavar="NAME", help="a space's name or YAML file")


def run(args: argparse.Namespace, console: Console) -> None:
    from nas import catalog

    name = vars(args).get("name")
    if name is not None:
        catalog.find(name)  # an unknown name answers before torch is imported
    from nas.loading import load_space

    if name is not None:
        found = describe(load_space(name))
        console.document(found)
        for line in space_lines(found):
            console.say(line)
        return
    spaces = [describe(load_space(each)) for each in catalog.space_names()]
    console.document([{key: space[key] for key in ("name", "about", "size", "resolution")} for space in spaces])
    rows = [
        [
            s["name"],
            f"{s['size']:,}",
            str(s["resolution"]),
            textwrap.shorten(s["about"], 80, placeholder=" …"),
        ]
        for s in spaces
    ]
    for line in table(["name", "networks", "pixels", "about"], rows, left=(0, 3)):
        console.say(line)


def describe(space: SearchSpace) -> dict[str, Any]:
    """A space as plain data."""
    return {
        "name": space.name,
        "digest": space.digest,
        "about": space.about,
        "size": space.size(),
        "resolution": space.input.resolution,
        "layouts": list(space.layouts),
        "op_order": space.op_order,
        "widths_growing": space.growing,
        "layer_order": space.layer_order,
        "total_depth": list(space.total_depth),
        "contiguous": space.contiguous,
        "stem": {name: list(values) for name, values in space.stem.choices},
        "stages": [
            {
                "stride": stage.stride,
                "width": list(stage.widths),
                "depth": list(stage.depths),
                "per_layer": stage.per_layer,
                "ops": {op.letter: {name: list(values) for name, values in op.choices} for op in stage.ops},
            }
            for stage in space.stages
        ],
        "presets": list(space.presets),
    }


def space_lines(found: dict[str, Any]) -> list[str]:
    """One space for people."""
    side = found["resolution"]
    lines = [f"{found['name']} ({found['digest']}): {found['size']:,} networks at {side}x{side}"]
    lines += [*textwrap.wrap(found["about"], 100), ""]
    rows = [["stem", "", _values(found["stem"].get("width", [])), "", _choices(found["stem"], but="width")]]
    for i, stage in enumerate(found["stages"], start=1):
        depth = f"{_values(stage['depth'])}{' (each layer its own)' if stage['per_layer'] else ''}"
        first = [f"stage {i}", str(stage["stride"]), _values(stage["width"]), depth]
        for letter, choices in stage["ops"].items():
            rows.append([*first, f"{letter}: {_choices(choices)}"])
            first = ["", "", "", ""]
    lines += table(["", "stride", "width", "depth", "ops"], rows, left=(0, 2, 3, 4))
    if found["total_depth"]:
        lines += ["", f"layers in all  {_values(found['total_depth'])}"]
    if found["layouts"] != ["*"]:
        lines += ["", f"layouts  {', '.join(found['layouts'])}"]
    if found["presets"]:
        lines.append(f"presets  {', '.join(found['presets'])}")
    return [*lines, "", f"What it costs: nas-search --space {found['name']} --dry-run"]


def _values(values: list[Any]) -> str:
    return " ".join(map(str, values))


def _choices(choices: dict[str, list[Any]], but: str = "") -> str:
    return ", ".join(f"{name} {_values(values)}" for name, values in choices.items() if name != but)
