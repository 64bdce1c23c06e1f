"""Image sizes that a space or a network cannot have: refused with the nearest that would do, whoever asks."""

from __future__ import annotations

import random

import pytest

import nas
from nas import ops
from nas.costs import misfit, sized_architecture, sized_space
from nas.errors import ArchitectureError, SpaceError
from nas.spaces.catalog import parse_space

from ..small_space import small_data

WRONG = {"nats-size": (65, (64, 80)), "efficientformerv2": (225, (224, 256)), "maxvit": (160, (112, 224))}


@pytest.mark.parametrize("name", WRONG)
def test_a_size_that_a_space_cannot_have_is_refused_with_the_nearest(name: str) -> None:
    space, (side, near) = nas.load_space(name), WRONG[name]
    expected = rf"images of {side}x{side}\. Near sizes that fit: {near[0]} and {near[1]}\.$"
    with pytest.raises(SpaceError, match=expected):
        sized_space(space, side)
    with pytest.raises(SpaceError, match=expected):
        nas.sample(space.adapted(resolution=side), random.Random(0))
    with pytest.raises(SpaceError, match=expected):
        nas.sample(space.adapted(resolution=side), random.Random(0), [nas.Budget.parse("90GFLOPs")])
    with pytest.raises(SpaceError, match=expected):
        nas.dry_run(space, [], nas.SearchOptions.of(space=name, resolution=side))
    assert [misfit(space.adapted(resolution=each)) for each in near] == [None, None]
    assert nas.cost(nas.sample(sized_space(space, near[0]), random.Random(0))).macs > 0


def test_only_one_direction_may_have_a_size_that_fits() -> None:
    with pytest.raises(SpaceError, match=r"^pit, stem: .* Near sizes that fit: 16\.$"):
        sized_space(nas.load_space("pit"), 8)


def test_the_same_of_one_network() -> None:
    network = nas.load_architecture("maxvit_tiny")
    with pytest.raises(ArchitectureError, match=r"^stage 1 .* 160x160\. Near sizes that fit: 112 and 224\.$"):
        sized_architecture(network, 160)
    assert sized_architecture(network, 112) == network.at_resolution(112)


def test_a_fault_that_no_size_cures_keeps_its_own_words() -> None:
    data = small_data()
    data["layers"]["convolution"]["first"][0]["shortcut"]["width"] = 16
    broken = parse_space(data, ops)
    fault = misfit(broken)
    assert fault is not None
    assert "give the branch a shortcut that changes both alike" in fault
    for refuse in (lambda: sized_space(broken), lambda: nas.sample(broken, random.Random(0))):
        with pytest.raises(SpaceError) as refused:
            refuse()
        assert str(refused.value) == fault
