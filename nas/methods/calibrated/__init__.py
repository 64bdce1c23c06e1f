"""Calibrated scores: a Gaussian process on cheap features of networks, fitted to a few short trainings."""
