"""Options are declared once, as fields of a frozen dataclass with name, type and default; `Option` has the rest.

Parser, checks and the options page (`nas.options.page`) are made from the declaration.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from nas.options.kinds import Kind, flag


class Declares(Protocol):
    """A dataclass whose fields are options."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The metadata of an option, in addition to its field's name, type and default.

    Attributes:
        kind: How its values are parsed and checked.
        help: One line of help, without the default.
        default_help: What the default does, if the value alone does not tell.
        group: The heading under which a help text lists it.
        required: Whether a value must be given; the default is then None.
    """

    kind: Kind
    help: str
    default_help: str = ""
    group: str = ""
    required: bool = False


def option(
    default: Any = None, *, kind: Kind, help: str, default_help: str = "", group: str = "", required: bool = False
) -> Any:
    """Returns a dataclass field that declares an option; it has no default if the option is required."""
    declared = Option(kind=kind, help=help, default_help=default_help, group=group, required=required)
    if required and default is None:
        return dataclasses.field(metadata={"option": declared})
    return dataclasses.field(default=default, metadata={"option": declared})


def declared(owner: type[Declares] | Declares) -> dict[str, Option]:
    """Returns the options of a dataclass by name, in the order of its fields."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(owner) if "option" in each.metadata}


def defaults(owner: type[Declares] | Declares) -> dict[str, Any]:
    """Returns the defaults of a dataclass's options; None for those that have none."""
    return {
        each.name: None if each.default is dataclasses.MISSING else each.default for each in dataclasses.fields(owner)
    }


def default_text(each: Option, default: Any) -> str:
    """Returns the text of an option's default for a help text; "" if there is none."""
    if each.default_help or default is None or default == ():
        return each.default_help
    return ("no", "yes")[default] if isinstance(default, bool) else str(default)


def check_values(owner: Declares) -> None:
    """Checks the value of every option of a dataclass.

    Raises:
        OptionError: For the first wrong value; its line has the option, the value and a remedy.
        BudgetError: The same, for a budget.
    """
    without = defaults(owner)
    for name, each in declared(owner).items():
        value = getattr(owner, name)
        if value is None and without[name] is None and not each.required:
            continue
        each.kind.check(name, value)


def plain(value: Any) -> Any:
    """Returns a value as plain Python: a path as text, a number of NumPy or torch as an int, a float or a bool."""
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    is_scalar = getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None))
    return value.item() if is_scalar else value


def not_default(owner: Declares) -> dict[str, Any]:
    """Returns the options of a dataclass that differ from their defaults."""
    without = defaults(owner)
    return {name: value for name in declared(owner) if (value := getattr(owner, name)) != without[name]}


def words_of(values: Mapping[str, Any]) -> list[str]:
    """Returns the command line words of options: "--batch-size 64", "--no-onnx", "--budget 4.2GFLOPs"."""
    words: list[str] = []
    for name, value in values.items():
        if isinstance(value, tuple):
            words += [word for each in cast("tuple[object, ...]", value) for word in (flag(name), str(each))]
        elif isinstance(value, bool):
            words.append(flag(name if value else f"no-{name}"))
        elif value is not None:
            words += [flag(name), str(value)]
    return words
