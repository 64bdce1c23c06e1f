"""Scores by blocks that are trained side by side or one after another, as BossNAS and DNA do."""
