"""Spaces with a choice per layer that are small enough to list, one for every rule, and brute force that lists them."""

from __future__ import annotations

import json
from itertools import pairwise, product
from math import comb, prod
from typing import Any

from nas import ops
from nas.spaces import ABSENT, Genotype, SearchSpace, StageChoice
from nas.spaces.catalog import parse_space

from .small_space import small_data

CA = {"C": "convolution", "A": "transformer"}
PLAIN = {"C": {"layer": CA["C"], "kernel_size": 3}, "A": {"layer": CA["A"], "expand_ratio": 1}}
CONV = {"mixer": {"op": "depthwise_conv", "kernel_size": "$kernel_size"}, "norm": {"op": "batch_norm"}}
MIX = {"mixer": {"op": "feed_forward", "expand_ratio": "$expand_ratio"}, "norm": {"op": "layer_norm"}}
CHANGES: dict[str, dict[str, Any]] = {
    # Letters and values per layer, two widths, two depths.
    "free": {
        "stages": [
            {"width": [4, 8], "depth": 1, "ops": CA, "per_layer": True},
            {"stride": 2, "width": [4, 8], "depth": [1, 3], "per_layer": True,
             "ops": {"C": CA["C"], "A": {"layer": CA["A"], "expand_ratio": 2}}},
        ],
        "rules": {"widths": "any"},
    },
    # A stage with one choice for all its layers before one with a choice per layer; letters in order.
    "ordered": {
        "stages": [
            {"width": [4], "depth": [1, 2], "ops": CA},
            {"stride": 2, "width": [4, 8], "depth": [1, 2, 3], "ops": CA, "per_layer": True},
        ],
        "rules": {"op_order": "CA", "layer_order": "CA", "widths": "growing"},
    },
    # A fabric: so many layers in all, on whichever maps, with attention on the smaller ones alone.
    "fabric": {
        "stages": [
            {"stride": 1, "width": 4, "depth": [0, 1, 2, 3], "ops": {"C": CA["C"]}, "per_layer": True},
            {"stride": 2, "width": 8, "depth": [0, 1, 2, 3], "ops": PLAIN, "per_layer": True},
            {"stride": 2, "width": 12, "depth": [0, 1, 2, 3], "ops": PLAIN, "per_layer": True},
        ],
        "rules": {"total_depth": 3, "stages": "contiguous"},
    },
    # Any stage but the last may be absent, whether its choice is per layer or not; a range of totals.
    "gaps": {
        "stages": [
            {"stride": 2, "width": [4, 8], "depth": [0, 2], "ops": CA},
            {"stride": 2, "width": [8], "depth": [0, 1, 2], "ops": CA, "per_layer": True},
            {"stride": 1, "width": [12, 16], "depth": [1, 2], "ops": {"C": CA["C"]}},
        ],
        "rules": {"total_depth": [2, 3, 4], "op_order": "AC"},
    },
    # Downsampling by transitions, and none before the first stage, which keeps the stem's width.
    "transitions": {
        "layers": {
            "convolution": {"choices": {"kernel_size": [3, 5]}, "rest": [CONV], "transition": {
                "op": "serial", "ops": [{"op": "layer_norm"}, {"op": "conv", "width": "$width", "stride": "$stride"}]}},
            "transformer": {"choices": {"expand_ratio": [1, 2], "reduce": [2, 3]}, "first": [MIX], "transition": {
                "op": "conv", "width": "$width", "stride": "$stride", "kernel_size": "$reduce"}},
        },
        "stages": [
            {"width": "same", "depth": [1, 2], "ops": {"C": CA["C"]}, "transition": False},
            {"stride": 2, "width": [8, 12], "depth": [1, 2], "per_layer": True,
             "ops": {"C": CA["C"], "A": {"layer": CA["A"], "reduce": 3}}},
        ],
        "rules": {},
    },
    # A width that doubles, also past a stage that is absent; numbers that are products; a head that follows the width.
    "doubling": {
        "stem": {"op": "serial", "ops": [{"op": "conv_norm", "width": "$width / 2", "stride": 2},
                                         {"op": "conv", "width": "$width"}]},
        "layers": {"convolution": {"choices": {"expand_ratio": [1, 2, 3.5], "kernel_size": 3}, "first": [
            {"mixer": {"op": "serial", "ops": [
                {"op": "conv_norm", "width": "$width * $expand_ratio", "stride": "$stride",
                 "kernel_size": "$kernel_size"},
                {"op": "conv", "width": "$width", "kernel_size": 1}]}, "shortcut": {"op": "none"}}]}},
        "stages": [
            {"width": "same", "depth": [1, 2], "ops": {"C": CA["C"]}, "per_layer": True},
            {"stride": 2, "width": "double", "depth": [0, 1], "ops": {"C": {"layer": CA["C"], "expand_ratio": [1, 2]}}},
            {"stride": 2, "width": "double", "depth": [1, 2], "ops": {"C": {"layer": CA["C"], "expand_ratio": 3.5}},
             "per_layer": True},
        ],
        "rules": {},
        "head": {"op": "classifier", "num_classes": 5, "hidden": False, "before": {
            "op": "reparam_conv", "width": "$width * 2", "depthwise": True,
            "gate": {"op": "squeeze_excite", "rd_channels": "$width / 4"}}},
    },
    # One width for the whole network, all layers in one stage.
    "equal": {
        "stages": [{"depth": [2, 3], "ops": CA, "per_layer": True, "stride": 2}],
        "rules": {"widths": "equal", "total_depth": [2, 3]},
    },
    # A layer of its own to open a stage with, which stands nowhere else; widths in parts.
    "opened": {
        "layers": {
            "convolution": {"choices": {"kernel_size": [3, 5]}, "first": [CONV]},
            "transformer": {"choices": {"expand_ratio": [1, 2]}, "first": [MIX]},
            "opening": {"first": [{"shortcut": {"op": "none"}, "mixer": {"op": "serial", "ops": [
                {"op": "conv", "width": "$width/2", "kernel_size": 1},
                {"op": "conv", "width": "$width", "stride": "$stride", "groups": "$width/4"}]}}]},
        },
        "stages": [
            {"width": "same", "depth": [1, 2], "ops": CA, "per_layer": True},
            {"stride": 2, "width": [8, 12], "depth": [1, 2, 3], "per_layer": True,
             "ops": {"c": {"layer": "opening", "place": "first"}, "C": {"layer": CA["C"], "place": "rest"},
                     "A": {"layer": CA["A"], "place": "rest"}}},
        ],
        "rules": {},
    },
}  # fmt: skip
NAMES = list(CHANGES)


