"""Every check of an export passes on what is right and fails on what is wrong."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch import nn

import nas
from nas.architecture import Architecture
from nas.budget import Cost
from nas.errors import ExportError
from nas.export import checks, standalone_source
from nas.export.checks import Reference, check_code, check_config, check_onnx, compare_counts
from nas.export.counting import count_traced
from nas.export.folder import write_config, write_weights

from .export_cases import TRAINED, coatnet, convnext, perturbed, product

ARCHITECTURE = coatnet("CCAA")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reference]:
    folder = tmp_path_factory.mktemp("good")
    network = perturbed(nas.build(ARCHITECTURE.at_resolution(TRAINED)))
    write_config(folder, product(ARCHITECTURE))
    write_weights(folder, network, product(ARCHITECTURE))
    source = standalone_source(ARCHITECTURE, trained_resolution=TRAINED, title="Good")
    (folder / "model.py").write_text(source)
    return folder, Reference.of(network, ARCHITECTURE.at_resolution(TRAINED))


@pytest.fixture
def folder(good: tuple[Path, Reference], tmp_path: Path) -> Path:
    return Path(shutil.copytree(good[0], tmp_path / "copy"))


@pytest.fixture
def reference(good: tuple[Path, Reference]) -> Reference:
    return good[1]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def tamper(path: Path, name: str, amount: float) -> None:
    state = load_file(path)
    state[name] = state[name] + amount
    save_file(state, path)


def test_right_files_agree_bit_for_bit(folder: Path, reference: Reference) -> None:
    assert check_config(folder, product(ARCHITECTURE), reference) == 0
    assert check_code(folder, reference) == 0


def test_a_small_change_of_a_statistic_in_the_weights_is_seen(folder: Path, reference: Reference) -> None:
    tamper(folder / "weights.safetensors", "stem.norm.running_var", 1e-3)
    with pytest.raises(ExportError, match=r"architecture\.yaml does not give the network's output"):
        check_config(folder, product(ARCHITECTURE), reference)
    with pytest.raises(ExportError, match=r"model\.py does not give the network's output"):
        check_code(folder, reference)


def test_weights_that_are_not_numbers_are_seen(folder: Path, reference: Reference) -> None:
    tamper(folder / "weights.safetensors", "head.linear.bias", float("nan"))
    with pytest.raises(ExportError, match="relative error is nan"):
        check_code(folder, reference)


def test_weights_of_another_network_are_refused(folder: Path, reference: Reference) -> None:
    state = load_file(folder / "weights.safetensors")
    state.pop("head.linear.bias")
    save_file(state, folder / "weights.safetensors")
    with pytest.raises(ExportError, match=r"does not rebuild the network: .*head\.linear\.bias"):
        check_config(folder, product(ARCHITECTURE), reference)


def test_another_architecture_with_the_same_weights_is_seen(folder: Path, reference: Reference) -> None:
    replace(folder / "architecture.yaml", "resolution: 32", "resolution: 64")
    with pytest.raises(ExportError, match="is another architecture"):
        check_config(folder, product(ARCHITECTURE), reference)


def test_a_config_that_cannot_be_read_is_seen(folder: Path, reference: Reference) -> None:
    replace(folder / "architecture.yaml", "op: mbconv", "op: mbcomv")
    with pytest.raises(ExportError, match="did you mean 'mbconv'"):
        check_config(folder, product(ARCHITECTURE), reference)


def test_code_that_computes_something_else_is_seen(folder: Path, reference: Reference) -> None:
    replace(folder / "model.py", ".flip(3, 4)", "")
    with pytest.raises(ExportError, match="relative error"):
        check_code(folder, reference)


@pytest.mark.parametrize("line", ["import nas", "from safetensors.torch import load_file", "from . import other"])
def test_code_that_imports_more_than_torch_is_refused_unrun(folder: Path, reference: Reference, line: str) -> None:
    replace(folder / "model.py", "    network = build(resolution)\n", f"    {line}\n    network = build(resolution)\n")
    with pytest.raises(ExportError, match=r"model\.py would need"):
        check_code(folder, reference)


def test_code_that_hides_an_import_of_this_package_fails(folder: Path, reference: Reference) -> None:
    hidden = '    __import__("nas")\n    network = build(resolution)\n'
    replace(folder / "model.py", "    network = build(resolution)\n", hidden)
    with pytest.raises(ExportError, match="does not run by itself: ModuleNotFoundError"):
        check_code(folder, reference)


def test_an_output_that_is_not_finite_cannot_be_a_reference() -> None:
    network = nas.build(convnext().at_resolution(TRAINED)).eval()
    with torch.no_grad():
        network.head.linear.bias.fill_(float("inf"))
    with pytest.raises(ExportError, match="not finite"):
        Reference.of(network, convnext().at_resolution(TRAINED))


# ONNX, on a graph made by hand: the mean over positions, then a linear map.

WEIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]])


def write_graph(path: Path, weight: torch.Tensor, batch: str | int = "batch") -> None:
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weight"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(weight.numpy(), "weight"),
        numpy_helper.from_array(torch.tensor([2, 3]).numpy(), "axes"),
    ]
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 2])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def by_hand() -> Reference:
    images = torch.randn((3, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    return Reference(seed=0, images=images, logits=images.mean((2, 3)) @ WEIGHT)


def test_onnx_that_agrees_passes(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", WEIGHT)
    assert check_onnx(tmp_path, by_hand()) < 1e-6


def test_onnx_with_another_weight_fails(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", WEIGHT * (1 + 3e-4))
    with pytest.raises(ExportError, match=r"model\.onnx does not give the network's output"):
        check_onnx(tmp_path, by_hand())


def test_onnx_for_one_batch_size_fails(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", WEIGHT, batch=1)
    with pytest.raises(ExportError, match="ONNX Runtime cannot run it"):
        check_onnx(tmp_path, by_hand())


def test_onnx_that_is_none_fails(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not onnx")
    with pytest.raises(ExportError, match="ONNX Runtime cannot run it"):
        check_onnx(tmp_path, by_hand())


# The second opinion on multiply-adds.


@pytest.mark.parametrize("architecture", [convnext(), ARCHITECTURE], ids=["convnext", "coatnet"])
def test_fvcore_counts_what_we_count(architecture: Architecture) -> None:
    found = compare_counts(architecture)
    assert found["macs_fvcore"] == found["macs"] == nas.cost(architecture).macs
    assert found["macs_difference"] == 0
    assert found["resolution"] == 32


@pytest.mark.parametrize(
    "name",
    [
        "coatnet_0",
        pytest.param("coatnet_2", marks=pytest.mark.slow),
        pytest.param("astroformer_0", marks=pytest.mark.slow),
    ],
)
def test_fvcore_counts_what_we_count_on_published_networks(name: str) -> None:
    assert compare_counts(nas.load_architecture(name))["macs_difference"] == 0


def test_a_difference_in_counts_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    right = nas.cost(convnext())
    monkeypatch.setattr(checks, "cost", lambda _: Cost(macs=right.macs - 100, params=right.params))
    assert compare_counts(convnext())["macs_difference"] == 100


class Fused(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)


def test_fused_attention_is_counted_as_its_two_products() -> None:
    q, k, v = torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 7, 8), torch.zeros(2, 3, 7, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        assert count_traced(FlopCountAnalysis(Fused(), (q, k, v))) == 2 * 3 * 5 * 7 * (8 + 4)
