"""The lines that tell a search's result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from nas.budget import format_quantity
from nas.cli.console import table
from nas.formats import chosen_by_words, compare_choices, count, from_here, further_training, rival_line, score_text
from nas.options.kinds import flag
from nas.options.objectives import front_name

FINAL = "MACs are multiply-adds, what papers call FLOPs."


def result_lines(
    run: str,
    ranking: dict[str, Any],
    winners: list[dict[str, Any]],
    *,
    score_name: str = "score",
    objectives: Sequence[str] = ("macs",),
    imports: Sequence[str] = (),
    parent: str = "",
    data: str = "digits",
    seed: int = 0,
    accuracy: str = "accuracy",
) -> list[str]:
    """Returns the lines of a search's result: the winners, the ranking check, and the next commands.

    Args:
        imports: Files of ops that the next commands need too.
        parent: What is told of the network that the search began with, if any.
        data, seed: The `--data` and `--seed` of the run, for the next commands.
        accuracy: What the run calls accuracy.
    """
    further = [metric for metric in ("latency_s", "peak_memory_bytes") if any(each[metric] for each in winners)]
    rows = [
        [
            f"{winner['rank']}{'*' if winner['on_front'] else ''}",
            with_error(winner["validation_accuracy"], winner["validation_error"]),
            _figure(winner["test_accuracy"]),
            "-" if winner["score"] is None else score_text(winner["score"]),
            chosen_by_words(winner["chosen_by"]),
            format_quantity("macs", winner["macs"]),
            format_quantity("params", winner["params"]),
            *(format_quantity(metric.removeprefix("peak_"), winner[metric]) for metric in further),
            winner["path"],
        ]
        for winner in winners
    ]
    header = ["rank", f"validation {accuracy}", f"test {accuracy}", score_name, "chosen by", "MACs", "params"]
    header += [{"latency_s": "latency"}.get(metric, "memory") for metric in further]
    found = [(each["chosen_by"], each["validation_accuracy"], each["validation_error"]) for each in winners]
    rival = rival_line(found, accuracy=accuracy)
    lines = [*filter(None, (rival,)), "", *table([*header, "folder"], rows, left=(0, 4, len(header)))]
    front = f"* marks the front of {front_name(objectives, accuracy)}"
    lines += ["", f"Ranks are by validation {accuracy}, with its standard error; {front}."]
    if "latency_s" in further:
        lines.append(f"Latencies were measured at {winners[0]['setting']} before the networks were trained.")
    lines += [FINAL, *ranking_lines(ranking), *filter(None, (compare_choices(found, accuracy=accuracy), parent)), ""]
    if winners:
        best = shlex.quote(winners[0]["path"])
        needed, given = _import_words(imports), shlex.quote(from_here(data))
        training = ["nas", "train", f"{best}/architecture.yaml", "--data", given]
        training += further_training(best, seed) if parent else []
        lines += [
            " ".join([f"Use it       nas predict {best} photo.jpg", *needed]),
            " ".join([f"Evaluate it  nas evaluate {best} --data {given}", *needed]),
            " ".join(["Train it    ", *training, *needed]),
            f"Without nas  python {best}/model.py photo.jpg",
        ]
    return [*lines, f"Report       {run}/report.html"]


def _import_words(paths: Sequence[str]) -> list[str]:
    return [f"{flag('imports')} {shlex.quote(path)}" for path in paths]


def ranking_lines(ranking: dict[str, Any]) -> list[str]:
    """Returns how well the score and the baselines predicted the trained accuracies."""
    if not ranking:
        return []
    correlations = ", ".join(
        f"{name} {row['spearman']:+.2f}{_interval(row)}"
        for name in ("score", "params", "macs")
        if (row := ranking.get(name)) and row.get("spearman") is not None
    )
    spearman = f"Spearman with trained accuracy: {correlations}; " if correlations else ""
    return [f"Ranking of {count(ranking.get('n', 0), 'trained network')}: {spearman}{ranking.get('verdict', '')}"]


def with_error(value: float | None, error: float | None) -> str:
    """Formats an accuracy and its standard error: "0.8041 ± 0.0160"."""
    return _figure(value) if value is None or error is None else f"{value:.4f} ± {error:.4f}"


def _interval(row: dict[str, Any]) -> str:
    low, high = row.get("low"), row.get("high")
    return "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
