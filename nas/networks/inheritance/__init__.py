"""Weights of a trained network for smaller ones: what may be permuted, in which order, and where it goes."""
