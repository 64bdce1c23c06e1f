"""Stages whose layers come in runs: some of them change the map, so that only whole runs can be left out or added."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from nas.architecture import LayerConfig
from nas.spaces.derive.facts import Fitting, Shape
from nas.spaces.derive.kinds import Kind, kind_of

MOST_VALUES, MOST_COUNTS = 2, 2
Segments: TypeAlias = "list[tuple[LayerConfig, int]]"
"""Layers, each with how often it comes in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRun:
    """A stage as runs of layers.

    Attributes:
        letter: A if any of its layers has attention, else M or C.
        first, rest: Templates of the first run and of the others; `rest` is empty where the stage is one run.
        choices, typical: What may vary, and what it is in the network.
        units: Number of runs.
    """

    letter: str
    first: dict[str, Any]
    rest: dict[str, Any]
    choices: dict[str, list[Any]]
    typical: dict[str, Any]
    units: int

    def works(self, width: int, before: Shape, after: Shape, fitting: Fitting) -> bool:
        """Whether runs lead from one map to the other and keep that, with the network's and with extreme values."""
        corners = [self.typical, *({name: values[end] for name, values in self.choices.items()} for end in (0, -1))]
        for values in corners:
            always = {**values, "width": width, "stride": 1}
            if fitting.layers(self.first, always, before) != after:
                return False
            if self.rest and fitting.layers(self.rest, always, after) != after:
                return False
        return True


def run_of(layers: tuple[LayerConfig, ...], before: Shape, after: Shape, fitting: Fitting) -> LayerRun | None:
    """A stage's layers as runs; None if they lead to no map that further runs could keep."""
    segments = [(layer, len(list(same))) for layer, same in groupby(layers)]
    for begin, period in _periods(len(segments)):
        rest = segments[begin : begin + period]
        if period and any(segments[i] != segments[i - period] for i in range(begin + period, len(segments))):
            continue
        units = 1 + (len(segments) - begin) // period if period else 1
        found = _run(segments[:begin], rest, units, after[0], fitting)
        if found.works(after[0], before, after, fitting):
            return found
    return None


def _periods(count: int) -> list[tuple[int, int]]:
    """How many segments the first run may have, and every other one: the shortest first, one run for all at last."""
    found = [(b, p) for b in range(1, count) for p in range(1, count - b + 1) if (count - b) % p == 0]
    return [*sorted(found, key=lambda pair: (sum(pair), pair)), (count, 0)]


def _run(first: Segments, rest: Segments, units: int, width: int, fitting: Fitting) -> LayerRun:
    choices: dict[str, list[Any]] = {}
    typical: dict[str, Any] = {}

    def share(word: str, value: Any, values: list[Any], most: int) -> Any:
        """The name of a choice of this value, a new one while there is room; else the value itself."""
        same = [name for name in choices if name.startswith(word)]
        known = next((name for name in same if typical[name] == value and choices[name] == values), None)
        if known is not None:
            return f"${known}"
        if len(same) >= most or (
            sum(not name.startswith("count") for name in choices) >= MOST_VALUES and word != "count"
        ):
            return value
        name = word if not same else f"{word}_{len(same) + 1}"
        choices[name], typical[name] = values, value
        return f"${name}"

    def written(segments: Segments) -> dict[str, Any]:
        layers: list[dict[str, Any]] = []
        for layer, times in segments:
            kind = kind_of({0: layer}, width, fitting)
            assert kind is not None
            values = {f"${name}": share(name, kind.typical[name], kind.choices[name], 1) for name in kind.choices}
            repeat = share("count", times, fitting.steps.depths(times), MOST_COUNTS) if times > 1 else 1
            layers.append({**({"repeat": repeat} if repeat != 1 else {}), **_replaced(kind, values)})
        return {"layers": layers}

    begin, more = written(first), written(rest) if rest else {}
    letters = {fitting.facts.letter(layer) for layer, _ in [*first, *rest]}
    letter = next(each for each in "AMC" if each in letters)
    return LayerRun(letter=letter, first=begin, rest=more, choices=choices, typical=typical, units=units)


def _replaced(kind: Kind, values: dict[str, Any]) -> dict[str, Any]:
    def replace(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: replace(item) for key, item in data.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(data, list):
            return [replace(item) for item in data]  # pyright: ignore[reportUnknownVariableType]
        return values.get(data, data) if isinstance(data, str) else data

    return replace(kind.template)
