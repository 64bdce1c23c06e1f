"""Scores that need no training: functions of a network at its initial weights and a few images."""
