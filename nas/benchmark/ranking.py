"""`nas rank`: predictors judged on a truth table."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.benchmark.codecs import decode
from nas.benchmark.metrics import Judgement, judge
from nas.benchmark.oracle_gp import expected_from_known
from nas.benchmark.scorers import Scores, Settings, check_scorers, score_all
from nas.benchmark.tables import TruthTable, read_table
from nas.errors import OptionError
from nas.methods.counted import COUNTS
from nas.methods.features import kinds
from nas.options import check_spaceless
from nas.progress import Progress, Silent
from nas.spaces import SearchSpace

KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What predictors are worth on one table.

    Attributes:
        scorers: Name -> judgement, scores first, then the baselines.
        baselines_known: Whether the table's networks could be counted; without a space they cannot.
    """

    table: str
    truth_column: str
    n: int
    scorers: dict[str, Judgement]
    baselines_known: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "truth_column": self.truth_column,
            "n": self.n,
            "baselines_known": self.baselines_known,
            "scorers": {name: judgement.to_dict() for name, judgement in self.scorers.items()},
        }


def rank(
    truth: str | Path,
    *,
    space: SearchSpace | None = None,
    truth_column: str | None = None,
    score_columns: Sequence[str] = (),
    arch_column: str | None = None,
    scorers: Sequence[str] = (),
    settings: Settings | None = None,
    rows: int | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Judges columns of a truth table and scorers, and with a space the baselines beside them.

    Args:
        score_columns: Columns whose numbers are scores, higher better.
        space: What the table's architectures are members of; its baselines are counted then.
        scorers: Of `nas.options.SCORERS`; they need a space.
        settings: What the scorers need; its seed is also the bootstrap's.
        rows: Judges so many networks of the table, drawn by the seed; None is all.

    Raises:
        NasError: If the table, a column or an architecture cannot be used.
    """
    progress, settings = progress or Silent(), settings or Settings()
    check_scorers(scorers, settings)
    table = read_table(truth)
    column = table.truth_column(truth_column)
    if space is None:
        check_spaceless(scorers=scorers, known=settings.known, score_columns=score_columns)
    known = table.truths(column)
    kept = _draw([i for i, value in enumerate(known) if not math.isnan(value)], rows, settings.seed)
    if len(kept) < 2:
        raise OptionError(
            f"--truth-column {column}: only {len(kept)} rows of {table.path} have a value; two are needed."
        )
    truths = [known[i] for i in kept]
    unknown = sum(map(math.isnan, known))
    if unknown:
        progress.note(f"{unknown} of {len(known)} rows have no {column} and are left out")
    columns = {name: table.numbers(name, "--score-column") for name in score_columns}
    found = {name: Scores(values=[values[i] for i in kept], seconds=None) for name, values in columns.items()}
    clashes = [] if space is None else sorted(set(found) & {*COUNTS, KNOWN, *scorers})
    if clashes:
        raise OptionError(
            f"--score-column {clashes[0]}: that is the name of a baseline or scorer. Rename the column in the table."
        )
    counts: dict[str, list[float]] = {}
    groups: list[str] | None = None
    if space is not None:
        architectures = _architectures(table, space, arch_column, kept)
        for name in dict.fromkeys(scorers):
            found[name] = score_all(name, architectures, space, settings, progress)
            for note in found[name].notes:
                progress.note(f"{name}: {note}")
        if settings.known is not None:
            began = time.process_time()
            told_of = expected_from_known(architectures, truths, settings.known)
            found[KNOWN] = Scores(
                values=told_of.expected,
                seconds=time.process_time() - began,
                looked_at=told_of.rows,
                known_trainings=told_of.trainings,
            )
        began = time.process_time()
        counts = {name: [float(of(each)) for each in architectures] for name, of in COUNTS.items()}
        groups = [kinds(each) for each in architectures]
        seconds = time.process_time() - began
        found |= {name: Scores(values=values, seconds=seconds) for name, values in counts.items()}
    progress.start("judging", len(found), "predictors")
    judged: dict[str, Judgement] = {}
    for name, scores in found.items():
        # Nothing is judged on what it was told.
        told = set(scores.looked_at)
        asked = [i for i in range(len(truths)) if i not in told]
        macs, params = ([counts[each][i] for i in asked] if counts else None for each in ("macs", "params"))
        judged[name] = judge(
            [scores.values[i] for i in asked],
            [truths[i] for i in asked],
            macs=macs,
            params=params,
            kinds=None if groups is None else [groups[i] for i in asked],
            known=len(scores.looked_at),
            known_trainings=scores.known_trainings,
            seconds=scores.seconds,
            seed=settings.seed,
        )
        progress.advance()
    progress.finish()
    return Ranking(
        table=str(table.path), truth_column=column, n=len(truths), scorers=judged, baselines_known=bool(counts)
    )


def _draw(rows: list[int], count: int | None, seed: int) -> list[int]:
    """Some rows, in the table's order; all of them where no more are asked for."""
    if count is None or count >= len(rows):
        return rows
    return sorted(random.Random(seed).sample(rows, count))


def _architectures(
    table: TruthTable, space: SearchSpace, arch_column: str | None, kept: list[int]
) -> list[Architecture]:
    texts = table.column(table.architecture_column(arch_column), "--arch-column")
    decoded = decode(space, texts, str(table.path))
    return [decoded[i] for i in kept]
