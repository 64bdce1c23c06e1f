"""Scorers: architecture to a number, higher is better; and a scorer as plain data for other processes."""

from nas.scoring.setup import ScoringSetup, SupernetScoring, make_scorer, shared_supernet
from nas.scoring.supernet import SupernetScorer
from nas.scoring.threads import threads_set

__all__ = ["ScoringSetup", "SupernetScorer", "SupernetScoring", "make_scorer", "shared_supernet", "threads_set"]
