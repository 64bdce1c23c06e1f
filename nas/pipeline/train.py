"""`nas train`: trains and exports one architecture, by the code that trains a search's finalists."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from nas.architecture import Architecture
from nas.budget import Cost
from nas.costs import TABLE, cost
from nas.data import DataInfo, Dataset, data_lines, open_data
from nas.data.dataset import describe_data
from nas.errors import ArchitectureError, RunError, TrainingError
from nas.export import CardFacts, export_winner
from nas.methods.protocol.plan import Plan
from nas.networks.network import Network, resize_tables
from nas.options import SearchOptions
from nas.pipeline.disk import check_room, megabytes, most_training_bytes
from nas.pipeline.plan import make_plan
from nas.progress import Progress, Silent
from nas.run import atomic_write
from nas.run.files import check_writable, file_digest, is_leftover, make_folder
from nas.run.signals import stoppable
from nas.training import Recipe, evaluate, fresh_network, train_network
from nas.training.checkpoint import newest

_OURS = ("checkpoints", "exports", "history.json", "inputs.json", "network", "training.json")
_SEEN = "may have trained the weights that this training began with"


def train(
    architecture: Architecture,
    *,
    out: str | Path,
    options: SearchOptions,
    weights: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains one architecture on a data set, tests it once and exports it like a winner.

    Called again with the same folder and options, it resumes from its last checkpoint; Ctrl-C writes one. The inputs
    are stored in `inputs.json`, and resuming with other inputs is an error.

    Args:
        out: The folder; `network/` in it gets the config, code, weights, ONNX and card.
        options: Used are the data, epochs (as `finalist_epochs`), seed, sizes, machine and metric.
        weights: A .safetensors file with initial weights; tensors whose shapes differ, such as the head's, stay
            random.

    Returns:
        Plain JSON: the network, the data and the accuracies; `caution` says why these may be too high, or is None.

    Raises:
        RunError: If the folder holds a different training, or the weights were trained on images of the test splits.
        NasError: If data, weights or the network cannot be used.
    """
    progress = progress or Silent()
    folder = Path(out)
    _check_folder(folder)
    given = None if weights is None else _read_weights(Path(weights))
    source = open_data(options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]
    for line in data_lines(source.info):
        progress.note(line)
    architecture, plan = _planned(architecture, source.info, options)
    torch.set_num_threads(plan.threads)
    network = fresh_network(architecture.at_resolution(plan.train_resolution), seed=options.seed)
    if given is not None:
        _start_from(network, given, Path(str(weights)), progress)
    data = source.load(resolution=plan.train_resolution, seed=options.seed, progress=progress)
    caution = None if weights is None else _check_seen(Path(weights), data, options.seed)
    inputs = _Inputs(folder / "inputs.json", architecture, data, seed=options.seed, weights=weights)
    inputs.check()
    if caution is not None:
        progress.note(caution)
    spent = cost(architecture)
    _announce(network, spent, data, plan, folder, progress)
    inputs.keep()
    recipe = plan.recipe(epochs=plan.finalist_epochs, seed=options.seed, params=spent.params)
    validation, test, history = _trained(network, data, recipe, folder, options, progress)
    found = {
        "out": str(folder / "network"),
        "digest": architecture.digest,
        "macs": spent.macs,
        "params": spent.params,
        "resolution": plan.resolution,
        "train_resolution": plan.train_resolution,
        "epochs": plan.finalist_epochs,
        "train_images": len(data.train),
        "metric": options.metric,
        "search_validation_accuracy": validation,
        "test_accuracy": test,
        "caution": caution,
    }
    _export(network, architecture, data, plan, options, found)
    atomic_write(folder / "training.json", json.dumps({"format": 1, **found, "history": history}, indent=1) + "\n")
    return found


def _announce(network: Network, spent: Cost, data: Dataset, plan: Plan, folder: Path, progress: Progress) -> None:
    """Checks the disk's free space and announces the training.

    Raises:
        RunError: If there is too little space.
    """
    progress.note(
        f"{spent.macs / 1e6:,.1f} MMACs at {plan.resolution} pixels, trained at {plan.train_resolution} pixels for "
        f"{plan.finalist_epochs} epochs of {len(data.train):,} images; {plan.device}, {plan.threads} threads, "
        f"{plan.dtype}"
    )
    needed = most_training_bytes(network)
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
    network: Network, data: Dataset, recipe: Recipe, folder: Path, options: SearchOptions, progress: Progress
) -> tuple[float, float, list[dict[str, Any]]]:
    """Trains the network, then tests it once; returns accuracy on search-validation and test, and one row per epoch."""
    history = _History(folder / "history.json")
    with stoppable():
        validation = train_network(
            network,
            data,
            recipe,
            progress=progress,
            phase="training",
            folder=folder / "checkpoints",
            metric=options.metric,
            on_epoch=history.add,
        )
    return validation, evaluate(network, data.test, data, recipe, metric=options.metric), history.rows


