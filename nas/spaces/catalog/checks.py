"""What holds for a space as a whole, checked when its file is read: every member can be built and no two are equal."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from nas.architecture import MAX_LAYERS
from nas.errors import SpaceError
from nas.spaces import LayerChoice, SearchSpace, StageChoice
from nas.spaces.templates import names_in

MAX_CONFIGS = 5_000
"""Stages that `check_space` builds, all in all; more would take longer than a few seconds."""
MAX_SUMS = 4_000_000


def check_space(space: SearchSpace) -> None:
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
            begun = space.encoder.beginnings(i, i - 1, width // (stage.width_multiplier or 1))
            pairs += [((key, stage.width_multiplier and width), each) for key, found in begun.items() for each in found]
        if stage.depths[-1] > 1:
            every = sum(math.prod(len(values) for _, values in op.choices_at(1)) for op in stage.ops_at(1))
            if len(space.encoder.continuations(i, stage.widths[0])) < every:
                raise SpaceError(f"stages[{i}]: two choices give the same layer. Drop one, so that each counts once.")
    else:
        for op in stage.ops:
            # Runs may be as long as two shorter ones, so that the depth tells nothing.
            choices = [choice for choice in stage.choices(op.letter) if choice.depth == depth or op.is_run]
            pairs += [((space.stage_config(i, each), stage.width_multiplier and each.width), each) for each in choices]
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
        handed = [width // (stage.width_multiplier or 1) for width in stage.widths]
        for beginning in {key for width in handed for key in space.encoder.beginnings(i, source, width)}:
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
