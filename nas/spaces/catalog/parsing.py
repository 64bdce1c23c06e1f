"""The format of space files, read into a `SearchSpace`.

    format: 2
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

Other keys:

- `about`: a description.
- `presets`: names of zoo networks in the space, which searchers propose first.

Templates (`layers`):

- `first` is the layer that has the stage's `$stride`. `rest` is every other layer, where `$stride` is 1. One of the
  two may be left out.
- In `head`, `$width` is the width of the last feature map.
- An expression such as `$width / 8` or `$width * $expand_ratio` may stand for a number. Its value must be whole.
- A template may also be a run of layers, `{layers: [{repeat: $count, branches: [...]}, ...]}`. `depth` then counts
  runs.
- A `transition` (a block with `$width` and `$stride`) comes before the first layer, which then needs no stride.

Stages:

- `per_layer: true`: every layer has its own letter and values; the stage has one width.
- `depth` that lists 0: the stage may be absent. The next stage that is present then takes over its stride.
- `width: same` keeps the input width, `width: double` doubles it.
- `transition: false` leaves out the transitions of the stage's templates.
- In a `per_layer` stage, `c: {layer: convolution, place: first}` allows an op for the first layer only, and
  `place: rest` for all other layers only.

Rules:

- `op_order`: order of letters from stage to stage. With `CA`, no C follows an A. Of a per-layer stage, the first and
  the last letter count.
- `layer_order`: the same, from layer to layer inside per-layer stages.
- `widths`: `growing` (the default), `any`, `multiples` (each of the one before) or `equal` (all have the stem's).
- `total_depth`: number of layers of all stages together: a number or a list.
- `stages`: `any` (the default) or `contiguous` (no absent stage between present ones).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, cast

from nas.architecture import BlockConfig, InputConfig
from nas.errors import SpaceError
from nas.file_formats import FORMAT, check_format, upgrade
from nas.registry import unknown
from nas.spaces import OpChoice, OpRules, SearchSpace, StageSpace, StemSpace
from nas.spaces.catalog.checks import check_space
from nas.spaces.catalog.plain import RESERVED, check_used, choices_of, in_order, keys_of, listed, mapping, numbers, text
from nas.spaces.templates import names_in

MAX_STAGE_CHOICES = 20_000
MAX_STAGES = 32
_TIMES = {"same": 1, "double": 2}


def parse_space(data: dict[str, Any], ops: OpRules) -> SearchSpace:
    """A search space from the plain data of its file; every member's layers are checked."""
    known = {
        "format", "name", "about", "input", "stem", "stem_choices", "layers", "stages", "rules", "head", "presets",
    }  # fmt: skip
    if "layers" not in data and {"stem", "stages", "head"} <= set(data):
        raise SpaceError("the file holds one network, not a search space: give it to nas train or nas profile.")
    if "format" in data:
        check_format(data["format"], "a space file", SpaceError)
        if data["format"] < FORMAT:
            data = upgrade(data)
    keys_of(data, "the file", known, ("format", "name", "stem", "layers", "stages", "head"))
    name = text(data["name"], "name")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SpaceError(f"name must be letters, digits, '-', '_' and '.', as in my-space, not {name!r}.")
    templates = mapping(data["layers"], "layers")
    stem_choices = choices_of(data.get("stem_choices", {}), "stem_choices")
    stem_block = mapping(data["stem"], "stem")
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
    implied = {"width"} if len(stem_choices["width"]) == 1 else set[str]()
    check_used(
        {name: values for name, values in stem_choices.items() if name not in implied},
        stem_block,
        "stem_choices",
        known=implied,
    )
    stages = listed(data["stages"], "stages", MAX_STAGES)
    rules = mapping(data.get("rules", {}), "rules")
    keys_of(rules, "rules", {"op_order", "widths", "layer_order", "total_depth", "stages"})
    widths, presence = rules.get("widths", "growing"), rules.get("stages", "any")
    if widths not in ("growing", "any", "multiples", "equal"):
        raise SpaceError(f"rules.widths must be growing, any, multiples or equal, not {widths!r}.")
    if presence not in ("any", "contiguous"):
        raise SpaceError(f"rules.stages must be any or contiguous, not {presence!r}.")
    space = SearchSpace(
        name=name,
        about=text(data.get("about", ""), "about", most=4000),
        input=InputConfig.from_dict(data.get("input", {})),
        stem=StemSpace(block=stem_block, choices=in_order(stem_choices)),
        stages=_stages(stages, templates, stem_choices["width"], same=widths == "equal"),
        head=_head(data["head"], ops),
        op_order=text(rules.get("op_order", ""), "rules.op_order"),
        growing=widths == "growing",
        layer_order=text(rules.get("layer_order", ""), "rules.layer_order"),
        total_depth=numbers(rules["total_depth"], "rules.total_depth") if "total_depth" in rules else (),
        contiguous=presence == "contiguous",
        multiples=widths == "multiples",
        presets=tuple(text(p, "presets") for p in listed(data.get("presets", []), "presets", 100, least=0)),
        ops=ops,
    )
    check_space(space)
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
    return ops.normalize_block(block.having(classes), "head").having(classes)


def _stages(data: list[Any], templates: dict[str, Any], widths: list[int], *, same: bool) -> tuple[StageSpace, ...]:
    found: list[StageSpace] = []
    handed: set[int] = set(widths)
    for i, stage in enumerate(data):
        found.append(_stage(stage, f"stages[{i}]", templates, tuple(sorted(handed)), same))
        handed = {*found[-1].widths, *(handed if 0 in found[-1].depths else ())}
    return tuple(found)


