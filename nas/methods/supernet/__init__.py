"""Scores from shared weights: a supernet trained for the budget, or reused from another run."""
