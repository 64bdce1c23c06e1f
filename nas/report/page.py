"""`report.html`: one self-contained file with a run's result, how far to trust it, and the next commands."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.formats import moment
from nas.methods.protocol.report import Curves, Table
from nas.report.commands import files_beside, next_commands
from nas.report.curves import draw_curves
from nas.report.drawing import Look
from nas.report.headline import headline
from nas.report.pareto import draw_pareto
from nas.report.provenance import provenance
from nas.report.ranking import ranking_view
from nas.report.rendering import environment, short_cost
from nas.report.summary import Summary, summarise
from nas.report.trials import trial_statistics
from nas.run import atomic_write, read_run

HTML = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot in four versions, as data URLs of PNGs.

    Attributes:
        title: Alternative text.
    """

    title: str
    caption: str
    light: str
    dark: str
    narrow: str
    narrow_dark: str


def write_report(run: str | Path) -> Path:
    """Rebuilds `report.html` of a run from its events, at any stage of the run; returns its path.

    Raises:
        RunError: If it is not a run, is damaged, or cannot be written to.
    """
    summary = summarise(read_run(run))
    return save_report(summary, summary.path)


def save_report(summary: Summary, folder: Path) -> Path:
    """Writes the page to a folder; returns its path."""
    atomic_write(folder / HTML, render(summary, folder))
    return folder / HTML


def render(summary: Summary, folder: Path) -> str:
    """Returns the whole page for a folder, whose files it links. All data from the run are escaped."""
    return environment().get_template("page.html.j2").render(
        name=summary.path.resolve().name,
        subtitle=_subtitle(summary),
        headline=headline(summary),
        front=_front(summary),
        front_picture=_front_picture(summary),
        method=summary.method_section,
        method_picture=_method_picture(summary),
        ranking=ranking_view(summary),
        trials=trial_statistics(summary),
        provenance=provenance(summary),
        commands=next_commands(summary),
        files=files_beside(folder),
    )  # fmt: skip


def _subtitle(summary: Summary) -> str:
    budgets = ", ".join(map(str, summary.budgets)) or "no budget"
    when = f"started {moment(summary.times.started)}"
    if summary.finished:
        when += f", finished {moment(summary.times.ended)}"
    space, data = (summary.options.get(name, "?") for name in ("space", "data"))
    return f"Space {space} · {budgets} · data {data} · {when}"


def _front(summary: Summary) -> Table | None:
    """Returns the networks of the front, best score first; None before a trial is complete."""
    if not summary.complete:
        return None
    rows = [
        (
            trial.layout,
            trial.number,
            short_cost(trial.cost.macs, "macs"),
            short_cost(trial.cost.params, "params"),
            summary.score(trial.score),
        )
        for trial in reversed(summary.front)
    ]
    return Table(headers=("Layout", "Trial", "MACs", "Params", summary.score_name), rows=rows, numeric=(1, 2, 3, 4))


def _front_picture(summary: Summary) -> Picture | None:
    if not summary.complete:
        return None
    sentences = (
        "Each marker is one scored network, colored by its layout (C convolution, A attention).",
        summary.score_meaning.caption,
        "The line joins the networks of the Pareto front: no other has a better score at no higher cost.",
    )
    return _picture(
        lambda look: draw_pareto(summary, look),
        title="Scores of all trials against their cost",
        caption=" ".join(filter(None, sentences)),
    )


def _method_picture(summary: Summary) -> Picture | None:
    curves = summary.method_section and summary.method_section.curves
    if curves is None:
        return None
    return _curves_picture(curves)


def _curves_picture(curves: Curves) -> Picture:
    return _picture(lambda look: draw_curves(curves, look), title=curves.title, caption=curves.caption)


def _picture(draw: Callable[[Look], bytes], *, title: str, caption: str) -> Picture:
    return Picture(
        title=title,
        caption=caption,
        light=_embedded(draw(Look())),
        dark=_embedded(draw(Look(dark=True))),
        narrow=_embedded(draw(Look(narrow=True))),
        narrow_dark=_embedded(draw(Look(dark=True, narrow=True))),
    )


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"
