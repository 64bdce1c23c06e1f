"""`nas rank`: predictors judged on a truth table."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.benchmark.codecs import decode
from nas.benchmark.metrics import Judgement, judge
from nas.benchmark.options import check_spaceless
from nas.benchmark.oracle_gp import predict_from_known
from nas.benchmark.scorers import Scores, make_methods, score_all
from nas.benchmark.tables import TruthTable, read_table
from nas.benchmark.whole import WHOLE_NAMES, read_whole
from nas.errors import OptionError
from nas.methods.counted import COUNTS
from nas.methods.features import kinds
from nas.methods.protocol.ranking import RankingSettings
from nas.methods.protocol.search_method import SearchMethod
from nas.progress import Progress, Silent
from nas.spaces import SearchSpace

KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What predictors are worth on one table.

    Attributes:
        scorers: Name -> judgement, scores first, then the baselines.
        baselines_known: Whether the table's networks were read and counted.
        family_column: The column of families, if there is one.
    """

    table: str
    truth_column: str
    n: int
    scorers: dict[str, Judgement]
    baselines_known: bool
    family_column: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "truth_column": self.truth_column,
            "n": self.n,
            "baselines_known": self.baselines_known,
            "family_column": self.family_column,
            "scorers": {name: judgement.to_dict() for name, judgement in self.scorers.items()},
        }


def rank(
    truth: str | Path,
    *,
    space: SearchSpace | None = None,
    truth_column: str | None = None,
    score_columns: Sequence[str] = (),
    arch_column: str | None = None,
    family_column: str | None = None,
    methods: Sequence[str] = (),
    method_options: Mapping[str, Any] | None = None,
    settings: RankingSettings | None = None,
    rows: int | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Judges columns of a truth table and search methods, and beside them the baselines where networks are read.

    They are read where a space, a method or `arch_column` is given.

    Args:
        score_columns: Columns whose numbers are scores, higher better.
        space: What the table's architectures are members of; None where they are whole: zoo names, paths, JSON.
        family_column: Names of families; inside each is ranked too. None is `family`, if there is one.
        methods: Of `nas.options.METHODS`; some need a space.
        method_options: Options of methods, each for those that have it.
        settings: What the methods need; its seed is also the bootstrap's.
        rows: Judges so many networks of the table, sampled by the seed; None is all.

    Raises:
        NasError: If the table, a column or an architecture cannot be used.
    """
    progress = progress or Silent()
    judged_methods, settings = make_methods(methods, settings or RankingSettings(), method_options or {})
    table = read_table(truth)
    column = table.truth_column(truth_column)
    if space is None:
        check_spaceless(methods=methods, known=settings.known, score_columns=score_columns, arch_column=arch_column)
    reads = space is not None or bool(methods) or arch_column is not None
    family = table.family_column(family_column)
    kept, truths = _truths(table, column, rows, settings.seed, progress)
    columns = {name: table.numbers(name, "--score-column") for name in score_columns}
    found = {name: Scores(values=[values[i] for i in kept], seconds=None) for name, values in columns.items()}
    clashes = [] if not reads else sorted(set(found) & {*COUNTS, KNOWN, *methods})
    if clashes:
        raise OptionError(
            f"--score-column {clashes[0]}: that is the name of a baseline or method. Rename the column in the table."
        )
    counts: dict[str, list[float]] = {}
    parts: dict[str, list[str]] = {} if family is None else {"families": [table.columns[family][i] for i in kept]}
    if reads:
        architectures = _architectures(table, space, arch_column, kept)
        found |= _scored(judged_methods, architectures, space, settings, progress)
        if settings.known is not None:
            found[KNOWN] = _from_known(architectures, truths, settings.known)
        began = time.process_time()
        counts = {name: [float(of(each)) for each in architectures] for name, of in COUNTS.items()}
        parts["kinds"] = [kinds(each) for each in architectures]
        seconds = time.process_time() - began
        found |= {name: Scores(values=values, seconds=seconds) for name, values in counts.items()}
    return Ranking(
        table=str(table.path),
        truth_column=column,
        n=len(truths),
        scorers=_judged(found, truths, counts, parts, settings.seed, progress),
        baselines_known=bool(counts),
        family_column=family,
    )


def _truths(
    table: TruthTable, column: str, rows: int | None, seed: int, progress: Progress
) -> tuple[list[int], list[float]]:
    """The rows of a table that are judged, and their accuracies."""
    known = table.truths(column)
    kept = _sampled([i for i, value in enumerate(known) if not math.isnan(value)], rows, seed)
    if len(kept) < 2:
        raise OptionError(
            f"--truth-column {column}: only {len(kept)} rows of {table.path} have a value; two are needed."
        )
    unknown = sum(map(math.isnan, known))
    if unknown:
        progress.note(f"{unknown} of {len(known)} rows have no {column} and are left out")
    return kept, [known[i] for i in kept]


def _scored(
    methods: Sequence[SearchMethod[Any]],
    architectures: Sequence[Architecture],
    space: SearchSpace | None,
    settings: RankingSettings,
    progress: Progress,
) -> dict[str, Scores]:
    """The scores of every method; what each did is noted."""
    found: dict[str, Scores] = {}
    for method in methods:
        found[method.name] = score_all(method, architectures, space, settings, progress)
        for note in found[method.name].notes:
            progress.note(f"{method.name}: {note}")
    return found


def _from_known(architectures: Sequence[Architecture], truths: Sequence[float], count: int) -> Scores:
    """The row of predictions from known accuracies."""
    began = time.process_time()
    known = predict_from_known(architectures, truths, count)
    return Scores(
        values=known.predicted,
        seconds=time.process_time() - began,
        observed=known.rows,
        known_trainings=known.trainings,
    )


def _judged(
    found: Mapping[str, Scores],
    truths: Sequence[float],
    counts: Mapping[str, list[float]],
    parts: Mapping[str, Sequence[str]],
    seed: int,
    progress: Progress,
) -> dict[str, Judgement]:
    progress.start("judging", len(found), "predictors")
    judged: dict[str, Judgement] = {}
    for name, scores in found.items():
        # Nothing is judged on what it was fitted to.
        observed = set(scores.observed)
        asked = [i for i in range(len(truths)) if i not in observed]
        macs, params = ([counts[each][i] for i in asked] if counts else None for each in ("macs", "params"))
        judged[name] = judge(
            [scores.values[i] for i in asked],
            [truths[i] for i in asked],
            macs=macs,
            params=params,
            kinds=[parts["kinds"][i] for i in asked] if "kinds" in parts else None,
            families=[parts["families"][i] for i in asked] if "families" in parts else None,
            known=len(scores.observed),
            known_trainings=scores.known_trainings,
            seconds=scores.seconds,
            seed=seed,
        )
        progress.advance()
    progress.finish()
    return judged


def _sampled(rows: list[int], count: int | None, seed: int) -> list[int]:
    """Some rows, in the table's order; all of them where no more are asked for."""
    if count is None or count >= len(rows):
        return rows
    return sorted(random.Random(seed).sample(rows, count))


def _architectures(
    table: TruthTable, space: SearchSpace | None, arch_column: str | None, kept: list[int]
) -> list[Architecture]:
    if space is None:
        return read_whole(table, table.architecture_column(arch_column, WHOLE_NAMES), kept)
    texts = table.column(table.architecture_column(arch_column), "--arch-column")
    return decode(space, [texts[i] for i in kept], str(table.path), [table.lines[i] for i in kept])
