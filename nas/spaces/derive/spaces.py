"""A network's search space as the plain data of a space file."""

from __future__ import annotations

import re
from typing import Any

from nas.architecture import Architecture
from nas.errors import SpaceError
from nas.file_formats import FORMAT
from nas.spaces.derive.alternatives import alternative
from nas.spaces.derive.facts import Fitting, OpFacts
from nas.spaces.derive.kinds import Kind
from nas.spaces.derive.runs import LayerRun
from nas.spaces.derive.stages import Parts, parts_of
from nas.spaces.derive.steps import Steps
from nas.spaces.derive.templating import with_width
from nas.spaces.derive.widths import Widths, widths_of
from nas.spaces.templates import names_in

# Letters of kinds after the first; where a stage has more kinds than these, any that is left.
_LETTERS = {"C": "CDEFG", "A": "ABHIJ", "M": "MNOPQ"}
_WORDS = {"C": "convolution", "A": "attention", "M": "mamba"}


def derive(
    network: Architecture, facts: OpFacts, *, name: str, about: str = "", smaller: bool = False
) -> dict[str, Any]:
    """A search space around a network, as the data of a space file (see `nas.spaces.catalog`).

    Depths, widths, kernels of depthwise convolutions and expansions of feed-forwards vary in steps around the network's
    own; a stage of attention may be one of convolutions, and on small maps the other way round. Stages that mix kinds
    of layers choose layer by layer.

    Args:
        network: In its canonical spelling.
        name: Of the space.
        smaller: Whether every member is to be a part of the network: nothing is larger than in it, and no kind of
            layers stands in for another.

    Raises:
        SpaceError, ArchitectureError: If the network cannot be varied so, saying which stage and why.
    """
    fitting = Fitting(facts, Steps(smaller=smaller))
    shapes = fitting.shapes(network)
    if not network.stages:
        raise SpaceError("the network has no stages, so that there is nothing to vary.")
    stages = [
        parts_of(i, stage, entered, fitting)
        for i, (stage, entered) in enumerate(zip(network.stages, shapes, strict=False), 1)
    ]
    image = (network.input.channels, network.input.resolution, network.input.resolution, 0, ())
    stem = with_width(network.stem.to_dict(), shapes[0][0])
    head = _multiplying(network.head.to_dict(), shapes[-1][0] if network.stages else 0)
    widths = widths_of(stem, image, shapes[0], stages, head, fitting)
    templates = _Templates()
    written = [_stage(i, stages, widths, network.input.resolution, templates, fitting) for i in range(len(stages))]
    own = [shapes[0][0], *(parts.shape[0] for parts in stages)]
    rules = {} if own == sorted(own) else {"rules": {"widths": "any"}}
    return {
        "format": FORMAT,
        "name": name,
        **({"about": about} if about else {}),
        "input": network.input.to_dict(),
        "stem": stem,
        "stem_choices": {"width": widths.stem},
        "layers": templates.found,
        "stages": written,
        **rules,
        "head": head,
    }


def _multiplying(head: dict[str, Any], channels: int) -> dict[str, Any]:
    """A head whose depthwise convolution multiplies its channels, as a template that multiplies other widths alike."""
    before: dict[str, Any] = head.get("before") or {}
    width = before.get("width")
    if not before.get("depthwise"):
        return head
    if type(width) is not int or width <= channels or width % channels:
        return head
    return {**head, "before": {**before, "width": f"$width * {width // channels}"}}


class _Templates:
    """The templates of a file, each under one name however many stages use it."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def op(self, word: str, template: dict[str, Any]) -> dict[str, Any]:
        """What a stage writes for an op: a template's name, new if no other is equal, and the choices that differ."""
        choices, bare = template.get("choices", {}), {key: value for key, value in template.items() if key != "choices"}
        for name, other in self.found.items():
            known = other.get("choices", {})
            if {key: value for key, value in other.items() if key != "choices"} == bare and set(known) == set(choices):
                return {"layer": name, **{key: values for key, values in choices.items() if values != known[key]}}
        taken = [name for name in self.found if re.fullmatch(rf"{word}(_\d+)?", name)]
        name = f"{word}_{len(taken) + 1}" if taken else word
        self.found[name] = template
        return {"layer": name}


