"""Searchers: they propose architectures and learn from their trials."""
