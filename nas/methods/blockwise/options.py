"""The options of the method `blockwise`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from nas.errors import OptionError
from nas.options.declaration import check_values, option
from nas.options.kinds import Choice, Text, Whole
from nas.options.methods import MethodOptions
from nas.options.searchers import WHERE_FREE

if TYPE_CHECKING:
    from nas.options.search_options import SearchOptions

SIDE_BY_SIDE, SEQUENTIAL = "side-by-side", "sequential"
STANDARDIZED, BOSSNAS = "standardized", "bossnas"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockwiseOptions(MethodOptions):
    """The blocks' training and its target."""

    ranking_uses: ClassVar[frozenset[str]] = frozenset({"data", "supernet"})
    ranking_needs_space: ClassVar[bool] = True

    epochs: int | None = option(
        kind=Whole(1, 1_000_000, 30), help="training epochs of each block", default_help="planned"
    )
    strategy: str = option(
        SIDE_BY_SIDE,
        kind=Choice((SIDE_BY_SIDE, SEQUENTIAL)),
        help="train all blocks at once, or one after the other on the best path so far, as BossNAS does",
    )
    path_score: str = option(
        STANDARDIZED,
        kind=Choice((STANDARDIZED, BOSSNAS)),
        help="score of a path: how close its target projections are to the mean of all paths, standardized among those "
        "of the same input, or how well its online network predicts that mean from another view, as BossNAS has it",
    )
    teacher: str | None = option(
        kind=Text("DIR"),
        help="trained network, such as winners/1 of a run, whose feature maps blocks learn, as in DNA",
        default_help="none, blocks learn by BossNAS's ensemble bootstrapping",
    )

    def validate(self, search: SearchOptions) -> None:
        check_values(self)
        if search.searcher not in (None, WHERE_FREE):
            raise OptionError(
                f"--searcher {search.searcher}: with --method blockwise the best networks are found exactly, by "
                "dynamic programming. Leave out one of the two."
            )
        if search.asynchronous:
            raise OptionError(
                "--asynchronous: with --method blockwise the best networks are found by dynamic programming, without "
                "workers. Leave out one of the two."
            )
        if self.teacher is not None and self.strategy == SEQUENTIAL:
            raise OptionError(
                f"--teacher {self.teacher} --strategy {SEQUENTIAL}: with a teacher, all blocks are trained at "
                "once. Leave out one of the two."
            )

        if self.teacher is not None and self.path_score == BOSSNAS:
            raise OptionError(
                f"--teacher {self.teacher} --path-score {BOSSNAS}: with a teacher, paths are scored by how well they "
                "reproduce its maps. Leave out one of the two."
            )

    def absolute(self) -> BlockwiseOptions:
        if self.teacher is None:
            return self
        return replace(self, teacher=os.path.abspath(os.path.expanduser(self.teacher)))
