"""Spaces around the zoo's networks: their files load again, hold the network itself, and have members that build."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import nas
from nas import ops
from nas.architecture import Architecture, StageConfig
from nas.costs import SpaceCosts
from nas.costs.derived_spaces import derive_data
from nas.errors import ArchitectureError, SpaceError
from nas.networks.inheritance.filling import fill
from nas.networks.network import Network
from nas.networks.supernet import Supernet
from nas.spaces import SearchSpace
from nas.spaces.catalog import parse_space
from nas.spaces.genotype import Genotype, StageChoice
from nas.strict_yaml import dump_yaml, parse_yaml

from .zoo_cases import NAMES, architecture, families

SMALLEST = [names[0] for names in families().values()]
EACH = [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.slow) for name in NAMES]
# One for each form that a stage may take: letters per layer, a layer that opens a stage, strides in first layers,
# tokens, widths that must multiply into one another, runs.
TRAINED = [
    *(("edgenext_xxs", 64), ("mobilevit_xxs", 64), ("levit_128s", 64)),
    *(("deit_tiny", 32), ("fastvit_t8", 64), ("fcaformer_l0", 64)),
]


def derived(name: str) -> SearchSpace:
    """The space as it is read from the file that the command writes."""
    return parse_space(parse_yaml(dump_yaml(derive_data(name)), where=name), ops)


@pytest.mark.parametrize("name", EACH)
def test_a_derived_space_holds_its_network_and_members_that_can_be_built(name: str) -> None:
    space, network = derived(name), architecture(name)
    costs = SpaceCosts(space)
    assert space.contains(network)
    assert space.decode(space.encode(network)) == network
    assert costs.cost(space.encode(network)) == nas.cost(network)
    assert space.size() > 1
    assert space.presets == (name,)
    for seed in range(2):
        member = space.sample(random.Random(seed))
        assert space.contains(member)
        with torch.device("meta"):
            built = Network(member.to_dict())
        assert sum(p.numel() for p in built.parameters()) == costs.cost(space.encode(member)).params


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_every_choice_of_a_derived_space_can_be_counted(name: str) -> None:
    for _, _, options in SpaceCosts(derived(name)).everything():
        assert all(option.macs >= 0 and option.params >= 0 for option in options)


@pytest.mark.parametrize(("name", "resolution"), TRAINED)
def test_a_derived_supernets_members_are_their_extracted_networks_bit_for_bit(name: str, resolution: int) -> None:
    space = nas.derive_space(name).adapted(resolution=resolution, num_classes=3)
    members = [space.sample(random.Random(seed)) for seed in range(3)] + [architecture(name)]
    supernet = nas.Supernet(space, choices=space.choices_of(map(space.encode, members)))
    images = torch.randn(2, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))
    for member in members:
        for training in (True, False):
            network = supernet.extract(member).train(training)
            supernet.train(training)
            with torch.no_grad():
                assert torch.equal(supernet(images, member), network(images))


def test_what_a_family_varies_is_varied_around_the_network() -> None:
    space = nas.derive_space("coatnet_0")
    assert space.stages[2].widths == (192, 288, 384, 480)
    assert space.stages[2].depths == (2, 4, 5, 6)
    assert [stage.letters for stage in space.stages] == ["C", "CA", "AC", "AC"], (
        "attention from an eighth of the image on"
    )
    assert dict(space.stages[0].op("C").choices) == {"expand_ratio": (3, 4, 5), "kernel_size": (3, 5)}
    # The convolution that stands in for attention is the network's own, with its own stride.
    assert space.stages[2].op("C").first["branches"][0]["mixer"]["op"] == "mbconv"
    assert space.stages[2].op("C").first["branches"][0]["mixer"]["stride"] == "$stride"


def test_a_projected_shortcut_opens_a_stage_that_keeps_the_map() -> None:
    network = _coatnet_small(["C3", "C1", "A2", "A2"], stem=16, widths=[16, 32, 32, 48])
    space = nas.derive_space(network, smaller=True)
    assert [stage.letters for stage in space.stages] == ["C", "C", "A", "A"]
    assert [stage.per_layer for stage in space.stages] == [False] * 4
    first = space.stages[0]
    assert first.widths == (4, 8, 12, 16), "the projection makes any width follow any other"
    assert [branch["shortcut"]["op"] for branch in first.op("C").first["branches"]] == ["pool_project"]
    assert space.contains(network)
    with torch.device("meta"):
        filled = fill(Supernet(space), network, Network(network.to_dict()).state_dict(), {})
    assert not [name for name in filled.fresh if name.startswith("stage")], "every member is a part of the network"


def _coatnet_small(stages: list[str], *, stem: int, widths: list[int]) -> Architecture:
    """A member of coatnet-small: of each stage its letter and depth, with the least of all other choices."""
    space = nas.load_space("coatnet-small")
    genes = [
        StageChoice(letter, width, int(depth), tuple(values[0] for _, values in stage.op(letter).choices))
        for (letter, depth), width, stage in zip(stages, widths, space.stages, strict=True)
    ]
    return space.decode(Genotype((stem,), tuple(genes)))


def test_stages_of_several_kinds_choose_layer_by_layer() -> None:
    space = nas.derive_space("mobilevit_xxs")
    stage = space.stages[3]
    assert stage.per_layer
    assert [(op.letter, op.place) for op in stage.ops] == [("c", "first"), ("A", "rest"), ("C", "rest")]
    assert space.layout(space.encode(architecture("mobilevit_xxs"))) == "C-C-cA-cA-cA"


def test_stages_whose_layers_change_the_map_vary_their_runs() -> None:
    stage = nas.derive_space("nextvit_small").stages[2]
    assert stage.depths == (2, 3)
    assert dict(stage.op("A").choices)["count"] == (2, 3, 4, 5)
    first, rest = stage.op("A").first["layers"], stage.op("A").rest["layers"]
    assert [layer.get("repeat") for layer in (*first, *rest)] == ["$count", None, None, "$count_2", None]


def test_an_architecture_and_a_file_of_ones_own_can_be_derived_from(tmp_path: Path) -> None:
    winner = nas.derive_space("deit_tiny").sample(random.Random(3)).with_classes(10)
    (tmp_path / "my net.yaml").write_text(winner.to_yaml())
    by_path, by_value = nas.derive_space(tmp_path / "my net.yaml"), nas.derive_space(winner, name="mine")
    assert by_path.name == "my-net-space"
    assert by_path.presets == ()
    assert by_value.name == "mine"
    for space in (by_path, by_value):
        assert space.contains(winner)
        assert space.head["num_classes"] == 10


def test_what_is_no_sound_network_is_refused_in_one_line(tmp_path: Path) -> None:
    broken = architecture("coatnet_0").to_yaml().replace("width: 192", "width: 190", 1)
    (tmp_path / "broken.yaml").write_text(broken)
    with pytest.raises(ArchitectureError, match=r"stage 2 \(its input 96x56x56\)") as caught:
        nas.derive_space(tmp_path / "broken.yaml")
    assert "\n" not in str(caught.value)
    bare = replace(architecture("deit_tiny"), stages=(StageConfig(layers=()),))
    with pytest.raises(SpaceError, match="No space can be derived from network: stage 1 has no layers"):
        nas.derive_space(bare)
    with pytest.raises(ArchitectureError, match="did you mean 'edgenext_xxs'"):
        nas.derive_space("edgenext_xx")
