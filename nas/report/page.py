"""`report.html`: one file, complete by itself, that says what a run found, its worth and how to go on."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from nas.report import answer, making
from nas.report.curve import convergence, draw_curve
from nas.report.drawing import Look
from nas.report.evidence import ranking_section, trials_section
from nas.report.pareto import draw_pareto
from nas.report.summary import Summary, summarise
from nas.report.words import Markup, count, element, html, join, moment, percent, table
from nas.run import atomic_write, read_run
from nas.run.events import CalibrationFailed, CalibrationTrained, RunFinished

HTML = "report.html"


def write_report(run: str | Path) -> Path:
    """Makes `report.html` of a run anew from its events, at whatever stage the run is; gives its path.

    Raises:
        RunError: If it is not a run, is damaged, or cannot be written to.
    """
    summary = summarise(read_run(run))
    atomic_write(summary.path / HTML, render(summary))
    return summary.path / HTML


def render(summary: Summary) -> str:
    """The whole page. Everything in it that came from a run is escaped."""
    name = summary.path.resolve().name
    body = join(
        [
            element("h1", f"Search {name}"),
            element("p", _subtitle(summary), class_="quiet"),
            answer.answer_section(summary),
            _front_section(summary),
            _curve_section(summary),
            _section("What the ranking is worth", ranking_section(summary)),
            _section("The trials", trials_section(summary)),
            _section("How it was made", making.making_section(summary)),
            _section("Going on from here", making.commands_section(summary)),
        ],
        "\n",
    )
    style = files("nas.report").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html(name)}: architecture search</title><style>\n{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _subtitle(summary: Summary) -> str:
    budgets = ", ".join(map(str, summary.budgets)) or "no budget"
    started = summary.record.events()[0]
    ended = summary.record.last(RunFinished)
    when = f"started {moment(started.time.isoformat())}"
    if ended is not None:
        when += f", finished {moment(ended.time.isoformat())}"
    space, data = (summary.options.get(name, "?") for name in ("space", "data"))
    return f"Space {space} · {budgets} · data {data} · {when}"


def _front_section(summary: Summary) -> Markup:
    if not summary.complete:
        words = "No trial is complete yet, so there is no front to draw."
        return _section("The front", element("p", words))
    caption = "Each sign is one network that was scored, coloured by its layout (C convolution, A attention). "
    if summary.score_is_accuracy:
        caption += (
            "A score is the accuracy on the search's validation images with the supernet's shared weights; "
            "trained by itself a network does better. "
        )
    elif summary.scorer == "supernet-loss":
        caption += (
            "A score is the mean logarithm of the right class's probability on the search's validation images, "
            "with the supernet's shared weights; 0 would be certainty. "
        )
    elif summary.scorer == "calibrated":
        caption += (
            "A score is the accuracy that a short training is expected to reach, by what such trainings of "
            f"{count(len(summary.record.events(CalibrationTrained)), 'network')} reached. "
        )
    caption += "The line joins the networks that no other beats in both score and cost."
    picture = _figure(lambda look: draw_pareto(summary, look), "Scores of all trials against their cost", caption)
    rows = [
        (t.layout, t.number, *(_cost_cells(t.cost.macs, t.cost.params)), summary.score(t.score))
        for t in reversed(summary.front)
    ]
    headers = ("Layout", "Trial", "MACs", "Params", "Score")
    listed = element(
        "details",
        element("summary", f"The {count(len(rows), 'network')} of the front"),
        table(headers, rows, numeric=range(1, 5)),
    )
    return _section("The front", picture, listed)


def _cost_cells(macs: int, params: int) -> tuple[str, str]:
    return answer.cost_cell("macs", macs), answer.cost_cell("params", params)


def _calibration_section(summary: Summary) -> Markup:
    """What the short trainings of a calibrated search reached, best first."""
    rows: list[tuple[object, ...]] = []
    for event in sorted(summary.record.events(CalibrationTrained), key=lambda event: -event.accuracy):
        trial = next((t for t in summary.trials if t.architecture.digest == event.digest), None)
        expected = "not scored" if trial is None else percent(trial.score)
        rows.append((event.digest, "" if trial is None else trial.layout, percent(event.accuracy), expected))
    failed = summary.record.events(CalibrationFailed)
    words = element(
        "p",
        "A Gaussian process on costs, structure and zero-cost proxies was fitted to these trainings; "
        "the last column is what it then expects of the same networks."
        + "".join(f" {event.digest} is left out: {event.error}" for event in failed),
    )
    headers = ("Network", "Layout", "Reached", "Expected")
    return _section("What the scores are calibrated by", words, table(headers, rows, numeric=(2, 3)))


def _curve_section(summary: Summary) -> Markup:
    if summary.scorer == "calibrated":
        return _calibration_section(summary)
    title = "Did the supernet converge?"
    lender = (summary.record.manifest.get("method") or {}).get("reused")
    if lender:
        words = (
            f"It was not trained here: it is the supernet of {lender.get('source_run', '?')}, whose page has its curve."
        )
        return _section(title, element("p", words))
    if not any(point.accuracies for point in summary.curve):
        words = (
            "Nothing was measured of the supernet's training yet."
            if summary.score_is_accuracy
            else "Its blocks learn without labels, so that there is no accuracy to show; events.jsonl has the loss."
            if summary.scorer == "blockwise"
            else f"The scorer {summary.scorer} trains no supernet."
        )
        return _section(title, element("p", words))
    ended = any(phase.name == "supernet" and phase.finished for phase in summary.phases)
    said = join(element("p", sentence) for sentence in convergence(summary.curve, ended=ended))
    caption = (
        "Accuracy with shared weights of the same few networks, on the search's validation images, "
        "while the supernet was trained."
    )
    picture = _figure(lambda look: draw_curve(summary, look), "Accuracy over the supernet's epochs", caption)
    return _section(title, said, picture)


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)


def _figure(draw: Callable[[Look], bytes], alt: str, caption: str) -> Markup:
    """A picture in four versions, of which the reader's browser takes the one for its width and colours."""
    dark, narrow = "(prefers-color-scheme: dark)", "(max-width: 640px)"
    versions = (
        (Look(dark=True, narrow=True), f"{narrow} and {dark}"),
        (Look(narrow=True), narrow),
        (Look(dark=True), dark),
    )
    sources = (Markup(f'<source media="{media}" srcset="{_embedded(draw(look))}">') for look, media in versions)
    image = Markup(f'<img alt="{html(alt)}" src="{_embedded(draw(Look()))}">')
    return element("figure", element("picture", *sources, image), element("figcaption", caption))


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"
