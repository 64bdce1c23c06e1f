"""Zero-cost proxies: right by hand on small networks, finite on hybrids, and indifferent to what must not matter."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.architecture import Architecture
from nas.data import open_data
from nas.methods.zero_cost.probing import NonlinearityInputs, Probe, Probed
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues, ZeroCostScorer
from nas.ops import Shape
from nas.ops.attention import Attention
from nas.ops.basic import ACTIVATIONS, activation
from nas.ops.mamba import Mamba
from nas.training import fresh_network

from ..small_space import small_space

SPACE = small_space()


def probe(count: int = 8) -> Probe:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (count,), generator=generator)
    return Probe(images=torch.randn(count, 3, 8, 8, generator=generator), labels=labels)


def member(layout: str, seed: int = 0) -> Any:
    genotype = SPACE.sample_genotype(random.Random(seed), layout)
    return fresh_network(SPACE.decode(genotype), seed=seed)


@pytest.mark.parametrize("name", PROXIES.names())
@pytest.mark.parametrize("layout", SPACE.layouts)
def test_proxies_are_finite_and_repeatable_on_convolution_and_attention(name: str, layout: str) -> None:
    values = [PROXIES[name](Probed(member(layout), probe())) for _ in range(2)]
    assert math.isfinite(values[0])
    assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", PROXIES.names())
def test_proxies_leave_weights_alone(name: str) -> None:
    network = member(SPACE.layouts[0])
    before = {key: value.clone() for key, value in network.named_parameters()}
    PROXIES[name](Probed(network, probe()))
    assert all(torch.equal(value, before[key]) for key, value in network.named_parameters())
    assert all(parameter.grad is None for parameter in network.parameters())


class Line(nn.Module):
    """Two linear maps of one number: everything is known by hand."""

    def __init__(self, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.activation = activation or nn.Identity()
        nn.init.constant_(self.first.weight, -2.0)
        nn.init.constant_(self.second.weight, 3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.activation(self.first(x.flatten(1))))


def by_hand(name: str, network: Any, images: torch.Tensor, labels: torch.Tensor) -> float:
    return PROXIES[name](Probed(copy.deepcopy(network), Probe(images=images, labels=labels)))


def test_synflow_is_the_product_of_absolute_weights_per_layer() -> None:
    ones = torch.ones(1, 1, 1, 1)
    # |w1| |w2| = 6 for either layer.
    assert by_hand("synflow", Line(), ones, torch.zeros(1, dtype=torch.long)) == pytest.approx(math.log(12))


def test_synflow_passes_a_tanh_that_large_signals_saturate() -> None:
    network = Line(nn.Tanh())
    nn.init.constant_(network.first.weight, 100.0)
    found = by_hand("synflow", network, torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.long))
    assert found == pytest.approx(math.log(600))


class Backbone(nn.Module):
    """A stem and no stage: what proxies that look at layers see of it is known by hand."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem, self.stages = stem, nn.ModuleList()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.stem(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_features(x).flatten(1)


def attention_of_one_channel() -> Backbone:
    attention = Attention(Attention.Config(width=1, num_heads=1, head_dim=1), Shape(1, 2, 2))
    for parameter in attention.parameters():
        nn.init.zeros_(parameter)
    linear = {name: module for name, module in attention.named_modules() if isinstance(module, nn.Linear)}
    for (name, module), value in zip(linear.items(), (5.0, -7.0, -2.0, 3.0), strict=True):
        assert name in ("q.linear", "k.linear", "v.linear", "project.linear")
        nn.init.constant_(module.weight, value)
    return Backbone(attention)


def test_synflow_counts_the_positive_paths_through_values_and_output_of_attention() -> None:
    # Four positions of |-2| |3| each, once for the values' weight and once for the output's; none through q and k.
    found = by_hand("synflow", attention_of_one_channel(), torch.ones(1, 1, 2, 2), torch.zeros(1, dtype=torch.long))
    assert found == pytest.approx(math.log(2 * 4 * 6))