def _stage(data: object, where: str, templates: dict[str, Any], handed: tuple[int, ...], same: bool) -> StageSpace:
    known = mapping(data, where)
    keys_of(known, where, {"stride", "width", "depth", "ops", "per_layer", "transition"}, ("depth", "ops"))
    stride, per_layer = known.get("stride", 1), known.get("per_layer", False)
    if type(stride) is not int or not 1 <= stride <= 32:
        raise SpaceError(f"{where}.stride must be a whole number from 1 to 32, not {stride!r}.")
    if not isinstance(per_layer, bool):
        raise SpaceError(f"{where}.per_layer must be true or false, not {per_layer!r}.")
    if known.get("transition", False) is not False:
        raise SpaceError(f"{where}.transition can only be false; a transition is written in its layer template.")
    ops: list[OpChoice] = []
    for letter, spec in mapping(known["ops"], f"{where}.ops").items():
        if not (len(letter) == 1 and letter.isalpha()):
            raise SpaceError(f"{where}.ops: an op is named by one letter, not {letter!r}.")
        spec = {"layer": spec} if isinstance(spec, str) else dict(mapping(spec, f"{where}.ops.{letter}"))
        if "layer" not in spec:
            raise SpaceError(f"{where}.ops.{letter} lacks 'layer', the name of a template of the section layers.")
        template_name = text(spec.pop("layer"), f"{where}.ops.{letter}.layer")
        if template_name not in templates:
            raise SpaceError(f"{where}.ops.{letter}: {unknown('layer template', template_name, templates)}")
        place = spec.pop("place", "")
        place_of = f"{where}.ops.{letter}"
        transitions = "transition" not in known
        op = _op(letter, templates[template_name], f"layers.{template_name}", spec, place_of, transitions=transitions)
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
        all(op.place == "first" for op in ops) and numbers(known["depth"], f"{where}.depth", least=0)[-1] > 1
    ):
        raise SpaceError(f"{where}.ops must have an op for its first layer, and one for the others.")
    given = known.get("width", "same" if same else None)
    if given is None:
        raise SpaceError(f"{where} lacks 'width'.")
    factor = _TIMES.get(given, 0) if isinstance(given, str) else 0
    if isinstance(given, str) and not factor:
        raise SpaceError(f"{where}.width must list whole numbers, or be same or double, not {given[:40]!r}.")
    widths = tuple(width * factor for width in handed) if factor else numbers(given, f"{where}.width")
    multiplier = 1 if same else factor
    if multiplier == 1 and not set(widths) <= set(handed):
        raise SpaceError(f"{where}.width lists {sorted(set(widths) - set(handed))[0]}, which nothing before it has.")
    depths = numbers(known["depth"], f"{where}.depth", least=0)
    if depths[-1] == 0:
        raise SpaceError(f"{where}.depth must allow some layers; leave the stage out instead.")
    for op in ops:
        sizes = [len(widths), 1 if per_layer else len(depths), *(len(values) for _, values in op.choices)]
        if math.prod(sizes) > MAX_STAGE_CHOICES:
            raise SpaceError(
                f"{where} has {math.prod(sizes)} choices for op {op.letter}; at most {MAX_STAGE_CHOICES} are allowed."
            )
    return StageSpace(
        stride=stride, widths=widths, depths=depths, ops=tuple(ops), per_layer=per_layer, width_multiplier=multiplier
    )


def _op(
    letter: str, template: object, where: str, overrides: dict[str, Any], of: str, *, transitions: bool
) -> OpChoice:
    """Returns an op of a stage.

    Args:
        where: Names the template, for errors in it; `of` names the stage's op, for errors in `overrides`.
    """
    known = keys_of(mapping(template, where), where, {"choices", "first", "rest", "transition"})
    if "first" not in known and "rest" not in known:
        raise SpaceError(f"{where} lacks 'first'.")
    choices = choices_of(known.get("choices", {}), f"{where}.choices")
    for key in overrides:
        if key not in choices:
            raise SpaceError(f"{of}: {unknown(f'choice of {where}', key, choices)}")
    choices |= choices_of(overrides, of)
    for key in choices:
        if key in RESERVED:
            raise SpaceError(f"{where}: choice {key!r} belongs to the stage; give it there, not in the template.")
    first, rest = (
        _layers(known.get(a, known.get(b)), f"{where}.{a}") for a, b in (("first", "rest"), ("rest", "first"))
    )
    transition = mapping(known["transition"], f"{where}.transition") if "transition" in known else None
    inside = {*names_in(first), *names_in(rest)}
    check_used(choices, [first, rest, transition], f"{where}.choices", known=RESERVED)
    if not transitions:
        choices = {name: values for name, values in choices.items() if name in inside}
        transition = None
    if transition and "stride" in inside:
        raise SpaceError(f"{where} uses $stride in its layers too, so that it would be taken twice. Leave it to one.")
    return OpChoice(letter=letter, first=first, rest=rest, choices=in_order(choices), transition=transition)


def _layers(data: object, where: str) -> dict[str, Any]:
    """A layer's branches, or a run of layers, as the plain data of a template."""
    if isinstance(data, dict):
        return keys_of(mapping(cast("object", data), where), where, {"layers"}, ("layers",))
    return {"branches": data}
