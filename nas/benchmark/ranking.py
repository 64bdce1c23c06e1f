"""`nas rank`: predictors judged on a truth table."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.benchmark.baselines import baselines
from nas.benchmark.codecs import decode
from nas.benchmark.judging import Judgement, judge
from nas.benchmark.tables import TruthTable, read_table
from nas.errors import OptionError
from nas.progress import Progress, Silent
from nas.space import SearchSpace


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
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Judges columns of a truth table, and with a space the baselines beside them.

    Args:
        score_columns: Columns whose numbers are scores, higher better.
        space: What the table's architectures are members of; its baselines are counted then.

    Raises:
        NasError: If the table, a column or an architecture cannot be used.
    """
    progress = progress or Silent()
    table = read_table(truth)
    column = table.truth_column(truth_column)
    if not score_columns and space is None:
        raise OptionError("Nothing to judge: name a column by --score-column, or give --space to judge the baselines.")
    known = table.numbers(column, "--truth-column")
    kept = [i for i, value in enumerate(known) if math.isfinite(value)]
    if len(kept) < 2:
        raise OptionError(
            f"--truth-column {column}: only {len(kept)} rows of {table.path} have a value; two are needed."
        )
    truths = [known[i] for i in kept]
    counts, seconds = _count(table, space, arch_column, kept) if space else ({}, None)
    columns = {name: table.numbers(name, "--score-column") for name in score_columns}
    predictors = {name: [values[i] for i in kept] for name, values in columns.items()}
    clashes = sorted(set(predictors) & set(counts))
    if clashes:
        raise OptionError(f"--score-column {clashes[0]}: that is a baseline's name. Rename the column in the table.")
    predictors |= counts
    progress.start("judging", len(predictors), "predictors")
    scorers: dict[str, Judgement] = {}
    for name, values in predictors.items():
        took = seconds if name in counts else None
        scorers[name] = judge(
            values, truths, macs=counts.get("macs"), params=counts.get("params"), seconds=took, seed=seed
        )
        progress.advance()
    progress.finish()
    return Ranking(
        table=str(table.path), truth_column=column, n=len(truths), scorers=scorers, baselines_known=bool(counts)
    )


def _count(
    table: TruthTable, space: SearchSpace, arch_column: str | None, kept: list[int]
) -> tuple[dict[str, list[float]], float]:
    column = table.architecture_column(arch_column)
    texts = table.column(column, "--arch-column")
    architectures = decode(space, texts, str(table.path))
    began = time.process_time()
    counted = baselines([architectures[i] for i in kept])
    return counted, time.process_time() - began