def test_dss_adds_the_diversity_of_attention_and_the_saliency_of_the_rest() -> None:
    ones, label = torch.ones(1, 1, 2, 2), torch.zeros(1, dtype=torch.long)
    attention = attention_of_one_channel()
    # All positions are alike, so that q and k have no gradient; nuclear norms of 1 x 1 are absolute values.
    assert by_hand("dss", attention, ones, label) == pytest.approx(math.log(2 * 4 * 6))
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(convolution.weight, -10.0)
    both = Backbone(nn.Sequential(attention.stem, convolution))
    assert by_hand("dss", both, ones, label) == pytest.approx(math.log(3 * 4 * 60))
    assert by_hand("dss", Line(), ones[:, :, :1, :1], label) == pytest.approx(math.log(12))


@pytest.mark.parametrize("stride", [1, 2])
def test_trainability_is_of_the_largest_singular_value_not_of_the_size(stride: int) -> None:
    convolution = nn.Conv2d(8, 8, stride, stride, bias=False)
    nn.init.zeros_(convolution.weight)
    convolution.weight.data[0, 0, 0, 0] = 4.0
    images = torch.randn(64, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    found = by_hand("trainability", Backbone(convolution), images, torch.zeros(64, dtype=torch.long))
    assert found == pytest.approx(2 - 4 - 1 / 4, abs=0.1)  # the Jacobian is estimated from random signs


def test_trainability_is_best_where_gradients_pass_as_they_are() -> None:
    convolution = nn.Conv2d(8, 8, 1, bias=False)
    nn.init.dirac_(convolution.weight)
    images = torch.randn(64, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    found = by_hand("trainability", Backbone(convolution), images, torch.zeros(64, dtype=torch.long))
    assert found == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("space", "layouts"), [("coatnet-small", 5), ("autoformer", 1)])
def test_proxies_of_positive_signals_are_finite_on_deep_networks(space: str, layouts: int) -> None:
    shipped = nas.load_space(space).adapted(resolution=32, num_classes=10)
    for layout in shipped.layouts[:layouts]:
        genotype = shipped.sample_genotype(random.Random(1), layout)
        probed = Probed(fresh_network(shipped.decode(genotype), seed=0), large_probe())
        values = [PROXIES[name](probed) for name in ("synflow", "dss", "trainability")]
        assert all(map(math.isfinite, values)), (layout, values)


def large_probe() -> Probe:
    generator = torch.Generator().manual_seed(0)
    return Probe(images=torch.randn(4, 3, 32, 32, generator=generator), labels=torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("name", ["synflow", "dss"])
def test_signals_beyond_any_number_make_no_number(name: str) -> None:
    network = member(SPACE.layouts[-1])
    for parameter in network.parameters():
        parameter.data.mul_(1e300)
    assert math.isnan(PROXIES[name](Probed(network, probe())))


@pytest.mark.parametrize("name", PROXIES.names())
def test_no_proxy_fails_on_a_network_whose_signals_overflow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exploding(architecture: Architecture, *, seed: int) -> Any:
        network = fresh_network(architecture, seed=seed)
        for parameter in network.parameters():
            parameter.data.mul_(1e30)
        return network

    monkeypatch.setattr("nas.methods.zero_cost.proxy_cache.fresh_network", exploding)
    data = open_data("digits").load(resolution=8, seed=0)
    space = SPACE.adapted(channels=data.info.channels, num_classes=data.info.num_classes)
    architecture = space.decode(space.sample_genotype(random.Random(0), SPACE.layouts[-1]))
    value = ProxyValues(data, images=16).value(name, architecture)
    assert isinstance(value, float)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "none"])
def test_nwot_sees_the_signs_of_every_activation_of_the_library(name: str) -> None:
    images = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    found = by_hand("nwot", Line(activation(name)), images, torch.zeros(2, dtype=torch.long))
    # Patterns 0 and 1: the kernel is the identity, and the logarithm of its determinant 0.
    assert found == pytest.approx(0)


def test_nwot_of_a_linear_network_sees_nothing() -> None:
    images = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    assert by_hand("nwot", Line(activation("none")), images, torch.zeros(2, dtype=torch.long)) == -math.inf


