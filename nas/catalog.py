"""Space files and zoo files: where they are found, and strict YAML read into a `SearchSpace` or an `Architecture`.

format: 1
name: my-space
input: {channels: 3, resolution: 64}
stem: {op: conv_stem, width: $width}
stem_choices: {width: [16, 24]}
layers:                        # named layer templates; $names stand for choices
  convolution:
    choices: {kernel_size: [3, 5]}
    first: [{norm: {op: batch_norm}, mixer: {op: mbconv, width: $width, kernel_size: $kernel_size, stride: $stride},
             shortcut: {op: pool_project, width: $width, stride: $stride}}]
    rest: [{norm: {op: batch_norm}, mixer: {op: mbconv, width: $width, kernel_size: $kernel_size}}]
stages:
  - {stride: 2, width: [32, 48], depth: [1, 2], ops: {C: convolution}}
rules: {op_order: CA, widths: growing}
head: {op: classifier, num_classes: 10}
"""

from __future__ import annotations

import math
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from nas.architecture import MAX_LAYERS, Architecture, BlockConfig, InputConfig, check_format
from nas.errors import ArchitectureError, SpaceError, shortened
from nas.registry import unknown
from nas.space import OpChoice, OpRules, SearchSpace, StageChoice, StageSpace, StemSpace
from nas.strict_yaml import read_yaml
from nas.templates import names_in

MAX_CHOICES = 64
MAX_STAGE_CHOICES = 20_000
MAX_CONFIGS = 5_000
"""Stages that `_check` builds, all in all; more would take longer than a few seconds."""
MAX_SUMS = 4_000_000
MAX_STAGES = 32
_RESERVED = {"width", "stride"}


def folder() -> Path:
    """Where the shipped spaces are: in an installed wheel inside the package, in a checkout beside it."""
    inside = Path(__file__).parent / "search_spaces"
    beside = Path(__file__).parent.parent / "search_spaces"
    return inside if inside.is_dir() else beside


