"""Architectures of `pit` and `mbconv` as rows of `name=value` words, the way their tables write them."""

from __future__ import annotations

import re
from typing import Any

from nas.architecture import Architecture
from nas.errors import DataError
from nas.spaces import Genotype, SearchSpace, StageChoice
from nas.spaces.choices import Choices

_LAYER = re.compile(r"k([0-9]+)e([0-9]+(?:\.[0-9]+)?)(se)?")
_SE_RATIO = 0.25
_LETTERS = {"relu": "R", "silu": "S"}


def pooling_transformer(space: SearchSpace, text: str) -> Architecture:
    """PiT's, such as `base_dim=32 depth=2-6-4 heads=2-4-8 patch=16 stride=8 mlp=4`.

    A stage is as wide as its heads times `base_dim`, which is the channels of one head; `mlp` is the expansion, one for
    all stages or one of each; `patch` and `stride` are those of the first convolution.

    Raises:
        DataError: If a word is missing, unknown or not a number, or the space has no such member.
    """
    words = _words(text, ("base_dim", "depth", "heads", "patch", "stride", "mlp"))
    base, patch, stride = (_numbers(words, name, 1)[0] for name in ("base_dim", "patch", "stride"))
    count = len(space.stages)
    depths, heads = (_numbers(words, name, count) for name in ("depth", "heads"))
    ratios = _numbers(words, "mlp", 1 if words["mlp"].isdigit() else count)
    stem = _values(space.stem.choices, {"width": base * heads[0], "patch": patch, "stride": stride}, "the stem")
    genes: list[StageChoice] = []
    for i, (depth, each, ratio) in enumerate(zip(depths, heads, ratios * (count // len(ratios)), strict=True)):
        where = f"stage {i + 1}"
        named = {"head_dim": base, "num_heads": each, "mlp_ratio": ratio}
        width = _one_of("width", base * each, space.stages[i].widths, where)
        params = _values(space.stages[i].op("A").choices, named, where)
        genes.append(StageChoice("A", width, _one_of("depth", depth, space.stages[i].depths, where), params))
    return _member(space, Genotype(stem, tuple(genes)), "its heads must be multiples from stage to stage")


def inverted_residuals(space: SearchSpace, text: str) -> Architecture:
    """MBConv networks: `stem=32-16 width=24-40-80-96-192-320 head=1280 activation=relu layers=k3e3-k3e3|k5e3|…`.

    `stem` has the widths of the first convolution and of the unexpanded layer after it, `width` those of the stages,
    `head` that of the last 1x1 convolution. `layers` has a `k5e6` per layer, kernel and expansion, joined by `-`, with
    `|` between stages; a layer with squeeze-excite of a quarter of its input ends in `se` (`k5e6se`), and so does
    `stem` where its second layer has it (`32-16se`).

    Raises:
        DataError: If a word is missing, unknown or malformed, or the space has no such member.
    """
    words = _words(text, ("stem", "width", "head", "activation", "layers"))
    gated = words["stem"].endswith("se")
    conv_width, width = _numbers({"stem": words["stem"].removesuffix("se")}, "stem", 2)
    named = {
        "conv_width": conv_width,
        "width": width,
        "se_ratio": _SE_RATIO if gated else 0,
        "activation": words["activation"],
    }
    stem = _values(space.stem.choices, named, "the stem")
    *stages, last = space.stages
    letter = _LETTERS[_one_of("activation", words["activation"], tuple(_LETTERS), "it")]
    filled = words["layers"].split("|")
    if len(filled) != len(stages):
        raise DataError(f"layers has {len(filled)} stages, where the space has {len(stages)}: put | between stages")
    genes: list[StageChoice] = []
    for i, (layers, chosen) in enumerate(zip(filled, _numbers(words, "width", len(stages)), strict=True)):
        where, each = f"stage {i + 1}", layers.split("-")
        params = tuple(
            _values(stages[i].op(letter).choices_at(place), _layer(layer), f"{where}, layer {place + 1}")
            for place, layer in enumerate(each)
        )
        depth = _one_of("depth", len(each), stages[i].depths, where)
        genes.append(StageChoice(letter * depth, _one_of("width", chosen, stages[i].widths, where), depth, params))
    head = _one_of("head", _numbers(words, "head", 1)[0], last.widths, "the head")
    return _member(space, Genotype(stem, (*genes, StageChoice(letter, head, 1, ()))), "its widths must not shrink")


def _layer(text: str) -> dict[str, Any]:
    """The choices of a layer such as k5e6se."""
    found = _LAYER.fullmatch(text)
    if found is None:
        raise DataError(f"a layer is written k5e6 or k5e6se, not {text[:20]!r}")
    ratio = float(found[2])
    return {
        "kernel_size": int(found[1]),
        "expand_ratio": int(ratio) if ratio == int(ratio) else ratio,
        "se_ratio": _SE_RATIO if found[3] else 0,
    }


def _words(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """The values of a row of name=value words: each of the names once, and no other."""
    pairs = [word.partition("=") for word in text.split()]
    found = {name: value for name, _, value in pairs}
    wrong = next((name for name, sign, _ in pairs if name not in names or not sign), None)
    if wrong is not None:
        raise DataError(f"{wrong[:20]!r} is not among its words, which are {', '.join(f'{name}=' for name in names)}")
    missing = [name for name in names if name not in found]
    if missing or len(pairs) > len(names):
        raise DataError(f"it must say {', '.join(f'{name}=' for name in missing or names)}, each once")
    return found


def _numbers(words: dict[str, str], name: str, count: int) -> list[int]:
    """A word's whole numbers, of which there must be so many."""
    parts = words[name].split("-")
    if len(parts) != count or not all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
        what = "a whole number" if count == 1 else f"{count} whole numbers joined by -"
        raise DataError(f"{name}={words[name][:30]} must be {what}")
    return [int(part) for part in parts]


def _values(choices: Choices, named: dict[str, Any], where: str) -> tuple[Any, ...]:
    """The values of choices by their names, in the choices' order."""
    return tuple(_one_of(name, named[name], values, where) for name, values in choices)


def _one_of(name: str, value: Any, values: tuple[Any, ...], where: str) -> Any:
    if value not in values:
        raise DataError(f"{where} has {name}={value}, and the space {', '.join(map(str, values))}")
    return value


def _member(space: SearchSpace, genotype: Genotype, rule: str) -> Architecture:
    if not space.valid(genotype):
        raise DataError(rule)
    return space.decode(genotype)
