"""Scores by a few short trainings, and a Gaussian process on what is cheap to measure of all networks."""