def space_names() -> list[str]:
    """Names of the shipped spaces."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def zoo_names() -> list[str]:
    """Names of the shipped networks."""
    return sorted(path.stem for path in (folder() / "zoo").glob("*.yaml"))


def find(source: str | Path, *, zoo: bool = False) -> Path:
    """The file of a shipped space (or zoo network), or the user's own file.

    Raises:
        SpaceError, ArchitectureError: If it is neither, with the nearest shipped name.
    """
    error, kind = (ArchitectureError, "network") if zoo else (SpaceError, "space")
    names = zoo_names() if zoo else space_names()
    text = str(source)
    if text in names:
        return folder() / ("zoo" if zoo else "") / f"{text}.yaml"
    path = Path(text)
    exists = "\0" not in text and os.path.exists(path)  # and not Path.exists, which raises for names that are too long
    if exists or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not exists:
            raise error(f"No file {text[:200]!r}. Give a path to a YAML file or a name: {', '.join(names)}.")
        return path
    if text in (space_names() if zoo else zoo_names()):
        other = ("a search space", "nas-search --space") if zoo else ("a network", "nas train or nas profile")
        raise error(f"{text} is {other[0]}, not a {kind}: give it to {other[1]}, or one of {', '.join(names)} here.")
    raise error(unknown(kind, text, names) + " A path to a YAML file works too.")


def read_architecture(source: str | Path) -> tuple[Architecture, dict[str, Any]]:
    """An architecture and the section `about` of its file, by zoo name or path. Parameters are not checked here."""
    path = find(source, zoo=True)
    data = read_yaml(path, error=ArchitectureError)
    if {"layers", "stages"} <= set(data):
        raise ArchitectureError(f"{path} holds a search space, not a network: give it to nas-search --space.")
    try:
        about = data.get("about", {})
        if not isinstance(about, dict):
            raise ArchitectureError("about must be a mapping.")
        return Architecture.from_dict(data), cast("dict[str, Any]", about)
    except ArchitectureError as fault:
        raise ArchitectureError(f"{path}: {shortened(fault)}") from None


def read_space(source: str | Path, ops: OpRules) -> SearchSpace:
    """A search space by name or path.

    Raises:
        SpaceError: If there is no such file, or anything in it is unknown, missing, empty or of the wrong type.
    """
    path = find(source)
    try:
        return parse_space(read_yaml(path, error=SpaceError), ops)
    except (SpaceError, ArchitectureError) as fault:
        text = shortened(fault)
        raise SpaceError(text if str(path) in text else f"{path}: {text}") from None


def parse_space(data: dict[str, Any], ops: OpRules) -> SearchSpace:
    """A search space from the plain data of its file; every member's layers are checked."""
    known = {
        "format", "name", "about", "input", "stem", "stem_choices", "layers", "stages", "rules", "head", "presets",
    }  # fmt: skip
    if "layers" not in data and {"stem", "stages", "head"} <= set(data):
        raise SpaceError("the file holds one network, not a search space: give it to nas train or nas profile.")
    if "format" in data:
        check_format(data["format"], "a space file", SpaceError)
    _keys(data, "the file", known, ("format", "name", "stem", "layers", "stages", "head"))
    name = _text(data["name"], "name")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SpaceError(f"name must be letters, digits, '-', '_' and '.', as in my-space, not {name!r}.")
    templates = _mapping(data["layers"], "layers")
    stem_choices = _choices(data.get("stem_choices", {}), "stem_choices")
    stem_block = _mapping(data["stem"], "stem")
    if not stem_choices:
        if type(stem_block.get("width")) is not int:
            raise SpaceError("stem.width must be a whole number, or $width with stem_choices: {width: [...]}.")
        stem_choices, stem_block = {"width": [stem_block["width"]]}, {**stem_block, "width": "$width"}
    if "width" not in stem_choices:
        raise SpaceError("stem_choices must have a width, since the first stage has to know it.")
    unused = sorted(set(stem_choices) - set(names_in(stem_block)))
    if unused:
        raise SpaceError(f"stem_choices: choice {unused[0]!r} is not used in the stem; write ${unused[0]} there.")
    stages = _list(data["stages"], "stages", MAX_STAGES)
    rules = _mapping(data.get("rules", {}), "rules")
    _keys(rules, "rules", {"op_order", "widths"})
    if rules.get("widths", "growing") not in ("growing", "any"):
        raise SpaceError(f"rules.widths must be growing or any, not {rules['widths']!r}.")
    space = SearchSpace(
        name=name,
        about=_text(data.get("about", ""), "about", most=4000),
        input=InputConfig.from_dict(data.get("input", {})),
        stem=StemSpace(block=stem_block, choices=_sorted(stem_choices)),
        stages=tuple(_stage(stage, f"stages[{i}]", templates) for i, stage in enumerate(stages)),
        head=_head(data["head"], ops),
        op_order=_text(rules.get("op_order", ""), "rules.op_order"),
        growing=rules.get("widths", "growing") == "growing",
        presets=tuple(_text(p, "presets") for p in _list(data.get("presets", []), "presets", 100, least=0)),
        ops=ops,
    )
    _check(space)
    return space


def _head(data: object, ops: OpRules) -> BlockConfig:
    block = BlockConfig.from_dict(data, "head")
    classes = {"num_classes": block.get("num_classes", 1000)}
    return ops.normalise_block(block.having(classes), "head").having(classes)


