"""Recipes as YAML files: shipped presets and people's own, each key checked.

    format: 1
    about: what it is for
    recipe: {learning_rate: 5e-4, layer_decay: 0.85}
    sized:                       # further keys from so many epochs and training images on; later ones prevail
    - epochs: 50
      images: 1000
      recipe: {mixup: 0.2}

Keys are those of `Recipe` but for what options say: epochs, batch size, shift and flip, data type, device,
seed and compiling.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from nas.errors import OptionError, RunError
from nas.registry import unknown
from nas.spaces import catalog
from nas.strict_yaml import read_yaml
from nas.training.recipe import Checkpoint, ClassWeights, Recipe

FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Between:
    """Numbers from `low` to `high`; without one of the ends where it is `open`."""

    low: float
    high: float
    open: str = ""
    whole: bool = False

    def fault(self, value: object) -> str | None:
        kinds = int if self.whole else (int, float)
        above = isinstance(value, kinds) and (value > self.low if "low" in self.open else value >= self.low)
        below = isinstance(value, kinds) and (value < self.high if "high" in self.open else value <= self.high)
        if above and below and not isinstance(value, bool):
            return None
        low = f"{'above' if 'low' in self.open else 'at least'} {self.low:,}"
        high = f"{'below' if 'high' in self.open else 'at most'} {self.high:,}"
        return f"give a {'whole ' if self.whole else ''}number {low} and {high}"


@dataclass(frozen=True, slots=True)
class _OneOf:
    choices: tuple[str, ...]

    def fault(self, value: object) -> str | None:
        return None if value in self.choices else f"give {' or '.join(self.choices)}"


_SHARE, _ALPHA = _Between(0, 1), _Between(0, 10)
KEYS: dict[str, _Between | _OneOf] = {
    "learning_rate": _Between(0, 1, "low"),
    "weight_decay": _SHARE,
    "warmup": _Between(0, 1, "high"),
    "label_smoothing": _Between(0, 1, "high"),
    "clip_norm": _Between(0, 1000, "low"),
    "beta2": _Between(0, 1, "high"),
    "distill_weight": _SHARE,
    "temperature": _Between(0, 100, "low"),
    "layer_decay": _Between(0, 1, "low"),
    "ema": _Between(0, 1, "high"),
    "checkpoint": _OneOf(get_args(Checkpoint)),
    "patience": _Between(0, 1_000_000, whole=True),
    "class_weights": _OneOf(get_args(ClassWeights)),
    "accumulation": _Between(1, 1024, whole=True),
    "drop_path": _Between(0, 1, "high"),
    "mixup": _ALPHA,
    "cutmix": _ALPHA,
    "resized_crop": _SHARE,
    "randaugment": _Between(0, 10),
    "erasing": _SHARE,
}
"""What each key of a recipe file may be."""
_TOP, _SIZED = ("format", "about", "recipe", "sized"), ("epochs", "images", "recipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedPart:
    """Keys for trainings of at least so many epochs and training images."""

    epochs: int
    images: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """What a recipe file says.

    Attributes:
        name: The preset's, or the path.
        values: Fields of `Recipe`.
        sized: Further ones, for longer trainings.
    """

    name: str
    about: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sized: tuple[SizedPart, ...] = ()

    def applied(self, recipe: Recipe, *, images: int) -> Recipe:
        """Returns a recipe with the file's values for a training of its epochs on so many images."""
        return replace(recipe, **self.chosen(epochs=recipe.epochs, images=images))

    def to_dict(self) -> dict[str, Any]:
        """Returns what the file says as plain JSON, which `recorded_recipe` reads."""
        sized = [{"epochs": part.epochs, "images": part.images, "recipe": dict(part.values)} for part in self.sized]
        return {"name": self.name, "values": dict(self.values), **({"sized": sized} if sized else {})}

    def chosen(self, *, epochs: int, images: int) -> dict[str, Any]:
        """Returns the file's values for a training of so many epochs on so many images."""
        parts = [part.values for part in self.sized if epochs >= part.epochs and images >= part.images]
        return {name: value for part in (self.values, *parts) for name, value in part.items()}


def recipe_names() -> list[str]:
    """Returns the names of the shipped recipes."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_recipe(source: str | Path) -> RecipeFile:
    """Reads a recipe by the name of a shipped one or the path of a YAML file.

    Raises:
        OptionError: If there is no such file, or anything in it is unknown or out of its range.
    """
    text, names = str(source), recipe_names()
    path = _folder() / f"{text}.yaml" if text in names else Path(text)
    if text not in names and not ("\0" not in text and os.path.exists(path)):
        if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
            raise OptionError(
                f"No recipe file {text[:200]!r}. Give a path to a YAML file or one of {', '.join(names)}."
            )
        raise OptionError(unknown("recipe", text, names) + " A path to a YAML file works too.")
    data = read_yaml(path, error=OptionError)
    _check_keys(data, _TOP, str(path))
    if data.get("format") != FORMAT:
        found = str(data.get("format"))[:40]
        raise OptionError(f"{path}: format is {found!r}, and this version reads {FORMAT}: write format: {FORMAT}.")
    return RecipeFile(
        name=text,
        about=str(data.get("about", "")),
        values=_values(data.get("recipe", {}), f"{path}: recipe"),
        sized=_sized(data.get("sized", []), str(path)),
    )


def recorded_recipe(plain: Mapping[str, Any], where: str) -> RecipeFile:
    """Restores a recipe that `to_dict` wrote; earlier versions wrote the values for finalists alone.

    Args:
        where: The file that it was read from.

    Raises:
        RunError: If it is damaged.
    """
    try:
        return RecipeFile(
            name=str(plain["name"]),
            values=_values(plain["values"], f"{where}: recipe"),
            sized=_sized(plain.get("sized", []), where),
        )
    except (KeyError, OptionError) as fault:
        raise RunError(f"{where} is damaged: its recipe cannot be read ({fault}). Restore it from a copy.") from None


def _folder() -> Path:
    return catalog.folder() / "recipes"


def _sized(parts: object, where: str) -> tuple[SizedPart, ...]:
    if not isinstance(parts, list):
        raise OptionError(f"{where}: sized must be a list of parts, each with epochs and recipe.")
    return tuple(_part(part, f"{where}: sized part {i}") for i, part in enumerate(cast("list[Any]", parts), 1))


def _part(part: object, where: str) -> SizedPart:
    if not isinstance(part, dict):
        raise OptionError(f"{where} must be a mapping of epochs, images and recipe.")
    plain = cast("dict[str, Any]", part)
    _check_keys(plain, _SIZED, where)
    for name in ("epochs", "images"):
        _check_value(name, plain.get(name, 0), _Between(0, 1_000_000_000, whole=True), where)
    return SizedPart(
        epochs=plain.get("epochs", 0), images=plain.get("images", 0), values=_values(plain.get("recipe", {}), where)
    )


def _values(plain: object, where: str) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise OptionError(f"{where} must be a mapping of keys such as learning_rate: 1e-3.")
    values = cast("dict[str, Any]", plain)
    _check_keys(values, KEYS, where)
    for name, value in values.items():
        _check_value(name, value, KEYS[name], where)
    return values


def _check_keys(plain: Mapping[str, Any], known: Any, where: str) -> None:
    for name in plain:
        if name not in known:
            raise OptionError(f"{where}: {unknown('key', name, known, most=len(known))}")


def _check_value(name: str, value: object, rule: _Between | _OneOf, where: str) -> None:
    fault = rule.fault(value)
    if fault is not None:
        raise OptionError(f"{where}: {name} is {str(value)[:40]!r}: {fault}.")