def _export(
    network: Network,
    architecture: Architecture,
    data: Dataset,
    plan: Plan,
    options: SearchOptions,
    found: dict[str, Any],
) -> None:
    """Exports the network with its results, like a winner."""
    card = CardFacts(
        title=f"Trained on {data.info.name}",
        data=describe_data(data),
        epochs=plan.finalist_epochs,
        seed=options.seed,
        validation_accuracy=found["search_validation_accuracy"],
        test_accuracy=found["test_accuracy"],
        test_count=len(data.test),
        data_option=options.data,
        notes=() if found["caution"] is None else (found["caution"],),
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


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        if not path.is_file():
            raise OSError("it is not a file" if path.exists() else "there is no such file")
        return load_file(path)
    except (SafetensorError, OSError) as fault:
        raise RunError(f"Cannot read weights from {path}: {str(fault)[:120]}. Give a .safetensors file.") from None


class _Inputs:
    """The inputs of a training, stored in a file so that its checkpoints are not used with other inputs.

    Args:
        path: The file, beside the checkpoint folder.
        data: The data as split by `seed`.
        weights: The file of initial weights, if any.
    """

    def __init__(
        self, path: Path, architecture: Architecture, data: Dataset, *, seed: int, weights: str | Path | None
    ) -> None:
        self._path = path
        self._now: dict[str, Any] = {
            "seed": seed,
            "data": describe_data(data),
            "images": _digest(data),
            "train_resolution": data.resolution,
            "weights": None if weights is None else file_digest(Path(weights)),
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
            atomic_write(self._path, json.dumps({"format": 1, **self._now}, indent=1) + "\n")

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


def _check_seen(path: Path, data: Dataset, seed: int) -> str | None:
    """Returns a caution if given weights may have been trained on validation or test images, else None.

    If the data have no validation or test set of their own, the seed splits these off the training images. The
    metadata of exported weights says what they were trained on.

    Raises:
        RunError: If the weights were trained on the same data, split by another seed.
    """
    counts = {"test": data.info.test_count, "validation": data.info.validation_count}
    cut = " and ".join(name for name, count in counts.items() if not count)
    if not cut:
        return None
    card, class_names = _told_of(path)
    theirs = card.get("seed")
    if card.get("data") == describe_data(data) and class_names == [*data.info.class_names]:
        if isinstance(theirs, int) and theirs != seed:
            raise RunError(
                f"{path} was trained with --seed {theirs}, which puts {cut} images of --seed {seed} into its training "
                f"images. Give --seed {theirs}."
            )
        if theirs == seed and _SEEN not in str(card.get("notes")):
            return None
    return f"The {cut} images are split off the training images and {_SEEN}: {cut} accuracy may be too high."


def _told_of(path: Path) -> tuple[dict[str, Any], Any]:
    """Returns the training metadata of exported weights and their class names; empty if there are none."""
    with suppress(SafetensorError, OSError, KeyError, ValueError), safe_open(path, "pt") as file:
        stored = file.metadata() or {}
        card, class_names = json.loads(stored["card"]), json.loads(stored["class_names"])
        return (card if isinstance(card, dict) else {}), class_names
    return {}, None


class _History:
    """The per-epoch rows of a training, stored in a file so that a resumed training has the earlier ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = []
        # Without checkpoints the file belongs to another training.
        if path.exists() and newest(path.parent / "checkpoints") is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                self.rows = list(json.loads(path.read_text())["history"])

    def add(self, row: dict[str, Any]) -> None:
        """Adds an epoch; a repeated epoch replaces its row."""
        self.rows = [known for known in self.rows if known["epoch"] < row["epoch"]] + [row]
        atomic_write(self._path, json.dumps({"format": 1, "history": self.rows}) + "\n")


def _start_from(network: Network, weights: dict[str, torch.Tensor], path: Path, progress: Progress) -> None:
    """Copies the tensors of a file that fit the network, and reports those that do not.

    Raises:
        TrainingError: If no tensor fits.
    """
    try:
        given = resize_tables(weights, network)
    except (RuntimeError, ValueError):  # a position table of another rank or type
        given = weights
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise TrainingError(f"No tensor in {path} fits this network. Give the weights of the same architecture.")
    network.load_state_dict(fitting, strict=False)
    fresh = sorted(set(own) - set(fitting))
    if fresh:
        progress.note(f"{len(fresh)} of {len(own)} tensors are not in {path}, left random: {', '.join(fresh[:4])} …")
