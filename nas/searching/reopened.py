"""The trained supernet of a finished run, made ready to score with outside of a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.data import open_data
from nas.options import SearchOptions
from nas.scoring import SupernetScoring
from nas.searching.plan import Plan
from nas.searching.supernet_phase import build_supernet
from nas.searching.trained import borrow, check_borrowed_data
from nas.space import SearchSpace
from nas.training.checkpoint import load_checkpoint


def scoring_of(path: str | Path, space: SearchSpace, data: str | None = None) -> SupernetScoring:
    """Scoring by the supernet of a run, as its search phase does it.

    Args:
        space: The space as it was loaded; the run's has to be the same.
        data: Other images with the same classes, divided as the run's were; None is the run's own.

    Raises:
        NasError: If there is no trained supernet, or its data are gone.
    """
    run, borrowed = borrow(path, space)
    plan, trained = Plan.from_dict(run.manifest.get("plan", {}), run.path), borrowed.trained
    options = SearchOptions.from_dict(run.manifest["options"])
    source = open_data(data or options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
    check_borrowed_data(run, source.info, data or options.data)
    space = replace(space, presets=()).adapted(
        resolution=trained.resolution, channels=source.info.channels, num_classes=source.info.num_classes
    )
    supernet = build_supernet(trained.sampler(space), plan, seed=trained.seed).to(plan.device)
    load_checkpoint(Path(borrowed.file), supernet)
    return SupernetScoring(
        supernet=supernet,
        data=source.load(resolution=trained.train_resolution, seed=trained.seed),
        recipe=plan.recipe(epochs=1, seed=trained.seed),
        metric=options.metric,
        recalibration_images=plan.recalibration_images,
        validation_images=plan.validation_images,
    )
