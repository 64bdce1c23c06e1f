"""Spaces with choices per layer, absent stages and transitions, compared with brute force."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import chisquare

from nas import ops
from nas.architecture import Architecture
from nas.errors import SpaceError
from nas.spaces import ABSENT, MANY, Genotype, SearchSpace, StageChoice
from nas.spaces.catalog import parse_space
from nas.spaces.templates import fill, names_in

from ..chi_square import agree
from ..layered_space import NAMES, fairness, layered_data, layered_space, listed_layers

SPACES = {name: layered_space(name) for name in NAMES}
ALL = {name: listed_layers(space) for name, space in SPACES.items()}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_size_is_the_number_of_different_architectures(name: str) -> None:
    space, points = SPACES[name], ALL[name]
    assert space.size() == len(points) == len({space.decode(point).digest for point in points}) > 90
    assert space.layouts == (MANY,)
    assert space.size(MANY) == space.size()


def test_every_point_survives_decoding_and_encoding(name: str) -> None:
    space = SPACES[name]
    for point in ALL[name]:
        architecture = space.decode(point)
        assert space.valid(point)
        assert space.encode(architecture) == point
        assert space.contains(architecture.at_resolution(64).with_classes(7).with_channels(1))
        assert point != ALL[name][-1] or Architecture.from_yaml(architecture.to_yaml()) == architecture


def test_rules_that_a_point_breaks_are_seen() -> None:
    fabric, ordered, equal = SPACES["fabric"], SPACES["ordered"], SPACES["equal"]

    def conv(width: int, depth: int) -> StageChoice:
        return StageChoice("C" * depth, width, depth, ((1, 3),) * depth)

    for genes in (
        (conv(4, 1), conv(8, 1), ABSENT),  # too few
        (conv(4, 1), ABSENT, conv(12, 2)),  # a gap
        (ABSENT, ABSENT, ABSENT),
    ):
        assert not fabric.valid(Genotype((4,), genes))
    assert fabric.valid(Genotype((4,), (conv(4, 1), conv(8, 1), conv(12, 1))))
    first = StageChoice("C", 4, 1, (1, 3))
    assert ordered.valid(Genotype((4,), (first, StageChoice("CA", 8, 2, ((1, 3), (1,))))))
    assert not ordered.valid(Genotype((4,), (first, StageChoice("AC", 8, 2, ((1,), (1, 3))))))
    point = ALL["equal"][0]
    assert not equal.valid(point._replace(stem=(12 - point.stages[0].width,)))


def test_layouts_tell_letters_per_layer_and_stages_apart() -> None:
    layouts = {SPACES["fabric"].layout(point) for point in ALL["fabric"]}
    assert {"C-CA-", "--CAC", "C-C-A", "CCC--", "-CC-A"} <= layouts
    assert {SPACES["ordered"].layout(point) for point in ALL["ordered"]} >= {"C-CCA", "A-A"}


def test_drawing_by_architecture_is_uniform(name: str) -> None:
    space, rng = SPACES[name], random.Random(0)
    found = Counter(space.encode(space.sample(rng, by="architecture")) for _ in range(10 * len(ALL[name])))
    assert chisquare([found[point] for point in ALL[name]]).pvalue > 1e-4


def test_drawing_by_layout_is_the_fair_measure_under_the_rules(name: str) -> None:
    space, rng, draws = SPACES[name], random.Random(1), 8000
    weights = [fairness(space, point) for point in ALL[name]]
    found = Counter(space.encode(space.sample(rng)) for _ in range(draws))
    assert agree([found[point] for point in ALL[name]], [draws * w / sum(weights) for w in weights])


def test_depths_and_letters_are_drawn_evenly_where_no_rule_couples_them() -> None:
    space, rng = SPACES["free"], random.Random(0)
    stages = [space.sample_genotype(rng, MANY).stages[1] for _ in range(3000)]
    depths = Counter(stage.depth for stage in stages)
    assert chisquare([depths[1], depths[3]]).pvalue > 1e-4
    for depth in (1, 3):
        strings = Counter(stage.op for stage in stages if stage.depth == depth)
        assert len(strings) == 2**depth
        assert chisquare(list(strings.values())).pvalue > 1e-4


def test_depths_are_drawn_evenly_though_few_strings_are_in_order() -> None:
    data = layered_data("ordered")
    del data["rules"]["op_order"]
    space, rng = parse_space(data, ops), random.Random(0)
    stages = [space.sample_genotype(rng, MANY).stages[1] for _ in range(3000)]
    assert chisquare(list(Counter(stage.depth for stage in stages).values())).pvalue > 1e-4
    strings = Counter(stage.op for stage in stages if stage.depth == 3)
    assert chisquare([strings[s] for s in ("CCC", "CCA", "CAA", "AAA")]).pvalue > 1e-4


def test_mutation_and_crossover_stay_inside_and_repeat(name: str) -> None:
    space = SPACES[name]
    for seed in range(60):
        first, second = (space.sample(random.Random(2 * seed + i)) for i in range(2))
        mutant, child = space.mutate(first, random.Random(seed)), space.crossover(first, second, random.Random(seed))
        assert space.contains(mutant)
        assert space.contains(child)
        assert mutant != first
        assert mutant == space.mutate(first, random.Random(seed))
        assert child == space.crossover(first, second, random.Random(seed))


def test_mutation_reaches_the_whole_space(name: str) -> None:
    space, rng = SPACES[name], random.Random(0)
    architecture, seen = space.sample(rng), set()
    for _ in range(20 * len(ALL[name])):
        architecture = space.mutate(architecture, rng)
        seen.add(architecture)
        if len(seen) == len(ALL[name]):
            break
    assert len(seen) > 0.97 * len(ALL[name])


def test_children_take_layers_of_both_parents() -> None:
    space, rng = SPACES["fabric"], random.Random(0)
    space = SPACES["fabric"]
    members = {space.layout(point): space.decode(point) for point in ALL["fabric"] if point.stem == (4,)}

    def children(one: str, other: str) -> set[str]:
        born = [space.crossover(members[one], members[other], rng) for _ in range(100)]
        return {space.layout(space.encode(child)) for child in born}

    assert children("C-C-C", "-AA-A") >= {"C-A-A", "C-C-A"}
    assert children("CCC--", "--AAA") == {"CCC--", "--AAA"}  # whatever joins them leaves a gap


def test_digests_and_draws_are_equal_in_every_process() -> None:
    def digests() -> str:
        lines = []
        for space in map(layered_space, NAMES):
            a = space.sample(random.Random(3))
            lines.append(f"{space.digest} {a.digest} {space.mutate(a, random.Random(4)).digest}")
        return "\n".join(lines)

    code = (
        "import random\nfrom tests.layered_space import NAMES, layered_space\n"
        "for space in map(layered_space, NAMES):\n"
        "    a = space.sample(random.Random(3))\n"
        "    print(space.digest, a.digest, space.mutate(a, random.Random(4)).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout.strip() == digests()


def test_rules_are_part_of_the_digest() -> None:
    seen = set()
    for rules in ({}, {"total_depth": 3}, {"stages": "contiguous"}, {"total_depth": [3, 4]}, {"layer_order": "CA"}):
        seen.add(parse_space({**layered_data("fabric"), "rules": rules}, ops).digest)
    assert len(seen) == 5


def test_hytra_has_as_many_architectures_as_its_fabric() -> None:
    def part(op: str, **more: Any) -> dict[str, Any]:
        mixer = {"op": op, "width": "$width", "stride": "$stride", **more}
        return {"first": [{"mixer": mixer, "shortcut": {"op": "pool_project", "width": "$width", "stride": "$stride"}}]}

    layers = {"conv": part("mbconv", expand_ratio=1), "attention": part("attention", head_dim=64)}
    both = {"C": "conv", "A": "attention"}
    data = {
        **layered_data("fabric"),
        "input": {"resolution": 224},
        "stem": {"op": "conv_stem", "width": 64, "stride": 4},
        "layers": layers,
        "stages": [
            {"stride": min(i + 1, 2), "width": 256 << i, "depth": list(range(17)), "per_layer": True,
             "ops": both if i > 1 else {"C": "conv"}}
            for i in range(4)
        ],
        "rules": {"total_depth": 16, "stages": "contiguous"},
    }  # fmt: skip
    del data["stem_choices"]
    space = parse_space(data, ops)
    assert space.size() == 2_818_103
    rng = random.Random(0)
    starts = Counter(next(i for i, gene in enumerate(space.sample_genotype(rng, MANY, fair=False).stages) if gene.depth)
                     for _ in range(4000))  # fmt: skip
    expected = [n * 4000 / 2_818_103 for n in (786_484, 917_507, 1_048_576, 65_536)]
    assert chisquare([starts[i] for i in range(4)], expected).pvalue > 1e-4
    # The first layer carries all the stride from the stem to its stage.
    low = next(a for a in (space.sample(random.Random(seed)) for seed in range(200)) if len(a.stages) < 4)
    first = low.stages[0].layers[0].branches[0].mixer
    assert first["stride"] == 2 ** (first["width"].bit_length() - 9)  # type: ignore[union-attr]


def set_stage(i: int, **changes: Any) -> Any:
    return lambda data: data["stages"][i].update(changes)


def head(data: dict[str, Any]) -> dict[str, Any]:
    return data["head"]["before"]


def mixer(data: dict[str, Any]) -> dict[str, Any]:
    return data["layers"]["convolution"]["first"][0]["mixer"]["ops"][0]


REFUSED: dict[str, tuple[str, Any, str]] = {
    "layer_order of other letters": ("ordered", lambda d: d["rules"].update(layer_order="CB"), "rules.layer_order"),
    "total_depth out of reach": ("fabric", lambda d: d["rules"].update(total_depth=10), "No architecture is left"),
    "total_depth of a word": ("fabric", lambda d: d["rules"].update(total_depth="all"), "whole numbers above 0"),
    "unknown presence": ("fabric", lambda d: d["rules"].update(stages="all"), "any or contiguous"),
    "per_layer of a word": ("free", set_stage(0, per_layer="yes"), "true or false"),
    "no layers at all": ("free", set_stage(0, depth=0), "must allow some layers"),
    "a width that no layer shows": ("transitions", set_stage(0, width=[4, 6]), "two choices give the same"),
    "no width": ("free", lambda d: d["stages"][0].pop("width"), "lacks 'width'"),
    "a transition in a stage": ("transitions", set_stage(0, transition={"op": "conv"}), "can only be false"),
    "stages alike": ("gaps", set_stage(2, width=[8]), "may begin with the same layer"),
    "widths alien to the stem": ("equal", set_stage(0, width=[5]), "width lists 5, which nothing before it has"),
    "a stride taken twice": (
        "transitions",
        lambda d: d["layers"]["transformer"]["first"][0].update(
            shortcut={"op": "pool_project", "width": "$width", "stride": "$stride"}
        ),
        "would be taken twice",
    ),
    "a width of another rule": ("doubling", set_stage(1, width="triple"), "same or double, not 'triple'"),
    "a product of no name": ("doubling", lambda d: head(d).update(width="$size * 2"), "head: Unknown choice 'size'"),
    "a head with choices": ("doubling", lambda d: head(d).update(width="$expand_ratio"), "no choices of its own"),
    "a head that is not whole": ("doubling", lambda d: head(d).update(width="$width / 16 * 3"), "a whole number"),
    "a stem that is not whole": (
        "doubling",
        lambda d: d["stem"]["ops"][0].update(width="$width / 3"),
        "$width / 3 is 1.33333 where $width = 4; it must be a whole number",
    ),
    "division by a choice": ("doubling", lambda d: mixer(d).update(width="$width / $expand_ratio"), "is no product"),
    "division by nothing": ("doubling", lambda d: mixer(d).update(width="$width / 0"), "is no product"),
    "a sum": ("doubling", lambda d: mixer(d).update(width="$width + 1"), "is no product"),
    "a product with an unknown name": ("doubling", lambda d: mixer(d).update(width="$width * $x"), "choice 'x'"),
    "a product of words": (
        "doubling",
        lambda d: (
            d["layers"]["convolution"]["choices"].update(kernel_size=["a"])
            or mixer(d).update(width="$width * $expand_ratio * $kernel_size")
        ),
        "$kernel_size is 'a', and only numbers",
    ),
    "an unused choice": ("transitions", lambda d: d["layers"]["transformer"]["choices"].update(other=[1]), "not used"),
    "nothing to go on with": (
        "opened",
        lambda d: [d["stages"][1]["ops"].pop(letter) for letter in "CA"],
        "an op for its first layer, and one for the others",
    ),
    "an unknown place": ("opened", lambda d: d["stages"][1]["ops"]["C"].update(place="last"), "must be first or rest"),
    "a part that is no whole number": (
        "opened",
        set_stage(1, width=[8, 14]),
        "$width/4 is 3.5 where $width = 14",
    ),
    "a place beside an order": ("opened", lambda d: d["rules"].update(layer_order="cCA"), "cannot both be given"),
    "layers alike after the first": (
        "free",
        lambda d: d["layers"]["transformer"].update(
            rest=[{"norm": {"op": "batch_norm"}, "mixer": {"op": "mbconv", "width": "$width", "expand_ratio": 1}}]
        ),
        "two choices give the same layer",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_space_is_refused_in_one_line(case: str) -> None:
    name, change, words = REFUSED[case]
    data = layered_data(name)
    change(data)
    with pytest.raises(SpaceError) as caught:
        parse_space(data, ops)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_others_are_no_members() -> None:
    fabric: SearchSpace = SPACES["fabric"]
    for other in (SPACES["free"].sample(random.Random(0)), SPACES["equal"].sample(random.Random(0))):
        with pytest.raises(SpaceError, match="Not in space fabric"):
            fabric.encode(other)
    long = layered_data("fabric")
    long["rules"]["total_depth"] = 4
    deeper = parse_space(long, ops).sample(random.Random(0))
    assert not fabric.contains(deeper)


def test_products_in_templates_are_exact() -> None:
    values = {"width": 48, "ratio": 3.5, "word": "gelu"}
    filled = fill({"a": "$width / 8", "b": ["$width * $ratio", "$ratio*2"], "c": "$word", "d": "a $width"}, values)
    assert filled == {"a": 6, "b": [168, 7], "c": "gelu", "d": "a $width"}
    assert [type(number) for number in (filled["a"], *filled["b"])] == [int] * 3
    assert fill("$width * 0.25 / 3 * 2.5", values) == 10
    assert sorted(names_in([{"x": "$b * 2 * $a"}, "$c", "d"])) == ["a", "b", "c"]


def test_the_head_and_doubled_widths_follow_the_last_stage() -> None:
    space = SPACES["doubling"]
    seen: set[tuple[int, ...]] = set()
    for point in ALL["doubling"]:
        architecture = space.decode(point)
        width, depths = point.stem[0], [gene.depth for gene in point.stages]
        last = width * 2 ** (len([d for d in depths if d]) - 1)
        before: Any = architecture.head["before"]
        assert (before["width"], before["gate"]["rd_channels"]) == (2 * last, last // 4 or 1)
        assert [gene.width for gene in point.stages if gene.depth][-1] == last
        seen.add((width, last))
        other = architecture.head.having({"before": before.having({"width": 4 * last})})
        assert not space.contains(replace(architecture, head=other))
    assert seen == {(4, 8), (4, 16), (8, 16), (8, 32)}
