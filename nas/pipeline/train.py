"""`nas train`: trains and exports one architecture, by the code that trains a search's finalists."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture
from nas.budget import Cost
from nas.costs import TABLE, cost
from nas.costs.image_sizes import network_misfit
from nas.data import DataInfo, Dataset, data_lines, open_data
from nas.data.dataset import describe_data, likeness
from nas.errors import RunError
from nas.export import CardFacts, export_winner
from nas.formats import count
from nas.methods.protocol.plan import Plan
from nas.networks.network import Network
from nas.options import SearchOptions
from nas.pipeline.disk import check_room, megabytes, most_training_bytes
from nas.pipeline.given_teacher import GivenTeacher, teacher_note
from nas.pipeline.given_weights import GivenWeights, origin_note
from nas.pipeline.plan import ENOUGH, make_plan
from nas.pipeline.training_curve import HISTORY, METRICS, PAGE, SCALARS, TrainingCurve
from nas.pipeline.training_inputs import INPUTS, TrainingInputs, as_planned, recipe_of
from nas.progress import Progress, Silent
from nas.run import atomic_write
from nas.run.files import check_writable, expanded, is_leftover, make_folder
from nas.run.lock import FolderLock
from nas.run.signals import stoppable
from nas.training import Recipe, evaluate, fresh_network, train_network
from nas.training.compiling import check_compiler
from nas.training.threads import alone_in_process

_OURS = ("checkpoints", "exports", HISTORY, METRICS, PAGE, SCALARS, INPUTS, "network", "training.json")


@alone_in_process()
def train(
    architecture: Architecture,
    *,
    out: str | Path,
    options: SearchOptions,
    weights: str | Path | None = None,
    teacher: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains one architecture on a data set, tests it once and exports it like a winner.

    Called again with the same folder and options, it resumes from its last checkpoint; Ctrl-C writes one. The inputs
    are stored in `inputs.json`, and resuming with other inputs is an error.

    Args:
        out: The folder; `network/` in it gets the config, code, weights, ONNX and card.
        options: Used are the data, epochs (as `finalist_epochs`), recipe, seed, sizes, machine and metric.
        weights: A .safetensors file with initial weights; tensors whose shapes differ, such as the head's for other
            classes, stay random.
        teacher: The folder of an exported network of the same classes, whose soft labels are learned from too.

    Returns:
        Plain JSON: the network, the data and the accuracies; `caution` says why these may be too high, or is None.

    Raises:
        RunError: If the folder holds a different training, or the weights were trained on images of the test splits.
        NasError: If data, weights or the network cannot be used.
    """
    progress = progress or Silent()
    folder = Path(expanded(out))
    _check_folder(folder)
    given = None if weights is None else GivenWeights(weights, network=str(options.space))
    preset = recipe_of(folder, options.recipe, progress.note)
    options = as_planned(folder, options)
    source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
    for line in data_lines(source.info):
        progress.note(line)
    architecture, plan = plan_training(architecture, source.info, options)
    torch.set_num_threads(plan.threads)
    if options.compile:
        check_compiler(plan.device)
    network = fresh_network(architecture.at_resolution(plan.train_resolution), seed=options.seed)
    started = None if given is None else given.start(network, architecture, source.info.class_names, progress)
    teaching = None if teacher is None else GivenTeacher(teacher, source.info, resolution=plan.train_resolution)
    data = source.load(resolution=plan.train_resolution, seed=options.seed, progress=progress)
    data = data if given is None else given.normalized(data, progress)
    doubts = [each.caution(data, options.seed) for each in (given, teaching) if each is not None]
    caution = " ".join(filter(None, doubts)) or None
    inputs = TrainingInputs(folder, architecture, data, seed=options.seed, metric=options.metric, weights=given)
    inputs.check()
    for line in filter(None, (teaching and teaching.change, caution)):
        progress.note(line)
    spent = cost(architecture)
    recipe = plan.recipe(epochs=plan.finalist_epochs, seed=options.seed, params=spent.params)
    values = preset.chosen(epochs=recipe.epochs, images=len(data.train))
    recipe = preset.applied(replace(recipe, compile=options.compile), images=len(data.train))
    _announce(network, spent, data, plan, recipe, folder, progress, asked=bool(options.train_resolution))
    if values:
        progress.note(f"Recipe {preset.name}: {', '.join(f'{name} {value}' for name, value in values.items())}")
    make_folder(folder)
    lock = FolderLock(folder)  # from here on nobody else trains there
    try:
        inputs.check()
        inputs.keep(preset, plan)
        validation, test, history = _trained(
            network, data, recipe, folder, options, progress, teaching and teaching.network(data)
        )
        found = {
            "out": str(folder / "network"),
            "digest": architecture.digest,
            "macs": spent.macs,
            "params": spent.params,
            "resolution": plan.resolution,
            "train_resolution": plan.train_resolution,
            "epochs": history[-1]["epoch"] if history else plan.finalist_epochs,
            "weights_of_epoch": _kept_epoch(history) if recipe.checkpoint == "best" else None,
            "train_images": len(data.train),
            "metric": options.metric,
            "recipe": recipe.to_dict(),
            "search_validation_accuracy": validation,
            "test_accuracy": test,
            "weights": None if started is None else inputs.origin(started),
            "teacher": None if teaching is None else teaching.origin,
            "caution": caution,
        }
        _export(network, architecture, data, plan, options, found)
        atomic_write(folder / "training.json", json.dumps({"format": 1, **found, "history": history}, indent=1) + "\n")
    finally:
        lock.remove(folder)  # left there, it would be its writer's alone in a shared folder
    return found


