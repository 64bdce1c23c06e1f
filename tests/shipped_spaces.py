"""The shipped spaces, and a cut of each that is small enough to build and train: few widths and depths, few pixels."""

from __future__ import annotations

from functools import cache
from typing import Any

from nas import ops
from nas.spaces import Genotype, SearchSpace, catalog
from nas.spaces.catalog import parse_space
from nas.spaces.variation import following
from nas.strict_yaml import read_yaml

NAMES = catalog.space_names()
# Windows of 7 positions; everything else runs on 32 pixels.
RESOLUTIONS = {"maxvit": 28}
# Widths divided, as far as heads allow: fewer numbers show the same.
NARROWED = {"ascan": 2, "fastvit": 2, "hytra": 4, "levit": 2, "mbconv": 2}


def cut_data(name: str) -> dict[str, Any]:
    """The file of a space with the ends of each list of values, two widths and two depths of each stage."""
    data = read_yaml(catalog.find(name))
    data["input"]["resolution"] = RESOLUTIONS.get(name, 32)
    data["head"]["num_classes"] = 5
    data.pop("presets", None)
    less = NARROWED.get(name, 1)
    data["stem_choices"] = {
        key: [v // less if isinstance(v, int) else v for v in values[:2]]
        for key, values in data["stem_choices"].items()
    }
    for layer in data["layers"].values():
        layer["choices"] = {key: ends(values) for key, values in layer.get("choices", {}).items()}
    for stage in data["stages"]:
        width = stage.get("width")
        if isinstance(width, int | list):
            stage["width"] = [v // less for v in ([width] if isinstance(width, int) else width[:2])]
        depths = [stage["depth"]] if isinstance(stage["depth"], int) else stage["depth"]
        stage["depth"] = [0] * (0 in depths) + ([1, 2] if stage.get("per_layer") else [d for d in depths if d][:2])
        for letter, spec in stage["ops"].items():
            if isinstance(spec, dict):
                stage["ops"][letter] = {key: ends(v) if key != "layer" else v for key, v in spec.items()}
    if "total_depth" in data.get("rules", {}):
        data["rules"]["total_depth"] = 3
    return data


def ends(values: Any) -> Any:
    return [values[0], values[-1]] if isinstance(values, list) and len(values) > 1 else values


@cache
def cut_space(name: str) -> SearchSpace:
    return parse_space(cut_data(name), ops)


@cache
def whole_space(name: str) -> SearchSpace:
    return catalog.read_space(name, ops)


def with_genes(space: SearchSpace, point: Genotype, place: tuple[int, ...], value: Any) -> Genotype | None:
    """The point with another stem value (0, i), width (stage, ) or value (stage, [layer,] i), if that is a member."""
    stem, stages = list(point.stem), list(point.stages)
    if place[0] == 0:
        stem[place[1]] = value
    else:
        gene = stages[place[0] - 1]
        if len(place) == 1:
            gene = gene._replace(width=value)
        else:
            params = [list(p) if isinstance(p, tuple) else p for p in gene.params]
            inner = params[place[1]] if len(place) == 3 else params
            inner[place[-1]] = value
            gene = gene._replace(params=tuple(tuple(p) if isinstance(p, list) else p for p in params))
        stages[place[0] - 1] = gene
    found = following(space, tuple(stem), stages)
    return found if space.valid(found) else None
