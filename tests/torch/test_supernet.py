"""One set of weights for a whole space: every member is a part of it, bit for bit, and learns its part alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import nas
from nas import ops
from nas.architecture import Architecture
from nas.errors import SpaceError
from nas.spaces import Genotype, SearchSpace, StageChoice
from nas.spaces.catalog import parse_space

from ..small_space import small_data, small_space
from .supernet_views import views

SPACE = small_space()
MEMBERS = [SPACE.sample(random.Random(seed)) for seed in range(8)]
LABELS = torch.tensor([0, 1, 2, 3])


@pytest.fixture
def supernet() -> nas.Supernet:
    return nas.Supernet(SPACE, seed=1)


def images(channels: int = 3) -> torch.Tensor:
    return torch.randn(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["train", "eval", "autocast"])
def test_output_is_the_extracted_networks_bit_for_bit(supernet: nas.Supernet, mode: str) -> None:
    supernet.train(mode == "train")
    for architecture in MEMBERS:
        network = supernet.extract(architecture).train(mode == "train")
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
            assert torch.equal(supernet(images(), architecture), network(images()))
        for (name, moved), (_, ours) in zip(
            sorted(supernet.extract(architecture).named_buffers()), sorted(network.named_buffers()), strict=True
        ):
            assert torch.equal(moved, ours), name


def test_gradients_equal_those_through_sliced_weights(supernet: nas.Supernet) -> None:
    """The oracle: `functional_call` of the standalone network on slices of leaf copies of the storage."""
    for architecture in MEMBERS[:5]:
        supernet.clear_gradients()
        supernet.backward(F.cross_entropy(supernet(images(), architecture), LABELS))
        names = supernet.publish_gradients()
        whole = {name: p.detach().clone().requires_grad_() for name, p in supernet.named_parameters()}
        with torch.no_grad():
            parts = [(n, s, v.size(), v.stride(), v.storage_offset()) for n, v, s in views(supernet, architecture)]
        slices = {name: whole[s].as_strided(size, stride, offset) for name, s, size, stride, offset in parts}
        network = supernet.extract(architecture)
        F.cross_entropy(torch.func.functional_call(network, slices, (images(),)), LABELS).backward()
        assert set(names) == {s for _, s, *_ in parts}
        for name, parameter in supernet.named_parameters():
            if name not in names:
                assert parameter.grad is None
                continue
            expected = whole[name].grad
            assert expected is not None
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-5)
            inside = torch.zeros_like(parameter, dtype=torch.bool)
            for _, s, size, stride, offset in parts:
                if s == name:
                    inside.as_strided(size, stride, offset).fill_(True)
            assert parameter.grad[~inside].eq(0).all()


def test_weights_that_took_no_part_do_not_move_under_adamw(supernet: nas.Supernet) -> None:
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=0.1, weight_decay=0.5)
    before: dict[str, torch.Tensor] = {}
    for architecture in MEMBERS[:3]:
        before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
        supernet.clear_gradients()
        supernet.backward(F.cross_entropy(supernet(images(), architecture), LABELS))
        names = set(supernet.publish_gradients())
        optimizer.step()
        moved = {name for name, p in supernet.named_parameters() if not torch.equal(p, before[name])}
        assert moved <= names
        assert names - moved == set()
        assert names != set(before)
    supernet.clear_gradients()
    assert all(p.grad is None for p in supernet.parameters())
    assert supernet.publish_gradients() == []


def test_gradients_of_several_members_add_up(supernet: nas.Supernet) -> None:
    supernet.eval()
    one, two = MEMBERS[:2]
    sums: dict[str, torch.Tensor] = {}
    for architectures in ((one,), (two,), (one, two)):
        supernet.clear_gradients()
        for architecture in architectures:
            supernet.backward(F.cross_entropy(supernet(images(), architecture), LABELS))
        supernet.publish_gradients()
        found = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
        if len(architectures) == 1:
            sums = {n: sums.get(n, 0) + found.get(n, 0) for n in {*sums, *found}}
    assert set(found) == set(sums)
    for name, grad in found.items():
        torch.testing.assert_close(grad, sums[name])


def normless() -> SearchSpace:
    """The small space with batch norms for layer norms, which zero-padded channels would change."""
    data = small_data()
    for layer in data["layers"].values():
        for part in ("first", "rest"):
            for branch in layer[part]:
                branch["norm"] = {"op": "batch_norm"}
    data["head"]["norm"] = {"op": "batch_norm"}
    return parse_space(data, ops)


@pytest.mark.parametrize("layout", ["CC", "CA", "AA"])
def test_the_largest_member_that_is_zero_outside_a_part_is_the_small_member(layout: str) -> None:
    space = normless()

    def member(stem: int, widths: tuple[int, int], depth: int, kernel: int, expand: int) -> Architecture:
        genes = [
            StageChoice(op, width, depth, (expand, kernel) if op == "C" else (expand,))
            for op, width in zip(layout, widths, strict=True)
        ]
        return space.decode(Genotype((stem,), tuple(genes)))

    # Stage 1 keeps its width in both, stage 2 changes it in both, so that both have the same shortcuts.
    small, large = member(4, (4, 8), 1, 3, 1), member(8, (8, 12), 1, 5, 2)
    supernet = nas.Supernet(space).eval()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.zero_()
        generator = torch.Generator().manual_seed(0)
        for _, view, _ in views(supernet, small):
            view.copy_(torch.randn(view.shape, generator=generator) * 0.5)
        narrow = wide = images()
        for (_, part), (_, whole) in zip(supernet.path(small), supernet.path(large), strict=True):
            narrow, wide = part(narrow), whole(wide)
            torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow, rtol=1e-5, atol=1e-5)
        assert narrow.abs().sum() > 0


def test_a_part_of_a_layer_norm_is_the_narrow_norm(supernet: nas.Supernet) -> None:
    """It normalizes over its own channels: with a prefix of the weights, not as a zero-padded wide one would."""
    narrow = SPACE.decode(Genotype((4,), (StageChoice("A", 4, 1, (1,)), StageChoice("A", 8, 1, (1,)))))
    modules = dict(supernet.path(narrow))
    norm: Any = modules["stages.0.layers.0"][0].norm  # type: ignore[index]
    x = images(4)
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (4,), norm.weight, norm.bias, 1e-5).permute(0, 3, 1, 2)
    assert norm.weight.shape == (4,)
    assert torch.equal(norm(x), expected)


def test_a_supernet_for_some_choices_refuses_the_others() -> None:
    points = [SPACE.encode(member) for member in MEMBERS]
    kept = [p for p in points if p.stages[1].width <= 8] or points[:1]
    choices = [{p.stem for p in kept}, *({p.stages[i] for p in kept} for i in range(2))]
    cut, full = nas.Supernet(SPACE, choices=choices), nas.Supernet(SPACE)
    for point in kept:
        assert cut(images(), SPACE.decode(point)).shape == (4, 5)
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in full.parameters())
    large = StageChoice("A", 12, 3, (3,))
    outsider = SPACE.decode(Genotype(kept[0].stem, (kept[0].stages[0], large)))
    with pytest.raises(SpaceError, match="does not hold") as caught:
        cut(images(), outsider)
    assert "\n" not in str(caught.value)


def test_every_member_of_a_space_with_fixed_kinds_has_weights() -> None:
    """Choices over which weights are not shared (head_dim, words) each need their own, whichever is the largest."""
    data = small_data()
    data["stem_choices"]["width"] = [8]
    data["layers"]["transformer"]["choices"]["head_dim"] = [2, 4]
    data["layers"]["convolution"]["choices"] = {"se_ratio": [0, 0.25], "activation": ["gelu", "relu"]}
    for part in ("first", "rest"):
        data["layers"]["transformer"][part][0]["mixer"]["head_dim"] = "$head_dim"
        mixer = data["layers"]["convolution"][part][0]["mixer"]
        mixer |= {"se_ratio": "$se_ratio", "activation": "$activation", "kernel_size": 3, "expand_ratio": 2}
    space = parse_space(data, ops)
    supernet = nas.Supernet(space).eval()
    for layout in space.layouts:
        for seed in range(25):
            member = space.decode(space.sample_genotype(random.Random(seed), layout))
            with torch.no_grad():
                assert torch.equal(supernet(images(), member), supernet.extract(member).eval()(images()))


def test_grouped_convolutions_share_no_channels() -> None:
    """A prefix of their channels belongs to other groups, so every width has weights of its own."""
    data = small_data()
    mixer = {"op": "conv", "width": "$width", "groups": 2}
    branch = {"mixer": {**mixer, "stride": "$stride"}, "shortcut": {"op": "pool_project", "width": "$width",
                                                                     "stride": "$stride"}}  # fmt: skip
    data["layers"] = {"convolution": {"first": [branch], "rest": [{"mixer": mixer}]}}
    for stage in data["stages"]:
        stage["ops"] = {"C": "convolution"}
    data["rules"] = {"widths": "growing"}
    space = parse_space(data, ops)
    supernet = nas.Supernet(space).eval()
    seen: dict[tuple[int, ...], set[str]] = {}
    for seed in range(25):
        member = space.sample(random.Random(seed))
        with torch.no_grad():
            assert torch.equal(supernet(images(), member), supernet.extract(member).eval()(images()))
        for name, view, stored in views(supernet, member):
            if "mixer.weight" in name:
                seen.setdefault((int(name.split(".")[3]), *view.shape), set()).add(stored)
                assert view.shape == supernet.get_parameter(stored).shape
    assert seen


def test_seeds_decide_the_weights_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (nas.Supernet(SPACE, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_what_is_fixed_in_a_network_is_fixed_in_a_supernet() -> None:
    """The sinusoids of T2T-ViT, and the random directions of its performers: gradients would make them others."""
    space = nas.derive_space("t2t_vit_7", smaller=True)
    supernet = nas.Supernet(space)
    network = supernet.extract(space.sample(random.Random(0)))
    fixed = [
        {
            name.replace("/", ".").rpartition(".")[2]
            for name, value in each.named_parameters()
            if not value.requires_grad
        }
        for each in (supernet, network)
    ]
    assert fixed == [{"directions", "embedding"}] * 2


def test_a_saved_supernet_gives_the_same_output(supernet: nas.Supernet) -> None:
    supernet.eval()
    expected = supernet(images(), MEMBERS[0])
    other = nas.Supernet(SPACE, seed=9).eval()
    assert not torch.equal(other(images(), MEMBERS[0]), expected)
    other.load_state_dict(supernet.state_dict())
    assert torch.equal(other(images(), MEMBERS[0]), expected)


def test_an_extracted_network_is_on_its_own(supernet: nas.Supernet) -> None:
    network = supernet.extract(MEMBERS[0])
    before = network.eval()(images())
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(1)
    assert torch.equal(network(images()), before)


def test_moving_to_another_dtype_leaves_no_stale_views(supernet: nas.Supernet) -> None:
    supernet.eval()(images(), MEMBERS[0])
    supernet.double()
    assert supernet(images().double(), MEMBERS[0]).dtype == torch.float64
