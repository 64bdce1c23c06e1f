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

Templates: `first` is the layer that carries the stage's $stride, `rest` all others, where $stride is 1; one of the two
may be left out. The head's $width is the last map's. Products may stand where a number does: `$width / 8`,
`$width * $expand_ratio`; they must come out whole. Where layers come in runs, either template is
`{layers: [{repeat: $count, branches: [...]}, ...]}`, and depth counts the runs. With `transition:` (a block with $width
and $stride) before it, the first layer needs no stride.
Stages: `per_layer: true` gives every layer a letter and values of its own, and the stage one width; `depth` with a 0 in
it lets the stage be absent, the next present one then takes its stride over; `width: same` keeps the width handed in,
`width: double` doubles it; `transition: false` leaves the transitions of its templates out. Of a `per_layer` stage an
op such as `c: {layer: convolution, place: first}` is for the first layer alone, `place: rest` for all others.
Rules:
  op_order      no letter before one that precedes it here, from stage to stage; of a per-layer stage its ends count
  layer_order   the same from layer to layer inside per-layer stages
  widths        growing (the default), any, or equal: all stages have the stem's
  total_depth   how many layers all stages together have: a number or a list
  stages        any (the default), or contiguous: no absent stage between present ones
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from nas.architecture import MAX_LAYERS, Architecture, BlockConfig, InputConfig, check_format
from nas.errors import ArchitectureError, SpaceError, shortened
from nas.registry import unknown
from nas.space import LayerChoice, OpChoice, OpRules, SearchSpace, StageChoice, StageSpace, StemSpace
from nas.strict_yaml import read_yaml
from nas.templates import names_in

MAX_CHOICES = 64
MAX_STAGE_CHOICES = 20_000
MAX_CONFIGS = 5_000
"""Stages that `_check` builds, all in all; more would take longer than a few seconds."""
MAX_SUMS = 4_000_000
MAX_STAGES = 32
_RESERVED = {"width", "stride"}
_TIMES = {"same": 1, "double": 2}


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


def some_of(names: list[str], most: int = 6) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


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
            raise error(f"No file {text[:200]!r}. Give a path to a YAML file or a name: {some_of(names)}.")
        return path
    if text in (space_names() if zoo else zoo_names()):
        if not zoo:
            raise error(
                f"{text} is a network, not a space: give it to nas train or nas profile, make a space around it with "
                f"`nas spaces derive {text}`, or give one of {some_of(names)} here."
            )
        raise error(
            f"{text} is a search space, not a network: give it to nas-search --space, or one of {some_of(names)} here."
        )
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
    wrong = [width for width in stem_choices["width"] if type(width) is not int or width < 1]
    if wrong:
        raise SpaceError(f"stem_choices.width must list whole numbers above 0, not {str(wrong[0])[:40]!r}.")
    # A stem whose width follows from other numbers (as of several streams) can only say what it is.
    told = {"width"} if len(stem_choices["width"]) == 1 else set[str]()
    unused = sorted(set(stem_choices) - set(names_in(stem_block)) - told)
    if unused:
        raise SpaceError(f"stem_choices: choice {unused[0]!r} is not used in the stem; write ${unused[0]} there.")
    stages = _list(data["stages"], "stages", MAX_STAGES)
    rules = _mapping(data.get("rules", {}), "rules")
    _keys(rules, "rules", {"op_order", "widths", "layer_order", "total_depth", "stages"})
    widths, presence = rules.get("widths", "growing"), rules.get("stages", "any")
    if widths not in ("growing", "any", "equal"):
        raise SpaceError(f"rules.widths must be growing, any or equal, not {widths!r}.")
    if presence not in ("any", "contiguous"):
        raise SpaceError(f"rules.stages must be any or contiguous, not {presence!r}.")
    space = SearchSpace(
        name=name,
        about=_text(data.get("about", ""), "about", most=4000),
        input=InputConfig.from_dict(data.get("input", {})),
        stem=StemSpace(block=stem_block, choices=_sorted(stem_choices)),
        stages=_stages(stages, templates, stem_choices["width"], same=widths == "equal"),
        head=_head(data["head"], ops),
        op_order=_text(rules.get("op_order", ""), "rules.op_order"),
        growing=widths == "growing",
        layer_order=_text(rules.get("layer_order", ""), "rules.layer_order"),
        total_depth=_numbers(rules["total_depth"], "rules.total_depth") if "total_depth" in rules else (),
        contiguous=presence == "contiguous",
        presets=tuple(_text(p, "presets") for p in _list(data.get("presets", []), "presets", 100, least=0)),
        ops=ops,
    )
    _check(space)
    return space


