"""Scoring of arbitrary members of a space with the blocks of a search, by the same sums as in the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nas.architecture import Architecture
from nas.errors import OptionError, RunError, SpaceError
from nas.methods.blockwise.blocks import Blocks, Cell, Path
from nas.methods.blockwise.cell_scorer import CellScorer, path_scores
from nas.methods.blockwise.options import STANDARDIZED

_APART = 0.05
"""Tolerance between remeasured and recorded distances, since machines round differently."""
_TOGETHER = 256
"""The most additional paths measured at once with those of the cell; each takes about a megabyte."""


class MemberScorer:
    """Scores a network by the sum of the scores of its paths over all blocks.

    If a cell has more paths than were sampled, a network's path may not be among those that the search scored. It is
    then measured relative to the sampled paths' center and, if scores are standardized, by their mean and deviation, so
    that no score depends on which other networks are scored.

    Args:
        recorded: Per cell, the distances of its paths.
        open_cells: Returns the scorer of unrecorded paths; called when the first is needed.
        path_score: How distances are converted to scores, as in the search.
    """

    def __init__(
        self,
        blocks: Blocks,
        recorded: Mapping[Cell, Sequence[float]],
        open_cells: Callable[[], CellScorer],
        *,
        path_score: str = STANDARDIZED,
    ) -> None:
        self.blocks, self._recorded, self._open, self._kind = blocks, recorded, open_cells, path_score
        self._cells: CellScorer | None = None
        self._scores: dict[tuple[Cell, Path], float] = {}
        for cell, distances in recorded.items():
            paths = blocks.cells[cell]
            self._scores |= {(cell, path): s for path, s in zip(paths, self._scored(distances), strict=True)}

    def prepare(self, architectures: Sequence[Architecture]) -> int:
        """Measures the paths that are not on record, grouped by cell; returns their number.

        Raises:
            OptionError: If a network's input differs from that of the search's networks.
            RunError: If remeasured distances differ from those on record.
        """
        missing: dict[Cell, dict[Path, None]] = {}
        for architecture in architectures:
            try:
                route = self._route(architecture)
            except SpaceError:
                continue  # `score` raises the error
            for cell, path in route:
                if (cell, path) not in self._scores and self._cell_scorer().lacks(cell, path) is None:
                    missing.setdefault(cell, {})[path] = None
        for cell, paths in missing.items():
            waiting = [*paths]
            while waiting:
                now, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
                self._measure(cell, now)
        return sum(map(len, missing.values()))

    def known_score(self, architecture: Architecture) -> float | None:
        """Returns the sum; None if a path is not on record, or the search's budget excluded a choice."""
        try:
            route = self._route(architecture)
        except SpaceError:
            return None
        return self._sum(route) if all(step in self._scores for step in route) else None

    def score(self, architecture: Architecture) -> float:
        """Returns the sum; higher is better.

        Raises:
            SpaceError: If the search's budget excluded a choice of the network, or no sampled path has weights for it.
            OptionError, RunError: As for `prepare`.
        """
        route = self._route(architecture)
        for cell, path in route:
            if (cell, path) not in self._scores:
                lacking = self._cell_scorer().lacks(cell, path)
                if lacking is not None:
                    raise SpaceError(lacking)
        if any(step not in self._scores for step in route):
            self.prepare([architecture])
        return self._sum(route)

    def _sum(self, route: Sequence[tuple[Cell, Path]]) -> float:
        """The sum from the first block to the last, in the same order as in the search."""
        total = 0.0
        for step in route:
            total += self._scores[step]
        return total

    def _measure(self, cell: Cell, paths: Sequence[Path]) -> None:
        again, found = self._cell_scorer().beside(cell, paths)
        recorded = self._recorded[cell]
        if any(abs(a - b) > _APART * b for a, b in zip(again, recorded, strict=True)):
            raise RunError(
                f"The distances of {cell} are no longer those on record: weights, images or ops have changed. Start a "
                "new run."
            )
        scores = self._scored(recorded, found)
        self._scores |= {(cell, path): score for path, score in zip(paths, scores, strict=True)}

    def _scored(self, distances: Sequence[float], others: Sequence[float] | None = None) -> list[float]:
        return path_scores(self._kind, distances, others)

    def _route(self, architecture: Architecture) -> list[tuple[Cell, Path]]:
        space = self.blocks.space
        mine, theirs = architecture.input, space.input
        if mine != theirs:
            raise OptionError(
                f"The networks take images of {mine.channels} x {mine.resolution} x {mine.resolution}, and those of "
                f"the run {theirs.channels} x {theirs.resolution} x {theirs.resolution}: give a run at the resolution "
                "and with the input channels of the table's networks."
            )
        return self.blocks.route(space.encode(architecture))

    def _cell_scorer(self) -> CellScorer:
        if self._cells is None:
            self._cells = self._open()
        return self._cells
