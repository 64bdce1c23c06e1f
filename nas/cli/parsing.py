"""Argument parsing with one-line errors; imports only the pure ring."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn

from nas.errors import OptionError
from nas.options.declaration import Option, declared, default_text, defaults
from nas.options.kinds import Choice, Kind, Switch, first_of, flag, one_of
from nas.options.methods import method_option_kinds, methods_about, methods_with_options
from nas.options.search_options import SearchOptions
from nas.options.searchers import SEARCHERS, SEARCHERS_ABOUT
from nas.registry import closest
from nas.version import __version__

_TEXT_COLUMN, _WIDTH = 26, 98


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Formats help texts in one column, and a switch and its negation on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_TEXT_COLUMN)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction):
            return "--[no-]" + action.option_strings[0].removeprefix("--")
        return super()._format_action_invocation(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `OptionError`s; an option that was not given is absent."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=_HelpFormatter,
        )

    def format_help(self) -> str:
        # argparse's own usage line would list every option again.
        words = [
            f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
            for action in self._actions
            if not action.option_strings
        ]
        self.usage = " ".join(["%(prog)s", *words, "[options]"])
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        lacking = re.fullmatch(r"argument (--\S+): expected one argument", message)
        said = f"{lacking[1]} needs a value" if lacking else message
        raise OptionError(f"{self.prog}: {said}. See {self.prog} --help.")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Returns the options given.

        Raises:
            OptionError: If an option is unknown (with the nearest one), lacks its value or has a wrong one.
        """
        known = [option for option in self._option_string_actions if option.startswith("--")]
        given = _joined(argv)
        # Checked first: argparse would report the value of an unknown option instead of the option.
        for word in given:
            if word == "--":
                break
            name = word.split("=", 1)[0]
            if word.startswith("--") and name not in known:
                near = closest(name, known)
                hint = f"did you mean {near!r}? " if near else ""
                raise OptionError(f"Unknown option {name[:60]!r}: {hint}See {self.prog} --help.")
        args, extra = self.parse_known_args(given)
        if extra:
            before = given[given.index(extra[0]) - 1] if given.index(extra[0]) else ""
            if re.fullmatch(r"[0-9.,]+", before) and re.fullmatch(r"[A-Za-z]{1,8}", extra[0]):  # --budget 4.2 GFLOPs
                self.error(f"{before!r} and {extra[0]!r} are two words: write {before}{extra[0]}")
            self.error(f"{extra[0][:60]!r} is one argument too many")
        return args


def _joined(argv: Sequence[str]) -> list[str]:
    """Rewrites `--budget -1G` as `--budget=-1G`, since argparse would take `-1G` for an option."""
    words: list[str] = []
    for word in argv:
        last = words[-1] if words else ""
        if re.match(r"-[0-9.]", word) and last.startswith("--") and "=" not in last and last != "--":
            words[-1] = f"{last}={word}"
        else:
            words.append(word)
    return words


def reader(name: str, kind: Kind) -> Callable[[str], Any]:
    """Returns a function that reads the word given for the option `name`."""
    return lambda word: kind.read(name, word)


