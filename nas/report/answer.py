"""The first section of the page: what was found, or how far the run is."""

from __future__ import annotations

from pathlib import PurePosixPath

from nas.budget import Cost, format_quantity
from nas.report.summary import Candidate, Summary, cost_words, stage_depths, stage_widths
from nas.report.words import ABSENT, Markup, count, element, html, join, listing, percent, table
from nas.run.events import CalibrationTrained
from nas.trial import Trial

_FLOPS = "what papers call FLOPs"


def answer_section(summary: Summary) -> Markup:
    """One sentence with the best network, the state of the run, and the networks that were trained."""
    parts = [element("p", answer(summary), class_="answer")]
    if not summary.finished:
        parts.append(element("p", state(summary), class_="state"))
    if summary.candidates:
        parts.append(candidates_table(summary))
    return element("section", join(parts))


def answer(summary: Summary) -> str:
    """The best network so far in one sentence, with what it costs against the budgets."""
    winners = summary.winners
    trained = [c for c in summary.candidates if c.validation_accuracy is not None and c.epochs_done == c.epochs]
    if winners:
        return _best_trained(summary, winners[0], "The best network found")
    if trained:
        return _best_trained(summary, trained[0], "The best network trained so far")
    if summary.complete:
        best = max(summary.complete, key=lambda trial: (trial.score or 0.0, -trial.number))
        costs = f"{_costs(best.cost.macs, best.cost.params)}{_shares(summary, best.cost)}"
        score = f"The best score so far is {summary.score(best.score)}"
        return f"No network has been trained by itself yet. {score}, of {_named(best)} with {costs}."
    budgets = listing(_budget_words(summary))
    return f"No network has been scored yet; the budget is {budgets}." if budgets else "No network has been scored yet."


def state(summary: Summary) -> str:
    """How far an unfinished run is. It may be running still, which its record does not tell."""
    phase = summary.phase
    stopped = "The run had not finished when this page was written"
    if phase is None:
        ended = [done.name for done in summary.phases if done.finished]
        begun = f"the phase {ended[-1]} was over and the next had not begun" if ended else "no phase had begun"
        return f"{stopped}: {begun}. If it was stopped, the command below continues it."
    names = summary.phase_names
    place = f"phase {names.index(phase) + 1} of {len(names)}, {phase}" if phase in names else f"phase {phase}"
    done = _progress(summary, phase)
    reached = f"{place}, with {done}" if done else place
    return f"{stopped}: it was in {reached}. If it was stopped, the command below continues it."


def candidates_table(summary: Summary) -> Markup:
    """Winners by rank, then the other finalists."""
    accuracy = summary.accuracy
    headers = (
        "Rank", "Network", "MACs", "Params", "Score", f"Validation {accuracy}", f"Test {accuracy}", "Folder",
    )  # fmt: skip
    rows = [
        (
            ABSENT if c.rank is None else c.rank,
            _description(c),
            ABSENT if c.macs is None else cost_cell("macs", c.macs),
            ABSENT if c.params is None else cost_cell("params", c.params),
            summary.score(c.score),
            _training(c),
            percent(c.test_accuracy),
            _link(c.path),
        )
        for c in summary.candidates
    ]
    note = (
        f"The score is what the search went by. Validation and test {accuracy} are those of the network "
        "trained from scratch; the test images serve for this table alone."
    )
    return join([table(headers, rows, numeric=(2, 3, 4, 5, 6), cards=True), element("p", note, class_="quiet")])


def cost_cell(metric: str, value: int | float) -> str:
    """A cost for a table, without a noun that its column has already."""
    return format_quantity(metric, value).removesuffix(" params")


def _best_trained(summary: Summary, best: Candidate, opening: str) -> str:
    named = _named(best.trial) if best.trial else f"network {best.digest}"
    if best.test_accuracy is not None:
        reached = f"{percent(best.test_accuracy)} test {summary.accuracy}"
    else:
        reached = f"{percent(best.validation_accuracy)} validation {summary.accuracy}"
    costs = f"{_costs(best.macs, best.params)}{_shares(summary, _cost(best))}"
    return f"{opening}, {named}, reaches {reached} with {costs}."


def _costs(macs: int | None, params: int | None) -> str:
    words = cost_words(macs, params)
    # Once on the page, where multiply-adds are first met.
    return words.replace("MACs", f"MACs ({_FLOPS})", 1)


def _cost(candidate: Candidate) -> Cost | None:
    if candidate.trial is not None:
        return candidate.trial.cost
    if candidate.macs is None or candidate.params is None:
        return None
    return Cost(macs=candidate.macs, params=candidate.params)


def _shares(summary: Summary, cost: Cost | None) -> str:
    if cost is None:
        return ""
    shares = [
        f"{percent(budget.share(cost))} of the budget of {format_quantity(budget.metric, budget.bound)}"
        for budget in summary.budgets
        if cost.value(budget.metric) is not None
    ]
    return f": {listing(shares)}" if shares else ""


def _budget_words(summary: Summary) -> list[str]:
    words = [format_quantity(budget.metric, budget.bound) for budget in summary.budgets]
    return [word.replace("MACs", f"MACs ({_FLOPS})") for word in words]


def _named(trial: Trial) -> str:
    depths = "-".join(map(str, stage_depths(trial.architecture)))
    return f"{trial.layout} ({depths} layers)" if trial.layout else f"network {trial.architecture.digest}"


def _description(candidate: Candidate) -> Markup:
    if candidate.trial is None:
        return html(candidate.digest)
    architecture = candidate.trial.architecture
    depths = "-".join(map(str, stage_depths(architecture)))
    widths = "-".join("?" if width is None else str(width) for width in stage_widths(architecture))
    detail = element("small", f"depths {depths}, widths {widths}")
    return join([element("strong", candidate.trial.layout or candidate.digest), Markup("<br>"), detail])


def _training(candidate: Candidate) -> str:
    if candidate.epochs and candidate.epochs_done < candidate.epochs:
        at = f"{percent(candidate.validation_accuracy)} " if candidate.validation_accuracy is not None else ""
        return f"{at}(epoch {candidate.epochs_done} of {candidate.epochs})"
    return percent(candidate.validation_accuracy)


def _link(path: str | None) -> str:
    if path is None:
        return ABSENT
    # Only what lies inside the run can be linked: the page moves with its folder.
    if PurePosixPath(path).is_absolute():
        return element("code", path)
    return element("a", element("code", path), href=f"{path}/")


def _progress(summary: Summary, phase: str) -> str:
    if phase == "supernet":
        epochs = summary.setting("epochs")
        at = summary.curve[-1].epoch if summary.curve else 0
        return f"epoch {at} of {epochs} measured" if epochs else f"epoch {at} measured"
    if phase == "calibration":
        return f"{count(len(summary.record.events(CalibrationTrained)), 'network')} trained"
    if phase == "search":
        planned = summary.setting("trials")
        return f"{len(summary.trials)} of {count(planned, 'trial')} done" if planned else ""
    if phase == "finalists":
        done = sum(c.epochs is not None and c.epochs_done == c.epochs for c in summary.candidates)
        planned = summary.setting("finalists")
        return f"{done} of {count(planned, 'finalist')} trained" if planned else f"{done} trained"
    return f"{count(len(summary.winners), 'winner')} exported" if phase == "export" else ""