def _stage(data: object, where: str, templates: dict[str, Any]) -> StageSpace:
    known = _keys(_mapping(data, where), where, {"stride", "width", "depth", "ops"}, ("width", "depth", "ops"))
    stride = known.get("stride", 1)
    if type(stride) is not int or not 1 <= stride <= 32:
        raise SpaceError(f"{where}.stride must be a whole number from 1 to 32, not {stride!r}.")
    ops: list[OpChoice] = []
    for letter, spec in _mapping(known["ops"], f"{where}.ops").items():
        if not (len(letter) == 1 and letter.isalpha()):
            raise SpaceError(f"{where}.ops: an op is named by one letter, not {letter!r}.")
        spec = {"layer": spec} if isinstance(spec, str) else dict(_mapping(spec, f"{where}.ops.{letter}"))
        if "layer" not in spec:
            raise SpaceError(f"{where}.ops.{letter} lacks 'layer', the name of a template of the section layers.")
        template_name = _text(spec.pop("layer"), f"{where}.ops.{letter}.layer")
        if template_name not in templates:
            raise SpaceError(f"{where}.ops.{letter}: {unknown('layer template', template_name, templates)}")
        ops.append(_op(letter, templates[template_name], f"layers.{template_name}", spec))
        if stride > 1 and "stride" not in names_in(ops[-1].first):
            raise SpaceError(f"{where}.stride is {stride}, but layers.{template_name}.first does not use $stride.")
    if not ops:
        raise SpaceError(f"{where}.ops must have at least one op.")
    widths = _numbers(known["width"], f"{where}.width")
    depths = _numbers(known["depth"], f"{where}.depth")
    for op in ops:
        most = math.prod([len(widths), len(depths), *(len(values) for _, values in op.choices)])
        if most > MAX_STAGE_CHOICES:
            raise SpaceError(f"{where} has {most} choices for op {op.letter}; at most {MAX_STAGE_CHOICES} are allowed.")
    return StageSpace(stride=stride, widths=widths, depths=depths, ops=tuple(ops))


def _op(letter: str, template: object, where: str, overrides: dict[str, Any]) -> OpChoice:
    known = _keys(_mapping(template, where), where, {"choices", "first", "rest"}, ("first",))
    choices = _choices(known.get("choices", {}), f"{where}.choices")
    for key in overrides:
        if key not in choices:
            raise SpaceError(f"{where}: {unknown('choice', key, choices)}")
    choices |= _choices(overrides, where)
    for key in choices:
        if key in _RESERVED:
            raise SpaceError(f"{where}: choice {key!r} belongs to the stage; give it there, not in the template.")
    first, rest = ({"branches": known.get(key, known["first"])} for key in ("first", "rest"))
    used = set(names_in(first)) | set(names_in(rest))
    if used - set(choices) - _RESERVED:
        wrong = sorted(used - set(choices) - _RESERVED)[0]
        raise SpaceError(f"{where}: {unknown('choice', wrong, {*choices, *_RESERVED})}")
    if set(choices) - used:
        raise SpaceError(f"{where}: choice {sorted(set(choices) - used)[0]!r} is not used in the template.")
    return OpChoice(letter=letter, first=first, rest=rest, choices=_sorted(choices))


def _check(space: SearchSpace) -> None:
    """Builds every layer's config once, so that a choice no network can have is refused on reading."""
    letters = {op.letter for stage in space.stages for op in stage.ops}
    if space.op_order and sorted(space.op_order) != sorted(letters):
        raise SpaceError(
            f"rules.op_order (={space.op_order}) must hold each letter in use once: {''.join(sorted(letters))}."
        )
    if sum(stage.depths[-1] for stage in space.stages) > MAX_LAYERS:
        raise SpaceError(f"The greatest depths add up to more than {MAX_LAYERS} layers, the most a network may have.")
    _check_size(space)
    for i, stage in enumerate(space.stages):
        # If the least depth tells the choices apart, so does every other.
        seen: dict[Any, StageChoice] = {}
        for op in stage.ops:
            for choice in stage.choices(op.letter):
                if choice.depth == stage.depths[0]:
                    other = seen.setdefault(space.stage_config(i, choice), choice)
                    if other != choice:
                        raise SpaceError(
                            f"stages[{i}]: two choices give the same layers at depth {choice.depth}: {_shown(other)} "
                            f"and {_shown(choice)}. Drop one, so that every network is counted once."
                        )
    if len({space.stem_block(values) for values in space.stem.combinations}) < len(space.stem.combinations):
        raise SpaceError("stem_choices: two choices give the same stem. Drop one, so that each network counts once.")
    if not space.layouts:
        raise SpaceError(f"rules.op_order (={space.op_order}) leaves no layout; let some stage offer another op.")
    if space.size() == 0:
        raise SpaceError(
            "No architecture is left: with widths growing, every stage needs a width not below the one before."
        )


