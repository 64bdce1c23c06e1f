"""The types of option values: how each is parsed from the command line, checked and described."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from nas.budget import check_budgets
from nas.errors import OptionError
from nas.registry import unknown
from nas.texts import is_text, printable


def flag(name: str) -> str:
    """Returns an option's flag: "--batch-size" for "batch_size", and "--budget" for "budgets", given one by one."""
    return "--" + {"budgets": "budget", "imports": "import"}.get(name, name.replace("_", "-"))


class Kind(ABC):
    """A type of option value.

    Attributes:
        metavar: Placeholder of the value in a help text; "" for a switch.
    """

    metavar: str = "X"

    @abstractmethod
    def check(self, name: str, value: object) -> None:
        """Raises `OptionError` unless `value` is valid for the option `name`."""

    def read(self, name: str, word: str) -> Any:
        """Parses and checks a word of the command line."""
        self.check(name, word)
        return word

    def describe(self) -> str:
        """Returns the valid values as text for the options page; "" if the help text has them."""
        return ""


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A name or a path that is not blank."""

    metavar: str = "X"

    def check(self, name: str, value: object) -> None:
        check_text(name, value)


@dataclass(frozen=True, slots=True)
class Texts(Kind):
    """Names or paths that are given one by one."""

    metavar: str = "X"

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, list | tuple):
            raise OptionError(f"{name} must be a list, but got {value!r}: write [{value!r}].")
        for each in cast("list[object] | tuple[object, ...]", value):
            check_text(name, each)

    def read(self, name: str, word: str) -> Any:
        check_text(name, word)
        return word


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    """A whole number from `low` to `high`; messages give `example`."""

    low: int
    high: int
    example: int
    metavar: str = "N"

    def check(self, name: str, value: object) -> None:
        check_whole(name, value, self.low, self.high, self.example)

    def read(self, name: str, word: str) -> int:
        number = int(word) if re.fullmatch(r"[+-]?[0-9]{1,20}", word) else word
        self.check(name, number)
        return int(number)

    def describe(self) -> str:
        return f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True, slots=True)
class WholeOr(Kind):
    """A whole number from `low` to `high`, or a word in its place."""

    low: int
    high: int
    word: str
    metavar: str = "N"

    def check(self, name: str, value: object) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
        if not whole and value != self.word:
            raise OptionError(
                f"{flag(name)} must be a whole number from {self.low} to {self.high}, or {self.word}, but got "
                f"{shown(value)}: give one such as {flag(name)} {self.word}."
            )

    def read(self, name: str, word: str) -> int | str:
        value = int(word) if re.fullmatch(r"[+-]?[0-9]{1,20}", word) else word
        self.check(name, value)
        return value

    def describe(self) -> str:
        return f"{self.low:,} to {self.high:,}, or {self.word}"


_SIZES = {"B": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Duration(Kind):
    """Seconds as a whole number; written with or without a unit, as 90, 90s, 20min, 2h or 1h30min.

    Attributes:
        low: The smallest valid value, in seconds.
    """

    low: int
    metavar: str = "T"

    def check(self, name: str, value: object) -> None:
        if type(value) is not int or not self.low <= value <= 10_000 * _UNITS["d"]:
            raise OptionError(
                f"{flag(name)} must be at least {self.low} whole seconds, not {value!r}: write 20min or 2h."
            )

    def read(self, name: str, word: str) -> int:
        if re.fullmatch(r"[0-9]{1,12}", word):
            word += "s"
        parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|min|h|d)", word)
        if not parts or "".join(number + unit for number, unit in parts) != word:
            raise OptionError(f"{flag(name)} {word}: give a time with its unit, such as 90s, 20min, 2h or 1h30min.")
        seconds = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
        self.check(name, seconds)
        return seconds

    def describe(self) -> str:
        return "seconds, or 20min, 2h, 1h30min"


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """A number of bytes; written with or without a unit, as 500MB or 2GB."""

    metavar: str = "SIZE"

    def check(self, name: str, value: object) -> None:
        if type(value) is not int or not 10**6 <= value <= 10**15:
            raise OptionError(f"{flag(name)} must be 1MB to 1000TB, not {value!r} bytes: write 500MB or 2GB.")

    def read(self, name: str, word: str) -> int:
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(B|MB|GB|TB)", f"{word}B" if word.isdigit() else word)
        if found is None:
            raise OptionError(f"{flag(name)} {word}: give a size in B, MB, GB or TB, such as 500MB or 2GB.")
        size = round(float(found[1]) * _SIZES[found[2]])
        self.check(name, size)
        return size

    def describe(self) -> str:
        return "bytes, or 500MB, 2GB"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of several names; `names` may be a function that returns them, since plug-ins may add some."""

    names: tuple[str, ...] | Callable[[], Iterable[str]]
    metavar: str = "X"

    def known(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self.names() if callable(self.names) else self.names)

    def check(self, name: str, value: object) -> None:
        check_choice(name, value, self.known())

    def describe(self) -> str:
        return one_of(self.known())