def _head(data: object, ops: OpRules) -> BlockConfig:
    block = BlockConfig.from_dict(data, "head")
    classes = {"num_classes": block.get("num_classes", 1000)}
    names = set(names_in(block.to_dict()))
    if names:
        if names != {"width"}:
            wrong = sorted(names - {"width"})[0]
            raise SpaceError(f"head: {unknown('choice', wrong, {'width'})} The head has no choices of its own.")
        return block.having(classes)  # its numbers are known, and checked, when the width is
    return ops.normalise_block(block.having(classes), "head").having(classes)


def _stages(data: list[Any], templates: dict[str, Any], widths: list[int], *, same: bool) -> tuple[StageSpace, ...]:
    found: list[StageSpace] = []
    handed: set[int] = set(widths)
    for i, stage in enumerate(data):
        found.append(_stage(stage, f"stages[{i}]", templates, tuple(sorted(handed)), same))
        handed = {*found[-1].widths, *(handed if 0 in found[-1].depths else ())}
    return tuple(found)


def _stage(data: object, where: str, templates: dict[str, Any], handed: tuple[int, ...], same: bool) -> StageSpace:
    known = _mapping(data, where)
    _keys(known, where, {"stride", "width", "depth", "ops", "per_layer", "transition"}, ("depth", "ops"))
    stride, per_layer = known.get("stride", 1), known.get("per_layer", False)
    if type(stride) is not int or not 1 <= stride <= 32:
        raise SpaceError(f"{where}.stride must be a whole number from 1 to 32, not {stride!r}.")
    if not isinstance(per_layer, bool):
        raise SpaceError(f"{where}.per_layer must be true or false, not {per_layer!r}.")
    if known.get("transition", False) is not False:
        raise SpaceError(f"{where}.transition can only be false; a transition is written in its layer template.")
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
        place = spec.pop("place", "")
        op = _op(letter, templates[template_name], f"layers.{template_name}", spec, "transition" not in known)
        if place and (place not in ("first", "rest") or not per_layer):
            raise SpaceError(f"{where}.ops.{letter}.place must be first or rest, in a stage with per_layer: true.")
        if per_layer and op.is_run:
            raise SpaceError(f"{where}.ops.{letter}: a run of layers is chosen as a whole; leave per_layer out.")
        op = replace(op, place=place)
        opens = op.place != "rest"
        if opens and stride > 1 and "stride" not in {*names_in(op.first), *names_in(op.transition)}:
            raise SpaceError(f"{where}.stride is {stride}, but layers.{template_name}.first does not use $stride.")
        ops.append(op)
    if not ops:
        raise SpaceError(f"{where}.ops must have at least one op.")
    if all(op.place == "rest" for op in ops) or (
        all(op.place == "first" for op in ops) and _numbers(known["depth"], f"{where}.depth", least=0)[-1] > 1
    ):
        raise SpaceError(f"{where}.ops must have an op for its first layer, and one for the others.")
    given = known.get("width", "same" if same else None)
    if given is None:
        raise SpaceError(f"{where} lacks 'width'.")
    factor = _TIMES.get(given, 0) if isinstance(given, str) else 0
    if isinstance(given, str) and not factor:
        raise SpaceError(f"{where}.width must list whole numbers, or be same or double, not {given[:40]!r}.")
    widths = tuple(width * factor for width in handed) if factor else _numbers(given, f"{where}.width")
    times = 1 if same else factor
    if times == 1 and not set(widths) <= set(handed):
        raise SpaceError(f"{where}.width lists {sorted(set(widths) - set(handed))[0]}, which nothing before it has.")
    depths = _numbers(known["depth"], f"{where}.depth", least=0)
    if depths[-1] == 0:
        raise SpaceError(f"{where}.depth must allow some layers; leave the stage out instead.")
    for op in ops:
        sizes = [len(widths), 1 if per_layer else len(depths), *(len(values) for _, values in op.choices)]
        if math.prod(sizes) > MAX_STAGE_CHOICES:
            raise SpaceError(
                f"{where} has {math.prod(sizes)} choices for op {op.letter}; at most {MAX_STAGE_CHOICES} are allowed."
            )
    return StageSpace(stride=stride, widths=widths, depths=depths, ops=tuple(ops), per_layer=per_layer, times=times)


