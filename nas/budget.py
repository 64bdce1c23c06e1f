"""Budgets and costs: what a network may spend, and what one spends.

FLOPs: papers of this field write "FLOPs" for multiply-adds, and so does a budget: ``4.2GFLOPs`` and
``4.2GMACs`` are both 4.2e9 multiply-adds. The code says ``macs`` throughout. `nas.budget_metrics` declares the metrics.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from nas.budget_metrics import METRICS, Metric
from nas.errors import BudgetError, OptionError
from nas.registry import closest
from nas.setting import Setting, parse_values

# Of any unit: beyond every network.
_LARGEST = 10**18
_LONGEST = 100  # characters of a budget text
_EXAMPLES = "such as 4.2GFLOPs, 600MMACs or 25Mparams"
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one network spends on one image.

    Args:
        macs: Multiply-adds of one forward pass, attention's two matrix products included.
        params: Trainable parameters.
        latency_s: Median seconds of one forward pass, where it was measured.
        peak_memory_bytes: Largest number of bytes held during one forward pass, where it was measured.
        setting: Device, dtype, batch size and threads that the measured figures hold for.
        extra: The figures of further metrics, by their names.
    """

    macs: int
    params: int
    latency_s: float | None = None
    peak_memory_bytes: int | None = None
    setting: str = ""
    extra: Mapping[str, int | float] = field(default_factory=dict[str, int | float], hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "macs", int(self.macs))
        object.__setattr__(self, "params", int(self.params))

    def value(self, metric: str) -> int | float | None:
        """Returns the figure that a budget on `metric` bounds; None where it was not measured."""
        if metric in ("macs", "params", "latency_s"):
            return getattr(self, metric)
        if metric == "memory_bytes":
            return self.peak_memory_bytes
        assert metric in METRICS, f"metric (={metric!r}) must be one of {METRICS.names()}"
        return self.extra.get(metric)

    def measured(self, metric: str, value: int | float) -> Cost:
        """Returns the same cost with the figure of a metric that is not counted."""
        if metric in ("latency_s", "memory_bytes"):
            return replace(self, **{"peak_memory_bytes" if metric == "memory_bytes" else metric: value})
        return replace(self, extra={**self.extra, metric: value})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON; figures that were not measured are left out."""
        plain: dict[str, Any] = {"macs": self.macs, "params": self.params}
        if self.latency_s is not None:
            plain["latency_s"] = self.latency_s
        if self.peak_memory_bytes is not None:
            plain["peak_memory_bytes"] = self.peak_memory_bytes
        if self.setting:
            plain["setting"] = self.setting
        if self.extra:
            plain["extra"] = dict(sorted(self.extra.items()))
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Cost:
        """Reads what `to_dict` gave."""
        latency = plain.get("latency_s")
        memory = plain.get("peak_memory_bytes")
        return cls(
            macs=int(plain["macs"]),
            params=int(plain["params"]),
            latency_s=None if latency is None else float(latency),
            peak_memory_bytes=None if memory is None else int(memory),
            setting=str(plain.get("setting", "")),
            extra={str(k): v if isinstance(v, int) else float(v) for k, v in plain.get("extra", {}).items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A metric and the most of it that a network may spend.

    Args:
        metric: The name of one of `nas.budget_metrics.METRICS`.
        bound: The most that fits: whole multiply-adds, parameters or bytes, or seconds. Positive and finite.
        setting: What it holds for, where the metric depends on it: a latency's device, runtime, threads, batch and
            dtype, by default torch on the CPU; a memory's dtype alone, by default float32. None for other metrics.

    Raises:
        BudgetError: If the metric is unknown, the bound not positive and finite, or the metric has no such setting.
    """

    metric: str
    bound: int | float
    setting: Setting | None = None

    def __post_init__(self) -> None:
        metric = METRICS[self.metric]
        if not math.isfinite(self.bound) or not 0 < self.bound <= _LARGEST:
            raise BudgetError(
                f"A budget must be more than 0 and at most 1e18, but {self.metric} is {self.bound}: "
                f"give one {_EXAMPLES}."
            )
        if self.setting is None and metric.has_setting:
            object.__setattr__(self, "setting", Setting())
        if isinstance(cast("object", self.setting), str):
            raise BudgetError(f"setting must be a nas.Setting, but got {_shown(str(self.setting))}: use Setting.parse.")
        _check_setting(self.setting, metric)
        object.__setattr__(self, "bound", math.floor(self.bound) if metric.whole else float(self.bound))
        if self.bound < 1 and metric.whole:
            raise BudgetError(f"A budget of less than one in {metric.noun} fits nothing: raise it.")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads ``4.2GFLOPs``, ``25Mparams``, ``8ms@onnxruntime:threads=2``, ``200MB`` or ``512KiB:dtype=int8``.

        ``8ms`` is ``8ms@cpu``: torch on the CPU, a thread per core, one image, float32. ``200MB`` is of float32.

        Raises:
            BudgetError: If `text` is no budget: the rule, the text and what would work, in one line.
        """
        shown = _shown(text)
        # Splitting at blanks also takes the no-break space of "4.2 GFLOPs" on a web page.
        body, at, place = " ".join(text.split()).partition("@")
        body, colon, values = body.partition(":")
        number, unit_text = _split(body.strip(), shown)
        unit = _unit(unit_text, shown)
        metric, factor = METRICS.units[unit]
        setting = _parse_setting(place if at else None, values if colon else None, metric, shown)
        return cls(metric=metric.name, bound=_bound(number, factor, metric, shown), setting=setting)

    def allows(self, cost: Cost) -> bool:
        """Returns whether a network of this cost fits."""
        return self._of(cost) <= self.bound

    def share(self, cost: Cost) -> float:
        """Returns the share of the budget that a network of this cost spends; above 1 where it does not fit."""
        return self._of(cost) / self.bound

    def _of(self, cost: Cost) -> int | float:
        value = cost.value(self.metric)
        assert value is not None, f"a budget on {self.metric} needs a cost that was measured"
        return value

    def __str__(self) -> str:
        """The exact and canonical text: `Budget.parse(str(budget)) == budget`."""
        value = Fraction(Decimal(repr(self.bound)))
        metric = METRICS[self.metric]
        unit = next((u for u in metric.written if value >= metric.units[u]), metric.written[-1])
        worth = Fraction(metric.units[unit])
        number = f"{_exact_decimal(value / worth):f}"
        if metric.on_device:
            return f"{number}{unit}@{self.setting}"
        # What follows a device in a setting's text; the device itself is of no account here.
        return number + unit + str(self.setting or "").removeprefix("cpu")


def check_budgets(budgets: Iterable[Budget | str] | Budget | str) -> tuple[Budget, ...]:
    """Returns the budgets, if one search can be held to all of them; texts are parsed, and one stands for itself.

    Raises:
        BudgetError: If a text is no budget, one bounds what a search cannot be held to yet, or two bound the same
            metric.
    """
    given = (budgets,) if isinstance(budgets, Budget | str) else tuple(budgets)
    found = tuple(Budget.parse(each) if isinstance(each, str) else each for each in given)
    seen: dict[str, Budget] = {}
    for budget in found:
        if not isinstance(cast("object", budget), Budget):
            raise BudgetError(f"A budget must be a nas.Budget or its text, but got {_shown(str(budget))}: {_EXAMPLES}.")
        metric = METRICS[budget.metric]
        if not metric.searchable:
            meanwhile = f"; {metric.remedy}" if metric.remedy else ""
            raise BudgetError(
                f"{budget}: a search cannot be held to {metric.noun} yet. "
                f"Give multiply-adds or parameters, {_EXAMPLES}{meanwhile}."
            )
        if budget.metric in seen:
            raise BudgetError(f"{seen[budget.metric]} and {budget} both bound {metric.noun}: give one of them.")
        seen[budget.metric] = budget
    return found


def format_quantity(metric: str, value: int | float) -> str:
    """Returns a figure for people: "4.20 GMACs", "25.04 M params", "8.00 ms", "200.00 MB"."""
    return METRICS[metric].format(value)


def _shown(text: str) -> str:
    """Returns the text for a message: quoted, on one line, clipped."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _split(body: str, shown: str) -> tuple[str, str]:
    """Returns the number and the unit of a budget text, blanks inside the unit dropped."""
    if not body:
        raise BudgetError(f"A budget is a number and a unit, but got {shown}: give one {_EXAMPLES}.")
    if not body.isascii():
        raise BudgetError(f"A budget has plain digits and letters only, but got {shown}: give one {_EXAMPLES}.")
    if len(body) > _LONGEST:
        raise BudgetError(f"A budget has at most {_LONGEST} characters; {shown} has {len(body)}: round it.")
    if body.startswith(("-", "+")):
        raise BudgetError(f"A budget is a number without a sign, but got {shown}: give one {_EXAMPLES}.")
    match = _NUMBER.match(body)
    if match is None:
        raise BudgetError(f"A budget starts with a finite number, but got {shown}: give one {_EXAMPLES}.")
    unit = "".join(body[match.end() :].split())
    another = re.match(r"([A-Za-z]+?)(?:and|[^A-Za-z0-9])?[0-9].*[A-Za-z]", unit)
    if another and another[1].lower() in {known.lower() for known in METRICS.units}:
        raise BudgetError(f"{shown} is more than one budget: give each its own --budget, one per metric.")
    if re.match(r"[,_'.][0-9]|[0-9]", unit):
        raise BudgetError(f"{shown} has thousands separators or a decimal comma: write 4200MFLOPs or 4.2GFLOPs.")
    if not unit:
        raise BudgetError(f"{shown} has no unit: give a number and a unit, {_EXAMPLES}.")
    return match.group(), unit


