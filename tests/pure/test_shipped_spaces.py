"""Every shipped space: how many networks it holds, that published ones are among them, and that nothing leaves it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import product

import pytest

import nas
from nas.architecture import Architecture
from nas.networks.loading import space_from_dict
from nas.ops import normalize
from nas.spaces import SearchSpace, StageSpace

from ..shipped_spaces import NAMES, whole_space

every_space = pytest.mark.parametrize("name", NAMES)
PUBLISHED = [(name, preset) for name in NAMES for preset in whole_space(name).presets]


def strings(stage: StageSpace, values: dict[str, int], *, ordered: bool = False) -> int:
    """Ways to fill a stage with a choice per layer, from how many values each letter has."""
    if not ordered:
        return sum(sum(values.values()) ** depth for depth in stage.depths)
    first, last = values.values()
    return sum(first**k * last ** (depth - k) for depth in stage.depths for k in range(depth + 1))


def growing(space: SearchSpace) -> int:
    """Ways to choose widths that do not shrink, one by one."""
    stems = [space.stem.width(values) for values in space.stem.combinations]
    every = product(stems, *(stage.widths for stage in space.stages if not stage.width_multiplier))
    return sum(list(widths) == sorted(widths) for widths in every)


def test_spaces_hold_as_many_networks_as_their_files_say() -> None:
    """Counted by hand from what each file lists, not along a graph."""
    space = whole_space("autoformer")  # 5 numbers of heads and 3 ratios in each of 12 to 14 layers, 6 widths
    assert space.size() == 6 * (15**12 + 15**13 + 15**14)
    space = whole_space("fastvit")  # 3 ratios, for convolutions 2 kernels; attention in the last stage or the last two
    assert space.size() == 4 * (3 * 6) * (3 * 6) * (6 * 6 * 3 * 6 + 6 * 6 * 3 * 3 + 6 * 3 * 3 * 3)
    space = whole_space("levit")
    assert space.size() == growing(space) * (4 * 4 * 2 * 3) * (5 * 4 * 2 * 3 * 3) * (5 * 3 * 2 * 4 * 3)
    space = whole_space("maxvit")  # 2 kernels and 2 expansions, and for attention 2 ratios
    assert space.size() == growing(space) * _product(strings(stage, {"C": 4, "A": 8}) for stage in space.stages)
    space = whole_space("ascan")
    first, *others = space.stages
    more = _product(strings(stage, {"C": 3, "A": 3}) for stage in others)
    assert space.size() == growing(space) * strings(first, {"C": 3}) * more
    space = whole_space("efficientformerv2")  # 3 expansions and 2 kernels; attention at the end of the last two
    convolutions = _product(strings(stage, {"C": 6}) for stage in space.stages[:2])
    mixed = _product(strings(stage, {"C": 6, "A": 6}, ordered=True) for stage in space.stages[2:])
    assert space.size() == growing(space) * convolutions * mixed
    space = whole_space(
        "pit"
    )  # every width a multiple of the one before; 3 depths, 5 head widths, 4 heads, 4 expansions
    stems, (_, *others) = [values[-1] for values in space.stem.combinations], space.stages
    chains = sum(b % a == c % b == 0 for a, b, c in product(stems, *(stage.widths for stage in others)))
    assert space.size() == chains * (3 * 5 * 4 * 4) ** 3
    space = whole_space("mbconv")  # 3 kernels, 4 expansions, with or without squeeze-excite; silu from some layer on
    every = [sum(depths) for depths in product(range(1, 5), repeat=6)]
    assert space.size() == growing(space) * sum(24**depth * (depth + 2) for depth in every)


def _product(numbers: object) -> int:
    found = 1
    for number in numbers:  # type: ignore[attr-defined]
        found *= number
    return found


@pytest.mark.parametrize(("name", "preset"), PUBLISHED)
def test_published_networks_are_members(name: str, preset: str) -> None:
    space, network = whole_space(name), nas.load_architecture(preset)
    assert space.contains(network)
    found = space.decode(space.encode(network))
    assert found.with_classes(network.num_classes).at_resolution(network.input.resolution) == network
    assert nas.cost(found.with_classes(network.num_classes)).params == nas.cost(network).params


@every_space
def test_samples_are_members_and_survive_yaml_and_json(name: str) -> None:
    space = whole_space(name)
    for seed in range(8):
        architecture = space.sample(random.Random(seed), by=("layout", "architecture")[seed % 2])
        point = space.encode(architecture)
        assert space.valid(point)
        assert space.decode(point) == architecture
        for text in (architecture.to_yaml(), json.dumps(architecture.to_dict())):
            found = normalize(Architecture.from_yaml(text))
            assert (found, found.digest) == (architecture, architecture.digest)
            assert space.encode(found) == point


@every_space
def test_variation_stays_inside(name: str) -> None:
    space, rng = whole_space(name), random.Random(0)
    first, second = (space.sample(random.Random(seed)) for seed in (1, 2))
    seen = {first.digest}
    for _ in range(25):
        first = space.mutate(first, rng)
        assert space.contains(first)
        child = space.crossover(first, second, rng)
        assert space.contains(child)
        seen |= {first.digest, child.digest}
    assert len(seen) > 10


@every_space
def test_a_space_is_rebuilt_from_its_plain_data(name: str) -> None:
    space = whole_space(name)
    found = space_from_dict(json.loads(json.dumps(space.to_dict())))
    assert (found.digest, found.size()) == (space.digest, space.size())
    for seed in range(3):
        assert found.sample(random.Random(seed)) == space.sample(random.Random(seed))


def test_digests_and_samples_are_equal_in_every_process() -> None:
    code = (
        "import random, nas\nfrom nas.spaces import catalog\n"
        "for name in catalog.space_names():\n"
        "    space = nas.load_space(name)\n"
        "    drawn = space.sample(random.Random(3))\n"
        "    print(name, space.digest, drawn.digest, space.mutate(drawn, random.Random(4)).digest)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    for name, line in zip(NAMES, answer.stdout.splitlines(), strict=True):
        space = whole_space(name)
        drawn = space.sample(random.Random(3))
        assert line.split() == [name, space.digest, drawn.digest, space.mutate(drawn, random.Random(4)).digest]
