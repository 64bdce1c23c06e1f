"""The selective scan against a loop over time, and MambaVision's mixer written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import nas
from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.export.onnx_file import missing_packages, open_onnx, write_onnx
from nas.ops import Shape, make, normalize
from nas.ops.mamba import linear_scan, selective_scan


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(module: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 49, 196])
def test_linear_scan_gives_the_states_of_a_loop(length: int) -> None:
    decay, given = drawn(2, 3, length).sigmoid(), drawn(2, 3, length, seed=1)
    state, expected = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(length):
        state = decay[..., t] * state + given[..., t]
        expected.append(state)
    torch.testing.assert_close(linear_scan(decay, given), torch.stack(expected, -1))


def test_linear_scan_stands_decays_of_zero_and_one() -> None:
    decay = torch.tensor([1.0, 1.0, 0.0, 1.0, 1e-30, 1.0])
    given = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    expected = torch.tensor([1.0, 3.0, 3.0, 7.0, 5.0, 11.0])
    torch.testing.assert_close(linear_scan(decay, given), expected)


def naive(
    x: torch.Tensor,
    step: torch.Tensor,
    rates: torch.Tensor,
    written: torch.Tensor,
    read: torch.Tensor,
    passed: torch.Tensor,
) -> torch.Tensor:
    """The definition, channel by channel and moment by moment."""
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for d in range(x.shape[1]):
            state = torch.zeros_like(rates[d])
            for t in range(x.shape[2]):
                state = (step[b, d, t] * rates[d]).exp() * state + step[b, d, t] * written[b, :, t] * x[b, d, t]
                out[b, d, t] = read[b, :, t] @ state + passed[d] * x[b, d, t]
    return out


def test_selective_scan_is_its_definition_and_so_are_its_gradients() -> None:
    given = [drawn(2, 3, 11), drawn(2, 3, 11, seed=1).exp(), -drawn(3, 4, seed=2).exp()]
    given += [drawn(2, 4, 11, seed=3), drawn(2, 4, 11, seed=4), drawn(3, seed=5)]
    leaves = [each.clone().requires_grad_() for each in given], [each.clone().requires_grad_() for each in given]
    found, expected = selective_scan(*leaves[0]), naive(*leaves[1])
    torch.testing.assert_close(found, expected)
    for out in (found, expected):
        (out * drawn(2, 3, 11, seed=6)).sum().backward()
    for ours, theirs in zip(*leaves, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_half_precision_is_scanned_in_single() -> None:
    x, step = drawn(1, 2, 196).bfloat16(), drawn(1, 2, 196, seed=1).exp().bfloat16()
    rates, written, read = -drawn(2, 4, seed=2).exp(), drawn(1, 4, 196, seed=3), drawn(1, 4, 196, seed=4)
    parts = x, step, rates.bfloat16(), written.bfloat16(), read.bfloat16(), torch.ones(2).bfloat16()
    found, expected = selective_scan(*parts), naive(*(part.double() for part in parts))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=0.01, atol=0.01)


def test_mixer_scans_one_half_and_convolves_the_other() -> None:
    module = moved(make({"op": "mamba", "d_state": 4}, Shape(8, 3, 5))).double()
    x = drawn(2, 8, 3, 5)
    tokens = x.flatten(2).transpose(1, 2)

    def along(conv: Any, half: torch.Tensor) -> torch.Tensor:
        return F.silu(F.conv1d(half.transpose(1, 2), conv.weight[:, :, 0], padding=1, groups=4))

    scanned = along(module.scanned_conv, tokens @ module.scanned.weight.T)
    beside = along(module.beside_conv, tokens @ module.beside.weight.T)
    places = scanned.transpose(1, 2)
    rank = places @ module.rank.weight.T
    step = F.softplus(rank @ module.step.weight.T + 2 * module.step.bias).transpose(1, 2)
    written, read = (places @ m.weight.T for m in (module.written, module.read))
    rates = -module.rates.exp()
    y = naive(scanned, step, rates, written.transpose(1, 2), read.transpose(1, 2), module.passed)
    # The authors join both halves and project once.
    project = torch.cat([module.project_scanned.weight, module.project_beside.weight], 1)
    expected = (torch.cat([y, beside], 1).transpose(1, 2) @ project.T).transpose(1, 2).unflatten(2, (3, 5))
    torch.testing.assert_close(module(x), expected)


def test_windows_are_sequences_of_their_own() -> None:
    module = moved(make({"op": "mamba", "window_size": 3}, Shape(8, 6, 6)))
    whole = make({"op": "mamba"}, Shape(8, 3, 3)).eval()
    whole.load_state_dict(module.state_dict())
    x = drawn(2, 8, 6, 6).float()
    torch.testing.assert_close(module(x)[:, :, 3:, :3], whole(x[:, :, 3:, :3]))


def test_fresh_steps_lie_between_a_thousandth_and_a_tenth() -> None:
    module = make({"op": "mamba"}, Shape(512, 2, 2))
    steps = F.softplus(module.step.bias)
    assert 0.00099 < float(steps.detach().min()) < 0.002
    assert 0.05 < float(steps.detach().max()) < 0.1001


def test_what_cannot_be_built_is_refused_with_the_numbers() -> None:
    for config, shape, words in (
        ({}, Shape(7, 4, 4), "must be a whole number of channels, not 3.5"),
        ({}, Shape(8, 4, 4, 1), "drop them before"),
        ({"window_size": 3}, Shape(8, 4, 4), "a 4x4 map does not divide into windows of 3x3"),
        ({"kernel_size": 4}, Shape(8, 4, 4), "kernel_size (=4) must be odd"),
    ):
        with pytest.raises(ArchitectureError) as caught:
            make({"op": "mamba", **config}, shape)
        assert words in str(caught.value)


@pytest.mark.skipif(bool(missing_packages()), reason="the extra onnx is not installed")
def test_a_network_with_the_mixer_is_the_same_in_onnx(tmp_path: Path) -> None:
    layers = [{"branches": [{"norm": {"op": "layer_norm"}, "mixer": {"op": "mamba"}}]}]
    data = {"format": 2, "input": {"resolution": 6}, "stem": {"op": "conv", "width": 8, "stride": 2},
            "stages": [{"layers": layers}], "head": {"op": "classifier", "num_classes": 5}}  # fmt: skip
    network = moved(nas.build(normalize(Architecture.from_dict(data))))
    write_onnx(network, tmp_path / "model.onnx", (3, 6, 6))
    images = drawn(3, 3, 6, 6).float()
    with torch.inference_mode():
        torch.testing.assert_close(open_onnx(tmp_path / "model.onnx")(images), network(images), rtol=1e-4, atol=1e-5)
