"""One stage of a network taken apart: its transition, the layer that opens it, the kinds of its other layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nas.architecture import StageConfig
from nas.errors import ArchitectureError
from nas.spaces.derive.facts import Fitting, Shape
from nas.spaces.derive.kinds import Kind, fitted, kind_of, kinds_of, renamed
from nas.spaces.derive.runs import LayerRun, run_of
from nas.spaces.derive.templating import projects, with_stride, with_width, without_stride


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A stage as templates.

    Attributes:
        number: From 1.
        entered, shape: The stage's input map, and the map that its layers keep.
        stride: How much smaller the map becomes, where the templates say `$stride`; else 1.
        transition: Template of the block before the layers.
        opening: The first layer, where it changes the map or may; it stands nowhere else.
        kinds: Of all other layers.
        depth: Number of layers.
        run: The layers, where some of them change the map; then there are neither an opening layer nor kinds.
    """

    number: int
    entered: Shape
    shape: Shape
    stride: int
    transition: dict[str, Any] | None
    opening: Kind | None
    kinds: tuple[Kind, ...]
    depth: int
    run: LayerRun | None = None

    @property
    def shares(self) -> bool:
        """Whether one op with one set of values describes the stage: its layers need no choices of their own."""
        if len(self.kinds) > 1 or not all(kind.constant for kind in self.kinds):
            return False
        return self.opening is None or all(kind.letter == self.opening.letter for kind in self.kinds)

    def after(self, width_in: int, width: int, fitting: Fitting) -> Shape | None:
        """The map after the transition and the opening layer or run; None where these do not fit."""
        values = {"width": width, "stride": self.stride}
        shape = self.before(width_in, width, fitting)
        if self.opening is not None and shape is not None:
            shape = fitting.layer(self.opening.template, {**self.opening.typical, **values}, shape)
        if self.run is not None and shape is not None:
            shape = fitting.layers(self.run.first, {**self.run.typical, **values}, shape)
        return shape

    def before(self, width_in: int, width: int, fitting: Fitting) -> Shape | None:
        """The map after the transition; None where that does not fit."""
        shape = (width_in, *self.entered[1:])
        if self.transition is None:
            return shape
        return fitting.block(self.transition, {"width": width, "stride": self.stride}, shape)

    def works(self, width_in: int, width: int, fitting: Fitting) -> bool:
        """Whether the stage turns a map of one width into one of the other, whichever of its layers it has."""
        shape = (width, *self.shape[1:])
        if self.run is not None:
            before = self.before(width_in, width, fitting)
            return before is not None and self.run.works(width, before, shape, fitting)
        return self.after(width_in, width, fitting) == shape and all(
            keeps(kind, width, shape, fitting) for kind in self.kinds
        )


def keeps(kind: Kind, width: int, shape: Shape, fitting: Fitting) -> bool:
    """Whether layers of a kind keep a map, with the network's values and with the least and greatest of all choices."""
    corners = [
        kind.typical,
        {name: values[0] for name, values in kind.choices.items()},
        {name: values[-1] for name, values in kind.choices.items()},
    ]
    return all(
        fitting.layer(kind.template, {**values, "width": width, "stride": 1}, shape) == shape for values in corners
    )


def parts_of(number: int, stage: StageConfig, entered: Shape, fitting: Fitting) -> Parts:
    """Takes a stage apart.

    Raises:
        ArchitectureError: If it has no layers, or such that change the map and form no runs.
    """
    facts = fitting.facts
    if not stage.layers:
        raise ArchitectureError(f"stage {number} has no layers, so that there is nothing to vary in it.")
    before = facts.after(stage.transition, entered) if stage.transition else entered
    shape = facts.after(StageConfig(layers=stage.layers[:1]), before)
    for i, layer in enumerate(stage.layers[1:], start=2):
        after = facts.after(StageConfig(layers=(layer,)), shape)
        if after != shape:
            return _in_runs(number, stage, entered, before, (i, shape, after), fitting)
    width = shape[0]
    # A projected shortcut opens a stage even where it keeps the map: other widths need it, later layers have none.
    opens = shape != before or projects(stage.layers[0].to_dict())
    rest = {i: layer for i, layer in enumerate(stage.layers) if i or not opens}
    kinds = tuple(kinds_of(rest, width, shape, fitting))
    stride = entered[1] // shape[1] if shape[1] else 1
    transition = with_width(stage.transition.to_dict(), width) if stage.transition else None
    opening = None
    if opens:
        opening = kind_of({0: stage.layers[0]}, width, fitting)
        assert opening is not None
        opening = _opening(opening, stride if transition is None else 1, before, shape, fitting)
    elif transition is not None:
        transition = with_stride(transition, stride, facts)
    strided = transition if opening is None else opening.template
    parts = Parts(
        number=number,
        entered=entered,
        shape=shape,
        stride=stride if "$stride" in str(strided) else 1,
        transition=transition,
        opening=opening,
        kinds=kinds,
        depth=len(stage.layers),
    )
    return _named_alike(parts) if kinds else _continued(parts, fitting)


def _in_runs(
    number: int, stage: StageConfig, entered: Shape, before: Shape, change: tuple[int, Shape, Shape], fitting: Fitting
) -> Parts:
    facts = fitting.facts
    last = facts.after(stage, entered)
    run = run_of(stage.layers, before, last, fitting)
    if run is None:
        i, shape, after = change
        raise ArchitectureError(
            f"stage {number}: its layer {i} turns {_said(shape)} into {_said(after)}, and the layers are no runs of "
            "which each could be left out."
        )
    transition = with_width(stage.transition.to_dict(), last[0]) if stage.transition else None
    stride = entered[1] // last[1] if last[1] else 1
    if transition is not None:
        transition = with_stride(transition, stride, facts)
    return Parts(
        number=number,
        entered=entered,
        shape=last,
        stride=stride if "$stride" in str(transition) else 1,
        transition=transition,
        opening=None,
        kinds=(),
        depth=len(stage.layers),
        run=run,
    )


def _opening(opening: Kind, stride: int, before: Shape, after: Shape, fitting: Fitting) -> Kind:
    """The opening layer with `$stride`, and with only those values of its choices that give the same map."""
    template = with_stride(opening.template, stride, fitting.facts)
    always = {"width": after[0], "stride": stride}
    return fitted(
        replace(opening, template=template), lambda v: fitting.layer(template, {**v, **always}, before) == after
    )


def _named_alike(parts: Parts) -> Parts:
    """Gives choices of the opening layer and of the others one name where they are one choice, and two where not."""
    if parts.opening is None or not parts.shares:
        return parts
    (kind,) = parts.kinds
    mine, theirs = parts.opening, kind
    names = {
        name: f"first_{name}"
        for name in mine.choices
        if name in theirs.choices
        and (mine.typical[name], mine.choices[name]) != (theirs.typical[name], theirs.choices[name])
    }
    return replace(parts, opening=renamed(mine, names))


def _continued(parts: Parts, fitting: Fitting) -> Parts:
    """A stage of one layer, which changes the map, with the same layer without stride to go on with, if it fits."""
    opening = parts.opening
    assert opening is not None
    plain = replace(opening, template=without_stride(opening.template), places=())
    if not fitting.steps.smaller and keeps(plain, parts.shape[0], parts.shape, fitting):
        return replace(parts, kinds=(plain,))
    return parts


def _said(shape: Shape) -> str:
    text = "x".join(map(str, shape[:3]))
    return f"{text} and {shape[3]} tokens" if len(shape) > 3 and shape[3] else text
