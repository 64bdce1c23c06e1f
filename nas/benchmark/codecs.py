"""How truth tables write architectures, per space."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from nas.architecture import Architecture
from nas.benchmark.row_codecs import inverted_residuals, pooling_transformer
from nas.errors import DataError, NasError
from nas.ops import normalize
from nas.spaces import Genotype, SearchSpace, StageChoice

Decoder = Callable[[SearchSpace, str], Architecture]


def widths(space: SearchSpace, text: str) -> Architecture:
    """NATS-Bench's size space: the widths of stem and stages, such as `8:16:24:32:40`."""
    stem, *stages = (int(width) for width in text.split(":"))
    genotype = Genotype((stem,), tuple(StageChoice("C", width, 1, ()) for width in stages))
    if len(stages) != len(space.stages):
        raise DataError(f"it has {len(stages)} widths after the stem's, where the space has {len(space.stages)} stages")
    allowed = all(width in stage.widths for width, stage in zip(stages, space.stages, strict=True))
    # `valid` holds the rules between choices; that each is one the space offers is for whoever makes a genotype.
    if genotype.stem not in space.stem.combinations or not allowed or not space.valid(genotype):
        raise DataError("its widths are not the space's")
    return space.decode(genotype)


def transformers(space: SearchSpace, text: str) -> Architecture:
    """AutoFormer's: JSON with `hidden_dim` and `depth`, and `num_heads` and `mlp_ratio` as lists with one per layer."""
    known: Any = json.loads(text)
    names = {"hidden_dim", "depth", "num_heads", "mlp_ratio"}
    if not isinstance(known, dict) or set(cast("dict[str, Any]", known)) != names:
        raise DataError(f"it must be a mapping of {', '.join(sorted(names))}")
    width, depth, heads, ratios = (known[name] for name in ("hidden_dim", "depth", "num_heads", "mlp_ratio"))
    if not len(heads) == len(ratios) == depth:
        raise DataError(f"of {depth} layers it lists {len(heads)} num_heads and {len(ratios)} mlp_ratio")
    layers = list(zip(heads, ratios, strict=True))
    stage = space.stages[0]
    values = dict(stage.op("A").choices)
    for each, ratio in layers:
        if each not in values["num_heads"] or ratio not in values["mlp_ratio"]:
            raise DataError(f"a layer with {each} heads and ratio {ratio} is not in the space")
    # Whole ratios are written 4.0 there and 4 here; the two are equal.
    chosen = [{"num_heads": each, "mlp_ratio": int(ratio) if ratio == int(ratio) else ratio} for each, ratio in layers]
    params = tuple(tuple(layer[name] for name in values) for layer in chosen)
    genotype = Genotype((width,), (StageChoice("A" * len(layers), width, len(layers), params),))
    if width not in dict(space.stem.choices)["width"] or not space.valid(genotype):
        raise DataError(f"{len(layers)} layers of width {width} are not in the space")
    return space.decode(genotype)


def plain(space: SearchSpace, text: str) -> Architecture:
    """An architecture as JSON, as this program writes it."""
    architecture = normalize(Architecture.from_dict(json.loads(text)))
    space.encode(architecture)
    return architecture


CODECS: dict[str, Decoder] = {
    "autoformer": transformers,
    "mbconv": inverted_residuals,
    "nats-size": widths,
    "pit": pooling_transformer,
}


def decode(
    space: SearchSpace, texts: Sequence[str], where: str, lines: Sequence[int] | None = None
) -> list[Architecture]:
    """The architectures of a table's column.

    Args:
        where: The file, for the message.
        lines: Of the file, that the texts are on; None counts from below a header.

    Raises:
        DataError: If one cannot be read or is no member of the space, naming its line.
    """
    decoder = CODECS.get(space.name, plain)
    found: list[Architecture] = []
    for line, text in zip(lines or range(2, len(texts) + 2), texts, strict=True):
        try:
            whole = text.lstrip().startswith("{") and '"stages"' in text  # as this program writes it, in any space
            found.append((plain if whole else decoder)(space, text))
        except (NasError, ValueError, TypeError, RecursionError) as fault:  # the last: JSON nested too deep
            reason = " ".join(str(fault).split())[:160]
            raise DataError(
                f"{where}, line {line}: {text[:40]!r} is no architecture of {space.name}: {reason}. Check --space and "
                "--arch-column."
            ) from None
    return found