def _announce(
    network: Network,
    spent: Cost,
    data: Dataset,
    plan: Plan,
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    *,
    asked: bool,
) -> None:
    """Checks the disk's free space and announces the training.

    Args:
        asked: Whether the image side of training was given.

    Raises:
        RunError: If there is too little space.
    """
    progress.note(
        f"{spent.macs / 1e6:,.1f} MMACs at {plan.resolution} pixels, trained at {plan.train_resolution} pixels for "
        f"{count(plan.finalist_epochs, 'epoch')} of {len(data.train):,} images; {plan.device}, "
        f"{count(plan.threads, 'thread')}, {plan.dtype}, augmentation {recipe.augment}"
    )
    if not asked and (reduced := reduced_note(data.info, plan)):
        progress.note(reduced)
    needed = most_training_bytes(network, averaged=recipe.ema > 0)
    progress.note(f"Disk: at most {megabytes(needed)} in {folder}, {megabytes(check_room(folder, needed))} free")


def reduced_note(info: DataInfo, plan: Plan) -> str | None:
    """Returns a line on images that are planned to be reduced to save time; None if they are not."""
    largest = min(info.side, plan.resolution)
    if plan.train_resolution >= largest:
        return None
    return (
        f"Images of {info.width}x{info.height} pixels are reduced to {plan.train_resolution}x{plan.train_resolution} "
        f"to save time: --train-resolution {largest} trains at more"
    )


def plan_training(architecture: Architecture, info: DataInfo, options: SearchOptions) -> tuple[Architecture, Plan]:
    """Returns the architecture adapted to data and options, and the plan of its training."""
    if options.resolution:
        architecture = architecture.at_resolution(options.resolution)
    architecture = architecture.with_channels(info.channels).with_classes(info.num_classes)
    rows = TABLE.architecture(architecture)
    plan = make_plan(
        replace(options, finalists=1),
        info,
        resolution=architecture.input.resolution,
        stride=max(1, round(architecture.input.resolution / rows[-2][1].shape[1])),
        cost=cost(architecture),
        misfit=lambda size: network_misfit(architecture.at_resolution(size)),
        enough=min(ENOUGH, options.finalist_epochs or ENOUGH),
    )
    return architecture, plan


def _trained(
    network: Network,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    options: SearchOptions,
    progress: Progress,
    teacher: nn.Module | None,
) -> tuple[float, float, list[dict[str, Any]]]:
    """Trains the network, then tests it once; returns accuracy on search-validation and test, and one row per epoch."""
    curve = TrainingCurve(folder, metric=options.metric)
    with stoppable():
        validation = train_network(
            network,
            data,
            recipe,
            progress=progress,
            phase="training",
            folder=folder / "checkpoints",
            metric=options.metric,
            on_epoch=curve.add,
            validate=True,
            teacher=teacher,
        )
    return validation, evaluate(network, data.test, data, recipe, metric=options.metric), curve.rows


def _export(
    network: Network,
    architecture: Architecture,
    data: Dataset,
    plan: Plan,
    options: SearchOptions,
    found: dict[str, Any],
) -> None:
    """Exports the network with its results, like a winner."""
    notes = [] if found["weights"] is None else [origin_note(found["weights"])]
    if found["weights_of_epoch"] is not None:
        notes.append(f"Its weights are those of epoch {found['weights_of_epoch']}, the best on search-validation.")
    if found["teacher"] is not None:
        notes.append(teacher_note(found["teacher"], found["recipe"]["distill_weight"]))
    if found["caution"] is not None:
        notes.append(found["caution"])
    card = CardFacts(
        title=f"Trained on {data.info.name}",
        data=describe_data(data),
        likeness=likeness(data),
        epochs=found["epochs"],
        seed=options.seed,
        metric=options.metric.replace("-", " "),
        validation_accuracy=found["search_validation_accuracy"],
        test_accuracy=found["test_accuracy"],
        test_count=len(data.test),
        data_option=options.data,
        notes=tuple(notes),
    )
    export_winner(
        Path(found["out"]),
        network,
        architecture,
        trained_resolution=plan.train_resolution,
        mean=data.mean,
        std=data.std,
        class_names=data.info.class_names,
        levels=data.levels,
        card=card,
        onnx=options.onnx is not False,
    )


def _kept_epoch(history: list[dict[str, Any]]) -> int | None:
    """Returns the first epoch with the highest validation accuracy, whose weights a training keeps."""
    known = [row for row in history if row.get("validation_accuracy") is not None]
    return max(known, key=lambda row: row["validation_accuracy"])["epoch"] if known else None


def _check_folder(folder: Path) -> None:
    """Checks that a folder is new or holds an earlier training, and can be written to.

    Raises:
        RunError: If not.
    """
    check_writable(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder} is a file, and a training takes a folder. Choose another --out.")
    others = sorted(path.name for path in folder.iterdir() if path.name not in _OURS and not is_leftover(path.name))
    if others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise RunError(f"{folder} already holds other files ({shown}). Choose another --out.")
