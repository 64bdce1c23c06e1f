"""The metrics that a budget can bound, each declared once: units, how figures are written, how a search is held to it.

A search is held to a metric in one of two ways. Multiply-adds and parameters are *additive*: exact sums over the
decisions of a space's graph, so that an infeasible budget is proved to be one. Any other metric is *measured* per
architecture: what is sampled inside the additive budgets is measured, and rejected where it is above the bound.

A further metric is one object, declared anywhere before its first use::

    METRICS.add(Metric(name="layers", noun="layers", units={"layers": 1}, measure=count_layers))

Units are looked up in an exact table. Counts are read in any case, since a milli-FLOP means nothing; times and bytes
are read as written, since ``ms`` is not ``Ms`` and ``MB`` is not ``Mb``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from nas.architecture import Architecture
from nas.errors import BudgetError
from nas.registry import Registry, loaded

Measure: TypeAlias = Callable[..., int | float]
"""The figure of one architecture, which is given, followed by the budget's setting where the metric has one.

The same for the same architecture and setting, and finite; it is asked for more than once.
"""
Worth: TypeAlias = int | Fraction


class Guide(NamedTuple):
    """A sum over the blocks of a network that follows a measured metric, for sampling within a bound on it.

    Attributes:
        part: What one block or stage (its config) adds for one image of a shape: a whole number, not negative.
        bound: The largest sum of networks that may be within the metric's bound.
    """

    part: Callable[[Any, Any], int]
    bound: int


ADDITIVE = ("macs", "params")
"""The metrics that are exact sums over the decisions of a space's graph: what `nas.costs` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric that a budget can bound.

    Args:
        name: What a cost calls it, with its unit where it has one: "macs", "latency_s".
        noun: What messages call it: "multiply-adds".
        units: The units of a budget, as spelled in its canonical text, and what one of each is worth.
        written: The units that a budget is written in, from the largest worth to the smallest; by default, of the units
            of one worth the first.
        shown: How people read a figure, in the same form: the text after the number and what it is worth.
        whole: Whether figures are whole numbers.
        any_case: Whether units are read in upper and lower case alike.
        on_device: Whether a figure holds in one setting, which a budget may name, as in ``8ms@cpu:threads=2``.
        in_dtype: Whether a figure holds for one data type, which a budget may name, as in ``512KiB:dtype=int8``.
        measure: The figure of an architecture, where it is not additive; None if no search can be held to it. As
            "module:name" it is imported when it is first used.
        bounds: What is known of the figure before an architecture is whole: a `nas.sampling.measured_bounds.Bounds`,
            made of a space's costs and the budget's setting, so that fewer samples are rejected. None: nothing.
        guide: The `Guide` for a bound in a setting, so that fewer samples are rejected; None if there is none.
        remedy: What to use meanwhile, for the message that says so.
    """

    name: str
    noun: str
    units: Mapping[str, Worth] = field(hash=False)
    written: tuple[str, ...] = ()
    shown: tuple[tuple[str, Worth], ...] = ()
    whole: bool = True
    any_case: bool = True
    on_device: bool = False
    in_dtype: bool = False
    measure: Measure | str | None = None
    bounds: Callable[..., Any] | str | None = None
    guide: Callable[..., Guide | None] | str | None = None
    remedy: str = ""

    def __post_init__(self) -> None:
        assert self.units, f"metric {self.name} needs a unit"
        assert self.measure is None or not self.additive, f"{self.name} is counted, and cannot be measured"
        if not self.written:
            first = {worth: unit for unit, worth in reversed([*self.units.items()])}
            object.__setattr__(self, "written", tuple(first[worth] for worth in sorted(first, reverse=True)))
        if not self.shown:
            object.__setattr__(self, "shown", tuple((unit, self.units[unit]) for unit in self.written))

    @property
    def additive(self) -> bool:
        """Whether it is an exact sum over the decisions of a space's graph."""
        return self.name in ADDITIVE

    @property
    def short(self) -> str:
        """The name without its unit: "latency" of "latency_s"."""
        return self.name.removesuffix("_s").removesuffix("_bytes")

    @property
    def has_setting(self) -> bool:
        """Whether a figure depends on the setting, or a part of it."""
        return self.on_device or self.in_dtype

    @property
    def searchable(self) -> bool:
        """Whether a search can be held to a budget on it."""
        return self.additive or self.measure is not None

    def measurer(self, setting: Any) -> Callable[[Architecture], int | float] | None:
        """Returns what gives the figure of an architecture in a budget's setting; None if nothing does."""
        measure: Measure | None = loaded(self.measure)
        return partial(_measured_in, measure, setting) if measure and self.has_setting else measure

    def guiding(self, bound: float, setting: Any) -> Guide | None:
        """Returns the guide for a bound in a budget's setting; None if there is none."""
        guide = loaded(self.guide)
        return None if guide is None else guide(bound, setting)

    def format(self, value: float) -> str:
        """A figure for people: "4.20 GMACs", "25.04 M params", "8.00 ms"."""
        text, worth = next(
            (each for each in self.shown if round(float(Fraction(value) / each[1]), 2) >= 1), self.shown[-1]
        )
        number = float(Fraction(value) / worth)
        return f"{number:.0f} {text}" if self.whole and text == self.shown[-1][0] else f"{number:.2f} {text}"


