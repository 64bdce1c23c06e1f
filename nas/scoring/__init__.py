"""Scorers: architecture to a number, higher is better."""

from nas.scoring.supernet import SupernetScorer

__all__ = ["SupernetScorer"]
