"""The part of a run's manifest that lets a moved run resume, and refuses a changed space, data set or program."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.costs.count_table import source_hash
from nas.data import DataInfo
from nas.errors import NasError, RunError, SpaceError
from nas.file_formats import digest_of
from nas.networks.loading import load_architecture, load_space, space_from_dict
from nas.options import SearchOptions
from nas.progress import Progress
from nas.run import Run, RunRecord
from nas.spaces import SearchSpace, catalog
from nas.training.checkpoint import newest, read_facts
from nas.version import __version__


def keep(space: SearchSpace, source: str | None, info: DataInfo) -> dict[str, Any]:
    """Returns the manifest's entries for `kept_space`, `kept_presets`, `check_data` and `check_program`.

    Args:
        source: The name or file that the space was loaded from; None if it was derived.
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
    """Returns the space of a run as it was recorded, without the names of presets.

    Raises:
        RunError: If the space of that name (or file) has changed, or the recorded space cannot be read.
    """
    manifest = run.manifest
    source = manifest.get("space_source")
    if source is not None:
        with suppress(SpaceError):  # gone, or not a space any more: the recorded space suffices
            run.check_space(load_space(source).digest)
    try:
        space = space_from_dict(manifest["space"])
    except (KeyError, TypeError, ValueError, NasError) as fault:
        raise RunError(
            f"{run.path} does not record its search space in this version's format ({str(fault)[:80]}): resume it with "
            "the version that made it, or start a new run with another --out."
        ) from None
    run.check_space(space.digest)
    return space


def kept_presets(run: RunRecord) -> tuple[Architecture, ...]:
    """Returns the presets of a run's space, as they were recorded."""
    return tuple(Architecture.from_dict(plain) for plain in run.manifest.get("presets", ()))


def check_program(run: RunRecord, progress: Progress) -> None:
    """Refuses a run whose networks were made by another version of the ops; notes a different version of torch.

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
            f"This run was made with torch {versions.get('torch', '?')} and is resumed with {torch.__version__}: "
            "further training may differ from that of an uninterrupted run."
        )


def check_data(run: RunRecord, info: DataInfo, data: str) -> None:
    """Refuses data that differ from a run's, as far as can be seen without reading the images.

    Raises:
        RunError: If they differ.
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
    """Returns `--data` with an absolute path."""
    if data == "digits" or ":" in data:
        return data
    return os.path.abspath(os.path.expanduser(data))


def spelled(space: SearchSpace, options: SearchOptions) -> str | None:
    """Returns the `--space` that a search of a space has: what gives that space, or its name where nothing does.

    None where the space is derived from what the options of the method name.
    """
    derived = None if options.space is not None else options.of_method().derived_space()
    if derived is not None and replace(derived, name=space.name).digest == space.digest:
        return None
    if options.space is not None and _source_of(space, options.space) is not None:
        return options.space
    return space.name


def last_written(run: Path) -> float:
    """Returns when the last checkpoint of a run was written, in seconds since 1970; 0 if there is none."""
    files = [*run.glob("*/*.safetensors"), *run.glob("*/*/*.safetensors")]
    folders = {path.parent for path in files if path.relative_to(run).parts[0] not in ("winners", "exports")}
    paths = [path for folder in folders if (path := newest(folder)) is not None]
    return max((float(read_facts(path).get("time", 0.0)) for path in paths), default=0.0)


def _source_of(space: SearchSpace, source: str | None) -> str | None:
    """Returns the shipped name or the file's absolute path; None if the space there is a different one."""
    if source is None:
        return None
    try:
        if load_space(source).digest != space.digest:
            return None
    except SpaceError:
        return None
    return source if source in catalog.space_names() else str(catalog.find(source).absolute())


def describe_classes(info: DataInfo) -> dict[str, Any]:
    """Returns the properties of data that must agree for the same weights to apply: channels and classes."""
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
