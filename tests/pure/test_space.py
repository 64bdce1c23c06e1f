"""Search spaces: membership, exact size, fair drawing, variation. Small ones are compared with brute force."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nas.architecture import Architecture
from nas.errors import SpaceError
from nas.networks.loading import load_architecture, load_space
from nas.spaces import Genotype, SearchSpace

from ..small_space import listed, small_data, small_space

SMALL = small_space()
ALL = listed(SMALL)
SPACES = {"small": SMALL, **{name: load_space(name) for name in ("coatnet", "coatnet-small")}}


@pytest.fixture(params=SPACES, scope="module")
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]


def test_size_is_the_number_of_different_architectures() -> None:
    architectures = {SMALL.decode(point) for point in ALL}
    assert len(architectures) == len({a.digest for a in architectures}) == len(ALL) == SMALL.size()
    found = Counter(SMALL.layout(point) for point in ALL)
    assert {layout: SMALL.size(layout) for layout in SMALL.layouts} == found
    assert SMALL.layouts == ("CC", "CA", "AA")


def test_size_counts_widths_in_any_order_too() -> None:
    from nas import ops
    from nas.spaces.catalog import parse_space

    free = parse_space({**small_data(), "rules": {"widths": "any"}}, ops)
    assert free.size() == len(listed(free))
    assert free.layouts == ("CC", "CA", "AC", "AA")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_samples_are_members_and_round_trip(space: SearchSpace, seed: int) -> None:
    architecture = space.sample(random.Random(seed), by=("layout", "architecture")[seed % 2])
    assert space.contains(architecture)
    assert space.decode(space.encode(architecture)) == architecture
    assert space.contains(architecture.at_resolution(64).with_classes(7).with_channels(1))
    assert Architecture.from_yaml(architecture.to_yaml()) == architecture


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_mutation_and_crossover_stay_inside_and_repeat(space: SearchSpace, seed: int) -> None:
    first, second = (space.sample(random.Random(seed + i)) for i in range(2))
    mutant, child = (
        space.mutate(first, random.Random(seed)),
        space.crossover(first, second, random.Random(seed)),
    )
    assert space.contains(mutant)
    assert space.contains(child)
    assert mutant != first
    assert mutant == space.mutate(first, random.Random(seed))
    assert child == space.crossover(first, second, random.Random(seed))
    a, b, c, m = (space.encode(x) for x in (first, second, child, mutant))
    assert all(gene in pair for gene, *pair in zip(c.stages, a.stages, b.stages, strict=True))
    changed = (m.stem != a.stem) + sum(x != y for x, y in zip(m.stages, a.stages, strict=True))
    assert changed == 1


def test_mutation_reaches_the_whole_space() -> None:
    rng, architecture = random.Random(0), SMALL.sample(random.Random(0))
    seen = set()
    for _ in range(6000):
        architecture = SMALL.mutate(architecture, rng)
        seen.add(SMALL.encode(architecture))
    assert {point.stem for point in seen} == {point.stem for point in ALL}
    assert {gene for point in seen for gene in point.stages} == {gene for point in ALL for gene in point.stages}


def test_drawing_by_layout_is_uniform_over_layouts_and_within_each() -> None:
    rng = random.Random(0)
    draws = [SMALL.encode(SMALL.sample(rng)) for _ in range(9000)]
    layouts = Counter(map(SMALL.layout, draws))
    assert chisquare([layouts[layout] for layout in SMALL.layouts]).pvalue > 1e-4
    for layout in SMALL.layouts:
        found = Counter(SMALL.sample_genotype(rng, layout) for _ in range(12 * SMALL.size(layout)))
        members = [point for point in ALL if SMALL.layout(point) == layout]
        assert chisquare([found[point] for point in members]).pvalue > 1e-4


def test_drawing_by_architecture_is_uniform_over_architectures() -> None:
    rng = random.Random(0)
    found = Counter(SMALL.encode(SMALL.sample(rng, by="architecture")) for _ in range(10 * len(ALL)))
    assert chisquare([found[point] for point in ALL]).pvalue > 1e-4


def test_drawing_by_anything_else_is_refused() -> None:
    with pytest.raises(SpaceError, match="'layout' or 'architecture', not 'lay'"):
        SMALL.sample(random.Random(0), by="lay")


def test_others_are_no_members() -> None:
    member = SMALL.decode(ALL[0])
    other = SPACES["coatnet-small"].sample(random.Random(0))
    assert not SMALL.contains(other)
    shrinking = Genotype((8,), ALL[0].stages)
    assert not SMALL.valid(shrinking)
    for words, outsider in (
        ("stages", other),
        ("a rule", SMALL.decode(shrinking)),
        ("head", replace(member, head=member.head.having({"hidden": False}))),
        ("stem", Architecture(input=member.input, stem=other.stem.having({"width": 5}), stages=member.stages,
                              head=member.head)),
    ):  # fmt: skip
        with pytest.raises(SpaceError, match=words):
            SMALL.encode(outsider)


@pytest.mark.parametrize("name", ["coatnet", "coatnet-small"])
def test_presets_are_members(name: str) -> None:
    for preset in SPACES[name].presets:
        assert SPACES[name].contains(load_architecture(preset)), preset
    assert name != "coatnet" or SPACES[name].presets == ("coatnet_0", "coatnet_1", "coatnet_2")


def test_digests_and_draws_are_equal_in_every_process() -> None:
    code = (
        "import nas, random\n"
        "for name in ('coatnet', 'coatnet-small'):\n"
        "    space = nas.load_space(name)\n"
        "    a = space.sample(random.Random(3))\n"
        "    print(space.digest, a.digest, space.mutate(a, random.Random(4)).digest)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1",)
    }
    expected = ""
    for name in ("coatnet", "coatnet-small"):
        a = SPACES[name].sample(random.Random(3))
        expected += f"{SPACES[name].digest} {a.digest} {SPACES[name].mutate(a, random.Random(4)).digest}\n"
    assert outputs == {expected}


def test_digest_tells_spaces_apart() -> None:
    assert small_space().digest == SMALL.digest
    others = [SMALL.adapted(resolution=16), SMALL.adapted(num_classes=7), SMALL.adapted(channels=1)]
    assert len({SMALL.digest, *(other.digest for other in others)}) == 4


def test_adapting_changes_the_input_and_the_classes_alone() -> None:
    changed = SMALL.adapted(resolution=16, channels=1, num_classes=7)
    architecture = changed.sample(random.Random(0))
    assert (architecture.input.resolution, architecture.input.channels, architecture.num_classes) == (16, 1, 7)
    assert changed.size() == SMALL.size()
    assert SMALL.contains(architecture)
