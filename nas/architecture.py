"""Architectures as plain values: input, stem, stages of layers of residual branches, head.

The grammar is the same for every hybrid: a stage is an optional transition and a list of layers, a layer is a list of
residual branches, a branch is `shortcut(x) + scale * mixer(norm(x))`. What a block computes is defined in
`nas.ops`; here it is a name with parameters. In memory every layer is spelled out; in YAML a run of equal layers is
written once with `repeat`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, SupportsIndex, TypeAlias, cast

from nas.errors import ArchitectureError
from nas.file_formats import FORMAT, check_format, digest_of, upgrade
from nas.strict_yaml import dump_yaml, parse_yaml

MAX_LAYERS = 1000
MAX_STAGES = 100
MAX_CLASSES = 1_000_000
Value: TypeAlias = "int | float | str | bool | BlockConfig | tuple[Value, ...] | None"


def whole(name: str, value: object, most: int) -> int:
    """Returns a whole number from 1 to `most` as an int, that of another library too.

    Raises:
        ArchitectureError: If it is none.
    """
    number = None if isinstance(value, bool) or not isinstance(value, SupportsIndex) else value.__index__()
    if number is None or not 1 <= number <= most:
        raise ArchitectureError(f"{name} must be a whole number from 1 to {most}, not {value!r}.")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """Input of the network: `channels` maps of `resolution` x `resolution` pixels."""

    kind: str = "image"
    channels: int = 3
    resolution: int = 224

    def __post_init__(self) -> None:
        if self.kind != "image":
            raise ArchitectureError(f"input.kind must be 'image', not {self.kind!r}.")
        for name in ("channels", "resolution"):
            object.__setattr__(self, name, whole(f"input.{name}", getattr(self, name), 8192))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "channels": self.channels, "resolution": self.resolution}

    @classmethod
    def from_dict(cls, data: object) -> InputConfig:
        return cls(**_mapping(data, "input", {"kind", "channels", "resolution"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """Block: an op's name and its parameters, sorted by name, which may be blocks or tuples of blocks themselves.

    Whole floats are kept as int, since 4 and 4.0 are equal but would be written, and so digested, differently.
    """

    op: str
    params: tuple[tuple[str, Value], ...] = ()
    # Searches hash the same few blocks millions of times.
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        params = tuple(sorted((key, _canonical(value)) for key, value in self.params))
        object.__setattr__(self, "params", params)
        object.__setattr__(self, "_hash", hash((self.op, params)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (BlockConfig, self.to_dict())

    def __getitem__(self, key: str) -> Value:
        for name, value in self.params:
            if name == key:
                return value
        raise KeyError(key)

    def get(self, key: str, default: Value = None) -> Value:
        return next((value for name, value in self.params if name == key), default)

    def having(self, changes: Mapping[str, Value]) -> BlockConfig:
        """Returns the same block with some parameters changed."""
        return BlockConfig(op=self.op, params=tuple({**dict(self.params), **changes}.items()))

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, **{key: _plain(value) for key, value in self.params}}

    @classmethod
    def from_dict(cls, data: object, where: str = "block") -> BlockConfig:
        found: Mapping[Any, Any] = cast("Mapping[Any, Any]", data) if isinstance(data, Mapping) else {}
        if not isinstance(found.get("op"), str):
            shown = _short(cast("object", data))
            raise ArchitectureError(f"{where} must be a mapping with the name of its 'op', not {shown}.")
        params: list[tuple[str, Value]] = []
        for key, value in found.items():
            if not isinstance(key, str):
                raise ArchitectureError(f"{where}: parameter names must be words, not {_short(key)}.")
            if key != "op":
                params.append((key, _from_plain(value, f"{where}.{key}")))
        return cls(op=found["op"], params=tuple(params))


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchConfig:
    """Residual branch `shortcut(x) + scale * mixer(norm(x))`.

    Attributes:
        mixer: What the branch computes.
        norm: Normalization before the mixer; None for none.
        shortcut: None for the identity; the op `none` for a branch without residual connection.
        scale: Initial value of a learned scale per channel (layer scale); None for none.
    """

    mixer: BlockConfig
    norm: BlockConfig | None = None
    shortcut: BlockConfig | None = None
    scale: float | None = None

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"norm": self.norm, "mixer": self.mixer, "shortcut": self.shortcut}
        data = {key: block.to_dict() for key, block in data.items() if block is not None}
        return data if self.scale is None else {**data, "scale": self.scale}

    @classmethod
    def from_dict(cls, data: object, where: str = "branch") -> BranchConfig:
        known = _mapping(data, where, {"norm", "mixer", "shortcut", "scale"}, needed=("mixer",))
        scale = known.pop("scale", None)
        if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e3):
            raise ArchitectureError(f"{where}.scale must be a number above 0 and below 1000, not {_short(scale)}.")
        blocks = {
            key: None if value is None and key != "mixer" else BlockConfig.from_dict(value, f"{where}.{key}")
            for key, value in known.items()
        }
        return cls(**blocks, scale=None if scale is None else float(scale))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """Residual branches applied one after another."""

    branches: tuple[BranchConfig, ...]
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.branches))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (LayerConfig, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {"branches": [branch.to_dict() for branch in self.branches]}

    @classmethod
    def from_dict(cls, data: object, where: str = "layer") -> LayerConfig:
        branches = _mapping(data, where, {"branches"}, needed=("branches",))["branches"]
        items = _list(branches, f"{where}.branches", least=1)
        return cls(branches=tuple(BranchConfig.from_dict(b, f"{where}.branches[{i}]") for i, b in enumerate(items)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """Layers at one resolution, after an optional transition to it."""

    layers: tuple[LayerConfig, ...]
    transition: BlockConfig | None = None
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.layers, self.transition)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (StageConfig, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        layers: list[dict[str, Any]] = []
        for layer, run in groupby(self.layers):
            count = len(list(run))
            layers.append({"repeat": count, **layer.to_dict()} if count > 1 else layer.to_dict())
        return {**({"transition": self.transition.to_dict()} if self.transition else {}), "layers": layers}

    @classmethod
    def from_dict(cls, data: object, where: str = "stage") -> StageConfig:
        known = _mapping(data, where, {"transition", "layers"}, needed=("layers",))
        transition = known.get("transition")
        layers: list[LayerConfig] = []
        for i, item in enumerate(_list(known["layers"], f"{where}.layers")):
            spot = f"{where}.layers[{i}]"
            item = _mapping(item, spot, {"repeat", "branches"}, needed=("branches",))
            repeat = item.pop("repeat", 1)
            if type(repeat) is not int or not 1 <= repeat <= MAX_LAYERS:
                raise ArchitectureError(f"{spot}.repeat must be a whole number from 1 to {MAX_LAYERS}, not {repeat!r}.")
            if len(layers) + repeat > MAX_LAYERS:
                raise ArchitectureError(f"{where} may have at most {MAX_LAYERS} layers: lower repeat.")
            layers.extend([LayerConfig.from_dict(item, spot)] * repeat)
        return cls(
            layers=tuple(layers),
            transition=None if transition is None else BlockConfig.from_dict(transition, f"{where}.transition"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Architecture of one network, complete by itself: it names no search space.

    Equal architectures have equal `digest`s, in every process and on every machine.
    """

    input: InputConfig
    stem: BlockConfig
    stages: tuple[StageConfig, ...]
    head: BlockConfig

    @property
    def num_classes(self) -> int:
        classes = self.head.get("num_classes")
        assert isinstance(classes, int), "nas.ops checks that a head has num_classes"
        return classes

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over the canonical JSON."""
        return digest_of(self.to_dict())

    def at_resolution(self, resolution: int) -> Architecture:
        """Returns the same network for images of another size."""
        return replace(self, input=replace(self.input, resolution=resolution))

    def with_channels(self, channels: int) -> Architecture:
        """Returns the same network for images of another number of channels."""
        return replace(self, input=replace(self.input, channels=channels))

    def with_classes(self, num_classes: int) -> Architecture:
        """Returns the same network for another number of classes."""
        classes = whole("num_classes", num_classes, MAX_CLASSES)
        return replace(self, head=self.head.having({"num_classes": classes}))

    def blocks(self) -> Iterator[tuple[str, BlockConfig]]:
        """Yields every block but nested ones with its place, such as `stages[2].layers[0].branches[1].mixer`."""
        yield "stem", self.stem
        for s, stage in enumerate(self.stages):
            if stage.transition:
                yield f"stages[{s}].transition", stage.transition
            for i, layer in enumerate(stage.layers):
                for j, branch in enumerate(layer.branches):
                    for name in ("norm", "mixer", "shortcut"):
                        block = getattr(branch, name)
                        if block is not None:
                            yield f"stages[{s}].layers[{i}].branches[{j}].{name}", block
        yield "head", self.head

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "input": self.input.to_dict(),
            "stem": self.stem.to_dict(),
            "stages": [stage.to_dict() for stage in self.stages],
            "head": self.head.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: object) -> Architecture:
        """Reads what `to_dict` wrote, in any format so far; a section `about` is for people and is ignored.

        Raises:
            ArchitectureError: If a part is missing, unknown or of the wrong type.
        """
        parts = {"format", "about", "input", "stem", "stages", "head"}
        known = _mapping(data, "architecture", parts, needed=("format", "stem", "stages", "head"))
        check_format(known["format"], "architecture", ArchitectureError)
        if known["format"] < FORMAT:
            known = upgrade(known)
        stages = tuple(
            StageConfig.from_dict(stage, f"stages[{i}]")
            for i, stage in enumerate(_list(known["stages"], "stages", most=MAX_STAGES))
        )
        if sum(len(stage.layers) for stage in stages) > MAX_LAYERS:
            raise ArchitectureError(f"An architecture may have at most {MAX_LAYERS} layers: lower repeat.")
        return cls(
            input=InputConfig.from_dict(known.get("input", {})),
            stem=BlockConfig.from_dict(known["stem"], "stem"),
            stages=stages,
            head=BlockConfig.from_dict(known["head"], "head"),
        )

    def to_yaml(self) -> str:
        return dump_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str, *, where: str = "architecture") -> Architecture:
        """Reads YAML text. Parameters are checked, and defaults dropped, by `nas.load_architecture`.

        Raises:
            ArchitectureError: If it is not strict YAML or not an architecture.
        """
        return cls.from_dict(parse_yaml(text, where=where, error=ArchitectureError))


def _canonical(value: Value) -> Value:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ArchitectureError(f"A parameter must be a finite number, not {value}.")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, tuple):
        return tuple(_canonical(item) for item in value)
    return value


def _plain(value: Value) -> Any:
    if isinstance(value, BlockConfig):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _from_plain(value: object, where: str) -> Value:
    if isinstance(value, Mapping):
        return BlockConfig.from_dict(cast("Mapping[Any, Any]", value), where)
    if isinstance(value, list | tuple):
        return tuple(_from_plain(item, f"{where}[{i}]") for i, item in enumerate(cast("list[Any]", value)))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArchitectureError(f"{where} must be a number, a word, a list or a block, not {_short(value)}.")


def op_names(data: object) -> Iterator[str]:
    """Yields every op that plain data of an architecture, or of a part, mention, nested ones too."""
    if isinstance(data, Mapping):
        found = cast("Mapping[str, object]", data)
        if "op" in found:
            yield str(found["op"])
        for value in found.values():
            yield from op_names(value)
    elif isinstance(data, list | tuple):
        for item in cast("list[object]", data):
            yield from op_names(item)


def _mapping(data: object, where: str, known: set[str], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ArchitectureError(f"{where} must be a mapping, not {_short(data)}.")
    found = cast("Mapping[Any, Any]", data)
    for key in found:
        if key not in known:
            raise ArchitectureError(f"{where} has an unknown key {_short(key)}. Known: {', '.join(sorted(known))}.")
    for key in needed:
        if key not in found:
            raise ArchitectureError(f"{where} lacks {key!r}.")
    return dict(found)


def _list(data: object, where: str, least: int = 0, most: int = MAX_LAYERS) -> list[Any]:
    found = list(cast("list[Any]", data)) if isinstance(data, list | tuple) else None
    if found is None or not least <= len(found) <= most:
        shown = _short(cast("object", data))
        raise ArchitectureError(f"{where} must be a list of {least} to {most} entries, not {shown}.")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _rebuild(kind: Any, data: dict[str, Any]) -> Any:
    # Cached hashes of strings differ between processes, so pickles carry the data alone.
    return kind.from_dict(data)