def _stage(
    i: int, stages: list[Parts], widths: Widths, resolution: int, templates: _Templates, fitting: Fitting
) -> dict[str, Any]:
    """One stage of the file."""
    parts = stages[i]
    if parts.run is not None:
        return _of_runs(parts, parts.run, widths.stages[i], templates, fitting)
    other = None if fitting.steps.smaller else alternative(i, stages, widths.of(i), resolution, fitting)
    own = widths.stages[i]
    per_layer = not parts.shares
    found: dict[str, Any] = {"stride": parts.stride, "width": "same" if own is None else own}
    depths = fitting.steps.depths(parts.depth) if parts.kinds else [1]
    if per_layer:
        found |= {"depth": depths, "per_layer": True, "ops": _ops_per_layer(parts, other, templates)}
        return found
    pairs: list[tuple[Kind | None, Kind | None]] = [(parts.opening, kind) for kind in parts.kinds or (None,)]
    if other is not None:
        pairs.append(other)
    ops: dict[str, Any] = {}
    for opening, kind in pairs:
        template = _shared(opening, kind, parts.transition)
        # A choice that the first layer lacks says nothing of a stage of one layer, and the other way round it is always
        # said.
        if opening is not None and kind is not None and set(kind.choices) - set(opening.choices):
            depths = [depth for depth in depths if depth > 1] or depths
        letter = (kind or opening).letter  # type: ignore[union-attr]
        ops[letter] = _brief(templates.op(_WORDS[letter], template))
    return {**found, "depth": depths, "ops": ops}


def _of_runs(
    parts: Parts, run: LayerRun, widths: list[int] | None, templates: _Templates, fitting: Fitting
) -> dict[str, Any]:
    template: dict[str, Any] = {"choices": run.choices} if run.choices else {}
    if parts.transition is not None:
        template["transition"] = parts.transition
    template["first"] = run.first
    depths = [1]
    if run.rest:
        template["rest"] = run.rest
        own = set(names_in(run.rest)) - set(names_in(run.first))
        depths = [depth for depth in fitting.steps.depths(run.units) if depth > 1 or not own]
    op = _brief(templates.op(_WORDS[run.letter], template))
    return {
        "stride": parts.stride,
        "width": "same" if widths is None else widths,
        "depth": depths,
        "ops": {run.letter: op},
    }


def _shared(opening: Kind | None, kind: Kind | None, transition: dict[str, Any] | None) -> dict[str, Any]:
    choices = {**(kind.choices if kind else {}), **(opening.choices if opening else {})}
    found: dict[str, Any] = {"choices": choices} if choices else {}
    if transition is not None:
        found["transition"] = transition
    if opening is not None:
        found["first"] = opening.template["branches"]
    if kind is not None:
        found["rest"] = kind.template["branches"]
    return found


def _ops_per_layer(parts: Parts, other: tuple[Kind | None, Kind] | None, templates: _Templates) -> dict[str, Any]:
    ops: dict[str, Any] = {}
    kinds = [*parts.kinds, *([other[1]] if other else [])]
    if parts.opening is not None:
        opening = parts.opening
        template = _shared(opening, None, parts.transition)
        ops[opening.letter.lower()] = {**templates.op(f"opening_{_WORDS[opening.letter]}", template), "place": "first"}
    for kind in kinds:
        every = _LETTERS[kind.letter] + "RSTUVWXYZKL" + "ABCDEFGHIJMNOPQ"
        letter = next(each for each in every if each not in ops)
        op = templates.op(_WORDS[kind.letter], _shared(None, kind, None if parts.opening else parts.transition))
        ops[letter] = {**op, "place": "rest"} if parts.opening else _brief(op)
    return ops


def _brief(op: dict[str, Any]) -> Any:
    return op["layer"] if len(op) == 1 else op