def _unit(text: str, shown: str) -> str:
    """Returns the canonical spelling of a unit."""
    if text in METRICS.units:
        return text
    if text.lower() in METRICS.any_case:
        return METRICS.any_case[text.lower()]
    same = next((unit for unit in METRICS.units if unit.lower() == text.lower()), None)
    if text in ("K", "M", "G", "T", "k", "m", "g", "t"):
        same = f"{text.upper()}FLOPs"
    near = same or closest(text[:20], METRICS.units)
    hint = f"did you mean {near}?" if near else f"give a number and a unit, {_EXAMPLES}."
    raise BudgetError(f"Unknown unit {text[:20]!r} in {shown}: {hint}")


def _parse_setting(place: str | None, values: str | None, metric: Metric, shown: str) -> Setting | None:
    """Returns the setting of a budget text.

    Args:
        place: What follows the "@", None without one.
        values: What follows a ":" before any "@", None without one.
    """
    if place is not None and not metric.on_device:
        raise BudgetError(f"Only a time is held on a device, but got {shown}: leave out '@…'.")
    if values is not None and metric.on_device:
        raise BudgetError(f"The setting of a time follows an @, but got {shown}: write 8ms@cpu:threads=2.")
    if values is not None and not metric.in_dtype:
        raise BudgetError(f"{metric.noun.capitalize()} hold in every setting, but got {shown}: leave out ':…'.")
    try:
        if place is not None:
            return Setting.parse(place)
        return None if values is None else Setting(**parse_values("".join(values.split())))
    except OptionError as fault:
        raise BudgetError(f"{fault} The budget is {shown}.") from None


