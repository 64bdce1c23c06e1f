"""Trials made by hand."""

from __future__ import annotations

import nas
from nas.architecture import Architecture
from nas.budget import Cost
from nas.trial import Trial

ANY = nas.load_architecture("coatnet_0")


def trial(number: int, score: float | None, macs: int, architecture: Architecture = ANY) -> Trial:
    return Trial(
        number=number,
        architecture=architecture,
        cost=Cost(macs=macs, params=10 * macs),
        status="failed" if score is None else "complete",
        score=score,
        seed=0,
        seconds=0.0,
        error="no" if score is None else None,
    )