def layered_data(name: str) -> dict[str, Any]:
    """The space file as plain data of one's own."""
    data = small_data()
    data["layers"]["convolution"]["choices"] = {"kernel_size": [3, 5], "expand_ratio": 1}
    data["layers"]["transformer"]["choices"] = {"expand_ratio": [1, 2]}
    return {**data, "name": name, **json.loads(json.dumps(CHANGES[name]))}


def layered_space(name: str) -> SearchSpace:
    return parse_space(layered_data(name), ops)


def every_gene(space: SearchSpace, i: int) -> list[StageChoice]:
    """Every way to fill a stage, whatever the rules."""
    stage = space.stages[i]
    genes = [ABSENT] if 0 in stage.depths else []
    if not stage.per_layer:
        return genes + [choice for op in stage.ops for choice in stage.choices(op.letter)]
    for depth in filter(None, stage.depths):
        for letters in product(*("".join(op.letter for op in stage.ops_at(k)) for k in range(depth))):
            values = [product(*(v for _, v in stage.op(c).choices_at(k))) for k, c in enumerate(letters)]
            for params in product(*values):
                genes += [StageChoice("".join(letters), width, depth, params) for width in stage.widths]
    return genes


def obeys(space: SearchSpace, point: Genotype) -> bool:
    """Whether the rules of the space's file hold, read from the file."""
    data = layered_data(space.name)
    rules = data["rules"]
    present = [i for i, gene in enumerate(point.stages) if gene.depth]
    genes = [point.stages[i] for i in present]
    if not present:
        return False
    if rules.get("stages") == "contiguous" and present != list(range(present[0], present[-1] + 1)):
        return False
    totals = rules.get("total_depth")
    if totals and sum(gene.depth for gene in genes) not in (totals if isinstance(totals, list) else [totals]):
        return False
    widths = [point.stem[0], *(gene.width for gene in genes)]
    factors = {"same": 1, "double": 2}
    given = [data["stages"][i].get("width", "same") for i in present]
    times = [1 if rules.get("widths") == "equal" else factors.get(str(each), 0) for each in given]
    if any(n and n * a != b for n, (a, b) in zip(times, pairwise(widths), strict=True)):
        return False
    if rules.get("widths", "growing") == "growing" and any(a > b for a, b in pairwise(widths)):
        return False
    between, within = rules.get("op_order", ""), rules.get("layer_order", "")
    if between and any(between.index(a.op[-1]) > between.index(b.op[0]) for a, b in pairwise(genes)):
        return False
    return not within or all("".join(sorted(g.op, key=within.index)) == g.op for g in genes)


def listed_layers(space: SearchSpace) -> list[Genotype]:
    """Every point of a space, by brute force."""
    stages = [every_gene(space, i) for i in range(len(space.stages))]
    points = (Genotype(values, genes) for values in space.stem.combinations for genes in product(*stages))
    return [point for point in points if obeys(space, point)]


def fairness(space: SearchSpace, point: Genotype) -> float:
    """The fair measure of a point, but for a factor that is the same for all points."""
    total = 1.0
    for stage, gene in zip(space.stages, point.stages, strict=True):
        total /= len(stage.depths)
        if not gene.depth:
            continue
        total /= len(stage.widths)
        many = len(stage.ops)
        if not stage.per_layer:
            total /= many * len(stage.op(gene.op).combinations)
            continue
        strings = prod(len(stage.ops_at(k)) for k in range(gene.depth))
        total /= comb(gene.depth + many - 1, gene.depth) if space.layer_order else strings
        total /= prod(len(v) for k, c in enumerate(gene.op) for _, v in stage.op(c).choices_at(k))
    return total
