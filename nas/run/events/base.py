"""What all events of a run have, and the types of their fields."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, field

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Number: TypeAlias = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
WinnerPath: TypeAlias = Annotated[str, Meta(pattern="^winners/[0-9]{1,9}$", description="a folder of winners/")]
Plain: TypeAlias = dict[str, Any]


def now() -> datetime:
    """Returns the time in UTC, to the millisecond, as events store it."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class Event(Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened in a run.

    Attributes:
        time: When it was recorded; `Run.append` sets it.
    """

    time: Time = field(default_factory=now)


class UnknownEvent(Event, frozen=True, kw_only=True, tag=""):
    """An event of a kind unknown to this version; it is only read, never appended.

    Attributes:
        tag: Its kind.
        fields: All other fields of its line.
    """

    tag: str
    fields: Plain


def tag_of(kind: type[Event]) -> str:
    """Returns the "event" value of a kind's lines."""
    return str(kind.__struct_config__.tag)
