"""timm's networks in ours: the same function, of randomly initialised weights with nothing left at zero or one.

Counts cannot tell a wrong activation, order of norms or residual from the right one; equal outputs can.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nas
from nas.errors import ArchitectureError, RunError
from nas.networks.timm import FAMILIES, zoo_name
from nas.networks.timm.families import Family
from nas.spaces.catalog import zoo_names

from .timm_import import import_timm
from .zoo_cases import architecture, is_quick, perturbed, settled

EVERY = [(theirs, ours) for family in FAMILIES for theirs, ours in family.names.items()]
SMALLEST = [next(iter(family.names)) for family in FAMILIES]
MARKED = [
    pytest.param(family, id=name, marks=() if is_quick(family.names[name]) else pytest.mark.slow)
    for family, name in zip(FAMILIES, SMALLEST, strict=True)
]


# Of these networks with random weights each of the last layers makes a difference ten times as large, rounding's too.
IN_DOUBLE = ("efficientnetv2_s", "tf_efficientnetv2_s")


def created(name: str, device: str = "cpu") -> nn.Module:
    """A network of timm's, randomly initialised."""
    timm = import_timm()
    with torch.device(device):
        # Some have the classes of ImageNet-21K by default.
        return timm.create_model(name, pretrained=False, num_classes=1000).eval()


@pytest.mark.parametrize("family", MARKED)
def test_smallest_of_a_family_gives_what_timms_gives(family: Family) -> None:
    name = next(iter(family.names))
    size = architecture(family.names[name]).input.resolution
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = settled(perturbed(created(name)), images)
    ours = nas.from_timm(name, theirs)
    assert not ours.training
    if name in IN_DOUBLE:
        theirs, ours, images = theirs.double(), ours.double(), images.double()
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    # A network that gives every image the same would agree, too.
    assert (expected[0] - expected[1]).abs().max() > 0.01 * expected.abs().max()
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("theirs", "ours"), EVERY)
def test_parameters_are_as_many_as_timms(theirs: str, ours: str) -> None:
    found = sum(parameter.numel() for parameter in created(theirs, "meta").parameters())
    assert nas.cost(architecture(ours)).params == found


def test_names_are_known_with_and_without_a_tag() -> None:
    assert len({name for name, _ in EVERY}) == len(EVERY)
    assert {ours for _, ours in EVERY} <= set(zoo_names())
    for theirs, ours in EVERY:
        assert zoo_name(theirs) == zoo_name(f"{theirs}.some_in1k") == ours


def test_weights_keep_their_classes() -> None:
    name = SMALLEST[0]
    theirs = import_timm().create_model(name, pretrained=False, num_classes=7)
    assert nas.from_timm(name, theirs.state_dict())(torch.zeros(1, 3, 224, 224)).shape == (1, 7)


def test_an_unknown_model_gets_the_nearest_name() -> None:
    name = SMALLEST[0]
    with pytest.raises(ArchitectureError, match=f"did you mean '{name}'"):
        nas.from_timm(name + "x", {})


def test_weights_of_another_model_are_refused_on_one_line() -> None:
    with pytest.raises(RunError) as caught:
        nas.from_timm(SMALLEST[0], {"a.weight": torch.zeros(1)})
    assert SMALLEST[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "maxvit_tiny_tf_224", "deit_small_patch16_224"])
def test_weights_of_another_model_with_attention_are_refused_too(name: str) -> None:
    with pytest.raises(RunError, match=f"These weights are not of {name}: .* Give the state dict of that model"):
        nas.from_timm(name, created("vit_tiny_patch16_224").state_dict())


def test_parts_that_a_network_does_not_have_are_named_and_counters_of_tools_are_not() -> None:
    state = created("crossvit_9_240").state_dict()
    nas.from_timm("crossvit_9_240", {**state, "n_averaged": torch.tensor(3), "norm.0.total_ops": torch.zeros(1)})
    with pytest.raises(RunError, match=r"1 that it does not have \(blocks\.0\.blocks\.0\.0\.ls1\.gamma\)"):
        nas.from_timm("crossvit_9_240", {**state, "blocks.0.blocks.0.0.ls1.gamma": torch.ones(128)})
