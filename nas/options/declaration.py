"""An option, declared once as a field of a frozen dataclass: name, type and default are the field's, the rest is here.

Parser, checks and the page of options (`nas.options.page`) follow from the declaration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from nas.options.kinds import Kind


class Declares(Protocol):
    """A dataclass whose fields are options."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What is declared of an option beside its field's name, type and default.

    Attributes:
        kind: How its values are read and checked.
        help: One line for people, without the default.
        default_help: What the default does, where its value does not say it.
        group: Under which heading a help text lists it.
        required: Whether None, the default, is no value that may be given.
    """

    kind: Kind
    help: str
    default_help: str = ""
    group: str = ""
    required: bool = False


def option(
    default: Any = None, *, kind: Kind, help: str, default_help: str = "", group: str = "", required: bool = False
) -> Any:
    """A dataclass field that declares an option; without a default where it is required."""
    declared = Option(kind=kind, help=help, default_help=default_help, group=group, required=required)
    if required and default is None:
        return dataclasses.field(metadata={"option": declared})
    return dataclasses.field(default=default, metadata={"option": declared})


def declared(owner: type[Declares] | Declares) -> dict[str, Option]:
    """The options of a dataclass by name, in the order in which they stand there."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(owner) if "option" in each.metadata}


def defaults(owner: type[Declares] | Declares) -> dict[str, Any]:
    """The defaults of a dataclass's options; None for those that have none."""
    return {
        each.name: None if each.default is dataclasses.MISSING else each.default for each in dataclasses.fields(owner)
    }


def default_text(each: Option, default: Any) -> str:
    """What a help text says of an option's default; "" where there is none."""
    if each.default_help or default is None or default == ():
        return each.default_help
    return ("no", "yes")[default] if isinstance(default, bool) else str(default)


def check_values(owner: Declares) -> None:
    """Checks the value of every option of a dataclass.

    Raises:
        OptionError: One line with the option, its value and what would work, for the first that is wrong.
        BudgetError: The same, for a budget.
    """
    without = defaults(owner)
    for name, each in declared(owner).items():
        value = getattr(owner, name)
        if value is None and without[name] is None and not each.required:
            continue
        each.kind.check(name, value)


def not_default(owner: Declares) -> dict[str, Any]:
    """The options of a dataclass that are not at their default."""
    without = defaults(owner)
    return {name: value for name in declared(owner) if (value := getattr(owner, name)) != without[name]}


def words_of(values: Mapping[str, Any]) -> list[str]:
    """What is typed for some options: "--batch-size 64", "--no-onnx", "--budget 4.2GFLOPs"."""
    from nas.options.kinds import flag

    words: list[str] = []
    for name, value in values.items():
        if name == "budgets":
            words += [word for budget in value for word in (flag(name), str(budget))]
        elif isinstance(value, bool):
            words.append(flag(name if value else f"no-{name}"))
        elif value is not None:
            words += [flag(name), str(value)]
    return words
