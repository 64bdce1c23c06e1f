"""Training curves for the page's charts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas.formats import is_rival, rival_name
from nas.methods.protocol.report import Curves
from nas.report.candidates import Candidate
from nas.report.summary import Summary
from nas.run.events import FinalistEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over epochs; `is_share` says whether the values are shown in percent."""

    title: str
    caption: str
    x_label: str
    y_label: str
    is_share: bool
    series: dict[str, list[tuple[int, float]]]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON."""
        return asdict(self)


def method_chart(curves: Curves) -> Chart:
    """Returns the chart of what a search method trained over epochs."""
    return Chart(
        title=curves.title,
        caption=curves.caption,
        x_label=curves.x_label,
        y_label=curves.y_label,
        is_share=curves.shares,
        series={name: list(series) for name, series in curves.series.items()},
    )


def finalist_charts(summary: Summary) -> list[Chart]:
    """Returns validation accuracy and loss of the finalists over the epochs of their training, as far as recorded."""
    accuracies: dict[str, dict[int, float]] = {}
    losses: dict[str, dict[int, float]] = {}
    for event in summary.record.events(FinalistEpoch):  # an epoch that was trained again after a stop counts once
        if event.validation_accuracy is not None:
            accuracies.setdefault(event.digest, {})[event.epoch] = event.validation_accuracy
        if event.loss is not None:
            losses.setdefault(event.digest, {})[event.epoch] = event.loss
    found = (
        (f"Validation {summary.accuracy} while training", f"validation {summary.accuracy}", True, accuracies),
        ("Training loss", "training loss", False, losses),
    )
    return [
        Chart(title=title, caption="", x_label="epoch", y_label=label, is_share=share, series=_named(summary, curves))
        for title, label, share, curves in found
        if curves
    ]


def _named(summary: Summary, curves: dict[str, dict[int, float]]) -> dict[str, list[tuple[int, float]]]:
    """Returns the curves by the names of the finalists, in the order of their ranks."""
    return {
        series_name(candidate): sorted(curves[candidate.digest].items())
        for candidate in summary.candidates
        if candidate.digest in curves
    }


def series_name(candidate: Candidate) -> str:
    """Returns the name of a finalist in a chart: "1 CCAA", or "trial 17 CCAA" before it has a rank."""
    if is_rival(candidate.chosen_by):
        layout = rival_name(candidate.chosen_by)
    else:
        layout = candidate.trial.layout if candidate.trial else candidate.digest
    if candidate.rank is not None:
        return f"{candidate.rank} {layout}"
    return f"trial {candidate.trial.number} {layout}" if candidate.trial else layout