def add_declared(
    parser: argparse.ArgumentParser,
    owner: Any,
    names: Iterable[str] | None = None,
    *,
    instead: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Adds the options that a dataclass declares, under their headings.

    Args:
        names: The options that the command has, in this order; None for all.
        instead: What help texts of this command say instead, by option: `help`, `default_help` or `group`.
    """
    options, without = declared(owner), defaults(owner)
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for name in options if names is None else names:
        each = replace(options[name], **(instead or {}).get(name, {}))
        if each.group not in groups:
            groups[each.group] = parser.add_argument_group(each.group)
        _add(groups[each.group], name, each, without[name], each.help, [each.kind])


def add_method_options(parser: argparse.ArgumentParser, names: Container[str] | None = None) -> None:
    """Adds the options of all search methods under one heading each; an option shared by two is listed under both.

    Args:
        names: The options that the command has; None for all.
    """
    owners = methods_with_options()
    options = {
        owner: {name: each for name, each in declared(owner).items() if names is None or name in names}
        for owner in owners
    }
    kinds = method_option_kinds()
    added: set[str] = set()
    for owner, own in options.items():
        group = parser.add_argument_group(f"--method {one_of(owners[owner])}")
        for name, each in own.items():
            if name in added:
                # The parser has this option already: this only adds a row to the help text.
                group._group_actions.append(_action(name, each, defaults(owner)[name]))
            else:
                _add(group, name, each, defaults(owner)[name], each.help, kinds[name])
                added.add(name)


def methods_text() -> str:
    """Returns the search methods and their descriptions, for the end of a help text."""
    lines = ["methods:"]
    for names, about in methods_about():
        *first, last = textwrap.wrap(", ".join(names), _WIDTH, initial_indent="  ", subsequent_indent="  ")
        if len(last) > _TEXT_COLUMN - 2 or first:
            first, last = [*first, last], ""
        lines += [*first, f"{last.ljust(_TEXT_COLUMN)}{about}"]
    return "\n".join(lines)


def searchers_text() -> str:
    """The searchers and what each optimizes, for the end of a help text."""
    lines = ["searchers, and what each optimizes:"]
    for name in SEARCHERS:
        first = f"  {name}".ljust(_TEXT_COLUMN)
        about = SEARCHERS_ABOUT.get(name, "")
        lines += textwrap.wrap(about, _WIDTH, initial_indent=first, subsequent_indent=" " * _TEXT_COLUMN) or [first]
    return "\n".join(lines)


def _add(
    group: argparse._ActionsContainer, name: str, each: Option, default: Any, help: str, kinds: Sequence[Kind]
) -> None:
    help = _help(each, default, help)
    if isinstance(each.kind, Switch):
        group.add_argument(flag(name), dest=name, action=argparse.BooleanOptionalAction, help=help)
        return
    repeated = isinstance(default, tuple)
    group.add_argument(
        flag(name),
        dest=name,
        action="append" if repeated else "store",
        type=partial(first_of, name, kinds),
        metavar=each.kind.metavar,
        help=help,
    )


def _action(name: str, each: Option, default: Any) -> argparse.Action:
    return argparse._StoreAction([flag(name)], name, metavar=each.kind.metavar, help=_help(each, default, each.help))


def _help(each: Option, default: Any, help: str) -> str:
    """Returns the help text of an option, with its choices if they are few, and its default."""
    names = one_of(each.kind.known()) if isinstance(each.kind, Choice) else ""
    if names and len(names) < 80:
        help = f"{help}: {names}"
    said = default_text(each, default)
    return (f"{help} (default: {said})" if said else help).replace("%", "%%")


def import_files(paths: Sequence[str]) -> None:
    """Imports files of ops before anything else is read: they may define methods too, whose options are then known."""
    if paths:
        from nas.networks.imported_ops import import_ops

        for path in paths:
            import_ops(path)


def add_import_option(parser: argparse.ArgumentParser) -> None:
    """Adds --import, of every command that may load a config; of a search, it is declared with the other options."""
    if "--import" not in parser._option_string_actions:
        each = declared(SearchOptions)["imports"]
        parser.add_argument(
            "--import", dest="imports", action="append", type=reader("imports", each.kind), metavar=each.kind.metavar,
            help=each.help,
        )  # fmt: skip


def words_of_flag(argv: Sequence[str], flag: str) -> list[str]:
    """Returns the values that a flag is given in a command line, before it is parsed."""
    words = _joined(argv)
    words = words[: words.index("--")] if "--" in words else words
    apart = [value for word, value in pairwise(words) if word == flag]
    return apart + [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Adds --json, --quiet and --version, which every command has."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help="one JSON document on standard output, all else on standard error"
    )
    group.add_argument("--quiet", action="store_true", help="no progress and no notes")
    group.add_argument("--version", action="version", version=f"hybrid-nas {__version__}", help="show the version")
