"""Argument parsing that answers in one line: nothing here imports more than the pure ring."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from nas.errors import OptionError
from nas.options import (
    AUGMENTS,
    DTYPES,
    ON_CORRUPT,
    QUALITY_METRICS,
    check_aim,
    check_choice,
    check_device,
    check_range,
    check_ray,
    check_text,
    check_whole,
)
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


def _number(text: str) -> int | str:
    """The whole number that `text` writes; the text itself where it writes none, for the message."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else text


def whole(name: str) -> Callable[[str], int]:
    """Reads a whole number within the range of the search option `name`."""

    def read(text: str) -> int:
        number = _number(text)
        check_range(name, number)
        return int(number)

    return read


def whole_within(name: str, low: int, high: int, example: int) -> Callable[[str], int]:
    """Reads a whole number from `low` to `high`."""

    def read(text: str) -> int:
        number = _number(text)
        check_whole(name, number, low, high, example)
        return int(number)

    return read


def choice(name: str, known: Iterable[str]) -> Callable[[str], str]:
    """Reads one of `known`."""
    names = tuple(known)

    def read(text: str) -> str:
        check_choice(name, text, names)
        return text

    return read


def text(name: str) -> Callable[[str], str]:
    """Reads a name or a path that is not blank."""

    def read(given: str) -> str:
        check_text(name, given)
        return given

    return read


def share(given: str) -> float:
    """Reads --aim."""
    try:
        number: float | str = float(given)
    except ValueError:
        number = given
    check_aim(number)
    return float(number)


def device(given: str) -> str:
    """Reads --device."""
    check_device(given)
    return given


def ray(given: str) -> str:
    """Reads --ray."""
    check_ray(given)
    return given


def listed(known: Iterable[str]) -> str:
    """Names for a help text: "a, b or c"."""
    *most, last = known
    return f"{', '.join(most)} or {last}" if most else last


# What `nas search` and `nas train` share.


def add_data_options(group: argparse._ActionsContainer) -> None:
    """How images are read and how training images vary."""
    group.add_argument(
        "--metric", type=choice("metric", QUALITY_METRICS), metavar="M", help=f"{listed(QUALITY_METRICS)}"
    )
    group.add_argument(
        "--augment",
        type=choice("augment", AUGMENTS),
        metavar="A",
        help=f"how training images vary: {listed(AUGMENTS)} (default: auto, what suits the data)",
    )
    group.add_argument(
        "--on-corrupt",
        type=choice("on_corrupt", ON_CORRUPT),
        metavar="WHAT",
        help="skip images that cannot be read, or refuse the data set (default: skip)",
    )


def add_machine_options(group: argparse._ActionsContainer) -> None:
    """Where training runs and what in."""
    group.add_argument("--device", type=device, metavar="D", help="auto, cpu, cuda, cuda:0 or mps (default: auto)")
    group.add_argument("--threads", type=whole("threads"), metavar="N", help="CPU threads")
    group.add_argument("--batch-size", type=whole("batch_size"), metavar="N", help="images per training step")
    group.add_argument(
        "--dtype",
        type=choice("dtype", DTYPES),
        metavar="T",
        help=f"{listed(DTYPES)} (default: auto, bfloat16 where it is faster)",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """--json and --quiet, which every command has."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help="one JSON document on standard output, all else on standard error"
    )
    group.add_argument("--quiet", action="store_true", help="no progress and no notes")
