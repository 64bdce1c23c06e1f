"""What a `nas train` was of, kept in `inputs.json` beside its checkpoints, so that these go on with nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.data import Dataset
from nas.data.dataset import describe_data
from nas.errors import OptionError, RunError
from nas.methods.protocol.plan import Plan
from nas.networks.imported_ops import imported_files, recorded_imports
from nas.options import SearchOptions
from nas.pipeline.given_weights import GivenWeights
from nas.run import atomic_write, training_inputs
from nas.run.files import make_folder
from nas.training import Started
from nas.training.checkpoint import newest
from nas.training.recipe_file import RecipeFile, load_recipe, recorded_recipe

INPUTS = "inputs.json"
_PLANNED = ("finalist_epochs", "train_resolution", "batch_size", "dtype")
"""Options that a plan decides where they are not given, by their names in both."""


def is_begun(folder: Path) -> bool:
    """Returns whether a training in a folder has checkpoints to go on from; without them there is nothing to resume."""
    return newest(folder / "checkpoints") is not None


def import_begun(folder: Path) -> None:
    """Imports the files of ops that a training in a folder began with, if there is one.

    Raises:
        RunError: If one is gone or has changed.
    """
    if is_begun(folder):
        recorded_imports(training_inputs(folder), of="The training")


def recipe_of(folder: Path, name: str, note: Callable[[str], None]) -> RecipeFile:
    """Returns a recipe by its name or path; where its file cannot be read, that of the training that goes on here.

    Args:
        folder: The training's.
        note: Is told that the file was not read.

    Raises:
        OptionError: If there is no such recipe, and no training with it goes on here.
        RunError: If what the folder has of it is damaged.
    """
    try:
        return load_recipe(name)
    except OptionError as fault:
        kept = training_inputs(folder).get("recipe") if is_begun(folder) else None
        if not isinstance(kept, dict) or kept.get("name") != name:
            raise
        note(f"{fault} The training goes on with what it said when it began.")
        return recorded_recipe(kept, str(folder / INPUTS))


def as_planned(folder: Path, options: SearchOptions) -> SearchOptions:
    """Returns the options with the numbers that the training that goes on in a folder was planned with.

    Those that are given stay; a machine with more cores would plan others for the rest.
    """
    kept = training_inputs(folder).get("planned") if is_begun(folder) else None
    if not isinstance(kept, dict):  # earlier versions did not store them
        return options
    left = {name: kept[name] for name in _PLANNED if name in kept and getattr(options, name) in (None, "auto")}
    return options.replaced(**left)


class TrainingInputs:
    """The inputs of a training, stored in a file so that its checkpoints are not used with other inputs.

    Args:
        folder: The training's.
        data: The data as split by `seed`.
        metric: By which the best epoch is chosen.
        weights: The initial weights, if any.
    """

    def __init__(
        self,
        folder: Path,
        architecture: Architecture,
        data: Dataset,
        *,
        seed: int,
        metric: str,
        weights: GivenWeights | None,
    ) -> None:
        self._path, self._weights = folder / INPUTS, weights
        self._now: dict[str, Any] = {
            "seed": seed,
            "metric": metric,
            "data": describe_data(data),
            "images": _digest(data),
            "train_resolution": data.resolution,
            "weights": None if weights is None else weights.digest,
            "architecture": architecture.at_resolution(data.resolution).digest,
        }
        self._resumes = is_begun(folder)

    def check(self) -> None:
        """Checks that an earlier training had the same inputs; earlier versions did not store them.

        Raises:
            RunError: If the inputs differ, or the file is damaged.
        """
        if not self._resumes or not self._path.exists():
            return
        try:
            # Earlier versions did not store the metric.
            before = {"metric": self._now["metric"], **json.loads(self._path.read_text())}
            difference = self._difference({name: before[name] for name in self._now})
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"{self._path} does not say what was trained there. Give another --out.") from None
        if difference is not None:
            raise RunError(f"{self._path.parent} was trained {difference}. Give another --out.")

    def keep(self, recipe: RecipeFile, plan: Plan) -> None:
        """Writes the file when a training begins.

        Args:
            recipe: That of the training, as its file says it.
            plan: Its numbers.

        Raises:
            RunError: If it cannot be written.
        """
        if self._resumes:
            return
        make_folder(self._path.parent)
        told = {} if self._weights is None else {"weights_file": self._weights.path.name}
        told |= {"planned": {name: getattr(plan, name) for name in _PLANNED}}
        told |= {"recipe": recipe.to_dict(), "imports": {file.path: file.digest for file in imported_files()}}
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
        if "metric" in differing:
            return f"with --metric {before['metric']}, not {now['metric']}"
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
