"""The trained weights of a run, made ready to score with outside of its search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.budget import Budget
from nas.data import open_data
from nas.errors import OptionError, RunError
from nas.methods.blockwise.cell_scorer import CellScorer
from nas.methods.blockwise.member_scorer import MemberScorer
from nas.methods.blockwise.phase import (
    block_target,
    blocks_data,
    blocks_recipe,
    budget_blocks,
    build_block_supernet,
    cell_scorer,
    recorded,
)
from nas.methods.blockwise.teacher import planned_teacher
from nas.methods.protocol.manifest import check_data, resolved_data
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.packing import SupernetScoring
from nas.methods.supernet.phase import FOLDER, build_supernet
from nas.methods.supernet.reuse import borrow, check_borrowed_data, open_trained
from nas.methods.supernet.scorer import scored_metric
from nas.options import BLOCKWISE, DISTILLING, SEQUENTIAL, SearchOptions
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import SearchSpace
from nas.training.checkpoint import load_checkpoint, newest


def scoring_of(
    path: str | Path, space: SearchSpace, data: str | None = None, *, scorer: str = "supernet"
) -> SupernetScoring:
    """Scoring by the supernet of a run, as a search does it by that scorer.

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
        metric=scored_metric(scorer, options.metric),
        recalibration_images=plan.recalibration_images,
        validation_images=plan.validation_images,
    )


def member_scorer_of(path: str | Path, space: SearchSpace, data: str | None = None) -> MemberScorer:
    """Scoring by the blocks of a run, as its search scored them, with its own images.

    Args:
        space: The space as it was loaded; the run's has to be the same.
        data: The run's own, or None for that: most scores are on its record, and are of no other images.

    Raises:
        NasError: If it did not train and score all cells of its blocks side by side, or on other data.
    """
    run, trained = open_trained(path, space)
    remedy = f"Give a run by --strategy {BLOCKWISE[0]}."
    if trained.strategy not in BLOCKWISE:
        raise RunError(f"--supernet {path}: it was trained by --strategy {trained.strategy}, no blocks. {remedy}")
    if trained.strategy == SEQUENTIAL:
        raise RunError(f"--supernet {path}: --strategy {trained.strategy} scored only the paths on its way. {remedy}")
    plan = Plan.from_dict(run.manifest.get("plan", {}), run.path)
    options = SearchOptions.from_dict(run.manifest["options"])
    if data is not None and resolved_data(data) != resolved_data(options.data):
        raise OptionError(
            f"--data {data}: the blocks of {path} were scored on {options.data}, and their scores are of those images "
            "alone. Leave out --data, or judge other scorers by themselves."
        )
    described = run.manifest.get("data", {})
    space = replace(space, presets=()).adapted(
        resolution=trained.resolution, channels=described.get("channels"), num_classes=described.get("num_classes")
    )
    sampler = BudgetSampler(space, [Budget.parse(text) for text in trained.budgets], min_share=options.aim)
    blocks = budget_blocks(sampler, seed=trained.seed)
    distances, file = recorded(run, blocks), newest(run.path / FOLDER)
    if file is None or len(distances) < len(blocks.cells):
        raise RunError(
            f"--supernet {path}: its blocks are not all trained and scored. Finish it by nas-search --resume {path}."
        )

    def open_cells() -> CellScorer:
        source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
        check_data(run, source.info, options.data)
        teacher = planned_teacher(plan, space, blocks, run.path) if plan.strategy == DISTILLING else None
        supernet = build_block_supernet(sampler, blocks, plan, teacher, seed=trained.seed).to(plan.device)
        load_checkpoint(file, supernet)
        images = blocks_data(source.load(resolution=trained.train_resolution, seed=trained.seed), plan)
        recipe = blocks_recipe(plan, seed=trained.seed)
        target = block_target(images, plan, teacher)
        return cell_scorer(supernet, target, images, recipe, plan, seed=trained.seed)

    return MemberScorer(blocks, distances, open_cells)
