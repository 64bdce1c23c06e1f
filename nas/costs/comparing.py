"""How two networks differ: op, depth, width, kernel and further parameters of each stage, and what that costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import chain, groupby, zip_longest
from typing import Any

from nas.architecture import Architecture, BlockConfig, StageConfig
from nas.costs.profiling import Profile, StageRow, describe_stage, profile
from nas.ops import OPS

# Of every op of a stage it is the stage's own, or follows from it.
_OF_STAGE = frozenset({"width"})
# What all layers but those that make the map smaller have: a deeper stage would seem to have another stride.
_NO_STRIDE = ("stride", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which two networks differ.

    Attributes:
        where: "input", "stem", "stage 3", "head".
        what: "depth", "width", "ops", or an op and its parameter: "mbconv kernel_size".
        a, b: Its value in each; None where a network has no such stage.
    """

    where: str
    what: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostDifference:
    """A cost of two networks, or of one part of them; None where a network has no such part."""

    where: str
    metric: str
    a: int | None
    b: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two networks side by side.

    Attributes:
        differences: Empty for equal networks.
        costs: Of the whole networks ("total": macs, params, memory_bytes), then of the parts in which they differ.
    """

    differences: tuple[Difference, ...]
    costs: tuple[CostDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as plain JSON."""
        return {
            "differences": [asdict(each) for each in self.differences],
            "costs": [asdict(each) for each in self.costs],
        }


def compare(a: Architecture, b: Architecture) -> Comparison:
    """Returns how two networks differ, and their exact costs, each counted at its own resolution.

    Stages are compared by their place. A parameter with other values in other layers has them in the order of the
    layers, without repetition: "3, 5".

    Raises:
        ArchitectureError: If the stages of a network do not fit one another.
    """
    profiles = profile(a), profile(b)
    found = list(_input(a, b))
    rows = {row.name: row for row in profiles[0].stages}, {row.name: row for row in profiles[1].stages}
    for where, first, second in _parts(a, b):
        found += _part(where, first, second, rows[0].get(where), rows[1].get(where))
    return Comparison(differences=tuple(found), costs=tuple(_costs(*profiles)))


def _parts(
    a: Architecture, b: Architecture
) -> Iterator[tuple[str, StageConfig | BlockConfig | None, StageConfig | BlockConfig | None]]:
    yield "stem", a.stem, b.stem
    for number, (first, second) in enumerate(zip_longest(a.stages, b.stages), start=1):
        yield f"stage {number}", first, second
    yield "head", a.head, b.head


def _input(a: Architecture, b: Architecture) -> Iterator[Difference]:
    for what in ("kind", "channels", "resolution"):
        first, second = str(getattr(a.input, what)), str(getattr(b.input, what))
        if first != second:
            yield Difference(where="input", what=what, a=first, b=second)


def _part(
    where: str,
    a: StageConfig | BlockConfig | None,
    b: StageConfig | BlockConfig | None,
    row_a: StageRow | None,
    row_b: StageRow | None,
) -> Iterator[Difference]:
    if a is None or b is None:
        only = [row.ops if row is not None else None for row in (row_a, row_b)]
        yield Difference(where=where, what="ops", a=only[0], b=only[1])
        return
    if a == b:
        return
    assert row_a is not None, "every part has a row"
    assert row_b is not None, "every part has a row"
    for what in ("depth", "width"):
        if (first := getattr(row_a, what)) != (second := getattr(row_b, what)):
            yield Difference(where=where, what=what, a=str(first), b=str(second))
    ops = _ops(a), _ops(b)
    if ops[0]["ops"] != ops[1]["ops"]:  # described with their parameters, of which hardly two would be comparable
        yield Difference(where=where, what="ops", a=_described(a, row_a), b=_described(b, row_b))
        return
    for what in ("norm", "shortcut"):
        if (first := ops[0][what]) != (second := ops[1][what]):
            yield Difference(where=where, what=what, a=first, b=second)
    values = _parameters(a), _parameters(b)
    for op, parameter in dict.fromkeys([*values[0], *values[1]]):
        first, second = (each.get((op, parameter)) for each in values)
        if first != second:
            yield Difference(where=where, what=f"{op} {parameter}", a=first, b=second)


