"""Tables of measured latencies: what a script wrote on a device elsewhere, or what other people published.

A JSON table says everything itself: device, runtime, setting, and the architecture of each network. A CSV table has a
column of networks (zoo names, or paths to an architecture.yaml) and one of latencies or of images per second.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from nas import ops
from nas.architecture import Architecture
from nas.errors import ArchitectureError, DataError, LatencyError, NasError
from nas.latency.device_model import FEWEST, Device
from nas.networks.loading import load_architecture
from nas.setting import Setting

TABLE_FORMAT = 1
NETWORK_NAMES = ("architecture", "network", "name", "model")
RESOLUTION_NAMES = ("benchmark_resolution", "resolution", "infer_img_size", "img_size")
# What a column's name begins with, and what one of its numbers is in seconds; a rate is of images per second.
_UNITS = {"latency_s": 1.0, "latency_ms": 1e-3, "latency_us": 1e-6}
_RATES = ("images_per_s", "infer_samples_per_sec", "samples_per_s")
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Latency of one network.

    Attributes:
        latency_s: Seconds of one inference of a whole batch.
        sampled: Whether the network was chosen at random, so that a model's error can be judged by it.
    """

    architecture: Architecture
    latency_s: float
    sampled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Latencies measured on one device in one setting, of networks with everything folded."""

    device: Device
    space: str
    networks: tuple[Measured, ...]

    def to_json(self) -> str:
        """Returns the table as JSON that `read_json` reads."""
        plain = {
            "format": TABLE_FORMAT,
            "device": self.device.name,
            "runtime": self.device.runtime,
            "setting": str(self.device.setting),
            "version": self.device.version,
            "space": self.space,
            "networks": [
                {
                    "architecture": each.architecture.to_dict(),
                    "latency_s": each.latency_s,
                    "sampled": each.sampled,
                }
                for each in self.networks
            ],
        }
        return json.dumps(plain) + "\n"


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    architecture: dict[str, Any]
    latency_s: float | None
    sampled: bool = True


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    device: str
    runtime: str
    setting: str
    version: str
    space: str
    networks: list[_Row]


def read_json(path: Path, *, least: int = FEWEST) -> LatencyTable:
    """Reads the JSON that a script of `nas device script` printed.

    Args:
        least: The fewest networks that will do.

    Raises:
        DataError: If it cannot be read, is not such a table, or a latency is missing, not finite or not positive.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is larger than {MOST_BYTES >> 20} MiB, too large for a table of latencies.")
        plain = msgspec.json.decode(path.read_bytes(), type=_Table)
        if plain.format != TABLE_FORMAT:
            raise DataError(f"{path} is of format {plain.format}, and this version reads {TABLE_FORMAT}.")
        setting = Setting.parse(plain.setting)
        rows = [
            Measured(
                architecture=ops.normalize(Architecture.from_dict(row.architecture)),
                latency_s=_positive(row.latency_s, f"{path}, network {i}", "latency_s"),
                sampled=row.sampled,
            )
            for i, row in enumerate(plain.networks, start=1)
        ]
    except OSError as fault:
        raise DataError(f"Cannot read {path}: {(fault.strerror or str(fault)).lower()}. Check the path.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise DataError(
            f"{path} is not what a script of nas device script prints: {str(fault)[:160]}. Give that, or a CSV file."
        ) from None
    except NasError as fault:
        raise DataError(str(fault) if str(path) in str(fault) else f"{path}: {fault}") from None
    _check_count(rows, str(path), least)
    device = Device(name=plain.device, runtime=plain.runtime, setting=setting, version=plain.version)
    return LatencyTable(device=device, space=plain.space, networks=tuple(rows))


def measured_rows(
    names: Sequence[str],
    figures: Sequence[float],
    resolutions: Sequence[float] | None,
    *,
    column: str,
    setting: Setting,
    where: str,
) -> list[Measured]:
    """Returns the rows of a CSV table as measured networks.

    Args:
        names: Zoo names or paths.
        figures: Of the column; NaN where the cell is empty. Its unit is in the column's name; images per second are
            turned into the seconds of one batch of the setting.
        resolutions: Pixels that each was measured at; None for the networks' own.
        where: Names the table in messages.

    Raises:
        DataError: If a figure is missing, not finite or not positive, a network or the column's unit is unknown,
            a network stands there twice, or there are too few.
    """
    unit = _unit(column)
    if unit is None:
        raise DataError(
            f"{where}: the name of column {column!r} does not say its unit: call it {', '.join(_UNITS)} or {_RATES[0]}."
        )
    found: dict[Architecture, Measured] = {}
    for i, (name, figure) in enumerate(zip(names, figures, strict=True)):
        line = f"{where}, line {i + 2}"
        value = _positive(None if math.isnan(figure) else figure, line, column)
        try:
            network = load_architecture(name)
        except ArchitectureError as fault:
            raise DataError(f"{line}: {fault}") from None
        if resolutions is not None:
            side = resolutions[i]
            if not math.isfinite(side) or side != int(side) or not 1 <= side <= 8192:
                raise DataError(f"{line}: a resolution must be a whole number of pixels up to 8192, not {side:g}.")
            network = replace(network, input=replace(network.input, resolution=int(side)))
        if network in found:
            raise DataError(f"{line}: {name} stands there twice. Keep one of the lines.")
        seconds = setting.batch / value if unit in _RATES else value * _UNITS[unit]
        found[network] = Measured(architecture=network, latency_s=seconds)
    _check_count(list(found.values()), where, FEWEST)
    return list(found.values())


def _unit(column: str) -> str | None:
    """The unit that a column's name begins with, as a word: latency_std_ms is no latency in seconds."""
    return next((unit for unit in (*_UNITS, *_RATES) if re.match(rf"{unit}(?![a-z0-9])", column.lower())), None)


def latency_column(columns: Sequence[str], asked: str | None, where: str) -> str:
    """Returns the column of latencies: the one asked for, or the only one whose name says a unit.

    Raises:
        DataError: If there is none, or more than one.
    """
    known = [name for name in columns if _unit(name) is not None]
    if asked is not None or len(known) == 1:
        return asked or known[0]
    said = f"more than one column of latencies: {', '.join(known)[:200]}" if known else "no column of latencies"
    raise DataError(f"{where} has {said}. Name it by --column, such as latency_ms or images_per_s.")


def _positive(value: float | None, line: str, column: str) -> float:
    if value is None:
        raise DataError(f"{line}: {column} is missing. Fill it in, or leave out the line.")
    if not math.isfinite(value) or value <= 0:
        raise DataError(f"{line}: {column} must be a finite number above 0, but is {value:g}. Fix or drop the line.")
    return value


def _check_count(rows: Sequence[Measured], where: str, least: int) -> None:
    if len(rows) < least:
        raise LatencyError(f"{where} has {len(rows)} networks, too few to calibrate by: measure {least} or more.")
