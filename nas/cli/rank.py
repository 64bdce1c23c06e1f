"""`nas rank`: how well scores order networks whose accuracies are known, beside counting."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nas.cli.console import Console, table
from nas.cli.parsing import text, whole
from nas.errors import OptionError

if TYPE_CHECKING:
    from nas.benchmark.ranking import Ranking

DESCRIPTION = """\
Judge scores by a table of known accuracies: rank correlations, also with MACs and parameters taken out and inside
bands of equal MACs, and the regret of trusting the best k. The baselines (parameters, MACs, depth, channels) stand
beside every score.

  nas rank --truth table.csv --truth-column accuracy --score-column my_score
  nas rank --space nats-size --truth nats_size_cifar10.csv"""

_COLUMNS = (
    ("Spearman", "spearman"),
    ("Kendall", "kendall"),
    ("Pearson", "pearson"),
    ("given MACs", "partial_spearman_given_macs"),
    ("given params", "partial_spearman_given_params"),
    ("in MAC bands", "within_band_spearman"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--truth", type=text("truth"), metavar="CSV", help="the table of known accuracies")
    parser.add_argument("--truth-column", type=text("truth_column"), metavar="NAME", help="its column of accuracies")
    parser.add_argument(
        "--score-column",
        dest="score_columns",
        action="append",
        metavar="NAME",
        help="a column of scores, higher better; may be given several times",
    )
    parser.add_argument("--space", type=text("space"), metavar="S", help="the space of the table's architectures")
    parser.add_argument("--arch-column", type=text("arch_column"), metavar="NAME", help="its column of architectures")
    parser.add_argument("--seed", type=whole("seed"), metavar="N", help="of the bootstrap (default: 0)")


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    if "truth" not in given:
        raise OptionError("--truth is missing: give a CSV file with a column of accuracies.")
    if not given.get("score_columns") and "space" not in given:
        raise OptionError("Nothing to judge: name a column by --score-column, or give --space to judge the baselines.")
    space = None
    if "space" in given:
        from nas import catalog

        catalog.find(given["space"])  # an unknown name answers before torch is imported
        from nas.loading import load_space

        space = load_space(given["space"])
    from nas.benchmark.ranking import rank

    found = rank(
        given["truth"],
        space=space,
        truth_column=given.get("truth_column"),
        score_columns=given.get("score_columns", ()),
        arch_column=given.get("arch_column"),
        seed=given.get("seed", 0),
        progress=console.progress,
    )
    console.document(found.to_dict())
    for line in ranking_lines(found):
        console.say(line)


def ranking_lines(found: Ranking) -> list[str]:
    """A ranking for people."""
    rows: list[list[str]] = []
    for name, judgement in found.scorers.items():
        figures = judgement.to_dict()
        shown = [_figure(figures[key]) for _, key in _COLUMNS]
        if figures["low"] is not None:
            shown[0] += f" [{figures['low']:+.3f}, {figures['high']:+.3f}]"
        rows.append([name, *shown, str(judgement.n), _regret(figures["top_k_regret"])])
    lines = [f"{found.n:,} networks of {found.table}, truth {found.truth_column}", ""]
    lines += table(["", *(title for title, _ in _COLUMNS), "n", "regret of the best 1, 10"], rows)
    if not found.baselines_known:
        lines += ["", "Without --space the table's networks cannot be counted, so no baseline stands beside the score."]
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _regret(found: dict[str, Any]) -> str:
    return ", ".join(f"{found[k]:.3g}" for k in ("1", "10") if k in found) or "-"
