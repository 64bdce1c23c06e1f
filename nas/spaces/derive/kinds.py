"""Layers of one kind: alike but for numbers that may vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nas.architecture import LayerConfig
from nas.spaces.derive.facts import Fitting, Shape
from nas.spaces.derive.templating import MOST_CHOICES, Leaf, at, blanked, leaves, with_width


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Layers of a stage that are alike but for a few numbers.

    Attributes:
        letter: A, C or M; see `OpFacts.letter`.
        template: A layer with `$width`, and `$name` for each choice.
        choices: What each choice may be.
        values: What each choice is in the layers of the network, one value per layer.
        places: Which layers of the stage these are.
    """

    letter: str
    template: dict[str, Any]
    choices: dict[str, list[Any]]
    values: dict[str, tuple[Any, ...]]
    places: tuple[int, ...]

    @property
    def constant(self) -> bool:
        """Whether the layers are all the same."""
        return all(len(set(values)) == 1 for values in self.values.values())

    @property
    def typical(self) -> dict[str, Any]:
        """The choices of the network's first layer of this kind."""
        return {name: values[0] for name, values in self.values.items()}


def kinds_of(layers: dict[int, LayerConfig], width: int, shape: Shape, fitting: Fitting) -> list[Kind]:
    """The kinds of a stage's layers, in order of their first; `shape` is that of the map which all of them keep."""
    facts = fitting.facts
    groups: dict[str, list[int]] = {}
    for place, layer in layers.items():
        data = layer.to_dict()
        groups.setdefault(blanked(data, leaves(data, facts)), []).append(place)
    found: list[Kind] = []
    for places in groups.values():
        kind = kind_of({place: layers[place] for place in places}, width, fitting)
        if kind is None:  # they vary in too many ways: each different layer is a kind of its own
            apart: dict[LayerConfig, list[int]] = {}
            for place in places:
                apart.setdefault(layers[place], []).append(place)
            for some in apart.values():
                own = kind_of({place: layers[place] for place in some}, width, fitting)
                assert own is not None
                found.append(_keeping(own, width, shape, fitting))
        else:
            found.append(_keeping(kind, width, shape, fitting))
    return found


def kind_of(layers: dict[int, LayerConfig], width: int, fitting: Fitting) -> Kind | None:
    """One kind, or None if its layers vary in more ways than a template may have choices."""
    facts = fitting.facts
    first, *_ = layers.values()
    data = first.to_dict()
    spread = list(zip(*(leaves(layer.to_dict(), facts) for layer in layers.values()), strict=True))
    same: dict[tuple[Any, ...], list[Leaf]] = {}
    for leaf_of_each in spread:
        values = tuple(leaf.value for leaf in leaf_of_each)
        same.setdefault((leaf_of_each[0].op, leaf_of_each[0].name, values), []).append(leaf_of_each[0])
    # Those that vary within the network come first: they have to be choices.
    order = sorted(same, key=lambda key: len(set(key[2])) == 1)
    if sum(len(set(key[2])) > 1 for key in order) > MOST_CHOICES:
        return None
    template = with_width(data, width)
    choices: dict[str, list[Any]] = {}
    taken: dict[str, tuple[Any, ...]] = {}
    for op, name, values in order[:MOST_CHOICES]:
        word = name if name not in choices else f"{op}_{name}"
        while word in choices:
            word += "_2"
        choices[word] = sorted({near for value in values for near in fitting.steps.values(name, value)})
        taken[word] = values
        for leaf in same[op, name, values]:
            at(template, leaf.path)[name] = f"${word}"
    for op, name, values in order[MOST_CHOICES:]:
        for leaf in same[op, name, values]:
            at(template, leaf.path)[name] = leaf.value
    return Kind(letter=facts.letter(first), template=template, choices=choices, values=taken, places=tuple(layers))


def _keeping(kind: Kind, width: int, shape: Shape, fitting: Fitting) -> Kind:
    return fitted(kind, lambda v: fitting.layer(kind.template, {**v, "width": width, "stride": 1}, shape) == shape)


def fitted(kind: Kind, fits: Callable[[dict[str, Any]], bool]) -> Kind:
    """The kind with only those values of its choices that fit, the network's own always among them."""
    choices = {
        name: [value for value in values if value in kind.values[name] or fits({**kind.typical, name: value})]
        for name, values in kind.choices.items()
    }
    return replace(kind, choices=choices)


def renamed(kind: Kind, names: dict[str, str]) -> Kind:
    """The same kind with other names for its choices."""

    def rename(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: rename(item) for key, item in data.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(data, list):
            return [rename(item) for item in data]  # pyright: ignore[reportUnknownVariableType]
        return f"${names[data[1:]]}" if isinstance(data, str) and data[:1] == "$" and data[1:] in names else data

    return replace(
        kind,
        template=rename(kind.template),
        choices={names.get(name, name): values for name, values in kind.choices.items()},
        values={names.get(name, name): values for name, values in kind.values.items()},
    )
