"""Folded networks give what the networks give, and count to what others count re-parameterised networks to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.costs.counter import MacCounter
from nas.networks.fold import fold
from nas.networks.network import Network
from nas.ops import Shape, make

from .zoo_cases import architecture, perturbed

# Parameters of the authors' own re-parameterised networks, and giga multiply-adds (apple/ml-fastvit).
DEPLOYED = {
    "fastvit_t8": (3_996_040, 0.6852),
    "fastvit_t12": (7_508_840, 1.3909),
    "fastvit_s12": (9_428_712, 1.7936),
    "fastvit_sa12": (11_545_320, 1.9372),
    "fastvit_sa24": (21_501_288, 3.7621),
    "fastvit_sa36": (31_457_256, 5.5869),
    "fastvit_ma36": (43_984_632, 7.8149),
}
# With norms folded as well (facebookresearch/LeViT).
WITHOUT_NORMS = {"levit_128s": 7.7565, "levit_256": 18.8563}
SHAPE = Shape(8, 6, 6)


def counted(network: nn.Module, size: int) -> tuple[int, float]:
    with torch.no_grad(), MacCounter() as counter:
        network(torch.empty(1, 3, size, size, device="meta"))
    return sum(parameter.numel() for parameter in network.parameters()), counter.macs / 1e9


def on_meta(name: str) -> Network:
    with torch.device("meta"):
        return Network(architecture(name).to_dict())


def assert_same(before: nn.Module, after: nn.Module, images: torch.Tensor) -> None:
    with torch.inference_mode():
        expected, found = before(images), after(images)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DEPLOYED)
def test_folded_branches_count_to_the_authors_deploy_graphs(name: str) -> None:
    params, macs = counted(fold(on_meta(name), norms=False), architecture(name).input.resolution)
    assert params == DEPLOYED[name][0]
    assert round(macs, 4) == DEPLOYED[name][1]


@pytest.mark.parametrize("name", WITHOUT_NORMS)
def test_folded_norms_count_to_the_authors_deploy_graphs(name: str) -> None:
    params, _ = counted(nas.fold(on_meta(name)), architecture(name).input.resolution)
    assert round(params / 1e6, 4) == WITHOUT_NORMS[name]


@pytest.mark.parametrize("name", ["fastvit_t8", "levit_128s", "coatnet_0", "nextvit_small", "rapidnet_ti"])
def test_a_folded_network_gives_the_same(name: str) -> None:
    size = 64
    network = perturbed(nas.build(architecture(name).at_resolution(size))).eval()
    folded = nas.fold(network)
    assert len(list(folded.parameters())) < len(list(network.parameters()))
    assert_same(network, folded, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))


def test_folding_leaves_the_network_itself_alone() -> None:
    network = perturbed(nas.build(architecture("fastvit_t8").at_resolution(64)))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert not nas.fold(network).training
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


REPARAM = {"op": "reparam_conv", "small_kernel": 1, "identity": True, "activation": "gelu"}
NODES: list[dict[str, Any]] = [
    REPARAM,
    {**REPARAM, "depthwise": True, "kernel_size": 5, "small_kernel": 3},
    {"op": "reparam_conv", "width": 16, "depthwise": True, "kernel_size": 7, "small_kernel": 3, "stride": 2},
    {**REPARAM, "gate": {"op": "squeeze_excite", "rd_channels": 4}},
    {"op": "residual", "mixer": {"op": "rep_mixer"}, "scale": 0.5},
    {"op": "residual", "mixer": {"op": "depthwise_conv"}},
    {"op": "residual", "mixer": {"op": "conv", "bias": False, "dilation": 2}, "scale": 0.5},
    {"op": "serial", "ops": ({"op": "conv", "width": 4}, {"op": "batch_norm"})},
    {"op": "conv_norm", "stride": 2, "activation": "relu"},
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node["op"])
def test_each_kind_of_block_folds_to_one_convolution(node: dict[str, Any]) -> None:
    block = perturbed(make(node, SHAPE)).eval()
    folded = fold(block)
    images = torch.randn(2, *SHAPE.tensor, generator=torch.Generator().manual_seed(0))
    assert_same(block, folded, images)
    spatial = [
        m for m in folded.modules() if isinstance(m, nn.Conv2d) and (m.in_channels, m.kernel_size) != (4, (1, 1))
    ]
    gated = "gate" in node
    assert len(spatial) == (2 if gated else 1)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "node",
    [
        {"op": "residual", "mixer": {"op": "conv", "kernel_size": 1, "groups": 2}, "norm": {"op": "batch_norm"}},
        {"op": "residual", "mixer": {"op": "conv"}, "shortcut": {"op": "conv"}},
        {"op": "serial", "ops": ({"op": "batch_norm"}, {"op": "conv"})},
        {"op": "serial", "ops": ({"op": "conv"}, {"op": "layer_norm"})},
        {"op": "serial", "ops": ({"op": "standard_conv", "width": 4}, {"op": "batch_norm"})},
        {"op": "residual", "mixer": {"op": "standard_conv", "width": 8, "kernel_size": 1}},
    ],
)
def test_what_cannot_be_folded_stays(node: dict[str, Any]) -> None:
    block = perturbed(make(node, SHAPE)).eval()
    folded = fold(block)
    assert len(list(folded.parameters())) == len(list(block.parameters()))
    assert_same(block, folded, torch.randn(2, *SHAPE.tensor, generator=torch.Generator().manual_seed(0)))
