"""What each search method says in a report, by the scorer that a run names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.methods import counted_report
from nas.methods.blockwise import report as blockwise
from nas.methods.calibrated import report as calibrated
from nas.methods.protocol.report import MethodSection, ScoreMeaning
from nas.methods.supernet import report as supernet
from nas.methods.zero_cost import report as zero_cost
from nas.options import AGGREGATES, COUNTED, SHARED_WEIGHTS, ZERO_COST
from nas.run import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """A method's part of a report.

    Attributes:
        phases: Names of the phases that it goes through before the search.
    """

    section: Callable[[RunRecord], MethodSection | None]
    score_meaning: Callable[[RunRecord], ScoreMeaning]
    phases: tuple[str, ...] = ()


_SUPERNET = MethodReport(section=supernet.section, score_meaning=supernet.score_meaning, phases=("supernet",))
_ZERO_COST = MethodReport(section=zero_cost.section, score_meaning=zero_cost.score_meaning)
_COUNTED = MethodReport(section=counted_report.section, score_meaning=counted_report.score_meaning)
_METHODS = {
    **dict.fromkeys(SHARED_WEIGHTS, _SUPERNET),
    "calibrated": MethodReport(
        section=calibrated.section, score_meaning=calibrated.score_meaning, phases=("calibration",)
    ),
    "blockwise": MethodReport(section=blockwise.section, score_meaning=blockwise.score_meaning, phases=("supernet",)),
    **dict.fromkeys((*AGGREGATES, *ZERO_COST), _ZERO_COST),
    **dict.fromkeys(COUNTED, _COUNTED),
}
# A later version's method: the page can be made without its part.
_OTHER = MethodReport(section=lambda record: None, score_meaning=lambda record: ScoreMeaning())


def method_of(scorer: str) -> MethodReport:
    """Returns the part of a report that the method of a scorer has."""
    return _METHODS.get(scorer, _OTHER)
