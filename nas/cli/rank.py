"""`nas rank`: how well scores rank networks of known accuracy, compared with counting."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.benchmark.options import RankingOptions, check_spaceless, check_used, method_option_names
from nas.cli.console import Console, table
from nas.cli.parsing import add_declared, add_method_options, methods_text
from nas.errors import OptionError

if TYPE_CHECKING:
    from nas.benchmark.ranking import Ranking

DESCRIPTION = """\
Compare scores with a table of known accuracies: rank correlations (also partial, given MACs,
parameters or both, within bands of equal MACs, and among networks with the same kinds of stages)
and the regret of choosing the top k. If the networks are read (--space, --method or --arch-column),
baselines are included: parameters, MACs, depth, sum of channels and of their logarithms, and the
share of layers without attention.

  nas rank --truth table.csv --truth-column accuracy --score-column my_score
  nas rank --truth table.csv --space nats-size --method nwot --method calibrated --data cifar10.npz
  nas rank --truth published.csv --method params --method nwot --resolution 64

Without --space, rows are complete networks: names of `nas zoo`, or paths to an architecture.yaml.
If the table has a column of families, networks are ranked within each family too.

The methods supernet and blockwise score with weights that a run trained (--supernet RUN); the
method calibrated trains a few of the table's networks briefly and fits its score to them."""

_COLUMNS = (
    ("Spearman", "spearman"),
    ("Kendall", "kendall"),
    ("Pearson", "pearson"),
    ("given MACs", "partial_spearman_given_macs"),
    ("given params", "partial_spearman_given_params"),
    ("given both", "partial_spearman_given_both"),
    ("in MAC bands", "within_band_spearman"),
    ("in kinds", "within_kind_spearman"),
    ("in families", "within_family_spearman"),
)
# Figures that are shown with their intervals; the JSON document also has those within kinds of stages.
_INTERVALS = {"spearman": ("low", "high"), "within_band_spearman": ("within_band_low", "within_band_high")}


def add_options(parser: argparse.ArgumentParser) -> None:
    add_declared(parser, RankingOptions)
    add_method_options(parser, method_option_names())
    parser.epilog = methods_text()


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    if "truth" not in given:
        raise OptionError("--truth is missing: give a CSV file with a column of accuracies.")
    of_methods = method_option_names()
    options = RankingOptions(**{name: value for name, value in given.items() if name not in of_methods})
    methods = tuple(options.method)
    if options.space is None:
        check_spaceless(
            methods=methods,
            known=options.known,
            score_columns=options.score_column,
            arch_column=options.arch_column,
        )
    check_used(given, methods)
    space = None
    if options.space is not None:
        from nas.spaces import catalog

        catalog.find(options.space)  # checks the name before torch is imported
        from nas.networks.loading import load_space

        space = load_space(options.space)
    from nas.benchmark.ranking import rank
    from nas.methods.protocol.ranking import RankingSettings

    if methods:
        console.again = (
            f"the same command; its results so far are in {shlex.quote(options.work)}"
            if options.work is not None
            else "the same command; with --work DIR it keeps its results when interrupted"
        )
    found = rank(
        given["truth"],
        space=space,
        truth_column=options.truth_column,
        score_columns=options.score_column,
        arch_column=options.arch_column,
        family_column=options.family_column,
        methods=methods,
        method_options={name: value for name, value in given.items() if name in of_methods},
        settings=RankingSettings(
            data=options.data,
            supernet=options.supernet,
            resolution=options.resolution,
            augment=options.augment,
            known=options.known,
            work=None if options.work is None else Path(options.work),
            device=options.device,
            threads=options.threads,
            seed=options.seed,
        ),
        rows=options.rows,
        progress=console.progress,
    )
    console.document(found.to_dict())
    for line in ranking_lines(found):
        console.say(line)


def ranking_lines(found: Ranking) -> list[str]:
    """Returns the lines of a ranking."""
    from nas.benchmark.rank_statistics import FEWEST

    columns = [each for each in _COLUMNS if found.family_column or each[1] != "within_family_spearman"]
    rows: list[list[str]] = []
    for name, judgement in found.scorers.items():
        figures = judgement.to_dict()
        shown = [_figure(figures[key], *(figures[end] for end in _INTERVALS.get(key, ()))) for _, key in columns]
        took = figures["seconds"]
        count = str(judgement.n) + (f" ({judgement.failed} failed)" if judgement.failed else "")
        spent = "-" if took is None else f"{took:.1f}"
        if judgement.known:
            spent += f" and {judgement.known} trainings (cost of {judgement.known_trainings:.1f} average ones)"
        rows.append([name, *shown, count, _regret(figures["top_k_regret"]), spent])
    lines = [f"{found.n:,} networks of {found.table}, truth {found.truth_column}", ""]
    lines += table(["", *(title for title, _ in columns), "n", "regret of the best 1, 10", "CPU s"], rows)
    lines += _family_lines(found)
    few = [name for name, judgement in found.scorers.items() if judgement.n < FEWEST]
    if few:
        lines += ["", f"{', '.join(few)}: evaluated on fewer than {FEWEST} networks, too few for a conclusion."]
    fitted = [name for name, judgement in found.scorers.items() if judgement.known]
    if fitted:
        lines += ["", f"{', '.join(fitted)}: evaluated on the networks it was not fitted to, others on all."]
    if not found.baselines_known:
        lines += ["", "The table's networks were not read, so there are no baselines: give --space or --arch-column."]
    return lines


def _family_lines(found: Ranking) -> list[str]:
    """Returns Spearman's correlation within each family of four or more networks, per predictor."""
    sizes = {name: each.n for judgement in found.scorers.values() for name, each in judgement.families.items()}
    if not sizes:
        return []
    rows = [
        [name, *(_figure(of[family].spearman) if family in of else "-" for family in sizes)]
        for name, of in ((name, judgement.families) for name, judgement in found.scorers.items())
    ]
    title = f"Spearman within each {found.family_column} of four or more networks (n)"
    return ["", title, "", *table(["", *(f"{name} ({n})" for name, n in sizes.items())], rows)]


def _figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    shown = "-" if value is None else f"{value:+.3f}"
    return shown if low is None else f"{shown} [{low:+.3f}, {high:+.3f}]"


def _regret(found: dict[str, Any]) -> str:
    return ", ".join(f"{found[k]:.3g}" for k in ("1", "10") if k in found) or "-"