def _check_setting(setting: Setting | None, metric: Metric) -> None:
    if setting is None or metric.on_device:
        return
    if not metric.in_dtype:
        raise BudgetError(f"{metric.noun.capitalize()} hold in every setting, but got {setting}: leave it out.")
    if setting != Setting(dtype=setting.dtype):
        raise BudgetError(f"A budget of {metric.noun} has a dtype alone, but got {setting}: write 512KiB:dtype=int8.")


def _bound(number: str, factor: Fraction, metric: Metric, shown: str) -> int | float:
    """Returns the bound in the metric's own unit, rounded down so that it is never exceeded."""
    mantissa, _, exponent = number.lower().partition("e")
    value = Decimal(mantissa)
    # Magnitudes are compared before anything is expanded: 1e400000 written out is half a megabyte of digits.
    magnitude = value.adjusted() + int(exponent or 0)
    if not value or magnitude < -30:
        raise BudgetError(f"A budget must be more than 0, but got {shown}: give one {_EXAMPLES}.")
    exact = Fraction(value) * Fraction(10) ** int(exponent or 0) * factor if magnitude <= 18 else None
    if exact is None or exact > _LARGEST:
        raise BudgetError(f"No network spends as much as {shown}: give at most 1e18, {_EXAMPLES}.")
    if not metric.whole:
        return float(exact)
    if exact < 1:
        raise BudgetError(f"{shown} is less than one, which fits nothing: give one {_EXAMPLES}.")
    return math.floor(exact)


def _exact_decimal(value: Fraction) -> Decimal:
    """Returns `value` without rounding; its denominator has only the factors 2 and 5."""
    places = 0
    while value.denominator != 1:
        value *= 10
        places += 1
    return Decimal(value.numerator).scaleb(-places)
