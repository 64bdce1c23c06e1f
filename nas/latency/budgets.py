"""Latency budgets: the device model that holds a search to a latency, calibrated where there is none yet.

Every process has one model per setting at a time: `hold` finds or makes it before a search samples, `restore` puts that
of a stopped run in its place, so that a resumed search sees the same predictions whatever was calibrated since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any

from nas.architecture import Architecture, BlockConfig, StageConfig
from nas.budget import Budget
from nas.budget_metrics import Guide
from nas.errors import LatencyError
from nas.latency import store
from nas.latency.calibration import MOST_SPREAD, calibrate
from nas.latency.device_model import Device, DeviceModel
from nas.latency.measuring import Latency, measure_together
from nas.latency.runtimes import device_name, find_runtime
from nas.ops import Shape
from nas.progress import Progress
from nas.setting import Setting
from nas.spaces import SearchSpace

METRIC = "latency_s"
MARGIN = 1.1
"""How far a network may be faster than the sum of its blocks says, for the tables that guide sampling."""
MINUTES, NETWORKS, BLOCKS = 4.0, 96, 5
"""How long a calibration that a search makes by itself measures at most, the networks, and the blocks of each."""

_held: dict[Setting, DeviceModel] = {}


def device_here(setting: Setting) -> Device:
    """Returns what a setting is on this machine.

    Raises:
        OptionError: If its device or runtime is not there, with what to install.
    """
    setting = setting.resolved()
    runtime = find_runtime(setting)  # says what is missing, before the device is asked for its name
    return Device(name=device_name(setting.device), runtime=runtime.version(), setting=setting)


class Meter:
    """Measures latencies on the machine that it is made on."""

    def device(self, setting: Setting) -> Device:
        """As `device_here`."""
        return device_here(setting)

    def measure(
        self, architectures: Sequence[Architecture], setting: Setting, **how: Any
    ) -> list[Latency | LatencyError]:
        """As `measure_together`."""
        return measure_together(architectures, setting, **how)


MeterAt = Callable[[Setting], AbstractContextManager[Meter]]
"""Gives a meter on a machine with the setting's device."""


def _meter_here(_: Setting) -> AbstractContextManager[Meter]:
    return nullcontext(Meter())


def held_device(setting: Setting) -> str | None:
    """Returns the name of the device of the model that this process is held to; None if there is no model."""
    held = _held.get(setting.resolved())
    return None if held is None else held.device.name


def model_here(setting: Setting) -> DeviceModel | None:
    """Returns this device's model in a setting, the zoo's or else the newest; None where it is not calibrated.

    Raises:
        LatencyError: If the model is of other versions, with the differences, or its file is damaged.
    """
    held = _held.get(setting.resolved())
    return held if held is not None else store.find(device_here(setting))


def calibrate_here(
    setting: Setting, space: SearchSpace | None, *, minutes: float, networks: int, blocks: int, seed: int,
    progress: Progress, meter: Meter | None = None,
) -> DeviceModel:  # fmt: skip
    """Measures networks of a space (of the zoo where it is None) and fits a model to them.

    Args:
        meter: What measures; None is this machine.

    Raises:
        LatencyError: If the machine is too noisy.
        OptionError: If the device or runtime is not there.
    """
    meter = meter or Meter()
    return calibrate(
        space,
        meter.device(setting),
        partial(meter.measure, blocks=blocks, most_spread=MOST_SPREAD),
        minutes=minutes,
        networks=networks,
        seed=seed,
        progress=progress,
    )


def hold(
    budgets: Sequence[Budget],
    space: SearchSpace,
    *,
    seed: int,
    progress: Progress,
    meter_at: MeterAt = _meter_here,
    given: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Finds or makes the model of the budget on latency, if there is one, and holds this process to it.

    Args:
        meter_at: Where it is measured; by default here.
        given: Texts of the models of the run whose supernet is searched, by setting, which this process holds
            already. It has weights for what was fast enough by these, so that no other model takes the place of one.

    Returns:
        Their texts by their settings, to be kept with a run; empty without such a budget and without `given`.

    Raises:
        LatencyError: If the machine is too noisy to calibrate, or a model is of another device or of other versions.
        OptionError: If the device or runtime is not there.
    """
    texts = dict(given or {})
    for budget in budgets:
        if budget.metric != METRIC or budget.setting is None:
            continue
        setting = budget.setting.resolved()
        # What is held may be another space's, of an earlier search in this process.
        with meter_at(setting) as meter:
            if str(setting) in texts:
                model = _held[setting]
                different = model.device.differences(meter.device(setting))
                if different:
                    raise LatencyError(
                        f"--budget {budget}: the supernet was trained for latencies of another device or setting: "
                        f"{'; '.join(different)}. Leave out --supernet."
                    )
            else:
                model = store.find(meter.device(setting), space)
            if model is None:
                progress.note(
                    f"{setting} is not calibrated for {space.name} on this device: measuring networks for about "
                    f"{MINUTES:.0f} minutes first, once ({store.calibrating(setting, space)})"
                )
                model = calibrate_here(
                    setting,
                    space,
                    minutes=MINUTES,
                    networks=NETWORKS,
                    blocks=BLOCKS,
                    seed=seed,
                    progress=progress,
                    meter=meter,
                )
        error = model.error
        progress.note(
            f"Latencies at {setting} by a model of {model.networks} networks: its error on networks left out is "
            f"{error.mape:.1%} (mean), {error.within_10:.0%} within 10 %; finalists are measured"
        )
        _hold(setting, model)
        texts[str(setting)] = model.to_json()
    return texts


def restore(texts: Mapping[str, str], where: str) -> None:
    """Holds this process to the models of a stopped run.

    Raises:
        LatencyError: If one is damaged.
    """
    for setting, text in texts.items():
        _hold(Setting.parse(setting), DeviceModel.from_json(text, where))


def latency(architecture: Architecture, setting: Setting) -> float:
    """Returns the predicted latency of one inference of a whole batch, seconds.

    Raises:
        LatencyError: If no model is held or kept for the setting.
    """
    return _latency(architecture, setting.resolved())


def guide(bound: float, setting: Setting) -> Guide:
    """Returns the sum of predicted blocks, in nanoseconds, that tables are made of.

    Raises:
        LatencyError: As `latency`.
    """
    model = _model(setting.resolved())

    def part(config: BlockConfig | StageConfig, shape: Shape) -> int:
        return round(1e9 * model.predict_part(config, shape))

    return Guide(part=part, bound=int(1e9 * bound * MARGIN))


def _hold(setting: Setting, model: DeviceModel) -> None:
    _held[setting] = model
    _latency.cache_clear()


@lru_cache(maxsize=100_000)
def _latency(architecture: Architecture, setting: Setting) -> float:
    return _model(setting).predict(architecture)


def _model(setting: Setting) -> DeviceModel:
    model = model_here(setting)
    if model is None:
        raise LatencyError(
            f"{setting} is not calibrated on this device: run nas device calibrate --setting {setting}, "
            "or pass --space S with the space that you search."
        )
    _held[setting] = model
    return model
