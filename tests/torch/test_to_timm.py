"""Networks of ours, made and trained as timm makes and trains its own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import nas
from nas.architecture import Architecture
from nas.errors import ArchitectureError, ExportError, OptionError
from nas.export import CardFacts, ExportedModel
from nas.export.folder import write_config, write_weights
from nas.networks.timm.timm_model import taken
from nas.networks.timm.timm_network import TimmNetwork
from nas.ops import normalize
from nas.spaces.catalog import zoo_names

from .timm_import import import_timm
from .zoo_cases import architecture

SMALL = {
    "format": 2,
    "input": {"kind": "image", "channels": 3, "resolution": 32},
    "stem": {"op": "conv_stem", "width": 8},
    "stages": [
        {"layers": [{"branches": [{"mixer": {"op": "mbconv", "width": 8}}]}]},
        {
            "transition": {"op": "conv", "width": 16, "stride": 2},
            "layers": [
                {
                    "repeat": 2,
                    "branches": [
                        {"norm": {"op": "layer_norm"}, "mixer": {"op": "attention", "head_dim": 8}},
                        {"norm": {"op": "layer_norm"}, "mixer": {"op": "feed_forward"}},
                    ],
                }
            ],
        },
    ],
    "head": {"op": "classifier", "num_classes": 10, "norm": {"op": "layer_norm"}, "num_heads": 2},
}


@pytest.fixture
def timm() -> ModuleType:
    return import_timm()


def small() -> Architecture:
    return normalize(Architecture.from_dict(SMALL))


@pytest.fixture
def name(timm: ModuleType) -> str:
    return nas.to_timm(small(), name="nas_small")


@pytest.fixture
def winner(tmp_path: Path) -> Path:
    """A folder as an export writes it, weights for 16x16."""
    config = small()
    network = nas.build(config.at_resolution(16))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
    product = ExportedModel(
        architecture=config,
        trained_resolution=16,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        class_names=tuple(f"class {i}" for i in range(10)),
        facts=CardFacts(title="small"),
    )
    write_config(tmp_path, product)
    write_weights(tmp_path, network, product)
    return tmp_path


def images(size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_a_model_made_by_timm_is_the_network(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name).eval()
    network = nas.build(small()).eval()
    network.load_state_dict(model.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(model(images()), network(images()))
        torch.testing.assert_close(model.forward_head(model.forward_features(images())), network(images()))
    assert timm.is_model(name)
    assert model.num_classes == 10
    assert model.num_features == model.head_hidden_size == 16
    assert sum(p.numel() for p in model.parameters()) == nas.cost(small()).params


def test_default_cfg_says_how_images_are_prepared(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name)
    cfg = model.default_cfg
    assert cfg["input_size"] == (3, 32, 32)
    assert cfg["num_classes"] == 10
    assert cfg["classifier"] == ("head.linear", "head.others.0")
    assert cfg["first_conv"] == "stem.first"
    resolved = timm.data.resolve_model_data_config(model)
    assert resolved["mean"] == (0.485, 0.456, 0.406)
    assert resolved["input_size"] == (3, 32, 32)


def test_classes_channels_and_size_can_be_chosen(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name, num_classes=3, in_chans=1, img_size=16)
    assert model(images(16, 1)).shape == (2, 3)
    assert model.num_classes == 3


def test_reset_classifier(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name).eval()
    before = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert before.shape == (2, 16)
    model.reset_classifier(0)
    assert model.num_classes == 0
    torch.testing.assert_close(model(images()), before)
    model.reset_classifier(7)
    assert model(images()).shape == (2, 7)
    assert len(model.get_classifier().others) == 1
    assert timm.create_model(name, num_classes=0)(images()).shape == (2, 16)
    with pytest.raises(OptionError, match="global_pool"):
        model.reset_classifier(5, global_pool="max")


def test_features_only(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name, features_only=True)
    assert model.feature_info.channels() == [8, 16]
    assert model.feature_info.reduction() == [2, 4]
    assert [tuple(each.shape) for each in model(images())] == [(2, 8, 16, 16), (2, 16, 8, 8)]
    first = timm.create_model(name, features_only=True, out_indices=(0,))
    assert [tuple(each.shape) for each in first(images())] == [(2, 8, 16, 16)]
    assert len(first.model.stages) == 1
    last = timm.create_model(name, features_only=True, out_indices=(-1,))
    assert [tuple(each.shape) for each in last(images())] == [(2, 16, 8, 8)]
    x, maps = timm.create_model(name).forward_intermediates(images(), indices=1)
    assert torch.equal(x, maps[0])


def test_a_training_step_as_timms_script_does_it(timm: ModuleType, name: str) -> None:
    from timm.optim import create_optimizer_v2, param_groups_layer_decay
    from timm.utils import ModelEmaV3

    model = timm.create_model(name, drop_rate=0.1, drop_path_rate=0.5, num_classes=4).train()
    assert model.drop_rate == 0.1
    model.set_grad_checkpointing()
    ema = ModelEmaV3(model)
    assert len(param_groups_layer_decay(model)) > 2
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-2, weight_decay=0.05, layer_decay=0.9)
    labels, losses = torch.tensor([1, 3]), []
    for _ in range(3):
        loss = F.cross_entropy(model(images()), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)
        losses.append(float(loss.detach()))
    assert all(torch.tensor(losses).isfinite())
    assert {name for name, p in model.named_parameters() if p.grad is None} == set()


def test_paths_are_dropped_in_training_alone(timm: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, drop_path_rate=0.9)
    x = images().repeat(8, 1, 1, 1)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), model(x))
        assert not torch.equal(model.train()(x), model(x))
        plain = timm.create_model(name)
        plain.load_state_dict(model.state_dict())
        assert torch.equal(plain.eval()(x), model.eval()(x))


def test_a_winner_brings_its_weights(timm: ModuleType, winner: Path) -> None:
    name = nas.to_timm(winner)
    assert name == f"nas_{small().digest}"
    model = timm.create_model(name, pretrained=True).eval()
    assert model.default_cfg["input_size"] == (3, 16, 16)
    assert model.default_cfg["mean"] == (0.1, 0.2, 0.3)
    assert model.default_cfg["label_names"][3] == "class 3"
    expected = load_file(winner / "weights.safetensors")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())
    fewer = timm.create_model(name, pretrained=True, num_classes=3, in_chans=1, img_size=32)
    assert fewer(images(32, 1)).shape == (2, 3)
    torch.testing.assert_close(fewer.state_dict()["stem.second.weight"], expected["stem.second.weight"])


def test_weights_of_another_network_are_refused(timm: ModuleType, winner: Path) -> None:
    (winner / "architecture.yaml").write_text(small().with_classes(11).to_yaml())
    with pytest.raises(ExportError, match="another network"):
        nas.to_timm(winner)


def test_registering_twice_is_no_fault(timm: ModuleType) -> None:
    assert nas.to_timm("coatnet_0") == nas.to_timm("coatnet_0") == "nas_coatnet_0"
    assert nas.to_timm("coatnet_0", name="my_net") == "my_net"
    assert timm.is_model("my_net")


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("coatnet_0", "convnext_tiny", "a model 'convnext_tiny' of its own"),
        ("coatnet_0", "my net", "letters, digits and underscores"),
        (Path(__file__).parent, None, "no winner's folder"),
    ],
)
def test_what_cannot_be_registered_is_refused(timm: ModuleType, source: Any, name: str | None, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        nas.to_timm(source, name=name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_network_gets_the_nearest_name(timm: ModuleType) -> None:
    with pytest.raises(ArchitectureError, match="did you mean 'coatnet_0'"):
        nas.to_timm("coatnet0")


def test_without_timm_the_remedy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.models", None)
    with pytest.raises(OptionError, match="pip install timm"):
        nas.to_timm("coatnet_0")


def test_stages_that_are_not_there_are_refused() -> None:
    assert taken(3, 2) == [1, 2]
    assert taken(3, None) == [0, 1, 2]
    with pytest.raises(OptionError, match="no stage 3"):
        taken(3, [0, 3])


# Of each kind of head and of tokens, one.
KINDS = (
    "crossvit_9",
    "deit_tiny",
    "edgenext_xxs",
    "fastervit_0",
    "fastvit_t8",
    "fcaformer_l1",
    "levit_128s",
    "vit_tiny",
)


@pytest.mark.parametrize("name", sorted(set(KINDS) & set(zoo_names())))
def test_every_kind_of_network_has_classes_and_features(name: str) -> None:
    config = architecture(name)
    size = config.input.resolution
    with torch.device("meta"):
        model = TimmNetwork(config, num_classes=5, drop_path_rate=0.1).eval()
        x = torch.empty(1, 3, size, size)
        features = model.forward_features(x)
        assert model.forward_head(features).shape == (1, 5)
        if model.stages[-1].shape.streams:
            with pytest.raises(OptionError, match="streams"):
                model.forward_intermediates(x)
            return
        assert model.forward_head(features, pre_logits=True).shape == (1, model.head_hidden_size)
        _, maps = model.forward_intermediates(x)
        assert [each.shape[1] for each in maps] == [info["num_chs"] for info in model.feature_info]
        assert maps[-1].ndim == 4
        assert model.no_weight_decay() <= {path for path, _ in model.named_parameters()}
