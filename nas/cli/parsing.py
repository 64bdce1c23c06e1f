"""Argument parsing that answers in one line: nothing here imports more than the pure ring."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from nas.errors import OptionError
from nas.options.declaration import Option, declared, defaults
from nas.options.kinds import Choice, Kind, Switch, flag, one_of
from nas.options.methods import methods_with_options
from nas.registry import closest


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are `OptionError`s; an option that was not given is absent."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        lacking = re.fullmatch(r"argument (--\S+): expected one argument", message)
        said = f"{lacking[1]} needs a value" if lacking else message
        raise OptionError(f"{self.prog}: {said}. See {self.prog} --help.")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The options given.

        Raises:
            OptionError: If an option is unknown (with the nearest one), lacks its value or has a wrong one.
        """
        known = [option for option in self._option_string_actions if option.startswith("--")]
        given = _joined(argv)
        # Looked at first: argparse would rather complain of what an unknown option's value seems to be.
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
    """`--budget -1G` as `--budget=-1G`, since argparse would take `-1G` for an option."""
    words: list[str] = []
    for word in argv:
        last = words[-1] if words else ""
        if re.match(r"-[0-9.]", word) and last.startswith("--") and "=" not in last and last != "--":
            words[-1] = f"{last}={word}"
        else:
            words.append(word)
    return words


def reader(name: str, kind: Kind) -> Callable[[str], Any]:
    """Reads the word given for the option `name`."""
    return lambda word: kind.read(name, word)


def first_reader(name: str, kinds: Sequence[Kind]) -> Callable[[str], Any]:
    """Reads a word as the first of several kinds that takes it; the complaint is that of the first."""

    def read(word: str) -> Any:
        for kind in kinds:
            try:
                return kind.read(name, word)
            except OptionError:
                continue
        return kinds[0].read(name, word)

    return read


def add_declared(
    parser: argparse.ArgumentParser,
    owner: Any,
    names: Iterable[str] | None = None,
    *,
    helps: Mapping[str, str] | None = None,
) -> None:
    """Adds the options that a dataclass declares, under the headings that they name.

    Args:
        names: Those of them that the command has, in this order; None for all.
        helps: Help texts that say more for this command.
    """
    options, without = declared(owner), defaults(owner)
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for name in options if names is None else names:
        each = options[name]
        if each.group not in groups:
            groups[each.group] = parser.add_argument_group(each.group)
        _add(groups[each.group], name, each, without[name], (helps or {}).get(name, each.help), [each.kind])


def add_method_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of all search methods, a heading each; those that two share stand under the first."""
    kinds: dict[str, list[Kind]] = {}
    for owner in methods_with_options():
        for name, each in declared(owner).items():
            kinds.setdefault(name, []).append(each.kind)
    added: dict[str, str] = {}
    for owner, methods in methods_with_options().items():
        own = declared(owner)
        also = [f"{flag(name)}, {each.help}" for name, each in own.items() if name in added]
        group = parser.add_argument_group(
            f"--method {one_of(methods)}", f"Takes also {'; '.join(also)}." if also else None
        )
        for name, each in own.items():
            if name not in added:
                added[name] = methods[0]
                _add(group, name, each, defaults(owner)[name], each.help, kinds[name])


def _add(
    group: argparse._ActionsContainer, name: str, each: Option, default: Any, help: str, kinds: Sequence[Kind]
) -> None:
    if each.default_help or default not in (None, (), True):
        help = f"{help} (default: {each.default_help or default})"
    names = one_of(each.kind.known()) if isinstance(each.kind, Choice) else ""
    if names and len(names) < 80:
        help = f"{names}: {help}"
    if isinstance(each.kind, Switch):
        group.add_argument(flag(name), dest=name, action=argparse.BooleanOptionalAction, help=help)
        return
    repeated = isinstance(default, tuple)
    group.add_argument(
        flag(name),
        dest=name,
        action="append" if repeated else "store",
        type=first_reader(name, kinds),
        metavar=each.kind.metavar,
        help=help,
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """--json and --quiet, which every command has."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help="one JSON document on standard output, all else on standard error"
    )
    group.add_argument("--quiet", action="store_true", help="no progress and no notes")
