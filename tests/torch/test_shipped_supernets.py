"""Shared weights of every shipped space: a member is a part of them, bit for bit, and learns that part alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import nas
from nas import ops
from nas.architecture import Architecture
from nas.spaces import Genotype, SearchSpace
from nas.spaces.catalog import parse_space

from ..shipped_spaces import NAMES, cut_data, cut_space, with_genes
from .supernet_views import views

LABELS = torch.tensor([0, 1, 2, 3])
every_space = pytest.mark.parametrize("name", NAMES)


@cache
def supernet_of(name: str) -> nas.Supernet:
    return nas.Supernet(cut_space(name), seed=1)


def images(space: SearchSpace) -> torch.Tensor:
    size = space.input.resolution
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


def drawn(space: SearchSpace, count: int) -> list[Genotype]:
    """Members of as many layouts as there are."""
    layouts = [space.layouts[i % len(space.layouts)] for i in range(count)]
    return [space.sample_genotype(random.Random(seed), layout) for seed, layout in enumerate(layouts)]


@pytest.mark.parametrize("mode", ["train", "eval"])
@every_space
def test_output_is_the_extracted_networks_bit_for_bit(name: str, mode: str) -> None:
    space, supernet = cut_space(name), supernet_of(name).train(mode == "train")
    for architecture in map(space.decode, drawn(space, 3)):
        network = supernet.extract(architecture).train(mode == "train")
        with torch.no_grad():
            assert torch.equal(supernet(images(space), architecture), network(images(space)))
        for (n, moved), (_, ours) in zip(
            sorted(supernet.extract(architecture).named_buffers()), sorted(network.named_buffers()), strict=True
        ):
            assert torch.equal(moved, ours), n


@every_space
def test_a_member_s_part_is_as_large_as_the_member(name: str) -> None:
    space, supernet = cut_space(name), supernet_of(name)
    for architecture in map(space.decode, drawn(space, 5)):
        with torch.no_grad():
            assert sum(v.numel() for _, v, _ in views(supernet, architecture)) == nas.cost(architecture).params


@every_space
def test_gradients_equal_those_through_sliced_weights_and_are_zero_outside(name: str) -> None:
    """The oracle: `functional_call` of the standalone network on slices of leaf copies of the storage."""
    space, supernet = cut_space(name), supernet_of(name).train()
    for architecture in map(space.decode, drawn(space, 2)):
        supernet.clear_gradients()
        supernet.backward(F.cross_entropy(supernet(images(space), architecture), LABELS))
        names = supernet.publish_gradients()
        with torch.no_grad():
            parts = [(n, s, v.size(), v.stride(), v.storage_offset()) for n, v, s in views(supernet, architecture)]
        whole = {s: supernet.get_parameter(s).detach().clone().requires_grad_() for _, s, *_ in parts}
        slices = {n: whole[s].as_strided(size, stride, offset) for n, s, size, stride, offset in parts}
        network = supernet.extract(architecture)
        F.cross_entropy(torch.func.functional_call(network, slices, (images(space),)), LABELS).backward()
        assert set(names) == set(whole)
        for n, copy in whole.items():
            grad = supernet.get_parameter(n).grad
            assert grad is not None
            assert copy.grad is not None
            # The oracle's gradient is zero outside the slice, since nothing there was used.
            torch.testing.assert_close(grad, copy.grad, rtol=1e-4, atol=1e-5)
        supernet.clear_gradients()


def without_layer_norms(data: Any) -> Any:
    """BatchNorm for LayerNorm, which zero-padded channels would change."""
    if isinstance(data, dict):
        if data.get("op") == "layer_norm":
            return {"op": "batch_norm"}
        return {key: without_layer_norms(value) for key, value in data.items()}
    return [without_layer_norms(item) for item in data] if isinstance(data, list) else data


def widened(supernet: nas.Supernet, small: Genotype) -> Genotype:
    """The largest member whose every weight is stored in the same tensor as the small one's.

    So it has the same depths and letters, and is as the small one in all over which weights are not shared.
    """
    space = supernet.space

    def tensors(point: Genotype) -> list[tuple[str, str]]:
        with torch.no_grad():
            return [(n, s) for n, _, s in views(supernet, space.decode(point))]

    def tried(point: Genotype, place: tuple[int, ...], value: Any) -> Genotype:
        larger = with_genes(space, point, place, value)
        return larger if larger is not None and tensors(larger) == wanted else point

    wanted, point = tensors(small), small
    wide = [gene._replace(width=stage.widths[-1]) for gene, stage in zip(small.stages, space.stages, strict=True)]
    for i, (_, values) in enumerate(space.stem.choices):
        together = with_genes(space, point._replace(stages=tuple(wide)), (0, i), values[-1])
        point = together if together is not None and tensors(together) == wanted else tried(point, (0, i), values[-1])
    for s in range(len(space.stages), 0, -1):
        if small.stages[s - 1].depth:
            point = tried(point, (s,), space.stages[s - 1].widths[-1])
            for place, values in values_of(space, small, s):
                point = tried(point, place, values[-1])
    return point


def smallest(space: SearchSpace, layout: str, seed: int) -> Genotype:
    """Of a layout, a member with the least value of every choice, and depths as drawn."""
    point = space.sample_genotype(random.Random(seed), layout)
    for i, (_, values) in enumerate(space.stem.choices):
        point = with_genes(space, point, (0, i), values[0]) or point
    for s, (stage, gene) in enumerate(zip(space.stages, point.stages, strict=True), start=1):
        if gene.depth:
            point = with_genes(space, point, (s,), stage.widths[0]) or point
            for place, values in values_of(space, point, s):
                point = with_genes(space, point, place, values[0]) or point
    return point


def values_of(space: SearchSpace, point: Genotype, s: int) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Where the values of stage `s` (from 1) are, as `with_genes` takes it, and what they may be."""
    stage, gene = space.stages[s - 1], point.stages[s - 1]
    for k, letter in enumerate(gene.op if stage.per_layer else gene.op[:1]):
        choices = stage.op(letter).choices_at(k) if stage.per_layer else stage.op(letter).choices
        for i, (_, values) in enumerate(choices):
            yield ((s, k, i) if stage.per_layer else (s, i)), values


@every_space
def test_the_largest_member_that_is_zero_outside_a_part_is_the_small_member(name: str) -> None:
    space = parse_space(without_layer_norms(cut_data(name)), ops)
    supernet = nas.Supernet(space).eval()
    grown = 0
    for seed in range(3):
        point = smallest(space, space.layouts[seed % len(space.layouts)], seed)
        more = widened(supernet, point)
        small, large = space.decode(point), space.decode(more)
        grown += more != point
        with torch.no_grad():
            fill_part(supernet, small)
            narrow = wide = images(space)
            for (_, part), (_, whole) in zip(supernet.path(small), supernet.path(large), strict=True):
                narrow, wide = part(narrow), whole(wide)
                torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow, rtol=1e-3, atol=1e-3)
                assert not wide[:, narrow.shape[1] :].any()
            assert narrow.abs().sum() > 0
    assert grown or name == "hytra"  # whose members differ in no width and in no value


def fill_part(supernet: nas.Supernet, small: Architecture) -> None:
    """Random weights in a member's part, zeros everywhere else, at which what flows neither grows nor dies out."""
    for parameter in supernet.parameters():
        parameter.zero_()
    generator = torch.Generator().manual_seed(0)
    for _, view, _ in views(supernet, small):
        fan_in = max(1, view[0].numel()) if view.ndim > 1 else 1
        view.copy_(torch.randn(view.shape, generator=generator) * fan_in**-0.5)
