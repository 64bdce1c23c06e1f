"""Rankings held against known accuracies: truth tables, what a score and the baselines are worth beside them."""

from nas.benchmark.metrics import Judgement, judge
from nas.benchmark.tables import TruthTable, read_table

__all__ = ["Judgement", "TruthTable", "judge", "read_table"]
