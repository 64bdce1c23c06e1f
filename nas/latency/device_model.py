"""The latency model of one device in one setting: a positive sum over work, and a correction fitted to measurements.

A model is a JSON file: device, versions, setting, date, its own error on networks that it was not fitted to, and the
numbers that predict. What is read is checked strictly; a model of another device, version or setting is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgspec
import numpy as np

from nas.architecture import Architecture, BlockConfig, BranchConfig, StageConfig
from nas.errors import LatencyError, NasError
from nas.latency.correction import DIMENSIONS, Correction, Networks, Scales, fit_correction
from nas.latency.features import COLUMNS, BlockWork, block_work, blocks_of, part_blocks, total_work
from nas.latency.model_error import PredictionError, baseline_predictions, prediction_error
from nas.latency.work_model import fit_rates
from nas.ops import Shape
from nas.setting import Setting
from nas.version import __version__

FORMAT = 1
FEWEST = 5
"""The fewest networks that a model is fitted to."""
MODEL = "model"
_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a model holds for.

    Attributes:
        name: The device's model, as `nas.latency.runtimes.device_name` gives it, or what an imported table says.
        runtime: What runs the networks, with its version: "torch 2.8.0".
        setting: With its threads resolved.
        version: Of this package: its ops may be faster or slower in another.
    """

    name: str
    runtime: str
    setting: Setting
    version: str = __version__

    def differences(self, other: Device) -> list[str]:
        """Returns what differs, each as "runtime torch 2.7.0, not torch 2.8.0"; `other` is what was asked for."""
        return [
            f"{each.name} {getattr(self, each.name)}, not {getattr(other, each.name)}"
            for each in fields(self)
            if getattr(self, each.name) != getattr(other, each.name)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceModel:
    """Predicts the latency of any architecture on one device in one setting.

    Attributes:
        device: What it holds for.
        space: The name of the space whose networks it was fitted to; "" for a zoo or a table.
        source: "measured", or the name of the table that it was imported from.
        created: Date and time in UTC, ISO 8601.
        folded: Whether the networks ran with branches and BatchNorms folded.
        networks: Networks that it was fitted to.
        errors: By "model" and the names of the baselines, the errors on networks left out of the fit.
        rates: Seconds per unit of each of `COLUMNS`.
        correction: Of the sum of rates times work.
    """

    device: Device
    space: str
    source: str
    created: str
    folded: bool
    networks: int
    errors: Mapping[str, PredictionError]
    rates: np.ndarray = field(repr=False)
    correction: Correction = field(repr=False)

    @property
    def error(self) -> PredictionError:
        """Its own error on networks that it was not fitted to."""
        return self.errors[MODEL]

    def predict(self, architecture: Architecture) -> float:
        """Returns the latency of one inference of a whole batch, seconds.

        Raises:
            ArchitectureError: If the network's stages do not fit one another.
        """
        return float(self.predict_all([architecture])[0])

    def predict_all(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Returns the latencies of many architectures, seconds, (n,); see `predict`."""
        found = [blocks_of(architecture, folded=self.folded) for architecture in architectures]
        return predict_blocks(self.rates, self.correction, found)

    def predict_block(self, config: BlockConfig | BranchConfig, shape: Shape) -> float:
        """Returns the additive part of the latency that one block contributes, seconds.

        Sums of it are what a network takes but for the deviation of whole networks: what bounds and orders layouts.

        Args:
            config: A stem, transition, branch or head.
            shape: Of its input.
        """
        networks = Networks([[block_work(config, shape, folded=self.folded)]], self.rates)
        return float(networks.seconds[0] * np.exp(self.correction.blocks(networks)[0]))

    def predict_part(self, config: BlockConfig | StageConfig, shape: Shape) -> float:
        """Returns the sum of `predict_block` over a stem, a head, or all blocks of a stage, seconds.

        Args:
            shape: Of its input.
        """
        found = Networks([part_blocks(config, shape, folded=self.folded)], self.rates)
        return float(found.seconds[0] * (found.shares[0] @ np.exp(self.correction.blocks(found))))

    def check(self, device: Device, name: str, command: str) -> None:
        """Checks that the model holds for a device.

        Args:
            name: Of the model, for the message.
            command: What makes another, for the message.

        Raises:
            LatencyError: If it does not, naming each difference.
        """
        different = self.device.differences(device)
        if different:
            raise LatencyError(
                f"The calibration {name} is of another device, setting or version: {'; '.join(different)}. "
                f"Make a new one: {command}."
            )

    def to_json(self) -> str:
        """Returns the model as the text of its file."""
        correction = {
            each.name: value.tolist() if isinstance(value, np.ndarray) else value
            for each in fields(self.correction)
            if each.name != "scales"
            for value in (getattr(self.correction, each.name),)
        }
        plain = {
            "format": FORMAT,
            "device": {**asdict(self.device), "setting": str(self.device.setting)},
            "space": self.space,
            "source": self.source,
            "created": self.created,
            "folded": self.folded,
            "networks": self.networks,
            "errors": {name: error.to_dict() for name, error in self.errors.items()},
            "rates": dict(zip(COLUMNS, self.rates.tolist(), strict=True)),
            "correction": {"scales": asdict(self.correction.scales), **correction},
        }
        return json.dumps(plain, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> DeviceModel:
        """Reads what `to_json` gave.

        Args:
            where: Names the file in messages.

        Raises:
            LatencyError: If it is not JSON, of another format, lacks a part or has one of the wrong type or size.
        """
        try:
            file = msgspec.json.decode(text, type=_File)
            return cls(**_checked(file))
        except (msgspec.DecodeError, ValueError, NasError) as fault:
            raise LatencyError(
                f"{where} is not a calibration that this version reads: {str(fault)[:160]}. "
                "Make it again by nas device calibrate --recalibrate or nas device import."
            ) from None


def fit(
    networks: Sequence[Sequence[BlockWork]], seconds: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, Correction]:
    """Returns the rates and the correction fitted to measured networks.

    Args:
        networks: Each as its blocks.
        seconds: Their latencies, positive.
    """
    measured = np.asarray(seconds, dtype=float)
    rates = fit_rates(np.array([total_work(blocks) for blocks in networks]), measured)
    known = Networks(networks, rates)
    return rates, fit_correction(known, np.log(measured / known.seconds))


def predict_blocks(rates: np.ndarray, correction: Correction, networks: Sequence[Sequence[BlockWork]]) -> np.ndarray:
    """Returns the latencies of networks given as blocks, seconds, (n,)."""
    asked = Networks(networks, rates)
    return asked.seconds * np.exp(correction.predict(asked))


def held_out_errors(
    networks: Sequence[Sequence[BlockWork]], seconds: np.ndarray, judged: Sequence[int] | None = None
) -> dict[str, PredictionError]:
    """Returns the errors of the model and of the baselines on networks left out of the fit, by five folds.

    Args:
        judged: The networks to judge by, which are split into the folds; the others are always fitted to. None, or
            none of them: all.
    """
    order = list(judged or range(len(networks)))
    folds = min(_FOLDS, len(order))
    predicted: dict[str, np.ndarray] = {}
    for fold in range(folds):
        out = order[fold::folds]
        kept = sorted(set(range(len(networks))) - set(out))
        known, asked = [networks[i] for i in kept], [networks[i] for i in out]
        found = {
            MODEL: predict_blocks(*fit(known, seconds[kept]), asked),
            **baseline_predictions(known, seconds[kept], asked),
        }
        for name, values in found.items():
            predicted.setdefault(name, np.zeros(len(networks)))[out] = values
    return {name: prediction_error(values[order], seconds[order]) for name, values in predicted.items()}


class _DeviceRecord(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    runtime: str
    setting: str
    version: str


class _ErrorRecord(msgspec.Struct, forbid_unknown_fields=True):
    mape: float
    within_5: float
    within_10: float
    spearman: float | None
    n: int


class _ScalesRecord(msgspec.Struct, forbid_unknown_fields=True):
    block: float
    block_length: float
    single: float
    network: float
    network_length: float
    noise: float


class _CorrectionRecord(msgspec.Struct, forbid_unknown_fields=True):
    scales: _ScalesRecord
    keys: list[str]
    points: list[list[float]]
    weights: list[float]
    wholes: list[list[float]]
    whole_weights: list[float]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    device: _DeviceRecord
    space: str
    source: str
    created: str
    folded: bool
    networks: int
    errors: dict[str, _ErrorRecord]
    rates: dict[str, float]
    correction: _CorrectionRecord


def _checked(file: _File) -> dict[str, Any]:
    """Returns a file's parts as those of a model.

    Raises:
        ValueError: If one cannot be right.
    """
    if file.format != FORMAT:
        raise ValueError(f"its format is {file.format}, not {FORMAT}")
    if tuple(file.rates) != COLUMNS or not all(0 < rate < math.inf for rate in file.rates.values()):
        raise ValueError("its rates must be positive, one per kind of work")
    if MODEL not in file.errors:
        raise ValueError(f"its errors lack {MODEL!r}")
    read = file.correction
    scales = msgspec.structs.asdict(read.scales)
    if not all(0 < value < math.inf for value in scales.values()):
        raise ValueError("the scales of its correction must be positive")
    points, wholes = np.array(read.points, dtype=float), np.array(read.wholes, dtype=float)
    if points.shape != (len(read.keys), DIMENSIONS) or len(points) != len(read.weights):
        raise ValueError("the blocks of its correction need a key, a point and a weight each")
    if wholes.shape != (len(read.whole_weights), DIMENSIONS):
        raise ValueError("the networks of its correction need a point and a weight each")
    numbers = {"weights": np.array(read.weights), "whole_weights": np.array(read.whole_weights)}
    if not all(np.isfinite(values).all() for values in (points, wholes, *numbers.values())):
        raise ValueError("the numbers of its correction must be finite")
    device = msgspec.structs.asdict(file.device)
    return {
        "device": Device(**{**device, "setting": Setting.parse(file.device.setting)}),
        "space": file.space,
        "source": file.source,
        "created": file.created,
        "folded": file.folded,
        "networks": file.networks,
        "errors": {name: PredictionError(**msgspec.structs.asdict(each)) for name, each in file.errors.items()},
        "rates": np.array(list(file.rates.values())),
        "correction": Correction(
            scales=Scales(**scales), keys=tuple(read.keys), points=points, wholes=wholes, **numbers
        ),
    }
