"""Validation of records: each line becomes the event that its tag names, or is refused.

Code that reads a run can therefore rely on its events. Undeclared tags and fields are accepted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from nas.errors import RunError
from nas.run.events import KINDS, Event, Time, UnknownEvent

MAX_DEPTH = 100
_WORDS = {
    datetime: ("a time", "times"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    dict: ("a mapping", "mappings"),
    list: ("a list", "lists"),
}
"""Singular and plural name of each type, for messages."""


class EventError(ValueError):
    """What is wrong with an event, in a few words."""


def decode_event(plain: Mapping[str, Any]) -> Event:
    """Returns the event of a line.

    Args:
        plain: The line's JSON, with a string as its "event".

    Raises:
        EventError: If a field is missing or has another type than its struct declares.
    """
    kind = KINDS.get(plain["event"])
    if _is_deep(plain):
        raise EventError(f"it is nested deeper than {MAX_DEPTH}")
    if kind is None:
        own = ("event", "time")
        fields = {name: value for name, value in plain.items() if name not in own}
        return UnknownEvent(time=_checked("time", plain, Time), tag=plain["event"], fields=fields)
    try:
        # Declared fields only: msgspec cannot handle names that are not valid UTF-8.
        known = {name: plain[name] for name in kind.__struct_fields__ if name in plain}
        if "time" in known:
            return msgspec.convert(known, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        pass
    raise _fault(kind, plain)


def _fault(kind: type[Event], plain: Mapping[str, Any]) -> EventError:
    """Returns the error that names the invalid field of an event."""
    for field in msgspec.structs.fields(kind):
        try:
            if field.name in plain or field.required or field.name == "time":
                _checked(field.name, plain, field.type)
        except EventError as fault:
            return fault
    raise AssertionError(f"{kind.__name__} was refused, and each of its fields is right")


def _checked(name: str, plain: Mapping[str, Any], hint: Any) -> Any:
    if name not in plain:
        raise EventError(f"it has no {name!r}")
    value = plain[name]
    try:
        return msgspec.convert(value, hint)
    except (msgspec.ValidationError, UnicodeEncodeError):
        expected = _description(hint)
        said = f"{name} must be {expected}, not {str(value)[:40]!r}" if expected else None
        raise EventError(said or _mismatch(name, value, _plain_types(hint))) from None


def _mismatch(name: str, value: object, kinds: list[Any]) -> str:
    """Describes the type expected of an invalid value or, if it is a container, of its items."""
    container = next((kind for kind in kinds if get_origin(kind) is type(value)), None)
    if container is None:
        words = " or ".join(_WORDS[get_origin(kind) or kind][0] for kind in kinds)
        return f"{name} must be {words}, not {str(value)[:40]!r}"
    inner = _plain_types(get_args(container)[-1])
    return f"{name} must be {' or '.join(_WORDS[get_origin(kind) or kind][1] for kind in inner)}"


def _description(hint: Any) -> str | None:
    """Returns the description that a constrained type gives of its values, None if it gives none."""
    return next((part.description for part in get_args(hint) if isinstance(part, msgspec.Meta)), None)


def _plain_types(hint: Any) -> list[Any]:
    """Returns the types that a hint allows, without None and constraints on numbers."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return [kind for each in get_args(hint) for kind in _plain_types(each)]
    if origin is Annotated:
        return _plain_types(get_args(hint)[0])
    return [] if hint is type(None) else [hint]


def check_fields(kind: type, plain: Mapping[str, Any], where: Path, *, least: int = 0) -> None:
    """Checks plain JSON against the field types of a dataclass, and its integers against a lower bound.

    Args:
        where: The run that it was read from.
        least: The lower bound of integers.

    Raises:
        RunError: If a field has another type or is below the bound.
    """
    hints = get_type_hints(kind)
    for name, value in plain.items():
        if not _fits(value, hints[name], least):
            raise RunError(f"{where} is damaged: its {name} is {str(value)[:40]!r}. Restore events.jsonl from a copy.")


def _fits(value: Any, hint: Any, least: int) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list | tuple) and all(
            _fits(item, inner[0], least) for item in cast("list[Any]", value)
        )
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(item, inner[1], least) for item in cast("dict[str, Any]", value).values()
        )
    if hint is int:
        return type(value) is int and least <= value < 2**63
    return _is_number(value) if hint is float else isinstance(value, hint)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _is_deep(event: object) -> bool:
    """Whether lists and mappings are nested so deeply that reading them might exhaust the stack."""
    level: list[object] = [event]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []
