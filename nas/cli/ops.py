"""`nas ops`: lists the ops that configs and space files are made of, or describes one with its parameters."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from nas.cli.console import Console, plain, table
from nas.cli.parsing import reader
from nas.errors import OptionError
from nas.options.kinds import Text

if TYPE_CHECKING:
    from nas.networks.op_list import OpEntry

DESCRIPTION = """\
List the ops that networks are made of, or describe one: its parameters, their defaults, what they do.
All of them with their parameters: docs/ops.md.

  nas ops
  nas ops mbconv
  nas ops --import my_ops.py      # with those of a file of your own"""
_WIDTH = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", type=reader("name", Text()), metavar="NAME", help="describe one op")


def run(args: argparse.Namespace, console: Console) -> None:
    from nas.networks.op_list import all_ops
    from nas.ops.check import unknown_op

    ops = {each.name: each for each in all_ops()}
    name: str | None = vars(args).get("name")
    if name is None:
        console.document(plain(list(ops.values())))
        rows = [[each.name, textwrap.shorten(each.about, _WIDTH - 24, placeholder=" …")] for each in ops.values()]
        for line in table(["op", "what it does"], rows, left=(0, 1)):
            console.say(line)
        console.say(f"{len(ops)} ops. Parameters of one: nas ops NAME")
        return
    if name not in ops:
        raise OptionError(unknown_op(name))
    console.document(plain(ops[name]))
    for line in op_lines(ops[name]):
        console.say(line)


def op_lines(entry: OpEntry) -> list[str]:
    """Returns the lines of one op."""
    lines = [f"{entry.name} ({entry.file})", ""]
    for paragraph in entry.text.split("\n\n"):
        lines += [*textwrap.wrap(paragraph, _WIDTH), ""]
    if not entry.parameters:
        return [*lines, "It has no parameters."]
    rows = [[each.name, each.type, "required" if each.default is None else each.default] for each in entry.parameters]
    indent = "  "
    for head, each in zip(
        table(["parameter", "type", "default"], rows, left=(0, 1, 2))[1:], entry.parameters, strict=True
    ):
        lines += [head, *textwrap.wrap(each.about, _WIDTH - 4, initial_indent=indent * 2, subsequent_indent=indent * 2)]
    return lines