def _op(letter: str, template: object, where: str, overrides: dict[str, Any], transitions: bool) -> OpChoice:
    known = _keys(_mapping(template, where), where, {"choices", "first", "rest", "transition"})
    if "first" not in known and "rest" not in known:
        raise SpaceError(f"{where} lacks 'first'.")
    choices = _choices(known.get("choices", {}), f"{where}.choices")
    for key in overrides:
        if key not in choices:
            raise SpaceError(f"{where}: {unknown('choice', key, choices)}")
    choices |= _choices(overrides, where)
    for key in choices:
        if key in _RESERVED:
            raise SpaceError(f"{where}: choice {key!r} belongs to the stage; give it there, not in the template.")
    first, rest = (
        _layers(known.get(a, known.get(b)), f"{where}.{a}") for a, b in (("first", "rest"), ("rest", "first"))
    )
    transition = _mapping(known["transition"], f"{where}.transition") if "transition" in known else None
    inside, before = {*names_in(first), *names_in(rest)}, set(names_in(transition))
    if (inside | before) - set(choices) - _RESERVED:
        wrong = sorted((inside | before) - set(choices) - _RESERVED)[0]
        raise SpaceError(f"{where}: {unknown('choice', wrong, {*choices, *_RESERVED})}")
    if set(choices) - inside - before:
        unused = sorted(set(choices) - inside - before)[0]
        raise SpaceError(f"{where}: choice {unused!r} is not used in the template.")
    if not transitions:
        choices = {name: values for name, values in choices.items() if name in inside}
        transition = None
    if transition and "stride" in inside:
        raise SpaceError(f"{where} uses $stride in its layers too, so that it would be taken twice. Leave it to one.")
    return OpChoice(letter=letter, first=first, rest=rest, choices=_sorted(choices), transition=transition)


def _layers(data: object, where: str) -> dict[str, Any]:
    """A layer's branches, or a run of layers, as the plain data of a template."""
    if isinstance(data, dict):
        return _keys(_mapping(cast("object", data), where), where, {"layers"}, ("layers",))
    return {"branches": data}


def _check(space: SearchSpace) -> None:
    """Builds every layer's config once, so that a choice no network can have is refused on reading."""
    _check_rules(space)
    _check_size(space)
    for i, stage in enumerate(space.stages):
        for op in stage.ops:
            for width in stage.widths:
                for params in [] if stage.per_layer else op.combinations:
                    run = space.run_config(LayerChoice(i, 1, i, op.letter, width, params))[1]
                    if len(run) * stage.depths[-1] > MAX_LAYERS:
                        raise SpaceError(
                            f"stages[{i}] has up to {len(run) * stage.depths[-1]} layers, over {MAX_LAYERS}."
                        )
        _check_distinct(space, i)
    for source in range(-1, len(space.stages) - 1):
        _check_told_apart(space, source)
    if len({space.stem_block(values) for values in space.stem.combinations}) < len(space.stem.combinations):
        raise SpaceError("stem_choices: two choices give the same stem. Drop one, so that each network counts once.")
    for stage in reversed(space.stages):
        for width in stage.widths:
            space.head_block(width)
        if 0 not in stage.depths:
            break
    if not space.layouts:
        raise SpaceError(f"rules.op_order (={space.op_order}) leaves no layout; let some stage offer another op.")
    if space.size() == 0:
        raise SpaceError(
            "No architecture is left: with widths growing, every stage needs a width not below the one before."
            if space.growing and not (space.total_depth or space.contiguous)
            else "No architecture is left: no member keeps all rules. Loosen rules.widths, total_depth or stages."
        )


