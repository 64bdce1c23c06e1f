"""Scorers: architecture to a number, higher is better; and a scorer as plain data for other processes."""

from nas.scoring.counted import CountedScoring
from nas.scoring.setup import ScoringSetup, SupernetScoring, shared_supernet
from nas.scoring.supernet import SupernetScorer
from nas.scoring.threads import threads_set
from nas.scoring.untrained import CalibratedScoring, ZeroCostScoring, make_scorer

__all__ = [
    "CalibratedScoring",
    "CountedScoring",
    "ScoringSetup",
    "SupernetScorer",
    "SupernetScoring",
    "ZeroCostScoring",
    "make_scorer",
    "shared_supernet",
    "threads_set",
]
