"""Events as tests make and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import structs

from nas.run.events import Event, MethodEvent

AnyEvent = TypeVar("AnyEvent", bound=Event)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def note(**data: Any) -> MethodEvent:
    """An event that the program itself never records."""
    return MethodEvent(method="tests", name="note", data=data)


def timeless(events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """Events without what depends on the time."""
    return [
        structs.replace(event, time=_NEVER, **({"seconds": 0.0} if hasattr(event, "seconds") else {}))
        for event in events
    ]
