"""What weight decay leaves alone: every op, shared weights, both optimizers, and timm's own lists."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
import torch
from torch import nn

import nas
from nas.architecture import BlockConfig
from nas.networks.timm import FAMILIES
from nas.networks.timm.families import Family
from nas.networks.weight_decay import decay_groups, no_weight_decay
from nas.ops import make, normalize_block
from nas.ops.attention import POSITIONS
from nas.training.lars import Lars

from ..small_space import small_space
from .cases import OPS_VARIED
from .supernet_views import views
from .test_ops import tokened, varied
from .timm_import import import_timm
from .zoo_cases import architecture

PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


def variants(op: str) -> list[nn.Module]:
    """An op as its case has it, and with each parameter changed."""
    config, changes = OPS_VARIED[op]
    drawn = [(config, tokened(op)), *((each, tokened(op, name)) for name in changes for each in varied(op, name))]
    if op == "attention":
        drawn += [(config | {"position": position}, tokened(op)) for position in POSITIONS]
    blocks = [(normalize_block(BlockConfig.from_dict({"op": op, **each}), "test"), shape) for each, shape in drawn]
    return [make(block.to_dict(), shape) for block, shape in blocks]


@pytest.mark.parametrize("op", OPS_VARIED)
def test_of_an_ops_parameters_only_weights_of_products_and_convolutions_decay(op: str) -> None:
    for module in variants(op):
        spared, learning = no_weight_decay(module), {n for n, p in module.named_parameters() if p.requires_grad}
        products = {path for path, inner in module.named_modules() if isinstance(inner, PRODUCTS)}
        weights = {f"{path}.weight" if path else "weight" for path in products}
        assert learning - spared <= weights
        norms = {n for n, p in module.named_parameters() if n not in weights}
        assert learning & norms <= spared


def test_what_a_module_lists_is_there() -> None:
    """A misspelt name would let its parameter decay."""
    seen: set[type[nn.Module]] = set()
    for op in OPS_VARIED:
        for inner in (inner for module in variants(op) for inner in module.modules()):
            listed = getattr(inner, "no_decay", ())
            assert set(listed) <= {name for name, _ in inner.named_parameters()}, type(inner)
            seen |= {type(inner)} if listed else set()
    assert {kind.__name__ for kind in seen} >= {
        "ClassToken",
        "DistanceBias",
        "MLPBias",
        "Mamba",
        "Position",
        "PositionScale",
        "RelativeBias",
        "TokenBias",
        "Wave",
    }


def test_shared_weights_decay_where_those_of_the_members_do() -> None:
    space = small_space()
    supernet = nas.Supernet(space, seed=1)
    spared, met = no_weight_decay(supernet), set[bool]()
    for seed in range(8):
        member = space.sample(random.Random(seed))
        own = no_weight_decay(supernet.extract(member))
        for name, view, stored in views(supernet, member):
            assert (name in own) == (stored in spared), name
            met |= {name in own} if view.ndim > 2 else set()
    assert met == {True, False}


def test_frozen_parameters_are_in_no_group() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    decaying, spared = decay_groups(network)
    assert [id(p) for p in decaying + spared] == [id(network[0].weight), id(network[0].bias)]


def test_lars_takes_plain_steps_of_what_does_not_decay() -> None:
    table, weight = nn.Parameter(torch.full((2, 2), 3.0)), nn.Parameter(torch.full((2, 2), 3.0))
    optimizer = Lars([weight], [table], lr=1.0, weight_decay=0.5, trust=0.01)
    table.grad, weight.grad = torch.ones(2, 2), torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(table.detach(), torch.full((2, 2), 2.0))
    # The gradient with decay is 2.5 everywhere; its length becomes a hundredth of the weight's.
    assert torch.allclose(weight.detach(), torch.full((2, 2), 3.0 - 0.03))


def elements(named: Iterable[tuple[str, nn.Parameter]], spared: set[str]) -> int:
    """How many numbers of tables and tokens, which have two axes or more, do not decay."""
    return sum(p.numel() for name, p in named if name in spared and p.requires_grad and p.ndim >= 2)


@pytest.mark.parametrize("family", [pytest.param(each, id=next(iter(each.names))) for each in FAMILIES])
def test_the_same_tables_and_tokens_are_spared_as_by_timm(family: Family) -> None:
    theirs, ours = next(iter(family.names.items()))
    timm = import_timm()
    with torch.device("meta"):
        network, model = nas.build(architecture(ours)), timm.create_model(theirs, pretrained=False)
    listed = set(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else set()
    found = elements(network.named_parameters(), no_weight_decay(network))
    if theirs.startswith("visformer"):
        # timm's lists nothing, and decays its position tables.
        listed |= {name for name, _ in model.named_parameters() if name.startswith("pos_embed")}
    assert found == elements(model.named_parameters(), listed)
