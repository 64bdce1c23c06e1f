"""What is read back of events: the type of every field by its name, and what each kind of event must have.

Whoever reads a run may then rely on its events. Kinds and names that are not listed pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from nas.errors import RunError

MAX_DEPTH = 100


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "a time": (_is_time, "time"),
    "a whole number": (_is_count, "epoch epochs step images number rank macs params resolution seed"),
    "a number": (
        _is_number,
        "seconds phase_seconds loss score accuracy validation_accuracy test_accuracy",
    ),
    "a text": (_is_text, "phase digest space_digest path error name reason verdict"),
    "a mapping": (
        _is_mapping,
        "options plan versions space data trained supernet disk_bytes accuracies trial architecture checks",
    ),
    "a list": (_is_list, "budgets reasons presets proxies"),
}
_TYPES = {name: (kind, check) for kind, (check, names) in _KINDS.items() for name in names.split()}
# In a ranking, what elsewhere are figures are statistics of them.
_OTHERWISE = {
    **{("ranking", name): ("a mapping", _is_mapping) for name in ("score", "macs", "params")},
    ("ranking", "n"): ("a whole number", _is_count),
}
_MAY_BE_NULL = frozenset(
    {"phase", "score", "loss", "validation_accuracy", "resolution", "supernet", "error", "macs", "params"}
)
_NEEDED = {
    "phase_started": ("phase",),
    "phase_finished": ("phase",),
    "resumed": ("seconds", "phase", "phase_seconds"),
    "trial": ("trial",),
    "curve": ("epoch",),
    "watched": ("epoch", "name", "accuracy"),
    "measured": ("digest", "proxies"),
    "calibrated": ("digest", "accuracy", "architecture"),
    "calibration_failed": ("digest",),
    "finalist": ("digest", "number", "validation_accuracy"),
    "finalist_epoch": ("digest", "epoch"),
    "finalist_failed": ("digest",),
    "winner": ("rank", "digest", "path"),
}


def fault_in(event: Mapping[str, Any]) -> str | None:
    """What is wrong with an event, in a few words; None if nothing is."""
    for name in ("time", *_NEEDED.get(event["event"], ())):
        if name not in event:
            return f"it has no {name!r}"
    for name, value in event.items():
        kind, check = _OTHERWISE.get((event["event"], name)) or _TYPES.get(name, ("", _passes))
        if not check(value) and not (value is None and name in _MAY_BE_NULL):
            return f"{name} must be {kind}, not {str(value)[:40]!r}"
    accuracies = event.get("accuracies", {})
    if not all(map(_is_number, accuracies.values())):
        return "accuracies must be numbers"
    if any(not isinstance(text, str) for text in event.get("budgets", ())):
        return "budgets must be texts"
    return f"it is nested deeper than {MAX_DEPTH}" if _is_deep(event) else None


def check_fields(kind: type, plain: Mapping[str, Any], where: Path, *, least: int = 0) -> None:
    """Checks that plain JSON has the types that a dataclass declares for its fields, and whole numbers their range.

    Args:
        where: The run that it was read from.
        least: The least that a whole number may be.

    Raises:
        RunError: If not.
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


def _passes(value: object) -> bool:
    return True


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