@dataclass(frozen=True, slots=True)
class Switch(Kind):
    """True or false; if `optional`, also None, which is resolved when the search begins."""

    optional: bool = False
    metavar: str = ""

    def check(self, name: str, value: object) -> None:
        if not (isinstance(value, bool) or (self.optional and value is None)):
            ways = "true, false or left out" if self.optional else "true or false"
            raise OptionError(f"{flag(name)} must be {ways}, but got {value!r}.")

    def describe(self) -> str:
        return "yes or no"


@dataclass(frozen=True, slots=True)
class Fraction(Kind):
    """A number between 0 and 1; which of the two may be reached is the subclass's."""

    of: str
    example: float

    def read(self, name: str, word: str) -> float:
        try:
            number: float | str = float(word)
        except ValueError:
            number = word
        self.check(name, number)
        return float(number)


@dataclass(frozen=True, slots=True)
class Share(Fraction):
    """A share of something, at least 0 and below 1."""

    metavar: str = "SHARE"

    def check(self, name: str, value: object) -> None:
        # NaN fails both comparisons.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise OptionError(
                f"{flag(name)} must be a share of {self.of}, at least 0 and below 1, but got {shown(value)}: "
                f"give one such as {flag(name)} {self.example}."
            )

    def describe(self) -> str:
        return "from 0 to just below 1"


@dataclass(frozen=True, slots=True)
class Portion(Fraction):
    """A part of something, above 0 and at most the whole of it."""

    metavar: str = "P"

    def check(self, name: str, value: object) -> None:
        # NaN fails both comparisons.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise OptionError(
                f"{flag(name)} must be a part of {self.of}, above 0 and at most 1, but got {shown(value)}: "
                f"give one such as {flag(name)} {self.example}."
            )

    def describe(self) -> str:
        return "above 0, up to 1"


@dataclass(frozen=True, slots=True)
class Device(Kind):
    """A device name; whether this machine has the device is checked later."""

    metavar: str = "D"

    def check(self, name: str, value: object) -> None:
        check_device(value)

    def describe(self) -> str:
        return one_of((*DEVICES, "cuda:N"))


@dataclass(frozen=True, slots=True)
class Cluster(Kind):
    """The address of a Ray cluster; whether it can be reached is checked later."""

    metavar: str = "ADDRESS"

    def check(self, name: str, value: object) -> None:
        named = isinstance(value, str) and (
            value == "auto" or re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}", value)
        )
        if not named:
            hint = " Ray Client addresses are not supported: run nas-search on a node of the cluster (ray job submit)."
            raise OptionError(
                f"--ray must be auto or HOST:PORT, but got {shown(value)}: give the address that `ray start` printed, "
                f"such as --ray 10.0.0.1:6379.{hint if str(value).startswith('ray://') else ''}"
            )


@dataclass(frozen=True, slots=True)
class Budgets(Kind):
    """Budgets such as "4.2GFLOPs"; the option may be given once per metric."""

    metavar: str = "B"

    def check(self, name: str, value: object) -> None:
        assert isinstance(value, tuple)
        check_budgets(value)  # pyright: ignore[reportUnknownArgumentType]

    def read(self, name: str, word: str) -> str:
        return word  # parsed all together later: no two may bound one metric


DEVICES = ("auto", "cpu", "cuda", "mps")


def check_text(name: str, value: object) -> None:
    """Raises `OptionError` unless `value` is a string that is not blank."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise OptionError(f"{flag(name)} must be a name or a path, but got {shown(value)}.")
    if not is_text(value):
        raise OptionError(
            f"{flag(name)} {printable(value)[:200]} has bytes that are no text in {sys.getfilesystemencoding()}, which "
            "no file of a run can hold: rename it, or give a link to it by another name."
        )


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises `OptionError` with the nearest name unless `value` is one of `known`."""
    known = tuple(known)
    if value not in known:
        raise OptionError(unknown(f"value of {flag(name)}", value, known))


def check_whole(name: str, value: object, low: int, high: int, example: int) -> None:
    """Raises `OptionError` unless `value` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionError(
            f"{flag(name)} must be a whole number from {low} to {high}, but got {shown(value)}: "
            f"give one such as {flag(name)} {example}."
        )


def check_device(value: object) -> None:
    """Raises `OptionError` unless `value` is a device name."""
    if not isinstance(value, str) or not (value in DEVICES or re.fullmatch(r"cuda:[0-9]{1,3}", value)):
        raise OptionError(unknown("value of --device", value, (*DEVICES, "cuda:0")))


def first_of(name: str, kinds: Sequence[Kind], word: str) -> Any:
    """Returns a word as the first kind that accepts it reads it.

    Raises:
        OptionError: The first kind's, if none accepts it.
    """
    for kind in kinds:
        try:
            return kind.read(name, word)
        except OptionError:
            continue
    return kinds[0].read(name, word)


def one_of(known: Iterable[str]) -> str:
    """Returns names joined for a help text: "a, b or c"."""
    *most, last = known
    return f"{', '.join(most)} or {last}" if most else last


def shown(value: object) -> str:
    """Returns a value as text for a message: on one line, clipped."""
    text = repr(value) if isinstance(value, str) else str(value)
    return " ".join(text[:60].split())
