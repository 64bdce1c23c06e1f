"""Calibrations in the user's cache folder: one file per device, setting and space."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from nas.errors import LatencyError, RunError
from nas.latency.device_model import Device, DeviceModel
from nas.latency.latency_table import LatencyTable
from nas.machine import cache_folder
from nas.registry import unknown
from nas.run.files import atomic_write, make_folder, remove_leftovers
from nas.setting import Setting
from nas.spaces import SearchSpace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,119}", re.ASCII)


def devices_folder() -> Path:
    """Returns the folder of calibrations, which may not exist yet."""
    return cache_folder() / "devices"


def model_name(device: Device, space: str) -> str:
    """Returns the name that a calibration made here goes by: its setting, its space and a hash of the device's model.

    Versions are not in it: with another torch the same file is found and refused, and calibrated again in place.
    """
    words = [re.sub(r"[^A-Za-z0-9.=,]+", "-", text) for text in (str(device.setting), space) if text]
    return "+".join([*words, hashlib.sha256(device.name.encode()).hexdigest()[:6]])


def measured_space(space: SearchSpace) -> str:
    """Returns what a space is called in a calibration's name: latencies at one resolution say little of another."""
    return f"{space.name}-{space.input.resolution}px"


def calibrating(setting: Setting, space: SearchSpace | None) -> str:
    """Returns the command that calibrates a setting for a space, the zoo where it is None."""
    of = f" --space {space.name} --resolution {space.input.resolution}" if space else ""
    return f"nas device calibrate{of} --setting {setting}"


def path_of(name: str) -> Path:
    """Returns the file of a calibration.

    Raises:
        LatencyError: If the name could not be that of a file.
    """
    if not _NAME.fullmatch(name):
        raise LatencyError(f"A calibration's name has letters, digits and . _ = , + - only, but got {name[:60]!r}.")
    return devices_folder() / f"{name}.json"


def names() -> list[str]:
    """Returns the names of all calibrations, the newest last."""
    found = [path for path in devices_folder().glob("*.json") if _NAME.fullmatch(path.stem)]
    return [path.stem for path in sorted(found, key=lambda path: (path.stat().st_mtime, path.stem))]


def load(name: str) -> DeviceModel:
    """Returns a calibration by its name.

    Raises:
        LatencyError: If there is none, with the nearest name, or its file is damaged.
    """
    path = path_of(name)
    if not path.is_file():
        raise LatencyError(f"{unknown('calibration', name, names())} Make one by nas device calibrate.")
    return DeviceModel.from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))


def find(device: Device, space: SearchSpace | None = None) -> DeviceModel | None:
    """Returns the calibration of a device for a space, else the device's of the zoo; None if there is neither.

    Args:
        space: A table that was imported for it, at any resolutions, will do too. None takes the zoo's, or else the
            newest of any space.

    Raises:
        LatencyError: If it is of other versions, with the differences, or its file is damaged.
    """
    wanted = [
        model_name(device, each) for each in (*([] if space is None else [measured_space(space), space.name]), "")
    ]
    if space is None:
        own = model_name(device, "").rpartition("+")
        wanted += [name for name in reversed(names()) if name.startswith(f"{own[0]}+") and name.endswith(f"+{own[2]}")]
    for name in wanted:
        if path_of(name).is_file():
            model = load(name)
            model.check(device, name, f"{calibrating(device.setting, space)} --recalibrate")
            return model
    return None


def save(model: DeviceModel, name: str) -> Path:
    """Writes a calibration, in the place of an earlier one of the same name, and returns its file."""
    return _write(path_of(name), model.to_json())


def unfinished(name: str) -> Path:
    """Returns the file of what a calibration in progress has measured so far."""
    return path_of(name).with_suffix(".part")


def save_unfinished(table: LatencyTable, name: str) -> None:
    """Writes what a calibration in progress has measured so far."""
    _write(unfinished(name), table.to_json())


def _write(path: Path, text: str) -> Path:
    try:
        make_folder(path.parent)
        remove_leftovers(path.parent.glob(".*.tmp*"))
        atomic_write(path, text)
    except RunError as fault:
        cause = fault.__cause__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        raise LatencyError(  # the remedies for a run's folder would not help
            f"Cannot keep the calibration {path}: {reason.lower()}. Free some space there, or set NAS_CACHE to another "
            "folder."
        ) from None
    return path
