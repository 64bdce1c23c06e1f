"""Ops and their parameters as text, from their definitions: `python -m nas.networks.op_list > docs/ops.md`.

What an op does is the first paragraph of its docstring; what a parameter does, its entry under "Args:". Parameters that
mean the same in every op are described here, once.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from typing import Any

from nas.ops import OPS

COMMON = {
    "activation": "Activation between the op's layers, such as gelu, relu, silu, hardswish, or none.",
    "bias": "Whether its convolutions or linear maps have biases.",
    "denominator": "The map is resized to `numerator / denominator` of its size.",
    "dilation": "Distance between the positions that a kernel reads.",
    "eps": "Added to the variance in the norm.",
    "expand_ratio": "Hidden or output channels, in units of the channels named in the op's description.",
    "gate": "Activation whose output multiplies the map, such as sigmoid or hardsigmoid.",
    "groups": "Groups of channels that are convolved apart.",
    "hidden": "Whether a tanh layer as wide as its input comes before the linear map.",
    "inner": "The block whose output gates the map.",
    "kernel_size": "Positions along each side of the kernel.",
    "kind": "Which one: see the op's description, or average or max for pooling.",
    "length": "Positions of a run that are pooled to one.",
    "mixer": "The block that the op is about.",
    "momentum": "Of the running statistics, as in torch.",
    "multiplier": "Output channels per input channel, where `width` is None.",
    "name": "Which activation, such as gelu, relu, silu, hardswish.",
    "norm_first": "Whether the norm comes before pooling.",
    "num_classes": "Logits; set to the number of classes of the data.",
    "num_groups": "Groups of channels that are normalized together.",
    "num_heads": "Attention heads.",
    "num_tokens": "Learned tokens.",
    "numerator": "The map is resized to `numerator / denominator` of its size.",
    "ops": "The blocks that the op is made of.",
    "out_bias": "Whether the output projection has a bias.",
    "padding": "Zeros around the map; None keeps the size at stride 1.",
    "pool": "How the map is pooled where there is a stride: average or max.",
    "qkv_bias": "Whether the linear maps of q, k and v have biases.",
    "repeat": "How many times the blocks follow one another.",
    "scale_factor": "How many times larger the map becomes along each side.",
    "se_ratio": "Channels of squeeze-and-excitation, in units of the output's; 0 for none.",
    "side": "Tokens along each side of a window.",
    "stride": "How many times smaller the map becomes along each side.",
    "width": "Output channels.",
    "window_size": "Positions along each side of a window.",
}
_INTRODUCTION = """\
# Ops

What blocks of a network may be: in `stem`, `mixer`, `norm`, `shortcut`, `transition` and `head` of an
architecture, and in the templates of a space file, `{op: mbconv, width: 64}` names one with its
parameters. Shapes are (batch, channels, height, width). A parameter without a default must be given;
a block as a parameter is again a mapping with its `op`.

`nas ops` lists them, with those of `--import my_ops.py`. `python -m nas.networks.op_list` writes this
page from the definitions in `nas/ops`: to change a text, change a docstring there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of an op: the type of its values, its default as text (None where it must be given), what it does."""

    name: str
    type: str
    default: str | None
    about: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpEntry:
    """An op: its name in configs, the file that defines it, what it does (first sentence, and all), its parameters."""

    name: str
    file: str
    about: str
    text: str
    parameters: tuple[Parameter, ...]


def all_ops() -> list[OpEntry]:
    """Returns every op that is registered, by name."""
    return [describe_op(name) for name in sorted(OPS)]


def describe_op(name: str) -> OpEntry:
    """Returns one op."""
    kind = OPS[name]
    document = inspect.cleandoc(kind.__doc__ or "")
    text = re.split(r"\n\n(?:Args|Raises|Attributes|Returns):", document)[0]
    told = _told(document.partition("\nArgs:\n")[2])
    hints = typing.get_type_hints(kind.Config)
    parameters = tuple(
        Parameter(
            name=field.name,
            type=_type(hints[field.name]),
            default=None if field.default is dataclasses.MISSING else _value(field.default),
            about=told.get(field.name) or COMMON.get(field.name, ""),
        )
        for field in dataclasses.fields(kind.Config)
    )
    return OpEntry(
        name=name,
        file=f"{kind.__module__.rpartition('.')[2]}.py",
        about=_one_line(text.split("\n\n")[0]),
        text="\n\n".join(_one_line(paragraph) for paragraph in text.split("\n\n")),
        parameters=parameters,
    )


def page() -> str:
    """Returns the whole page in Markdown: the ops by file."""
    files: dict[str, list[OpEntry]] = {}
    for entry in all_ops():
        files.setdefault(entry.file, []).append(entry)
    parts = [_INTRODUCTION]
    for file in sorted(files):
        parts.append(f"## `nas/ops/{file}`")
        for entry in files[file]:
            parts += [f"### `{entry.name}`", entry.text]
            if entry.parameters:
                parts.append(_table(entry))
    return "\n\n".join(parts) + "\n"


def _table(entry: OpEntry) -> str:
    rows = [
        (f"`{each.name}`", each.type, "" if each.default is None else f"`{each.default}`", each.about)
        for each in entry.parameters
    ]
    header = ("parameter", "type", "default", "what it does")
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in (header, ["---"] * 4, *rows))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _told(section: str) -> dict[str, str]:
    """Returns what the "Args:" of a docstring say, by parameter; `stride, pool: …` is of both."""
    told: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", f"\n{section.split(chr(10) * 2)[0]}"):
        match = re.fullmatch(r"\s*([\w, ]+):\s(.*)", entry, re.DOTALL)
        if match:
            told |= dict.fromkeys((name.strip() for name in match[1].split(",")), _one_line(match[2]))
    return told


def _type(hint: Any) -> str:
    """Returns a type in the words of configs."""
    if hint is Any:
        return "block"
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return f"list of {_type(inner[0])}s"
    if inner:
        return " or ".join(_type(each) for each in inner)
    return {bool: "true or false", int: "whole number", float: "number", str: "word", type(None): "null"}[hint]


def _value(value: Any) -> str:
    """Returns a default as a config spells it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(page())
