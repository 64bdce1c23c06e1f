"""The first section of the page: the result, or the progress of an unfinished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nas.budget import Cost, format_quantity
from nas.formats import chosen_by_words, compare_choices, count, is_rival, listing, percent, rival_line, rival_name
from nas.methods.protocol.parent_line import parent_line
from nas.methods.protocol.report import method_report
from nas.options.objectives import front_name
from nas.report.architecture_table import stage_maps
from nas.report.candidates import Candidate
from nas.report.summary import Summary, cost_words, stage_depths
from nas.trial import Trial

_FLOPS = "what papers call FLOPs"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """A network that was trained from scratch, as a table row.

    Attributes:
        trial: Number of its trial, None if that is not on record.
        rival: What it is called among the rivals on record; None for any other.
        shape: Depths and widths of its stages, None if its trial is not on record.
        folder: Where it was exported to, relative to the page if `linked`.
    """

    rank: int | None
    trial: int | None
    rival: str | None
    name: str
    shape: tuple[str, str] | None
    macs: int | None
    params: int | None
    score: str
    chosen_by: str
    on_front: bool
    validation: str
    test_accuracy: float | None
    folder: str | None
    linked: bool
    latency_s: float | None
    setting: str
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One sentence with the best network, the state of an unfinished run, and winners before other finalists.

    Attributes:
        compared: The accuracy of the finalists chosen by score, by counting and at random; may be empty.
        has_baselines: Whether networks that counting or chance chose were trained too.
        parent: A sentence on the network that the search started from; empty without one.
        cautions: Limits of the run's results.
        front: What the front of the winners is over.
        drawn: The best network, and the best that was chosen in each other way: its rivals.
    """

    answer: str
    compared: str
    has_baselines: bool
    parent: str
    cautions: list[str]
    state: str | None
    accuracy: str
    score_name: str
    front: str
    networks: list[NetworkRow]
    drawn: list[NetworkRow]


def headline(summary: Summary, folder: Path) -> Headline:
    """Returns the content of the first section.

    Args:
        folder: The page's.
    """
    networks = [_row(summary, candidate, folder) for candidate in summary.candidates]
    best = {network.chosen_by: network for network in reversed(networks) if network.trial is not None or network.rival}
    return Headline(
        answer=_answer(summary),
        compared=compare_choices(_reached(summary), in_percent=True, accuracy=summary.accuracy),
        has_baselines=any(c.chosen_by != "score" and not is_rival(c.chosen_by) for c in summary.candidates),
        parent=parent_line(summary.record, in_percent=True),
        cautions=summary.cautions,
        state=None if summary.finished else _state(summary),
        accuracy=summary.accuracy,
        score_name=summary.score_name,
        front=front_name(summary.objectives, summary.accuracy),
        networks=networks,
        drawn=[network for network in networks if network in best.values()],
    )


def _answer(summary: Summary) -> str:
    """Returns one sentence on the best network so far and its cost relative to the budgets."""
    winners = summary.winners
    trained = [c for c in summary.candidates if c.validation_accuracy is not None and c.epochs_done == c.epochs]
    if winners:
        best = _best_trained(summary, winners[0], "The best network found")
        return " ".join(filter(None, (rival_line(_reached(summary), in_percent=True, accuracy=summary.accuracy), best)))
    if trained:
        return _best_trained(summary, trained[0], "The best network trained so far")
    best = summary.tally.best
    if best is not None:
        costs = f"{_costs(best.cost.macs, best.cost.params)}{_shares(summary, best.cost)}"
        score = f"The best score so far is {summary.score(best.score)}"
        return f"No network has been trained yet. {score}, of {_named(best)} with {costs}."
    budgets = listing(_budget_words(summary))
    return f"No network has been scored yet; the budget is {budgets}." if budgets else "No network has been scored yet."


def _reached(summary: Summary) -> list[tuple[str, float | None, float | None]]:
    """Returns of each winner, by rank, what chose it, its validation accuracy and the standard error of that."""
    return [(each.chosen_by, each.validation_accuracy, each.validation_error) for each in summary.winners]


