"""What reads records of earlier formats: their events, as plain JSON, become those of this version's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

FORMAT = 2
"""The format that this version writes. In format 1 `supernet_reused` was called `borrowed`."""

# Renamed within `run_started`: per place (() is the event itself), old and new names; inner places come first.
# Empty until the readers have the new names. To be enabled with them, together with the fields of
# `nas.run.events.RunStarted`:
#     ("options",): {"aim": "min_share"},
#     ("plan",): {"floor": "train_min_share"},
#     ("trained",): {"floor": "train_min_share"},
#     (): {"trained": "coverage", "supernet": "reused_supernet"},
_RENAMED: Mapping[tuple[str, ...], Mapping[str, str]] = {}
_KINDS = {"borrowed": "supernet_reused"}


def upgrade(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of a record of format 1 as format 2 has them: one for each, in order; the given ones stay as they are.

    Args:
        events: Each with a text as its "event"; the first is `run_started`. Nothing else about them is relied on.
    """
    return [
        _manifest(events[0]),
        *({**event, "event": _KINDS.get(event["event"], event["event"])} for event in events[1:]),
    ]


def _manifest(plain: dict[str, Any]) -> dict[str, Any]:
    """The first event, with the names of this format."""
    renamed = {**plain, "format": FORMAT}
    for place, names in _RENAMED.items():
        renamed = _renamed(renamed, place, names)
    return renamed


def _renamed(plain: dict[str, Any], place: tuple[str, ...], names: Mapping[str, str]) -> dict[str, Any]:
    if not place:
        return {names.get(name, name): value for name, value in plain.items()}
    inner = plain.get(place[0])
    if not isinstance(inner, dict):
        return plain
    return {**plain, place[0]: _renamed(cast("dict[str, Any]", inner), place[1:], names)}
