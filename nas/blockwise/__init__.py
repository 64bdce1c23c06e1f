"""Block-wise search: weights per block, what teaches them, their training, and the scores of paths."""

from nas.blockwise.bootstrapping import Bootstrapping, Heads, bootstrapping_recipe
from nas.blockwise.distilling import Distillation, Projections, Teacher, block_ends
from nas.blockwise.members import MemberScorer
from nas.blockwise.network import BlockNet, BlockSupernet, entry_shapes
from nas.blockwise.scoring import CellScorer, standardised
from nas.blockwise.target import Target
from nas.blockwise.training import FixedEntry, SequentialTraining, SideBySideTraining

__all__ = [
    "BlockNet",
    "BlockSupernet",
    "Bootstrapping",
    "CellScorer",
    "Distillation",
    "FixedEntry",
    "Heads",
    "MemberScorer",
    "Projections",
    "SequentialTraining",
    "SideBySideTraining",
    "Target",
    "Teacher",
    "block_ends",
    "bootstrapping_recipe",
    "entry_shapes",
    "standardised",
]
