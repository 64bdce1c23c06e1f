"""A run folder with made-up but plausible events, stopped at any stage, for tests of the report."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from nas.architecture import Architecture, BlockConfig, BranchConfig, InputConfig, LayerConfig, StageConfig
from nas.budget import Cost
from nas.run import Run
from nas.run.events import (
    FinalistEpoch,
    FinalistTrained,
    PhaseFinished,
    PhaseStarted,
    RankingEvaluated,
    RunFinished,
    SupernetEpoch,
    TrialScored,
    WinnerExported,
)
from nas.trial import Trial

STAGES = ("created", "supernet", "search", "finalists", "export", "finished")
LAYOUTS = ("CCCC", "CCCA", "CCAA", "CAAA", "AAAA")


def architecture(layout: str, depths: list[int], widths: list[int], resolution: int = 32) -> Architecture:
    stages = []
    for place, (letter, depth, width) in enumerate(zip(layout, depths, widths, strict=True)):
        stride = 2 if place else 1
        rest = _mixer(letter, width=width)
        first = BranchConfig(
            mixer=_mixer(letter, width=width, stride=stride),
            shortcut=BlockConfig(op="pool_project", params=(("stride", stride), ("width", width))),
        )
        layers = [LayerConfig(branches=(first,)), *[LayerConfig(branches=(BranchConfig(mixer=rest),))] * (depth - 1)]
        stages.append(StageConfig(layers=tuple(layers)))
    return Architecture(
        input=InputConfig(channels=1, resolution=resolution),
        stem=BlockConfig(op="conv_stem", params=(("width", 8),)),
        stages=tuple(stages),
        head=BlockConfig(op="classifier", params=(("num_classes", 10),)),
    )


def _mixer(letter: str, **params: int) -> BlockConfig:
    if letter == "A":
        return BlockConfig(op="attention", params=tuple({"head_dim": 16, **params}.items()))
    return BlockConfig(op="mbconv", params=tuple(params.items()))


def make_trial(number: int, rng: random.Random, layouts: tuple[str, ...] = LAYOUTS) -> Trial:
    """A trial between 5.5 and 8 MMACs whose score grows with cost and likes two stages of attention."""
    layout = rng.choice(layouts)
    depths = [rng.randint(1, 4) for _ in layout]
    widths = sorted(rng.choice([16, 32, 48, 64, 96, 128]) for _ in layout)
    macs = round(8e6 * (1 - 0.3 * rng.random() ** 2))
    taste = 0.03 - 0.015 * abs(layout.count("A") - 2)
    score = 0.78 + 0.1 * (macs / 8e6 - 0.7) / 0.3 + taste + rng.gauss(0, 0.015)
    return Trial(
        number=number,
        architecture=architecture(layout, depths, widths),
        cost=Cost(macs=macs, params=macs // 37),
        status="complete",
        score=min(0.999, score),
        seed=number,
        seconds=0.4 + rng.random(),
        layout=layout,
        origin="random" if number < 40 else rng.choice(["mutation", "crossover"]),
        batch=number // 20,
    )


def make_run(
    path: Path,
    *,
    until: str = "finished",
    trials: int = 120,
    failures: int = 3,
    epochs: int = 30,
    finalists: int = 6,
    layouts: tuple[str, ...] = LAYOUTS,
    options: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    method: dict[str, Any] | None = None,
    verdict: str = "too few to judge",
    error: str = "RuntimeError: out of memory on cpu",
) -> Path:
    """Writes a run that was stopped in the middle of phase `until`, or ended."""
    assert until in STAGES
    reached = STAGES.index(until)
    rng = random.Random(0)
    asked = {
        "space": "coatnet-small", "budgets": ["8MFLOPs"], "data": "digits", "seed": 7, "method": "supernet",
        "searcher": None, "metric": "accuracy", "objective": "macs", "min_share": 0.75, "trials": None,
        "finalists": None, "resolution": None, "train_resolution": None, "onnx": None,
        **(options or {}),
    }  # fmt: skip
    planned = {
        "trials": trials,
        "finalists": finalists,
        "resolution": 32,
        "train_resolution": 28,
        "method": {"epochs": epochs},
    }
    manifest = {
        "options": asked,
        "plan": {**planned, **(plan or {})},
        "versions": {"torch": "2.13.0+cpu", "hybrid-nas": "0.1.0"},
        "space_digest": "0123456789abcdef",
        "budgets": asked["budgets"],
        "method": method or {},
    }
    with Run.create(path, manifest) as run:
        if reached >= 1:
            _supernet(run, epochs if reached > 1 else epochs // 3, reached > 1)
        done: list[Trial] = []
        if reached >= 2:
            made = trials if reached > 2 else trials // 3
            done = _search(run, made, min(failures, made), layouts, error, rng, reached > 2)
        best = sorted((t for t in done if t.complete), key=lambda t: -(t.score or 0))[:finalists]
        if reached >= 3:
            _finalists(run, best, planned_epochs=20, stop=reached == 3)
        if reached >= 4:
            run.append(RankingEvaluated(**_ranking(len(best), verdict)))
            _export(run, best, stop=reached == 4)
        if reached == 5:
            run.append(RunFinished(seconds=1234.5))
    return path


def _supernet(run: Run, epochs: int, finished: bool) -> None:
    run.append(PhaseStarted(phase="supernet"))
    for epoch in range(1, epochs + 1):
        grown = 1 - math.exp(-epoch / 6)
        accuracies = {"largest": 0.1 + 0.84 * grown, "smallest": 0.1 + 0.71 * grown**1.3}
        accuracies |= {"random 1": 0.1 + 0.78 * grown**1.1, "random 2": 0.1 + 0.75 * grown**1.2}
        run.append(SupernetEpoch(
            epoch=epoch, step=epoch * 18, images=epoch * 1150, seconds=epoch * 9.0,
            loss=2.3 * math.exp(-epoch / 8), accuracies=accuracies,
        ))  # fmt: skip
    if finished:
        run.append(PhaseFinished(phase="supernet", seconds=epochs * 9.0))


def _search(
    run: Run,
    trials: int,
    failures: int,
    layouts: tuple[str, ...],
    error: str,
    rng: random.Random,
    finished: bool,
) -> list[Trial]:
    run.append(PhaseStarted(phase="search"))
    done: list[Trial] = []
    for number in range(trials):
        trial = make_trial(number, rng, layouts)
        if number < failures:
            data = {**trial.to_dict(), "status": "failed", "score": None, "error": error}
            trial = Trial.from_dict(data)
        run.append(TrialScored(trial=trial.to_dict()))
        done.append(trial)
    if finished:
        run.append(PhaseFinished(phase="search", seconds=trials * 0.9))
    return done


def _finalists(run: Run, best: list[Trial], *, planned_epochs: int, stop: bool) -> None:
    run.append(PhaseStarted(phase="finalists"))
    for place, trial in enumerate(best):
        halfway = stop and place == len(best) // 2
        for epoch in range(1, (planned_epochs // 2 if halfway else planned_epochs) + 1):
            run.append(FinalistEpoch(
                digest=trial.architecture.digest, epoch=epoch, epochs=planned_epochs,
                loss=1 / epoch, validation_accuracy=0.97 - 0.3 / epoch - 0.002 * place,
            ))  # fmt: skip
        if halfway:
            return
        run.append(FinalistTrained(
            digest=trial.architecture.digest, number=trial.number, score=trial.score,
            validation_accuracy=0.97 - 0.3 / planned_epochs - 0.002 * place,
            test_accuracy=0.951 - 0.002 * place, macs=trial.cost.macs, params=trial.cost.params,
            epochs=planned_epochs, seconds=61.0, resolution=28,
            architecture=trial.architecture.to_dict(),
        ))  # fmt: skip
    run.append(PhaseFinished(phase="finalists", seconds=61.0 * len(best)))


def _ranking(n: int, verdict: str) -> dict[str, Any]:
    if not n:
        return {"n": 0, "verdict": verdict, "score": None, "params": None, "macs": None}
    return {
        "n": n,
        "verdict": verdict,
        "score": {"spearman": 0.71, "kendall": 0.6, "low": -0.1, "high": 1.0},
        "params": {"spearman": 0.37, "kendall": 0.2, "low": -0.6, "high": 0.9},
        "macs": {"spearman": 0.37, "kendall": 0.2, "low": -0.6, "high": 0.9},
    }


def _export(run: Run, best: list[Trial], *, stop: bool) -> None:
    run.append(PhaseStarted(phase="export"))
    for rank, trial in enumerate(best[:3], start=1):
        if stop and rank == 2:
            return
        folder = run.path / "winners" / str(rank)
        folder.mkdir(parents=True)
        run.append(WinnerExported(
            rank=rank, path=f"winners/{rank}", digest=trial.architecture.digest, checks={"weights": 0.0},
            macs=trial.cost.macs, params=trial.cost.params, score=trial.score or 0.0,
            test_accuracy=0.951 - 0.002 * (rank - 1),
        ))  # fmt: skip
    run.append(PhaseFinished(phase="export", seconds=4.2))
