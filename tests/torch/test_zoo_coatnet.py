"""CoAtNet and Astroformer from the papers' tables: closed forms, part by part."""

from __future__ import annotations

import pytest

import nas
from nas.architecture import Architecture
from nas.costs import TABLE
from nas.networks.loading import load_architecture

# Widths and depths of S0 to S4 (CoAtNet, arXiv:2106.04803, table 3).
FAMILY = {
    "coatnet_0": ((64, 96, 192, 384, 768), (2, 3, 5, 2)),
    "coatnet_1": ((64, 96, 192, 384, 768), (2, 6, 14, 2)),
    "coatnet_2": ((128, 128, 256, 512, 1024), (2, 6, 14, 2)),
    "coatnet_3": ((192, 192, 384, 768, 1536), (2, 6, 14, 2)),
    "coatnet_4": ((192, 192, 384, 768, 1536), (2, 12, 28, 2)),
}
PARAMS = {
    "coatnet_0": 25_036_948,
    "coatnet_1": 42_225_904,
    "coatnet_2": 74_685_000,
    "coatnet_3": 166_966_648,
    "coatnet_4": 275_425_672,
}
GIGA_MACS = {"coatnet_0": 4.142, "coatnet_1": 8.239, "coatnet_2": 15.502, "coatnet_3": 34.372, "coatnet_4": 60.236}
# With the stride in the depthwise convolution (the paper's dagger rows).
DAGGER = {"coatnet_0": 4.547, "coatnet_1": 8.643, "coatnet_2": 16.427, "coatnet_3": 36.453, "coatnet_4": 62.317}
AT_384 = {"coatnet_0": 13.05, "coatnet_1": 26.60, "coatnet_2": 48.75, "coatnet_3": 105.79, "coatnet_4": 186.50}


def stem_params(d: int) -> int:
    return 27 * d + d + 2 * d + 9 * d * d + d


def mbconv_params(ci: int, co: int) -> int:
    squeeze_excite = 2 * co * co + co // 4 + 4 * co
    shortcut = ci * co + co if ci != co else 0
    return 2 * ci + 4 * ci * co + 52 * co + squeeze_excite + 4 * co * co + co + shortcut


def transformer_params(ci: int, co: int, r: int) -> int:
    attention = 3 * (ci * co + co) + co * co + co + co // 32 * (2 * r - 1) ** 2
    shortcut = ci * co + co if ci != co else 0
    return 2 * ci + attention + 2 * co + 8 * co * co + 5 * co + shortcut


def head_params(d: int) -> int:
    return 2 * d + d * d + d + 1000 * (d + 1)


def with_stride_in_depthwise(architecture: Architecture) -> Architecture:
    data = architecture.to_dict()
    for stage in data["stages"]:
        for layer in stage["layers"]:
            for branch in layer["branches"]:
                if branch["mixer"]["op"] == "mbconv":
                    branch["mixer"]["stride_in"] = "depthwise"
    return Architecture.from_dict(data)


@pytest.mark.parametrize("name", FAMILY)
def test_parameters_equal_the_closed_forms_stage_by_stage(name: str) -> None:
    widths, depths = FAMILY[name]
    expected = [stem_params(widths[0])]
    for i, depth in enumerate(depths):
        ci, co, r = widths[i], widths[i + 1], 56 >> i
        kind = (lambda a, b: mbconv_params(a, b)) if i < 2 else (lambda a, b, r=r: transformer_params(a, b, r))
        expected.append(kind(ci, co) + (depth - 1) * kind(co, co))
    expected.append(head_params(widths[-1]))
    rows = TABLE.architecture(load_architecture(name))
    assert [row.params for _, row in rows] == expected
    assert nas.cost(load_architecture(name)).params == sum(expected) == PARAMS[name]


@pytest.mark.parametrize("name", FAMILY)
def test_multiply_adds_are_the_published_ones(name: str) -> None:
    architecture = load_architecture(name)
    dagger = with_stride_in_depthwise(architecture)
    assert round(nas.cost(architecture).macs / 1e9, 3) == GIGA_MACS[name]
    assert round(nas.cost(dagger).macs / 1e9, 3) == DAGGER[name]
    assert nas.cost(dagger).params == PARAMS[name]
    assert round(nas.cost(architecture.at_resolution(384)).macs / 1e9, 2) == AT_384[name]


@pytest.mark.parametrize(
    ("name", "million_params", "giga_macs"), [("astroformer_0", 23.53, 3.995), ("astroformer_2", 67.38, 13.34)]
)
def test_astroformer_is_coatnet_with_attention_in_the_last_stage_alone(
    name: str, million_params: float, giga_macs: float
) -> None:
    cost = nas.cost(load_architecture(name))
    assert round(cost.params / 1e6, 2) == million_params
    assert round(cost.macs / 1e9, 3 if giga_macs == 3.995 else 2) == giga_macs
