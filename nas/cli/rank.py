"""`nas rank`: how well scores order networks whose accuracies are known, beside counting."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.console import Console, table
from nas.cli.parsing import choice, device, listed, text, whole, whole_within
from nas.errors import OptionError
from nas.options import AUGMENTS, SCORERS, check_spaceless, check_used

if TYPE_CHECKING:
    from nas.benchmark.ranking import Ranking

DESCRIPTION = """\
Judge scores by a table of known accuracies: rank correlations, also with MACs and parameters taken out and inside
bands of equal MACs, inside networks whose stages convolve and attend alike, and the regret of trusting the best k. The
baselines (parameters, MACs, depth, channels, share of layers that convolve) stand beside every score.

  nas rank --truth table.csv --truth-column accuracy --score-column my_score
  nas rank --space nats-size --truth nats_size_cifar10.csv --scorer nwot --scorer calibrated --data cifar10.npz

Scorers: the supernet of a run (--supernet RUN), by accuracy or by loss; blockwise, by the blocks of a run with
--strategy blockwise (--supernet RUN too); zero-cost proxies, alone or their ranks together (az-nas, zero-cost);
calibrated, which trains a few of the table's networks for a short while and fits all that is cheap to that."""

_COLUMNS = (
    ("Spearman", "spearman"),
    ("Kendall", "kendall"),
    ("Pearson", "pearson"),
    ("given MACs", "partial_spearman_given_macs"),
    ("given params", "partial_spearman_given_params"),
    ("given both", "partial_spearman_given_both"),
    ("in MAC bands", "within_band_spearman"),
    ("in kinds", "within_kind_spearman"),
)
# Figures whose intervals are shown too, and what these go by; the document has those inside kinds as well.
_INTERVALS = {"spearman": ("low", "high"), "within_band_spearman": ("within_band_low", "within_band_high")}
_SETTINGS = (
    "data", "supernet", "calibrations", "calibration_epochs", "augment", "known", "work", "device", "threads", "seed",
)  # fmt: skip


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
    parser.add_argument(
        "--scorer",
        dest="scorers",
        action="append",
        type=choice("scorer", SCORERS),
        metavar="X",
        help=f"{listed(SCORERS)}; may be given several times",
    )
    parser.add_argument(
        "--data",
        type=text("data"),
        metavar="D",
        help="the images that scorers use (default: digits, or those of --supernet RUN for its weights)",
    )
    parser.add_argument(
        "--supernet",
        type=text("supernet"),
        metavar="RUN",
        help="whose supernet `supernet`, or whose blocks `blockwise` scores with",
    )
    parser.add_argument(
        "--rows", type=whole_within("rows", 2, 10**8, 1000), metavar="N", help="judge N networks drawn from the table"
    )
    parser.add_argument(
        "--calibrations",
        type=whole_within("calibrations", 2, 10**6, 12),
        metavar="N",
        help="short trainings of calibrated: as many as cost what N average networks do (default: 12)",
    )
    parser.add_argument(
        "--calibration-epochs",
        type=whole_within("calibration_epochs", 1, 10**6, 1),
        metavar="N",
        help="epochs of each such training (default: 1; a search takes a sixth of a full training or more)",
    )
    parser.add_argument(
        "--augment",
        type=choice("augment", AUGMENTS),
        metavar="A",
        help=f"how images vary in them: {listed(AUGMENTS)} (default: none, which suits few epochs; a search: auto)",
    )
    parser.add_argument(
        "--known",
        type=whole_within("known", 2, 10**6, 32),
        metavar="N",
        help="a row more: what accuracies of the table tell about the others, as many as cost N average full trainings",
    )
    parser.add_argument(
        "--work",
        type=text("work"),
        metavar="DIR",
        help="where values of proxies and short trainings are kept, to go on from",
    )
    parser.add_argument("--device", type=device, metavar="D", help="auto, cpu, cuda, cuda:0 or mps (default: auto)")
    parser.add_argument("--threads", type=whole("threads"), metavar="N", help="CPU threads of scorers (default: 1)")
    parser.add_argument("--seed", type=whole("seed"), metavar="N", help="of scorers and the bootstrap (default: 0)")


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    if "truth" not in given:
        raise OptionError("--truth is missing: give a CSV file with a column of accuracies.")
    scorers = given.get("scorers", ())
    if "space" not in given:
        check_spaceless(scorers=scorers, known=given.get("known"), score_columns=given.get("score_columns", ()))
    check_used(given, scorers)
    space = None
    if "space" in given:
        from nas.spaces import catalog

        catalog.find(given["space"])  # an unknown name answers before torch is imported
        from nas.networks.loading import load_space

        space = load_space(given["space"])
    from nas.benchmark.ranking import rank
    from nas.benchmark.scorers import Settings

    asked = {name: given[name] for name in _SETTINGS if name in given}
    if "work" in asked:
        asked["work"] = Path(asked["work"])
    if "data" in asked:
        asked["supernet_data"] = asked["data"]
    if scorers:
        console.again = (
            f"the same command; what is known is in {shlex.quote(str(asked['work']))}"
            if "work" in asked
            else "the same command, with --work DIR to keep what becomes known"
        )
    found = rank(
        given["truth"],
        space=space,
        truth_column=given.get("truth_column"),
        score_columns=given.get("score_columns", ()),
        arch_column=given.get("arch_column"),
        scorers=scorers,
        settings=Settings(**asked),
        rows=given.get("rows"),
        progress=console.progress,
    )
    console.document(found.to_dict())
    for line in ranking_lines(found):
        console.say(line)


def ranking_lines(found: Ranking) -> list[str]:
    """A ranking for people."""
    from nas.benchmark.rank_statistics import FEWEST

    rows: list[list[str]] = []
    for name, judgement in found.scorers.items():
        figures = judgement.to_dict()
        shown = [_figure(figures[key], *(figures[end] for end in _INTERVALS.get(key, ()))) for _, key in _COLUMNS]
        took = figures["seconds"]
        count = str(judgement.n) + (f" ({judgement.failed} failed)" if judgement.failed else "")
        spent = "-" if took is None else f"{took:.1f}"
        if judgement.known:
            spent += f" and {judgement.known} trainings (cost of {judgement.known_trainings:.1f} average ones)"
        rows.append([name, *shown, count, _regret(figures["top_k_regret"]), spent])
    lines = [f"{found.n:,} networks of {found.table}, truth {found.truth_column}", ""]
    lines += table(["", *(title for title, _ in _COLUMNS), "n", "regret of the best 1, 10", "CPU s"], rows)
    few = [name for name, judgement in found.scorers.items() if judgement.n < FEWEST]
    if few:
        lines += ["", f"{', '.join(few)}: judged on fewer than {FEWEST} networks, too few to say anything."]
    told = [name for name, judgement in found.scorers.items() if judgement.known]
    if told:
        lines += ["", f"{', '.join(told)}: judged on the networks whose accuracies were not told, other rows on all."]
    if not found.baselines_known:
        lines += ["", "Without --space the table's networks cannot be counted, so no baseline stands beside the score."]
    return lines


def _figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    shown = "-" if value is None else f"{value:+.3f}"
    return shown if low is None else f"{shown} [{low:+.3f}, {high:+.3f}]"


def _regret(found: dict[str, Any]) -> str:
    return ", ".join(f"{found[k]:.3g}" for k in ("1", "10") if k in found) or "-"