def _check_size(space: SearchSpace) -> None:
    """Refuses spaces of which even listing the choices, or counting the members, would take minutes."""
    configs = sum(
        len(stage.widths) * math.prod(len(values) for _, values in op.choices)
        for stage in space.stages
        for op in stage.ops
    )
    stems = math.prod(len(values) for _, values in space.stem.choices)
    if max(configs, stems) > MAX_CONFIGS:
        raise SpaceError(
            f"The stages have {configs} choices of width and ops, the stem {stems}; at most {MAX_CONFIGS} are allowed. "
            "Give fewer values."
        )
    widths = [stems, *(len(stage.widths) for stage in space.stages)]
    sums = len(space.layouts) * sum(a * b for a, b in pairwise(widths))
    if sums > MAX_SUMS:
        raise SpaceError(
            f"{len(space.layouts)} layouts with up to {max(widths)} widths a stage take {sums} sums to count; at most "
            f"{MAX_SUMS} are allowed. Give fewer widths, fewer ops or rules.op_order."
        )


def _shown(choice: StageChoice) -> str:
    return f"{choice.op} with width {choice.width} and {', '.join(map(str, choice.params)) or 'no choices'}"


def _choices(data: object, where: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, values in _mapping(data, where).items():
        if not name.isidentifier():
            raise SpaceError(f"{where}: the name of a choice must be a word, not {name!r}.")
        values = cast("list[Any]", values) if isinstance(values, list) else [values]
        spot = f"{where}.{name}"
        if not 1 <= len(values) <= MAX_CHOICES:
            raise SpaceError(f"{spot} must list 1 to {MAX_CHOICES} values, not {len(values)}.")
        if any(isinstance(v, dict | list) or v is None for v in values):
            raise SpaceError(f"{spot} must list numbers or words, not {values!r}.")
        values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
        if len({(type(v), v) for v in values}) < len(values):
            raise SpaceError(f"{spot} lists a value twice: {values}.")
        found[name] = values
    return found


def _numbers(data: object, where: str) -> tuple[int, ...]:
    values: list[Any] = cast("list[Any]", data) if isinstance(data, list) else [data]
    if not 1 <= len(values) <= MAX_CHOICES or any(type(v) is not int or not 1 <= v <= 65536 for v in values):
        raise SpaceError(f"{where} must list 1 to {MAX_CHOICES} whole numbers above 0, not {str(values)[:60]}.")
    if list(values) != sorted(set(values)):
        raise SpaceError(f"{where} must be in growing order without repeats, not {values}.")
    return tuple(values)


def _sorted(choices: dict[str, list[Any]]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple(sorted((name, tuple(values)) for name, values in choices.items()))


def _keys(data: dict[str, Any], where: str, known: set[str], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    for key in data:
        if key not in known:
            raise SpaceError(f"{where}: {unknown('key', key, known)}")
    for key in needed:
        if key not in data:
            raise SpaceError(f"{where} lacks {key!r}: add {'format: 1' if key == 'format' else 'it'}.")
    return data


def _mapping(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SpaceError(f"{where} must be a mapping, not {str(data)[:60]!r}.")
    found = cast("dict[Any, Any]", data)
    for key in found:
        if not isinstance(key, str):
            raise SpaceError(f"{where}: {key!r} must be a word; put it in quotes.")
    return found


def _list(data: object, where: str, most: int, least: int = 1) -> list[Any]:
    found = cast("list[Any]", data) if isinstance(data, list) else None
    if found is None or not least <= len(found) <= most:
        raise SpaceError(f"{where} must be a list of {least} to {most} entries.")
    return found


def _text(data: object, where: str, most: int = 80) -> str:
    if not isinstance(data, str) or len(data) > most:
        raise SpaceError(f"{where} must be a text of at most {most} characters, not {str(data)[:40]!r}.")
    return data
