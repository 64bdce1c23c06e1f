"""Shared weights of spaces with a choice per layer: every member is a part of them, and learns it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

import nas
from nas import ops
from nas.architecture import Architecture
from nas.errors import SpaceError
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import MANY, Genotype, SearchSpace
from nas.spaces.catalog import parse_space

from ..layered_space import NAMES, layered_data, layered_space, listed_layers
from .supernet_views import views

SPACES = {name: layered_space(name) for name in NAMES}
SUPERNETS = {name: nas.Supernet(space, seed=1) for name, space in SPACES.items()}
LABELS = torch.tensor([0, 1, 2, 3])


def images() -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(name: str, count: int) -> list[Architecture]:
    return [SPACES[name].sample(random.Random(seed)) for seed in range(count)]


@pytest.mark.parametrize("mode", ["train", "eval", "autocast"])
@pytest.mark.parametrize("name", NAMES)
def test_output_is_the_extracted_networks_bit_for_bit(name: str, mode: str) -> None:
    supernet = SUPERNETS[name].train(mode == "train")
    for architecture in drawn(name, 12):
        network = supernet.extract(architecture).train(mode == "train")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
            assert torch.equal(supernet(images(), architecture), network(images()))


@pytest.mark.parametrize("name", NAMES)
def test_every_member_has_weights(name: str) -> None:
    supernet, points = SUPERNETS[name], listed_layers(SPACES[name])
    for point in random.Random(0).sample(points, min(150, len(points))):
        architecture = SPACES[name].decode(point)
        with torch.no_grad():
            assert sum(1 for _ in supernet.path(architecture)) >= 3
        assert sum(v.numel() for _, v, _ in views(supernet, architecture)) == nas.cost(architecture).params


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_those_through_sliced_weights(name: str) -> None:
    """The oracle: `functional_call` of the standalone network on slices of leaf copies of the storage."""
    supernet = SUPERNETS[name].train()
    for architecture in drawn(name, 4):
        supernet.clear_gradients()
        supernet.backward(F.cross_entropy(supernet(images(), architecture), LABELS))
        names = supernet.publish_gradients()
        whole = {n: p.detach().clone().requires_grad_() for n, p in supernet.named_parameters()}
        with torch.no_grad():
            parts = [(n, s, v.size(), v.stride(), v.storage_offset()) for n, v, s in views(supernet, architecture)]
        slices = {n: whole[s].as_strided(size, stride, offset) for n, s, size, stride, offset in parts}
        network = supernet.extract(architecture)
        F.cross_entropy(torch.func.functional_call(network, slices, (images(),)), LABELS).backward()
        assert set(names) == {s for _, s, *_ in parts}
        for n in names:
            expected = whole[n].grad
            assert expected is not None
            torch.testing.assert_close(supernet.get_parameter(n).grad, expected, rtol=1e-5, atol=1e-5)
        supernet.clear_gradients()


def without_layer_norms(name: str) -> SearchSpace:
    """BatchNorm alone, and a layer's width written in it: zero-padded channels would change a layer norm."""
    data = layered_data(name)
    for layer in data["layers"].values():
        for part in ("first", "rest"):
            for branch in layer.get(part, []):
                branch["norm"] = {"op": "batch_norm"}
    data["head"]["norm"] = {"op": "batch_norm"}
    return parse_space(data, ops)


def shape_of(space: SearchSpace, point: Genotype) -> tuple[object, ...]:
    return tuple((gene.op, gene.depth) for gene in point.stages)


@pytest.mark.parametrize("name", ["free", "ordered", "gaps", "equal"])
def test_the_largest_member_that_is_zero_outside_a_part_is_the_small_member(name: str) -> None:
    space = without_layer_norms(name)
    supernet = nas.Supernet(space).eval()
    for seed in range(6):
        point = space.sample_genotype(random.Random(seed), MANY)
        kin = [p for p in listed_layers(space) if shape_of(space, p) == shape_of(space, point)]
        kin = [p for p in kin if changes(space, p) == changes(space, point)]
        least = min(kin, key=sizes)
        kin = [p for p in kin if all(a <= b for a, b in zip(sizes(least), sizes(p), strict=True))]
        small, large = space.decode(least), space.decode(max(kin, key=sizes))
        assert small != large
        with torch.no_grad():
            for parameter in supernet.parameters():
                parameter.zero_()
            generator = torch.Generator().manual_seed(0)
            for _, view, _ in views(supernet, small):
                view.copy_(torch.randn(view.shape, generator=generator) * 0.5)
            narrow = wide = images()
            for (_, part), (_, whole) in zip(supernet.path(small), supernet.path(large), strict=True):
                narrow, wide = part(narrow), whole(wide)
                torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow, rtol=1e-4, atol=1e-4)
            assert narrow.abs().sum() > 0


def sizes(point: Genotype) -> list[float]:
    """Its widths and values, in order."""
    values = [
        value
        for gene in point.stages
        for each in gene.params
        for value in (each if isinstance(each, tuple) else [each])
    ]
    return [*point.stem, *(gene.width for gene in point.stages), *values]


def changes(space: SearchSpace, point: Genotype) -> list[bool]:
    """Where the width changes: shortcuts have a projection there, and only there."""
    widths = [space.stem.width(point.stem), *(gene.width for gene in point.stages if gene.depth)]
    return [a != b for a, b in pairwise(widths)]


@pytest.mark.parametrize("name", NAMES)
def test_a_supernet_for_a_budget_serves_all_that_fits_and_is_smaller(name: str) -> None:
    space = SPACES[name]
    low, high = BudgetSampler(space).extremes("params")
    budget = nas.Budget(metric="params", bound=low + (high - low) // 4)
    sampler = BudgetSampler(space, [budget])
    cut = nas.Supernet(space, choices=sampler.feasible_choices()).eval()
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in SUPERNETS[name].parameters())
    outside = 0
    for point in listed_layers(space)[::3]:
        architecture = space.decode(point)
        if sampler.contains(sampler.costs.cost(point)):
            assert all(view.shape for _, view, _ in views(cut, architecture))
        else:
            try:
                list(cut.path(architecture))
            except SpaceError as fault:
                assert "does not hold" in str(fault)
                outside += 1
    assert outside


@pytest.mark.parametrize("name", ["fabric", "gaps"])
def test_stages_keep_their_weights_wherever_a_network_begins(name: str) -> None:
    """A stage that is absent shifts the others in the network, not in the supernet."""
    space, supernet = SPACES[name], SUPERNETS[name]
    seen: dict[int, set[str]] = {}
    for point in listed_layers(space)[::5]:
        present = [i for i, gene in enumerate(point.stages) if gene.depth]
        for n, _, stored in views(supernet, space.decode(point)):
            if n.startswith("stages."):
                place = present[int(n.split(".")[1])]
                seen.setdefault(place, set()).add(stored.split("-")[0])
    assert seen == {i: {f"stage{i + 1}"} for i in range(3)}


def test_initial_weights_are_equal_in_every_process() -> None:
    import os
    import subprocess
    import sys

    code = (
        "import nas\nfrom nas.sampling import BudgetSampler\nfrom tests.layered_space import layered_space\n"
        "space = layered_space('free')\n"
        "sampler = BudgetSampler(space)\n"
        "net = nas.Supernet(space, choices=sampler.feasible_choices())\n"
        "print([(n, float(p.sum())) for n, p in net.named_parameters()])"
    )
    answers = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(answers) == 1
