"""`report.html`: one self-contained file with a run's result, how far to trust it, and the next commands."""

from __future__ import annotations

from pathlib import Path

from nas.formats import moment
from nas.report.commands import files_beside, gives_the_same, next_commands, repeat_command
from nas.report.confusion import confusion_of
from nas.report.effects import marginal_effects
from nas.report.headline import headline
from nas.report.page_data import page_data
from nas.report.provenance import provenance
from nas.report.ranking import ranking_view
from nas.report.rendering import environment, page_parts
from nas.report.summary import Summary, summarise
from nas.report.tally import MOST_TRIALS
from nas.report.trials import trial_statistics
from nas.run import atomic_write, read_run

HTML = "report.html"
_SCRIPTS = (
    *("data.js", "elements.js", "network.js", "scatter.js", "front.js", "charts.js", "curves.js", "jobs.js"),
    "page.js",
)


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
    effects = marginal_effects(summary)
    return environment().get_template("page.html.j2").render(
        name=summary.path.resolve().name,
        subtitle=_subtitle(summary),
        parts=page_parts(_SCRIPTS),
        data=page_data(summary, effects),
        headline=headline(summary, folder),
        score_caption=summary.score_meaning.caption,
        effects=sorted(effects, key=lambda each: -each.share),
        score=summary.score,
        method=summary.method_section,
        ranking=ranking_view(summary),
        trials=trial_statistics(summary),
        most_trials=MOST_TRIALS,
        confusion=confusion_of(summary),
        provenance=provenance(summary),
        repeat=repeat_command(summary),
        same=gives_the_same(summary),
        commands=next_commands(summary),
        files=files_beside(folder),
    )  # fmt: skip


def _subtitle(summary: Summary) -> str:
    budgets = ", ".join(map(str, summary.budgets)) or "no budget"
    when = f"started {moment(summary.times.started)}"
    if summary.finished:
        when += f", finished {moment(summary.times.ended)}"
    space, data = summary.record.part("space").get("name", "?"), summary.options.get("data", "?")
    return f"Space {space} · {budgets} · data {data} · {when}"
