"""`nas train`: trains and exports one architecture, by the code that trains a search's finalists."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture
from nas.budget import Cost
from nas.costs import TABLE, cost
from nas.data import DataInfo, Dataset, data_lines, open_data
from nas.data.dataset import describe_data
from nas.errors import ArchitectureError, RunError
from nas.export import CardFacts, export_winner
from nas.methods.protocol.plan import Plan
from nas.networks.network import Network
from nas.options import SearchOptions
from nas.pipeline.disk import check_room, megabytes, most_training_bytes
from nas.pipeline.given_teacher import GivenTeacher, teacher_note
from nas.pipeline.given_weights import GivenWeights, origin_note
from nas.pipeline.plan import make_plan
from nas.pipeline.training_curve import HISTORY, METRICS, SCALARS, TrainingCurve
from nas.progress import Progress, Silent
from nas.run import atomic_write
from nas.run.files import check_writable, is_leftover, make_folder
from nas.run.signals import stoppable
from nas.training import Recipe, Started, evaluate, fresh_network, train_network
from nas.training.checkpoint import newest
from nas.training.recipe_file import load_recipe

_OURS = ("checkpoints", "exports", HISTORY, METRICS, SCALARS, "inputs.json", "network", "training.json")


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
    folder = Path(out)
    _check_folder(folder)
    given = None if weights is None else GivenWeights(weights)
    preset = load_recipe(options.recipe)
    source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
    for line in data_lines(source.info):
        progress.note(line)
    architecture, plan = _planned(architecture, source.info, options)
    torch.set_num_threads(plan.threads)
    network = fresh_network(architecture.at_resolution(plan.train_resolution), seed=options.seed)
    started = None if given is None else given.start(network, progress)
    data = source.load(resolution=plan.train_resolution, seed=options.seed, progress=progress)
    data = data if given is None else given.normalized(data, progress)
    teaching = None if teacher is None else GivenTeacher(teacher, data)
    caution = None if given is None else given.caution(data, options.seed)
    inputs = _Inputs(folder / "inputs.json", architecture, data, seed=options.seed, weights=given)
    inputs.check()
    if caution is not None:
        progress.note(caution)
    spent = cost(architecture)
    recipe = plan.recipe(epochs=plan.finalist_epochs, seed=options.seed, params=spent.params)
    recipe = preset.applied(recipe, images=len(data.train))
    _announce(network, spent, data, plan, recipe, folder, progress)
    if changes := preset.chosen(epochs=recipe.epochs, images=len(data.train)):
        progress.note(f"Recipe {preset.name}: {', '.join(f'{name} {value}' for name, value in changes.items())}")
    inputs.keep()
    validation, test, history = _trained(
        network, data, recipe, folder, options, progress, teaching and teaching.network
    )
    found = {
        "out": str(folder / "network"),
        "digest": architecture.digest,
        "macs": spent.macs,
        "params": spent.params,
        "resolution": plan.resolution,
        "train_resolution": plan.train_resolution,
        "epochs": history[-1]["epoch"] if history else plan.finalist_epochs,
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
    return found


def _announce(
    network: Network, spent: Cost, data: Dataset, plan: Plan, recipe: Recipe, folder: Path, progress: Progress
) -> None:
    """Checks the disk's free space and announces the training.

    Raises:
        RunError: If there is too little space.
    """
    progress.note(
        f"{spent.macs / 1e6:,.1f} MMACs at {plan.resolution} pixels, trained at {plan.train_resolution} pixels for "
        f"{plan.finalist_epochs} epochs of {len(data.train):,} images; {plan.device}, {plan.threads} threads, "
        f"{plan.dtype}"
    )
    needed = most_training_bytes(network, averaged=recipe.ema > 0)
    progress.note(f"Disk: at most {megabytes(needed)} in {folder}, {megabytes(check_room(folder, needed))} free")


def _planned(architecture: Architecture, info: DataInfo, options: SearchOptions) -> tuple[Architecture, Plan]:
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
        misfit=lambda size: _misfit(architecture.at_resolution(size)),
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
    curve = TrainingCurve(folder)
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
    if found["teacher"] is not None:
        notes.append(teacher_note(found["teacher"], found["recipe"]["distill_weight"]))
    if found["caution"] is not None:
        notes.append(found["caution"])
    card = CardFacts(
        title=f"Trained on {data.info.name}",
        data=describe_data(data),
        epochs=found["epochs"],
        seed=options.seed,
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


def _misfit(architecture: Architecture) -> str | None:
    try:
        cost(architecture)
    except ArchitectureError as fault:
        return str(fault)
    return None


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


class _Inputs:
    """The inputs of a training, stored in a file so that its checkpoints are not used with other inputs.

    Args:
        path: The file, beside the checkpoint folder.
        data: The data as split by `seed`.
        weights: The initial weights, if any.
    """

    def __init__(
        self, path: Path, architecture: Architecture, data: Dataset, *, seed: int, weights: GivenWeights | None
    ) -> None:
        self._path, self._weights = path, weights
        self._now: dict[str, Any] = {
            "seed": seed,
            "data": describe_data(data),
            "images": _digest(data),
            "train_resolution": data.resolution,
            "weights": None if weights is None else weights.digest,
            "architecture": architecture.at_resolution(data.resolution).digest,
        }
        # Without checkpoints there is no earlier training to resume.
        self._resumes = newest(path.parent / "checkpoints") is not None

    def check(self) -> None:
        """Checks that an earlier training had the same inputs; earlier versions did not store them.

        Raises:
            RunError: If the inputs differ, or the file is damaged.
        """
        if not self._resumes or not self._path.exists():
            return
        try:
            before = json.loads(self._path.read_text())
            difference = self._difference({name: before[name] for name in self._now})
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"{self._path} does not say what was trained there. Give another --out.") from None
        if difference is not None:
            raise RunError(f"{self._path.parent} was trained {difference}. Give another --out.")

    def keep(self) -> None:
        """Writes the file when a training begins.

        Raises:
            RunError: If it cannot be written.
        """
        if not self._resumes:
            make_folder(self._path.parent)
            told = {} if self._weights is None else {"weights_file": self._weights.path.name}
            atomic_write(self._path, json.dumps({"format": 1, **self._now, **told}, indent=1) + "\n")

    def origin(self, started: Started) -> dict[str, Any]:
        """Returns where the initial weights came from, by the name that their file had when the training began."""
        name = None
        with suppress(OSError, ValueError, AttributeError):  # earlier versions stored no name
            name = json.loads(self._path.read_text()).get("weights_file")
        assert self._weights is not None
        return {
            "file": name or self._weights.path.name,
            "sha256": self._weights.digest,
            "taken": len(started.taken),
            "random": len(started.fresh) + len(started.new_head),
        }

    def _difference(self, before: dict[str, Any]) -> str | None:
        now = self._now
        differing = [name for name in now if before[name] != now[name]]
        if "seed" in differing:
            return f"with --seed {before['seed']}, not {now['seed']}"
        # The same images may be stored elsewhere, under another name.
        if "images" in differing:
            if "data" in differing:
                return f"on other data: {before['data']}, not {now['data']}"
            if "train_resolution" in differing:
                return f"at {before['train_resolution']} pixels, not {now['train_resolution']}"
            return f"on other data: images, labels or class names of {now['data']} differ"
        if "weights" in differing:
            then, given = (f"weights {w[:12]}" if w else "fresh weights" for w in (before["weights"], now["weights"]))
            return f"from {then}, not {given}"
        return "as another architecture" if "architecture" in differing else None


def _digest(data: Dataset) -> str:
    """Returns a digest of the images, labels and class names of all splits, in order."""
    found = hashlib.sha256(json.dumps([data.resolution, data.info.class_names]).encode())
    for split in (data.train, data.search_validation, data.test):
        found.update(f"{len(split)}".encode())
        for part in split.content():
            found.update(part)
    return found.hexdigest()[:16]