def _state(summary: Summary) -> str:
    """Returns the progress of an unfinished run. The record does not tell whether it is still running."""
    phase = summary.phase
    stopped = "The run had not finished when this page was written"
    if phase is None:
        ended = [done.name for done in summary.phases if done.finished]
        begun = f"the phase {ended[-1]} had ended and the next had not begun" if ended else "no phase had begun"
        return f"{stopped}: {begun}. If it was stopped, the command below continues it."
    names = summary.phase_names
    place = f"phase {names.index(phase) + 1} of {len(names)}, {phase}" if phase in names else f"phase {phase}"
    done = _progress(summary, phase)
    reached = f"{place}, with {done}" if done else place
    return f"{stopped}: it was in {reached}. If it was stopped, the command below continues it."


def _progress(summary: Summary, phase: str) -> str:
    if phase in summary.method_phases[:-1]:
        steps = method_report(summary.record).steps(summary.record, phase)
        return f"{steps.done} of {count(steps.total, 'epoch')} done" if steps and steps.total else ""
    if phase in summary.method_phases and summary.method_section is not None:
        return summary.method_section.progress
    if phase == "search":
        planned = summary.setting("trials")
        return f"{summary.tally.total} of {count(planned, 'trial')} done" if planned else ""
    if phase == "finalists":
        done = sum(c.epochs is not None and c.epochs_done == c.epochs for c in summary.candidates)
        planned = summary.finalists
        return f"{done} of {count(planned, 'finalist')} trained" if planned else f"{done} trained"
    return f"{count(len(summary.winners), 'winner')} exported" if phase == "export" else ""


def _best_trained(summary: Summary, best: Candidate, opening: str) -> str:
    named = _named(best.trial) if best.trial else "network " * (not is_rival(best.chosen_by)) + _outside(best)
    if best.test_accuracy is not None:
        reached = f"{percent(best.test_accuracy)} test {summary.accuracy}"
    else:
        reached = f"{percent(best.validation_accuracy)} validation {summary.accuracy}"
    costs = f"{_costs(best.macs, best.params)}{_shares(summary, _cost(best))}"
    return f"{opening}, {named}, reaches {reached} with {costs}."


def _costs(macs: int | None, params: int | None) -> str:
    words = cost_words(macs, params)
    # Explained once on the page, at the first mention of multiply-adds.
    return words.replace("MACs", f"MACs ({_FLOPS})", 1)


def _cost(candidate: Candidate) -> Cost | None:
    if candidate.trial is not None:
        cost, measured = candidate.trial.cost, candidate.latency_s
        return cost if measured is None else cost.measured("latency_s", measured)
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


def _outside(candidate: Candidate) -> str:
    """Returns what a network is called that is no trial: a rival, or one whose trial is not on record."""
    return rival_name(candidate.chosen_by) if is_rival(candidate.chosen_by) else candidate.digest


def _row(summary: Summary, candidate: Candidate, folder: Path) -> NetworkRow:
    trial, path = candidate.trial, candidate.path
    return NetworkRow(
        rank=candidate.rank,
        trial=None if trial is None else trial.number,
        rival=candidate.chosen_by if candidate.chosen_by in summary.record.part("rivals") else None,
        name=(trial and trial.layout) or _outside(candidate),
        shape=None if trial is None else _shape(trial),
        macs=candidate.macs,
        params=candidate.params,
        score=summary.score(candidate.score),
        chosen_by=chosen_by_words(candidate.chosen_by),
        on_front=candidate.on_front,
        validation=_validation(candidate),
        test_accuracy=candidate.test_accuracy,
        folder=path,
        # Only folders inside the run can be linked, from a page there: it moves with the run.
        linked=path is not None and not PurePosixPath(path).is_absolute() and (folder / path).is_dir(),
        latency_s=candidate.latency_s,
        setting=candidate.setting,
        peak_memory_bytes=candidate.peak_memory_bytes,
    )


def _shape(trial: Trial) -> tuple[str, str]:
    depths = "-".join(map(str, stage_depths(trial.architecture)))
    widths = "-".join("?" if width is None else str(width) for width, _, _ in stage_maps(trial.architecture))
    return f"depths {depths},", f"widths {widths}"


def _validation(candidate: Candidate) -> str:
    """Returns the validation accuracy as text, with the epoch if the training is not finished."""
    if candidate.epochs and candidate.epochs_done < candidate.epochs:
        at = f"{percent(candidate.validation_accuracy)} " if candidate.validation_accuracy is not None else ""
        return f"{at}(epoch {candidate.epochs_done} of {candidate.epochs})"
    if candidate.validation_accuracy is None or candidate.validation_error is None:
        return percent(candidate.validation_accuracy)
    return f"{percent(candidate.validation_accuracy)} ± {100 * candidate.validation_error:.1f}"