def _measured_in(measure: Measure, setting: Any, architecture: Architecture) -> int | float:
    return measure(architecture, setting)


class Metrics(Registry[Metric]):
    """The metrics by name, and their units."""

    def __init__(self) -> None:
        super().__init__("budget metric", BudgetError)
        self.units: dict[str, tuple[Metric, Fraction]] = {}
        """Canonical spelling of a unit -> its metric, and what one of it is worth."""
        self.any_case: dict[str, str] = {}
        """Lower-case spelling -> canonical spelling, of the units that are read in any case."""

    def add(self, metric: Metric) -> None:
        """Declares a metric, or the same one again.

        Raises:
            BudgetError: If its name or one of its units is another metric's.
        """
        for unit in metric.units:
            owner = self.units.get(self.any_case.get(unit.lower(), unit))
            if owner is not None and owner[0].name != metric.name:
                raise BudgetError(f"The unit {unit!r} of {metric.name} is {owner[0].name}'s: give another.")
        if metric.name in self and self[metric.name].units == metric.units:
            self._items[metric.name] = metric
        self.register(metric.name)(metric)
        self._file_units(metric)

    def _file_units(self, metric: Metric) -> None:
        for unit, worth in metric.units.items():
            self.units[unit] = (metric, Fraction(worth))
            if metric.any_case:
                self.any_case[unit.lower()] = unit


def _scaled(words: tuple[str, ...], prefixes: Mapping[str, int]) -> dict[str, Worth]:
    return {prefix + word: factor for prefix, factor in prefixes.items() for word in words}


METRICS = Metrics()
METRICS.add(
    Metric(
        name="macs",
        noun="multiply-adds",
        # Papers of this field write "FLOPs" for multiply-adds.
        units=_scaled(("FLOPs", "FLOP", "MACs", "MAC"), {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}),
        shown=(("TMACs", 10**12), ("GMACs", 10**9), ("MMACs", 10**6), ("KMACs", 10**3), ("MACs", 1)),
    )
)
METRICS.add(
    Metric(
        name="params",
        noun="parameters",
        units=_scaled(("params", "param"), {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}),
        shown=(("B params", 10**9), ("M params", 10**6), ("K params", 10**3), ("params", 1)),
    )
)
METRICS.add(
    Metric(
        name="latency_s",
        noun="latency",
        units={"s": 1, "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6)},
        whole=False,
        any_case=False,
        on_device=True,
        measure="nas.latency.budgets:latency",
        guide="nas.latency.budgets:guide",
    )
)
METRICS.add(
    Metric(
        name="memory_bytes",
        noun="memory",
        units=_scaled(("B",), {"": 1, "K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9})
        | _scaled(("B",), {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}),
        written=("GB", "MB", "KB", "B"),
        any_case=False,
        in_dtype=True,
        measure="nas.costs.memory:measured_memory",
        bounds="nas.costs.memory_bounds:MemoryBounds",
    )
)
