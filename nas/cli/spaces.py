"""`nas spaces`: lists the search spaces, describes one, or derives a new one from a network."""

from __future__ import annotations

import argparse
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from nas.budget import format_quantity
from nas.cli.console import Console, plain, table
from nas.cli.parsing import reader
from nas.errors import OptionError
from nas.options.kinds import Text
from nas.spaces.catalog.listing import listed_summary
from nas.strict_yaml import dump_yaml

if TYPE_CHECKING:
    from nas.spaces import SearchSpace

DESCRIPTION = """\
List the search spaces with the costs of their smallest and largest networks, or describe one: its
stages and their choices. Or derive a space that contains a given network and variations of it.

  nas spaces
  nas spaces coatnet-small
  nas spaces my-space.yaml
  nas spaces --for path/to/images                    # which one, at which resolution and budget
  nas spaces derive edgenext_xxs > my-space.yaml     # a name from nas zoo, or an architecture.yaml"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", type=reader("name", Text()), metavar="NAME", help="a space's name or YAML file"
    )
    parser.add_argument(
        "network",
        nargs="?",
        type=reader("network", Text()),
        metavar="NETWORK",
        help="after derive: a zoo name or architecture.yaml",
    )
    parser.add_argument(
        "--for",
        dest="data",
        type=reader("data", Text()),
        metavar="D",
        help="propose space, resolution and budget for images: --data of nas-search",
    )


def run(args: argparse.Namespace, console: Console) -> None:
    from nas.spaces import catalog

    name, network = vars(args).get("name"), vars(args).get("network")
    if "data" in vars(args):
        if name is not None:
            raise OptionError(f"nas spaces --for {args.data} chooses a space: leave out {name!r}.")
        _propose(args.data, console)
        return
    if name == "derive":
        _derive(network, console)
        return
    if network is not None:
        raise OptionError(f"nas spaces takes one name, not also {network!r}. Did you mean: nas spaces derive {network}")
    if name is not None:
        catalog.find(name)  # checks the name before torch is imported
    if name is not None:
        from nas.networks.loading import load_space

        found = describe(load_space(name))
        console.document(found)
        for line in space_lines(found, source=name):
            console.say(line)
        return
    spaces = [listed_summary(each) or _counted(each) for each in catalog.space_names()]
    console.document(spaces)
    rows = [
        [
            s["name"],
            count(s["size"]),
            *(_range(metric, s["costs"][metric]) for metric in ("macs", "params")),
            str(s["resolution"]),
            textwrap.shorten(s["about"], 48, placeholder=" …"),
        ]
        for s in spaces
    ]
    for line in table(["name", "networks", "MACs", "params", "pixels", "about"], rows, left=(0, 5)):
        console.say(line)


def _counted(name: str) -> dict[str, Any]:
    from nas.networks.loading import load_space
    from nas.sampling.summary import summary

    return summary(load_space(name))


def _propose(data: str, console: Console) -> None:
    from nas.data import data_lines, open_data
    from nas.sampling.proposing import propose

    info = open_data(data).info
    found = propose(info.side, channels=info.channels, num_classes=info.num_classes)
    words = ["--space", found.space, "--resolution", str(found.resolution), "--budget", found.budget, "--data", data]
    command = " ".join(["nas-search", *map(shlex.quote, words)])
    console.document({"data": info, **plain(found), "command": command})
    for line in data_lines(info):
        console.say(line)
    console.say()
    side = found.resolution
    costs = " and ".join(_range(metric, found.costs[metric]) for metric in ("macs", "params"))
    console.say(f"Images of {info.width}x{info.height} pixels: {found.space} at {side}x{side}, {costs}.")
    if info.side > side:
        console.say(f"The images are larger: they are reduced to {side}x{side}.")
    console.say()
    console.say(f"See what fits   {command} --dry-run")
    console.say(f"Search          {command}")


def _derive(network: str | None, console: Console) -> None:
    from nas.spaces import catalog

    if network is None:
        raise OptionError(
            "nas spaces derive needs a network: a name from `nas zoo`, or a path to an architecture.yaml."
        )
    catalog.find(network, zoo=True)  # checks the name before torch is imported
    from nas.costs.derived_spaces import derive_data

    data = derive_data(network)
    console.document(data)
    for line in dump_yaml(data).splitlines():
        console.say(line)


def describe(space: SearchSpace) -> dict[str, Any]:
    """Returns a space as plain data."""
    from nas.sampling.summary import summary

    return {
        **summary(space),
        "digest": space.digest,
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


def space_lines(found: dict[str, Any], *, source: str) -> list[str]:
    """Returns the lines of a space; `source` is the name or file that the user gave."""
    side = found["resolution"]
    lines = [f"{found['name']} ({found['digest']}): {count(found['size'])} networks at {side}x{side}"]
    lines += [*textwrap.wrap(found["about"], 100), ""]
    lines += [f"{_range('macs', found['costs']['macs'])}, {_range('params', found['costs']['params'])}", ""]
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
    return [*lines, "", f"Costs and sizes: nas-search --space {shlex.quote(source)} --dry-run"]


def count(number: int) -> str:
    """Formats a number of networks: exactly up to twelve digits."""
    return f"{number:,}" if number < 10**12 else f"{number:.2e}"


def _range(metric: str, costs: dict[str, int]) -> str:
    least, most = (format_quantity(metric, costs[end]) for end in ("min", "max"))
    (low, unit), (high, other) = least.split(" ", 1), most.split(" ", 1)
    return f"{low} to {high} {unit}" if unit == other else f"{least} to {most}"


def _values(values: list[Any]) -> str:
    return " ".join(map(str, values))


def _choices(choices: dict[str, list[Any]], but: str = "") -> str:
    return ", ".join(f"{name} {_values(values)}" for name, values in choices.items() if name != but)