def _check_rules(space: SearchSpace) -> None:
    letters = {letter for stage in space.stages for letter in stage.letters}
    layered = {letter for stage in space.stages if stage.per_layer for letter in stage.letters}
    for name, order, used in (("op_order", space.op_order, letters), ("layer_order", space.layer_order, layered)):
        if order and sorted(order) != sorted(used):
            raise SpaceError(f"rules.{name} (={order}) must hold each letter in use once: {''.join(sorted(used))}.")
    if space.layer_order and any(op.place for stage in space.stages for op in stage.ops):
        raise SpaceError("rules.layer_order and an op's place cannot both be given: leave one out.")
    most = sum(stage.depths[-1] for stage in space.stages)
    if min(most, *space.total_depth[-1:] or (most,)) > MAX_LAYERS:
        raise SpaceError(f"The greatest depths add up to more than {MAX_LAYERS} layers, the most a network may have.")


def _check_distinct(space: SearchSpace, i: int) -> None:
    """Refuses two choices of a stage that give the same layers."""
    stage = space.stages[i]
    # If the least depth tells the choices apart, so does every other. Where a stage keeps its width, that does too.
    depth = next(depth for depth in stage.depths if depth)
    seen: dict[Any, Any] = {}
    pairs: list[tuple[Any, Any]] = []
    if stage.per_layer:
        for width in stage.widths:
            begun = space.inverse.beginnings(i, i - 1, width // (stage.times or 1))
            pairs += [((key, stage.times and width), each) for key, found in begun.items() for each in found]
        if stage.depths[-1] > 1:
            every = sum(math.prod(len(values) for _, values in op.choices_at(1)) for op in stage.ops_at(1))
            if len(space.inverse.continuations(i, stage.widths[0])) < every:
                raise SpaceError(f"stages[{i}]: two choices give the same layer. Drop one, so that each counts once.")
    else:
        for op in stage.ops:
            # Runs may be as long as two shorter ones, so that the depth tells nothing.
            choices = [choice for choice in stage.choices(op.letter) if choice.depth == depth or op.is_run]
            pairs += [((space.stage_config(i, each), stage.times and each.width), each) for each in choices]
    for config, choice in pairs:
        other = seen.setdefault(config, choice)
        if other != choice:
            raise SpaceError(
                f"stages[{i}]: two choices give the same layers at depth {depth}: {_shown(other)} "
                f"and {_shown(choice)}. Drop one, so that every network is counted once."
            )


def _check_told_apart(space: SearchSpace, source: int) -> None:
    """Refuses stages that could be taken for one another where the first of them is absent."""
    seen: dict[Any, int] = {}
    for i in range(source + 1, len(space.stages)):
        stage = space.stages[i]
        for op in stage.ops_at(0):
            if space.stride(i, source) > 1 and "stride" not in {*names_in(op.first), *names_in(op.transition)}:
                raise SpaceError(f"stages[{i}], op {op.letter} may take over a stride, but its layer has no $stride.")
        handed = [width // (stage.times or 1) for width in stage.widths]
        for beginning in {key for width in handed for key in space.inverse.beginnings(i, source, width)}:
            other = seen.setdefault(beginning, i)
            if other != i:
                raise SpaceError(
                    f"stages[{other}] and stages[{i}] may begin with the same layer where the former is absent, so "
                    "that a network would count twice. Give them other widths, strides or ops."
                )
        if 0 not in stage.depths:
            break


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


def _shown(choice: StageChoice | LayerChoice) -> str:
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


def _numbers(data: object, where: str, least: int = 1) -> tuple[int, ...]:
    values: list[Any] = cast("list[Any]", data) if isinstance(data, list) else [data]
    if not 1 <= len(values) <= MAX_CHOICES or any(type(v) is not int or not least <= v <= 65536 for v in values):
        kind = "whole numbers above 0" if least else "whole numbers"
        raise SpaceError(f"{where} must list 1 to {MAX_CHOICES} {kind}, not {str(values)[:60]}.")
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