def _described(part: StageConfig | BlockConfig, row: StageRow) -> str:
    return describe_stage(part, row.width) if isinstance(part, StageConfig) else row.ops


def _ops(part: StageConfig | BlockConfig) -> dict[str, str]:
    """Returns the names of the ops of a part's mixers, norms and shortcuts, in the order of its layers.

    Repetitions are left out, so that a stage that is only deeper has the same.
    """
    if isinstance(part, BlockConfig):
        return {"ops": _names([part]), "norm": "", "shortcut": ""}
    branches = [branch for layer in part.layers for branch in layer.branches]
    mixers = [[branch.mixer for branch in layer.branches] for layer in part.layers]
    first = [] if part.transition is None else [[part.transition]]
    return {
        "ops": ", ".join(name for name, _ in groupby(map(_names, [*first, *mixers]))),
        **{
            kind: ", ".join(dict.fromkeys(_names([block]) for each in branches if (block := getattr(each, kind))))
            for kind in ("norm", "shortcut")
        },
    }


def _names(blocks: Iterable[BlockConfig]) -> str:
    return " + ".join(inner.op for block in blocks for inner in _nested(block))


def _layers(stage: StageConfig) -> Iterator[list[BlockConfig]]:
    if stage.transition is not None:
        yield [stage.transition]
    for layer in stage.layers:
        yield [
            block
            for branch in layer.branches
            for block in (branch.norm, branch.mixer, branch.shortcut)
            if block is not None
        ]


def _parameters(part: StageConfig | BlockConfig) -> dict[tuple[str, str], str]:
    """Returns the values of each parameter, by op and its name, in the order of the layers."""
    blocks: Iterable[BlockConfig] = [part] if isinstance(part, BlockConfig) else chain.from_iterable(_layers(part))
    found: dict[tuple[str, str], list[str]] = {}
    for block in (inner for each in blocks for inner in _nested(each)):
        for name, default in _defaults(block.op).items():
            value = block.get(name, default)
            if name not in _OF_STAGE and not _is_block(value):
                values = found.setdefault((block.op, name), [])
                if (name, value) != _NO_STRIDE:
                    values.append(_shown(value))
    if isinstance(part, StageConfig):
        for branch in (branch for layer in part.layers for branch in layer.branches):
            found.setdefault((branch.mixer.op, "layer scale"), []).append(_shown(branch.scale))
    return {key: ", ".join(value for value, _ in groupby(values)) or "1" for key, values in found.items()}


@cache
def _defaults(op: str) -> dict[str, Any]:
    """Returns the parameters of an op and their defaults; None for those that every config gives."""
    return {
        each.name: None if each.default is dataclasses.MISSING else each.default
        for each in dataclasses.fields(OPS[op].Config)
    }


def _nested(block: BlockConfig) -> Iterator[BlockConfig]:
    yield block
    for _, value in block.params:
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, BlockConfig):
                yield from _nested(item)


def _is_block(value: object) -> bool:
    return isinstance(value, BlockConfig) or (isinstance(value, tuple) and any(map(_is_block, value)))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "x".join(map(_shown, value))
    return "none" if value is None else str(value)


def _costs(a: Profile, b: Profile) -> Iterator[CostDifference]:
    for metric, name in (("macs", "macs"), ("params", "params"), ("memory_bytes", "peak_memory_bytes")):
        yield CostDifference(where="total", metric=metric, a=getattr(a, name), b=getattr(b, name))
    rows = {row.name: row for row in a.stages}, {row.name: row for row in b.stages}
    for where in max(rows, key=len):  # the deeper network has every part of the other one
        first, second = rows[0].get(where), rows[1].get(where)
        for metric in ("macs", "params"):
            values = [None if row is None else getattr(row, metric) for row in (first, second)]
            if values[0] != values[1]:
                yield CostDifference(where=where, metric=metric, a=values[0], b=values[1])
