"""The events of a run: one struct per kind; reading a record checks each line against its field types.

Every event is one line of `events.jsonl`, and its tag is the line's "event". A field with a default may be missing
from a line. Search methods from outside this package record `MethodEvent`s.
"""

from __future__ import annotations

from nas.run.events.base import Count, Event, Number, Plain, Time, UnknownEvent, now, tag_of
from nas.run.events.finalists import (
    FinalistEpoch,
    FinalistFailed,
    FinalistMeasured,
    FinalistRetried,
    FinalistStopped,
    FinalistTrained,
    RankingEvaluated,
    WinnerExported,
)
from nas.run.events.parent import DistillationEpoch, ParentEpoch, ParentInherited, ParentTested, ParentTuned
from nas.run.events.phases import (
    PhaseFinished,
    PhaseInterrupted,
    PhaseStarted,
    RunFinished,
    RunResumed,
    RunStarted,
)
from nas.run.events.scoring import (
    CalibrationFailed,
    CalibrationLeftOut,
    CalibrationOrder,
    CalibrationRetried,
    CalibrationTrained,
    CellScored,
    MethodEvent,
    ProxiesMeasured,
    ScoringRetried,
    SupernetAccuracy,
    SupernetEpoch,
    SupernetReused,
    TrialScored,
    UpdateCounts,
)

__all__ = [
    "CalibrationFailed",
    "CalibrationLeftOut",
    "CalibrationOrder",
    "CalibrationRetried",
    "CalibrationTrained",
    "CellScored",
    "Count",
    "DistillationEpoch",
    "Event",
    "FinalistEpoch",
    "FinalistFailed",
    "FinalistMeasured",
    "FinalistRetried",
    "FinalistStopped",
    "FinalistTrained",
    "KINDS",
    "MethodEvent",
    "Number",
    "ParentEpoch",
    "ParentInherited",
    "ParentTested",
    "ParentTuned",
    "PhaseFinished",
    "PhaseInterrupted",
    "PhaseStarted",
    "Plain",
    "ProxiesMeasured",
    "RankingEvaluated",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "ScoringRetried",
    "SupernetAccuracy",
    "SupernetEpoch",
    "SupernetReused",
    "Time",
    "TrialScored",
    "UnknownEvent",
    "UpdateCounts",
    "WinnerExported",
    "now",
    "tag_of",
]

KINDS: dict[str, type[Event]] = {
    tag_of(kind): kind
    for kind in (
        *(RunStarted, RunResumed, PhaseStarted, PhaseFinished, PhaseInterrupted, RunFinished),
        *(TrialScored, ScoringRetried),
        *(SupernetEpoch, SupernetAccuracy, UpdateCounts, SupernetReused),
        *(ProxiesMeasured, CalibrationTrained, CalibrationRetried, CalibrationOrder, CalibrationFailed),
        CalibrationLeftOut,
        *(CellScored, MethodEvent),
        *(FinalistMeasured, FinalistEpoch, FinalistTrained, FinalistFailed, FinalistStopped, FinalistRetried),
        *(RankingEvaluated, WinnerExported),
        *(DistillationEpoch, ParentEpoch, ParentTuned, ParentTested, ParentInherited),
    )
}
"""All kinds of events by their tags."""
