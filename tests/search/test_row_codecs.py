"""Rows of `pit` and `mbconv`: what published networks and members are written as, and what is refused."""

from __future__ import annotations

import random

import pytest

import nas
from nas.benchmark.codecs import decode
from nas.errors import DataError
from nas.spaces import Genotype, SearchSpace

from ..shipped_spaces import whole_space

PIT = "base_dim=32 depth=2-6-4 heads=2-4-8 patch=16 stride=8 mlp=4"
B0_LAYERS = "k3e6se-k3e6se|k5e6se-k5e6se|k3e6se-k3e6se-k3e6se|k5e6se-k5e6se-k5e6se|k5e6se-k5e6se-k5e6se-k5e6se|k3e6se"
MOBILENETS = "k3e6-k3e6|k3e6-k3e6-k3e6|k3e6-k3e6-k3e6-k3e6|k3e6-k3e6-k3e6|k3e6-k3e6-k3e6|k3e6"
B1_LAYERS = "k3e3-k3e3-k3e3|k5e3-k5e3-k5e3|k5e6-k5e6-k5e6|k3e6-k3e6|k5e6-k5e6-k5e6-k5e6|k3e6"
B1 = f"stem=32-16 width=24-40-80-96-192-320 head=1280 activation=relu layers={B1_LAYERS}"
PUBLISHED = {
    "pit_ti": PIT,
    "pit_xs": PIT.replace("32", "48"),
    "pit_s": "mlp=4-4-4 base_dim=48 heads=3-6-12 depth=2-6-4 stride=8 patch=16",
    "efficientnet_b0": f"stem=32-16se width=24-40-80-112-192-320 head=1280 activation=silu layers={B0_LAYERS}",
    "mnasnet_b1": B1,
}


def space_of(row: str) -> SearchSpace:
    return whole_space("pit" if "base_dim" in row else "mbconv")


def written(space: SearchSpace, point: Genotype) -> str:
    """The row of a member whose layers have one activation (mbconv), or one base width and expansion (pit)."""
    stem = dict(zip((name for name, _ in space.stem.choices), point.stem, strict=True))
    if space.name == "pit":
        heads = [gene.params[2] for gene in point.stages]
        depths, ratios = [gene.depth for gene in point.stages], [gene.params[1] for gene in point.stages]
        joined = ("-".join(map(str, values)) for values in (depths, heads, ratios))
        words = zip(("depth", "heads", "mlp"), joined, strict=True)
        found = " ".join(f"{name}={value}" for name, value in words)
        return f"base_dim={point.stages[0].params[0]} {found} patch={stem['patch']} stride={stem['stride']}"
    *stages, last = point.stages
    layers = "|".join(
        "-".join(f"k{kernel}e{ratio}" + "se" * bool(gate) for ratio, kernel, gate in gene.params) for gene in stages
    )
    first = f"{stem['conv_width']}-{stem['width']}" + "se" * bool(stem["se_ratio"])
    widths = "-".join(str(gene.width) for gene in stages)
    return f"stem={first} width={widths} head={last.width} activation={stem['activation']} layers={layers}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_s_row_is_that_network(name: str) -> None:
    (found,) = decode(space_of(PUBLISHED[name]), (PUBLISHED[name],), "here")
    network = nas.load_architecture(name)
    assert found == network
    assert nas.cost(found) == nas.cost(network)


def test_a_mobilenet_v2_counts_as_published() -> None:
    row = f"stem=32-16 width=24-32-64-96-160-320 head=1280 activation=relu layers={MOBILENETS}"
    (found,) = decode(whole_space("mbconv"), (row,), "here")
    assert nas.cost(found).params == 3_504_872  # as torchvision's and timm's, whose activation is relu6
    assert nas.cost(found).macs == 300_774_272


def test_members_survive_their_rows() -> None:
    rng, space = random.Random(0), whole_space("mbconv")
    for _ in range(20):
        point = space.encode(space.sample(rng))
        letter = {"relu": "R", "silu": "S"}[point.stem[0]]
        stages = tuple(gene._replace(op=letter * gene.depth) for gene in point.stages)
        point = point._replace(stages=stages)
        (found,) = decode(space, (written(space, point),), "here")
        assert space.encode(found) == point
    space = whole_space("pit")
    for base, heads in ((16, (2, 2, 8)), (24, (4, 8, 8)), (40, (8, 8, 8)), (32, (2, 4, 4))):
        depths, ratios = ([rng.choice(values) for _ in range(3)] for values in ((2,), (2, 4, 6, 8)))
        row = f"base_dim={base} depth=3-8-{depths[2]} heads={'-'.join(map(str, heads))} patch=16 stride=8 mlp="
        (found,) = decode(space, (row + "-".join(map(str, ratios)),), "here")
        point = space.encode(found)
        assert [gene.width for gene in point.stages] == [base * each for each in heads]
        assert decode(space, (written(space, point),), "here") == [found]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("32", "'32' is not among its words, which are base_dim=, depth=, heads=, patch=, stride=, mlp="),
        (PIT.replace(" mlp=4", ""), "it must say mlp=, each once"),
        (PIT + " mlp=4", "each once"),
        (PIT + " ratio=4", "'ratio' is not among its words"),
        (PIT.replace("2-6-4", "2-6"), "depth=2-6 must be 3 whole numbers joined by -"),
        (PIT.replace("32", "x"), "base_dim=x must be a whole number"),
        (PIT.replace("2-6-4", "2-7-4"), "stage 2 has depth=7, and the space 4, 6, 8"),
        (PIT.replace("=16", "=14"), "the stem has patch=14, and the space 16"),
        (PIT.replace("2-4-8", "2-5-8"), "stage 2 has num_heads=5, and the space 2, 4, 6, 8"),
        (PIT.replace("32", "40").replace("2-4-8", "2-6-8"), "stage 2 has width=240"),
        (PIT.replace("2-4-8", "4-6-8"), "multiples from stage to stage"),
        (PIT.replace("mlp=4", "mlp=5"), "stage 1 has mlp_ratio=5"),
        (B1.replace("k5e6|k3e6", "k5e6"), "layers has 4 stages, where the space has 6"),
        (B1.replace("k3e3", "3e3", 1), "a layer is written k5e6 or k5e6se, not '3e3'"),
        (B1.replace("k3e3", "k9e3", 1), "stage 1, layer 1 has kernel_size=9, and the space 3, 5, 7"),
        (B1.replace("relu", "gelu"), "activation=gelu, and the space relu, silu"),
        (B1.replace("=1280", "=1000"), "the head has head=1000, and the space 960, 1280"),
        (B1.replace("k3e6-k3e6|", "k3e6-k3e6-k3e6-k3e6-k3e6|"), "stage 4 has depth=5"),
    ],
)
def test_other_rows_are_refused_by_line_with_what_is_wrong(row: str, words: str) -> None:
    space = whole_space("mbconv" if "stem" in row else "pit")
    with pytest.raises(DataError, match=f"here, line 2: .* is no architecture of {space.name}") as caught:
        decode(space, (row,), "here")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
