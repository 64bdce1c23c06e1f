"""Block-wise search by ensemble bootstrapping: weights per block, their training, and the scores of paths."""

from nas.blockwise.members import MemberScorer
from nas.blockwise.network import BlockNet, BlockSupernet, Heads, entry_shapes
from nas.blockwise.scoring import CellScorer, standardised
from nas.blockwise.training import FixedEntry, SequentialTraining, SideBySideTraining, bootstrapping_recipe

__all__ = [
    "BlockNet",
    "BlockSupernet",
    "CellScorer",
    "FixedEntry",
    "Heads",
    "MemberScorer",
    "SequentialTraining",
    "SideBySideTraining",
    "bootstrapping_recipe",
    "entry_shapes",
    "standardised",
]
