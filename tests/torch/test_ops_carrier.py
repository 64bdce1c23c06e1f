"""Carrier tokens by hand: windows cut with slices, biases entry by entry."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.costs.counter import MacCounter
from nas.errors import ArchitectureError
from nas.networks.fold import fold
from nas.ops import Shape, make
from nas.ops.mlp_position import MLPBias

# Two by two windows of 3 x 3 positions, each with 2 x 2 carriers.
SHAPE = Shape(8, 6, 6, tokens=16)


def moved(module: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def images(shape: Shape) -> torch.Tensor:
    return torch.randn((2, *shape.tensor), generator=torch.Generator().manual_seed(0))


def parts(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The carriers and the map, both as pictures."""
    return x[:, :, :16, 0].unflatten(2, (4, 4)), x[:, :, 16:, 0].unflatten(2, (6, 6))


def test_carrier_attention_is_attention_in_each_window_with_its_own_carriers() -> None:
    config = {"op": "attention", "head_dim": 4, "attention_scope": "carrier", "window_size": 3, "position": "mlp"}
    module, x = moved(make(config, SHAPE)), images(SHAPE)
    carriers, places = parts(module(x))
    carriers_in, places_in = parts(x)
    # Without carriers' bias: rows and columns of tokens are zero.
    bias = F.pad(module.bias(), (4, 0, 4, 0))
    for i in range(2):
        for j in range(2):
            own = carriers_in[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten(2)
            window = places_in[:, :, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3].flatten(2)
            tokens = torch.cat([own, window], 2).transpose(1, 2)
            q, k, v = (m.linear(tokens).unflatten(2, (2, 4)).transpose(1, 2) for m in (module.q, module.k, module.v))
            mixed = ((q @ k.transpose(2, 3)) / 2 + bias).softmax(3) @ v
            expected = module.project.linear(mixed.transpose(1, 2).flatten(2)).transpose(1, 2)
            found = carriers[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten(2)
            torch.testing.assert_close(found, expected[:, :, :4])
            found = places[:, :, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3].flatten(2)
            torch.testing.assert_close(found, expected[:, :, 4:])


def test_carriers_are_means_of_overlapping_parts_of_the_map_in_the_order_of_the_picture() -> None:
    module, x = moved(make({"op": "carrier_tokens", "window_size": 7}, Shape(3, 14, 14))), images(Shape(3, 14, 14))
    out = module(x)
    assert module.shape == (3, 14, 14, 16, ())
    assert torch.equal(out[:, :, 16:].flatten(2), x.flatten(2))
    mixed = module.mix(x)
    # Four by four carriers of 5 x 5 positions, 3 apart.
    for i in range(4):
        for j in range(4):
            mean = mixed[:, :, 3 * i : 3 * i + 5, 3 * j : 3 * j + 5].mean((2, 3))
            torch.testing.assert_close(out[:, :, 4 * i + j, 0], mean)


def test_bias_by_mlp_is_that_of_log_spaced_offsets() -> None:
    module = moved(MLPBias(3, (4, 4)))
    bias = module()
    assert bias.shape == (3, 16, 16)

    def spaced(offset: int) -> float:
        scaled = 8 * offset / 3
        return math.copysign(math.log2(abs(scaled) + 1) / math.log2(8), scaled)

    for i in range(16):
        for j in range(16):
            offset = torch.tensor([spaced(i // 4 - j // 4), spaced(i % 4 - j % 4)])
            expected = 16 * module.project(module.expand(offset).relu()).sigmoid()
            torch.testing.assert_close(bias[:, i, j], expected)


def test_position_by_mlp_counts_from_the_middle_of_each_window() -> None:
    module = moved(make({"op": "mlp_position", "window_size": 5}, Shape(4, 10, 10)))
    added = module(torch.zeros(1, 4, 10, 10))[0]
    for i, j in ((0, 0), (4, 3), (7, 9), (2, 7)):
        place = torch.tensor([(i % 5 - 2) / 2, (j % 5 - 2) / 2])
        torch.testing.assert_close(added[:, i, j], module.project(module.expand(place).relu()))


def test_propagation_adds_each_carrier_to_its_part_of_the_map() -> None:
    norm = {"op": "layer_norm"}
    after = {"op": "identity"}
    module = moved(make({"op": "carrier_propagation", "carriers": norm, "after": after, "scale": 0.5}, SHAPE))
    x = images(SHAPE)
    found, places = parts(module(x))
    carriers, places_in = parts(x)
    scale = module.scale[:, None, None]
    expected = carriers + scale * module.carriers(carriers)
    torch.testing.assert_close(found, expected)
    # Position 2 of 6 belongs to carrier 1 of 4: nearest is 2 * 4 // 6.
    for i, j in ((0, 0), (2, 5), (3, 3), (5, 1)):
        carrier = expected[:, :, i * 4 // 6, j * 4 // 6]
        torch.testing.assert_close(places[:, :, i, j], places_in[:, :, i, j] + module.scale * carrier)


def test_folded_positions_are_tables_with_the_same_output() -> None:
    attention = {"op": "attention", "head_dim": 4, "attention_scope": "carrier", "window_size": 3, "position": "mlp"}
    ops = [{"op": "apart", "map": {"op": "mlp_position", "window_size": 3}}, attention]
    module, x = moved(make({"op": "serial", "ops": ops}, SHAPE)), images(SHAPE)
    folded = fold(module)
    torch.testing.assert_close(folded(x), module(x))
    with MacCounter() as before:
        module(x[:1])
    with MacCounter() as after:
        folded(x[:1])
    # Of 3 x 3 places an MLP 2-512-8, of 5 x 5 offsets an MLP 2-512-2.
    assert before.macs - after.macs == 9 * 512 * (2 + 8) + 25 * 512 * (2 + 2)


@pytest.mark.parametrize(
    ("config", "shape", "words"),
    [
        ({"op": "carrier_tokens"}, Shape(4, 10, 10), "a 10x10 map must be square and divide into windows of 7"),
        ({"op": "square", "mixer": {"op": "identity"}}, Shape(4, 5, 1), "5 tokens make no square"),
        ({"op": "mlp_position", "window_size": 4}, Shape(4, 10, 10), "does not divide into windows of 4"),
        (
            {"op": "attention", "head_dim": 4, "attention_scope": "carrier", "window_size": 5, "position": "none"},
            Shape(4, 10, 10, 3),
            "3 tokens are no square",
        ),
        (
            {"op": "carrier_propagation", "carriers": {"op": "identity"}, "after": {"op": "identity"}},
            Shape(4, 10, 10),
            "insert carriers before",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_numbers(config: dict[str, Any], shape: Shape, words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        make(config, shape)
    assert words in str(caught.value)
