"""Networks built from architectures: the grammar of branches, by hand, and refusals that name the place."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.networks.network import Network, resize_tables
from nas.ops import Shape, make, normalize

from ..small_space import small_space

SPACE = small_space()


@pytest.mark.parametrize("seed", range(4))
def test_a_member_maps_images_to_logits_in_channels_last(seed: int) -> None:
    architecture = SPACE.sample(random.Random(seed))
    network = nas.build(architecture)
    out = network(torch.zeros(2, 3, 8, 8))
    assert out.shape == (2, 5)
    assert network.forward_features(torch.zeros(2, 3, 8, 8)).shape[0] == 2
    kernels = [p for p in network.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


@pytest.mark.parametrize("name", ["coatnet_0", "deit_tiny", "t2t_vit_10", "levit_128s"])
@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((1, 3, 96, 96), r"\(1, 3, 96, 96\): resize the images, or build the network for resolution 96\."),
        ((1, 3, 64, 96), r"\(1, 3, 64, 96\): cut out a square and resize it to 64x64\."),
        ((1, 1, 64, 64), r"\(1, 1, 64, 64\): give images of 3 channels\."),
        ((3, 64, 64), r"\(3, 64, 64\): give a batch, such as images\[None\] for one image\."),
    ],
)
def test_images_that_a_network_cannot_take_are_refused_with_what_would_work(
    name: str, shape: tuple[int, ...], remedy: str
) -> None:
    network = built(name)
    with pytest.raises(ArchitectureError, match=r"built for images of shape \(batch, 3, 64, 64\), not " + remedy):
        network(torch.zeros(shape))


@cache
def built(name: str) -> Network:
    return nas.build(nas.load_architecture(name).at_resolution(64)).eval()


def test_networks_that_take_other_sizes_still_do() -> None:
    network = built("efficientnet_b0")
    assert network(torch.zeros(2, 3, 48, 80)).shape == (2, 1000)
    with pytest.raises(ArchitectureError, match="give images of 3 channels"):
        network(torch.zeros(2, 4, 48, 80))


def test_a_fault_inside_of_a_network_stays_what_it_is() -> None:
    network = nas.build(SPACE.sample(random.Random(0)))
    network.head.forward = lambda x: x.view(7, 7, 7)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        network(torch.zeros(2, 3, 8, 8))


def residual(config: dict[str, Any], shape: Shape) -> Any:
    return make({"op": "residual", **config}, shape)


def test_a_branch_is_shortcut_plus_scaled_mixer_of_norm() -> None:
    shape, x = Shape(4, 6, 6), torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    config = {"norm": {"op": "layer_norm"}, "mixer": {"op": "conv", "width": 4}, "scale": 0.25}
    branch = residual(config, shape)
    torch.testing.assert_close(branch(x), x + 0.25 * branch.mixer(branch.norm(x)))
    assert branch.scale is not None
    assert branch.scale.shape == (4,)
    alone = residual({**config, "shortcut": {"op": "none"}}, shape)
    torch.testing.assert_close(alone(x), 0.25 * alone.mixer(alone.norm(x)))
    plain = residual({"mixer": {"op": "conv", "width": 4}}, shape)
    torch.testing.assert_close(plain(x), x + plain.mixer(x))


def test_a_branch_without_residual_may_change_the_shape() -> None:
    mixer = {"op": "conv", "width": 6, "stride": 2}
    branch = residual({"mixer": mixer, "shortcut": {"op": "none"}}, Shape(4, 6, 6))
    assert branch(torch.zeros(1, 4, 6, 6)).shape == (1, 6, 3, 3)
    with pytest.raises(ArchitectureError, match=r"conv gives \(6, 3, 3\) .* shortcut gives \(4, 6, 6\)"):
        residual({"mixer": mixer}, Shape(4, 6, 6))


CONV = {"op": "conv", "width": 6}
WINDOWS = {"op": "attention", "head_dim": 2, "attention_scope": "window", "window_size": 5}


@pytest.mark.parametrize(
    ("mixer", "words"),
    [
        (
            CONV,
            "stage 2 (its input 4x14x14): conv gives (6, 14, 14) (channels, height, width) but its shortcut gives (4",
        ),
        ({"op": "attention"}, "stage 2 (its input 4x14x14): attention: head_dim=32 does not divide width=4: use 4"),
        (WINDOWS, "stage 2 (its input 4x14x14): attention: a 14x14 map does not divide into windows of 5x5"),
        ({"op": "group_norm", "num_groups": 3}, "stage 2 (its input 4x14x14): group_norm: num_groups=3 does not"),
        ({"op": "drop_tokens", "tokens": 3}, "stages[1].mixer: Unknown parameter of drop_tokens 'tokens'"),
    ],
)
@pytest.mark.parametrize("user", [nas.build, nas.cost])
def test_stages_that_do_not_fit_are_refused_with_place_and_numbers(
    user: Callable[[Architecture], Any], mixer: dict[str, Any], words: str
) -> None:
    first = {"layers": [{"branches": [{"mixer": {"op": "pool"}}]}]}
    halved = {"op": "pool", "stride": 2}
    second = {"layers": [{"branches": [{"mixer": mixer}]}]}
    data = {"format": 2, "input": {"resolution": 56}, "stem": {"op": "conv", "width": 4, "stride": 2},
            "stages": [{**first, "transition": halved}, second], "head": {"op": "classifier"}}  # fmt: skip
    with pytest.raises(ArchitectureError) as caught:
        user(normalize(Architecture.from_dict(data)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stem_and_head_that_do_not_fit_are_refused_by_name() -> None:
    data: dict[str, Any] = {"format": 2, "input": {"resolution": 8}, "stem": {**CONV, "kernel_size": 99, "padding": 0},
                            "stages": [], "head": {"op": "classifier"}}  # fmt: skip
    with pytest.raises(ArchitectureError, match=r"stem \(its input 3x8x8\): conv: a 99x99 kernel does not fit"):
        nas.build(normalize(Architecture.from_dict(data)))
    data |= {"stem": CONV, "head": {"op": "classifier", "pool": "token"}}
    with pytest.raises(ArchitectureError, match=r"head \(its input 6x8x8\): classifier: pool token"):
        nas.cost(normalize(Architecture.from_dict(data)))


def test_transitions_come_before_the_layers() -> None:
    transition = {"op": "conv", "width": 8, "kernel_size": 2, "stride": 2, "padding": 0}
    layers = [{"repeat": 2, "branches": [{"mixer": {"op": "depthwise_conv"}}]}]
    data = {"format": 2, "input": {"resolution": 8}, "stem": {"op": "conv_stem", "width": 4},
            "stages": [{"transition": transition, "layers": layers}], "head": {"op": "classifier"}}  # fmt: skip
    network = nas.build(normalize(Architecture.from_dict(data)))
    assert network.forward_features(torch.zeros(1, 3, 8, 8)).shape == (1, 8, 2, 2)
    assert len(network.stages[0].layers) == 2  # type: ignore[arg-type]


def test_position_tables_are_resized_to_another_resolution() -> None:
    rng = random.Random(0)
    architecture = SPACE.decode(SPACE.sample_genotype(rng, "AA"))
    small, large = nas.build(architecture), nas.build(architecture.at_resolution(16))
    with pytest.raises(RuntimeError, match="size mismatch"):
        large.load_state_dict(small.state_dict())
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            if name.endswith(".table"):
                parameter.copy_(torch.arange(parameter.shape[1])[None, :, None].expand_as(parameter))
    fitted = resize_tables(small.state_dict(), large)
    large.load_state_dict(fitted)
    assert large(torch.zeros(1, 3, 16, 16)).shape == (1, 5)
    table = fitted["stages.0.layers.0.0.mixer.bias.table"]
    assert table.shape[1:] == (15, 15)
    torch.testing.assert_close(table[0, :, 0], torch.linspace(0, 6, 15))


def test_networks_are_built_from_plain_data_alone() -> None:
    assert list(inspect.signature(Network).parameters) == ["config"]
    architecture = SPACE.sample(random.Random(1))
    torch.manual_seed(0)
    first = nas.build(architecture)
    torch.manual_seed(0)
    second = Network(architecture.to_dict())
    x = torch.ones(1, 3, 8, 8)
    torch.testing.assert_close(first.eval()(x), second.eval()(x))