def test_doubled_images_change_nwot_by_a_constant() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(6, 3, 8, 8, generator=generator)
    doubled = torch.cat([images, images[:2], images[:1]])  # one three times, one twice
    for layout in SPACE.layouts[:2]:
        network = member(layout).eval()  # as batch norm would see other means
        network.train = lambda mode=True, network=network: network  # type: ignore[method-assign]
        once, more = (by_hand("nwot", network, each, torch.zeros(len(each))) for each in (images, doubled))
        assert more - once == pytest.approx(math.log(3) + math.log(2))


def test_nwot_is_the_logarithm_of_the_determinant_where_there_is_one() -> None:
    images = torch.tensor([[2.0, -1.0, 3.0], [-1.0, 2.0, 3.0], [1.0, 1.0, -1.0]]).view(3, 3, 1, 1)
    found = by_hand("nwot", nn.Sequential(nn.Flatten(), nn.ReLU()), images, torch.zeros(3, dtype=torch.long))
    # Any two patterns differ in two of three signs: the kernel has 3 on its diagonal and 1 elsewhere.
    assert found == pytest.approx(math.log(20))


def test_nwot_sees_nonlinearities_that_no_module_computes() -> None:
    # Mamba's SiLU and softplus are functions: without them nothing in this network has a sign.
    torch.manual_seed(0)
    network = Backbone(Mamba(Mamba.Config(), Shape(4, 4, 4)))
    images = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, ...]] = []
    with NonlinearityInputs(lambda x: seen.append(tuple(x.shape))), torch.no_grad():
        network(images)
    assert len(seen) == 3
    assert math.isfinite(by_hand("nwot", network, images, torch.zeros(3, dtype=torch.long)))


@pytest.mark.parametrize("name", ["caformer_s18", "convformer_s18", "poolformerv2_s12"])
def test_nwot_is_finite_on_published_networks_of_squared_relus(name: str) -> None:
    network = fresh_network(nas.load_architecture(name).at_resolution(32), seed=0)
    assert math.isfinite(PROXIES["nwot"](Probed(network, large_probe())))


def test_zico_needs_gradients_that_agree_between_batches() -> None:
    generator = torch.Generator().manual_seed(1)
    network = member(SPACE.layouts[0])
    same = torch.randn(4, 3, 8, 8, generator=generator)
    labels = torch.zeros(4, dtype=torch.long)
    nearly = torch.cat([same, same + 1e-3 * torch.randn(same.shape, generator=generator)])
    apart = torch.cat([same, torch.randn(same.shape, generator=generator)])
    twice = labels.repeat(2)
    agreeing = PROXIES["zico"](Probed(network, Probe(images=nearly, labels=twice)))
    assert agreeing > PROXIES["zico"](Probed(network, Probe(images=apart, labels=twice)))


def test_a_scorer_depends_on_the_architecture_alone() -> None:
    data = open_data("digits").load(resolution=8, seed=0)
    space = SPACE.adapted(channels=data.info.channels, num_classes=data.info.num_classes)
    members = [space.sample(random.Random(i)) for i in range(4)]
    scorer = ZeroCostScorer("nwot", ProxyValues(data, images=16))
    forwards = [scorer.score(each) for each in members]
    backwards = [ZeroCostScorer("nwot", ProxyValues(data, images=16)).score(each) for each in reversed(members)][::-1]
    assert forwards == pytest.approx(backwards)
    assert len(set(forwards)) > 1
    assert nas.cost(members[0]).macs > 0


def test_one_network_serves_all_proxies_as_a_fresh_one_does_each() -> None:
    data = open_data("digits").load(resolution=8, seed=0)
    space = SPACE.adapted(channels=data.info.channels, num_classes=data.info.num_classes)
    architecture = space.sample(random.Random(2))
    together = ProxyValues(data, images=16).values(PROXIES.names(), architecture)
    apart = {name: ProxyValues(data, images=16).value(name, architecture) for name in PROXIES.names()}
    assert together == pytest.approx(apart, rel=1e-6)
