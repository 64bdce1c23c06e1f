"""Is a process ever below counting, on made-up accuracies of known kinds? See README.md.

OMP_NUM_THREADS=1 python experiments/choosing-trainings/kinds.py
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from made_up import BASELINES, KINDS, SPACES, SPREADS, logits, members, observed, pays

from nas.architecture import Architecture
from nas.benchmark.rank_statistics import spearman
from nas.methods.calibrated.features import FeatureGroups, FeatureScaler, logit
from nas.methods.calibrated.gaussian_process import AveragedGP
from nas.methods.calibrated.kernels import NOISE, prior
from nas.methods.counted import COUNTS
from nas.run import atomic_write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "choosing-trainings"
TRAININGS, IMAGES, SEED, ALLOWED = 7, (1000, 10_000), 4, 0.02
Way = Callable[[FeatureScaler, list[int], np.ndarray, int], tuple[list[int], np.ndarray]]


def by_cost(scaler: FeatureScaler) -> list[int]:
    """As they were chosen before: by variance for the cost itself, of a prior that believes in no count."""
    covariance: Any = prior(scaler.widths)(scaler.reference)  # type: ignore[operator]
    costs, left, chosen = scaler.costs / scaler.costs.mean(), TRAININGS + 1e-9, list[int]()
    while len(fits := [row for row in np.flatnonzero(costs <= left) if row not in chosen]):
        gains = (covariance[:, fits] ** 2).sum(0) / (covariance.diagonal()[fits] + NOISE) / costs[fits]
        row = int(fits[gains.argmax()])
        factor = covariance[:, row] / math.sqrt(covariance[row, row] + NOISE)
        covariance = covariance - np.outer(factor, factor)
        chosen.append(row)
        left -= costs[row]
    return chosen


def alone(scaler: FeatureScaler, rows: list[int], accuracies: np.ndarray, images: int) -> tuple[list[int], np.ndarray]:
    """The process that knows neither counts nor noise."""
    told = AveragedGP(scaler.reference[rows], [logit(each) for each in accuracies[rows]], scaler.widths)
    return rows, told.at(scaler.reference)[0]


def counting(
    scaler: FeatureScaler, rows: list[int], accuracies: np.ndarray, images: int
) -> tuple[list[int], np.ndarray]:
    """As it is: size pays until the observations say otherwise."""
    return rows, scaler.fit(rows, accuracies[rows], images).at(scaler.reference, scaler.counts)[0]


def bounded(most: float) -> Way:
    """The same, which stops before it costs more than so many trainings of the network that seems best."""

    def way(
        scaler: FeatureScaler, rows: list[int], accuracies: np.ndarray, images: int
    ) -> tuple[list[int], np.ndarray]:
        for seen in range(3, len(rows) + 1):
            known, predicted = counting(scaler, rows[:seen], accuracies, images)
            if scaler.costs[rows[: seen + 1]].sum() > most * scaler.costs[predicted.argmax()]:
                break
        return known, predicted

    return way


def sampled(
    networks: list[Architecture], scaler: FeatureScaler, per: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """Yields kind, number of images, true logits and observed accuracies; `per` functions of each kind and spread.

    Kinds whose property is the same for all networks are left out.
    """
    for kind in KINDS:
        by = {"convolution pays": "convolutions", "depth pays": "depth", "depth pays to a point": "depth"}.get(kind)
        if by and len({COUNTS[by](each) for each in networks}) < 2:
            continue
        for spread in SPREADS:
            for _ in range(per):
                images = int(rng.choice(IMAGES))
                truth = logits(pays(networks, scaler, kind, rng), scaler, spread, rng)
                yield kind, images, truth, observed(truth, spread, images, rng)


def judged(
    networks: list[Architecture], scaler: FeatureScaler, told: tuple[list[int], np.ndarray], truth: np.ndarray
) -> dict[str, float]:
    """Correlations on the rest, of the scores and of the best baseline in hindsight, and what was paid."""
    rows, scores = told
    rest = np.setdiff1d(np.arange(len(truth)), rows)
    counts = [np.array([COUNTS[by](each) for each in networks], dtype=float)[rest] for by in BASELINES]
    known = [spearman(each, truth[rest]) for each in counts if each.std()]
    return {
        "rho": spearman(scores[rest], truth[rest]),
        "counted": max(known),
        "winner_trainings": float(scaler.costs[rows].sum() / scaler.costs[scores.argmax()]),
        "regret": float((truth.max() - truth[scores.argmax()]) / truth.std()),
    }


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """Means over functions, and how far below the best baseline."""
    below = np.array([each["counted"] - each["rho"] for each in found])
    means = {key: round(float(np.mean([each[key] for each in found])), 3) for key in found[0]}
    ends = {f"below_q{q}": round(float(np.quantile(below, q / 100)), 3) for q in (50, 90, 97)}
    return {"functions": len(found), **means, "below_share": round(float((below > ALLOWED).mean()), 3), **ends}


def summarized(found: Mapping[tuple[str, str, str], list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Rows of `summary` by way: of all functions, of each set of networks, and of each kind; prints the first of each.

    Args:
        found: What was judged, by way, set of networks and kind.
    """
    ways, spaces, kinds = ([*dict.fromkeys(each[place] for each in found)] for place in range(3))
    kinds.sort(key=KINDS.index)
    rows: list[dict[str, Any]] = []
    for way in ways:
        for space, kind in [("all", "all"), *[(name, "all") for name in spaces], *[("all", kind) for kind in kinds]]:
            some = [
                each
                for (its, place, what), functions in found.items()
                if its == way and space in ("all", place) and kind in ("all", what)
                for each in functions
            ]
            rows.append({"way": way, "space": space, "kind": kind, **summary(some)})
        print(next(row for row in rows if row["way"] == way), flush=True)
    return rows


def main() -> None:
    per = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    before, after = "before", "size pays until the observations say otherwise"
    ways: dict[str, tuple[bool, Way]] = {
        before: (True, alone), "the process alone, chosen by the root of cost": (False, alone),
        after: (False, counting),
        "at most 3 of the winner": (False, bounded(3)),
    }  # fmt: skip
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for name in SPACES:
        networks, rng = members(name), np.random.default_rng(SEED)
        scaler = FeatureScaler(FeatureGroups.of(networks, None))
        orders = {True: by_cost(scaler), False: scaler.select(TRAININGS)}
        for kind, images, truth, accuracies in sampled(networks, scaler, per, rng):
            for way, (old, fit) in ways.items():
                told = fit(scaler, orders[old], accuracies, images)
                found.setdefault((way, name, kind), []).append(judged(networks, scaler, told, truth))
        print(name, flush=True)
    rows = summarized(found)
    write_rows(RESULTS / "kinds.csv", rows)
    told = provenance("python experiments/choosing-trainings/kinds.py")
    atomic_write(RESULTS / "kinds.json", json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
