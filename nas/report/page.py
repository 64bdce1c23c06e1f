"""`report.html`: one self-contained file with a run's result, how far to trust it, and the next commands."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from nas.formats import moment
from nas.report.commands import files_beside, next_commands, repeat_command
from nas.report.confusion import confusion_of
from nas.report.effects import marginal_effects
from nas.report.headline import headline
from nas.report.page_data import page_data
from nas.report.provenance import provenance
from nas.report.ranking import ranking_view
from nas.report.rendering import environment
from nas.report.summary import Summary, summarise
from nas.report.tally import MOST_TRIALS
from nas.report.trials import trial_statistics
from nas.run import atomic_write, read_run

HTML = "report.html"
# Observable Plot, then the page's own scripts in one scope; see docs/decisions/0012-report-charts.md.
_SCRIPTS = ("data.js", "elements.js", "network.js", "scatter.js", "front.js", "charts.js", "page.js")


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
        policy=policy(),
        plot=asset("plot.min.js"),
        licenses=asset("plot.licenses.txt"),
        script=script(),
        data=page_data(summary, effects),
        headline=headline(summary),
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
        commands=next_commands(summary),
        files=files_beside(folder),
    )  # fmt: skip


@cache
def asset(name: str) -> Markup:
    """Returns a file of the package's own for the page, as it is."""
    return Markup(files("nas.report").joinpath("assets", name).read_text(encoding="utf-8"))


@cache
def script() -> Markup:
    """Returns the page's own scripts, in one scope."""
    return Markup('(() => {\n"use strict";\n' + "\n".join(map(asset, _SCRIPTS)) + "})();\n")


@cache
def policy() -> str:
    """Returns the page's content security policy: these very scripts run and no others, and nothing is fetched."""
    digests = (hashlib.sha256(text.encode()).digest() for text in (asset("plot.min.js"), script()))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    rules = ("default-src 'none'", f"script-src {hashes}", "style-src 'unsafe-inline'", "img-src data:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _subtitle(summary: Summary) -> str:
    budgets = ", ".join(map(str, summary.budgets)) or "no budget"
    when = f"started {moment(summary.times.started)}"
    if summary.finished:
        when += f", finished {moment(summary.times.ended)}"
    space, data = (summary.options.get(name, "?") for name in ("space", "data"))
    return f"Space {space} · {budgets} · data {data} · {when}"
