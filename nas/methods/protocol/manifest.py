"""What a run keeps of what it was made with, so that it goes on wherever it lies, and not with anything else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.costs.count_table import source_hash
from nas.data import DataInfo
from nas.errors import NasError, RunError, SpaceError
from nas.file_formats import digest_of
from nas.networks.loading import load_architecture, load_space, space_from_dict
from nas.progress import Progress
from nas.run import Run, RunRecord
from nas.spaces import SearchSpace, catalog
from nas.training.checkpoint import newest, read_facts
from nas.version import __version__


def keep(space: SearchSpace, source: str, info: DataInfo) -> dict[str, Any]:
    """The part of a run's manifest that `kept_space`, `kept_presets`, `check_data` and `check_program` read.

    Args:
        source: The name or file that the space was loaded from.
    """
    return {
        "space_digest": space.digest,
        "space_source": _source_of(space, source),
        "space": space.to_dict(),
        "presets": [load_architecture(name).to_dict() for name in space.presets],
        "data": _described(info),
        "versions": {"hybrid-nas": __version__, "torch": torch.__version__, "ops": source_hash()},
    }


def kept_space(run: Run) -> SearchSpace:
    """The space of a run as it was, without the names of presets.

    Raises:
        RunError: If the space that goes by its name (or lies where its file lay) has changed, or what was kept
            cannot be read as the same space.
    """
    manifest = run.manifest
    source = manifest.get("space_source")
    if source is not None:
        with suppress(SpaceError):  # gone, or no space any more: what was kept is enough
            run.check_space(load_space(source).digest)
    try:
        space = space_from_dict(manifest["space"])
    except (KeyError, TypeError, ValueError, NasError) as fault:
        raise RunError(
            f"{run.path} does not hold its search space as this version keeps it ({str(fault)[:80]}): go on with the "
            "version that made it, or start a new run with another --out."
        ) from None
    run.check_space(space.digest)
    return space


def kept_presets(run: RunRecord) -> tuple[Architecture, ...]:
    """The presets of a run's space, as they were."""
    return tuple(Architecture.from_dict(plain) for plain in run.manifest.get("presets", ()))


def check_program(run: RunRecord, progress: Progress) -> None:
    """Refuses a run whose networks another version of the op library made; says where torch is another.

    Raises:
        RunError: If the ops differ.
    """
    versions = run.manifest.get("versions", {})
    if versions.get("ops") != source_hash():
        raise RunError(
            f"{run.path} was made by another version of the ops (hybrid-nas {versions.get('hybrid-nas', '?')}, ops "
            f"{versions.get('ops', '?')}, not {source_hash()}): use that version, or start a new run."
        )
    if versions.get("torch") != torch.__version__:
        progress.note(
            f"This run was made with torch {versions.get('torch', '?')} and goes on with {torch.__version__}: what is "
            "trained from here on may differ from an uninterrupted run."
        )


def check_data(run: RunRecord, info: DataInfo, data: str) -> None:
    """Refuses data that is not what a run was made with, as far as that shows without reading the images.

    Raises:
        RunError: If it differs.
    """
    before, now = run.manifest.get("data", {}), _described(info)
    for name, value in now.items():
        if before.get(name) != value:
            what = name.replace("_", " ")
            changed = f"{what} differ" if isinstance(value, str) else f"{what} was {before.get(name, '?')}, is {value}"
            raise RunError(
                f"{data} has changed since {run.path} was made: {changed}. Restore the data, or start a new run with "
                "another --out."
            )


def resolved_data(data: str) -> str:
    """What `--data` says, with a path made independent of the current folder."""
    if data == "digits" or ":" in data:
        return data
    return os.path.abspath(os.path.expanduser(data))


def last_written(run: Path) -> float:
    """When the last checkpoint of a run was written, in seconds since 1970; 0 where there is none."""
    files = [*run.glob("*/*.safetensors"), *run.glob("*/*/*.safetensors")]
    folders = {path.parent for path in files if path.relative_to(run).parts[0] not in ("winners", "exports")}
    paths = [path for folder in folders if (path := newest(folder)) is not None]
    return max((float(read_facts(path).get("time", 0.0)) for path in paths), default=0.0)


def _source_of(space: SearchSpace, source: str) -> str | None:
    """The shipped name, or the file's absolute path; None where the space is not what is read from there."""
    try:
        if load_space(source).digest != space.digest:
            return None
    except SpaceError:
        return None
    return source if source in catalog.space_names() else str(catalog.find(source).absolute())


def describe_classes(info: DataInfo) -> dict[str, Any]:
    """What data must share for the same weights to make sense of it."""
    return {"channels": info.channels, "num_classes": info.num_classes, "class_names": digest_of(info.class_names)}


def _described(info: DataInfo) -> dict[str, Any]:
    return {
        **describe_classes(info),
        "train_count": info.train_count,
        "validation_count": info.validation_count,
        "test_count": info.test_count,
        "height": info.height,
        "width": info.width,
        "class_counts": digest_of(info.class_counts),
    }
