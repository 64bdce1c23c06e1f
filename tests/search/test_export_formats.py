"""Every further format gives the network's output, says how images are prepared, and is left out where it does not."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import nas
from nas.budget import format_quantity
from nas.data import open_data
from nas.data.dataset import describe_data
from nas.errors import ExportError, OptionError
from nas.export import CardFacts, ExportedModel, export_architecture, export_product, winner
from nas.export.formats import code
from nas.export.formats.format import Export, Format
from nas.export.formats.int8 import Int8
from nas.export.formats.onnx import Onnx
from nas.export.formats.openvino import OpenVino
from nas.export.formats.torch_export import TorchExport
from nas.export.quantization import sums_saturate
from nas.networks.network import Network
from nas.options.export_formats import DEFAULT_FORMATS, EXPORT_FORMATS
from nas.run.files import atomic_write

from ..torch.timm_import import import_timm_everywhere
from .export_cases import CLASSES, TRAINED, coatnet, convnext, perturbed, product

NAMES = {"torch-export": "model.pt2", "openvino": "model.xml", "timm": "timm_model.py", "hf": "hf/config.json"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what is tested elsewhere: the process that runs `model.py`, and fvcore's counts."""
    counts = {"macs": 1, "macs_fvcore": 1, "macs_difference": 0}
    monkeypatch.setattr(code, "check_code", lambda *_: 0.0)
    monkeypatch.setattr(
        winner, "compare_counts", lambda architecture: {"resolution": architecture.input.resolution, **counts}
    )


def network() -> Network:
    torch.manual_seed(0)
    return perturbed(nas.build(convnext().at_resolution(TRAINED)))


def export(folder: Path, *formats: str, of: ExportedModel | None = None, **options: Any) -> dict[str, Any]:
    return export_product(of or product(convnext()), network(), folder, formats, **options)


def needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips the test where a format's packages are not there."""
    kind: Format = EXPORT_FORMATS[name]()
    if kind.needs:
        pytest.skip(f"the format {name} {kind.needs}")
    if name in ("timm", "hf"):
        import_timm_everywhere(monkeypatch)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, TRAINED, TRAINED, generator=torch.Generator().manual_seed(5))


# -- each format ----------------------------------------------------------------------------------------------


def test_torch_export_is_loaded_by_torch_and_takes_any_batch(tmp_path: Path) -> None:
    found = export(tmp_path / "1", "torch-export")
    assert found["torch_export_error"] < 1e-5
    assert names(tmp_path / "1") == {"model.pt2", "preprocessing.json", "card.md"}
    extra = {"preprocessing": ""}
    loaded = torch.export.load(tmp_path / "1" / "model.pt2", extra_files=extra).module()
    assert extra["preprocessing"] == (tmp_path / "1" / "preprocessing.json").read_text()
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images()), network()(images()))


def test_openvino_runs_it_and_knows_preparation_and_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed("openvino", monkeypatch)
    import openvino

    found = export(tmp_path / "1", "openvino")
    assert found["openvino_error"] < 1e-4
    assert names(tmp_path / "1") == {"model.xml", "model.bin", "preprocessing.json", "card.md"}
    model = openvino.Core().read_model(tmp_path / "1" / "model.xml")
    prepared = json.loads(model.get_rt_info(["hybrid_nas", "preprocessing"]).value)
    assert prepared == json.loads((tmp_path / "1" / "preprocessing.json").read_text())
    labels = str(model.get_rt_info(["model_info", "labels"]).value).split(" ")
    assert labels == ["airplane", "a|b`c", *CLASSES[2:9], "truck"]
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        logits = torch.from_numpy(compiled(images().numpy())[0].copy())
        torch.testing.assert_close(logits, network()(images()), rtol=1e-4, atol=1e-4)


def test_timm_creates_it_with_its_weights_and_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed("timm", monkeypatch)
    import timm

    found = export(tmp_path / "1", "timm")
    assert found["timm_error"] < 1e-5
    # timm_model.py reads its weights from the file beside it.
    assert names(tmp_path / "1") == {"timm_model.py", "weights.safetensors", "preprocessing.json", "card.md"}
    spec = importlib.util.spec_from_file_location("exported_timm_model", tmp_path / "1" / "timm_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "exported_timm_model", module)
    spec.loader.exec_module(module)
    name = f"nas_{convnext().digest}"
    model = timm.create_model(name, pretrained=True).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(images()), network()(images()))
        assert [tuple(each.shape[1:]) for each in timm.create_model(name, features_only=True)(images(2))] == [
            (8, 4, 4),
            (16, 2, 2),
        ]
        fewer = timm.create_model(name, pretrained=True, num_classes=3, in_chans=1, img_size=32)
        assert fewer(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert model.pretrained_cfg["label_names"] == list(CLASSES)


def test_transformers_loads_the_folder_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed("hf", monkeypatch)
    found = export(tmp_path / "1", "hf")
    assert found["hf_error"] < 1e-5
    written = {
        *("config.json", "model.safetensors", "modeling_hybrid_nas.py", "preprocessor_config.json"),
        *("image_processing_hybrid_nas.py", "README.md"),
    }
    assert names(tmp_path / "1") == {"preprocessing.json", "card.md", *(f"hf/{name}" for name in written)}
    config = json.loads((tmp_path / "1" / "hf" / "config.json").read_text())
    assert config["id2label"] == {str(i): name for i, name in enumerate(CLASSES)}
    assert config["label2id"]["bird"] == 2
    source = (tmp_path / "1" / "hf" / "modeling_hybrid_nas.py").read_text()
    assert "import nas" not in source
    assert "from nas" not in source


@pytest.fixture(scope="module")
def digits() -> ExportedModel:
    """A network for digits, as a search on them would have recorded it."""
    data = open_data("digits").load(resolution=TRAINED, seed=3)
    facts = CardFacts(title="Digits", data=describe_data(data), data_option="digits", seed=3)
    return ExportedModel(
        architecture=coatnet().with_channels(1),
        trained_resolution=TRAINED,
        mean=data.mean,
        std=data.std,
        class_names=data.info.class_names,
        facts=facts,
    )


def test_int8_says_what_it_loses_by_layer(tmp_path: Path, digits: ExportedModel) -> None:
    built = nas.build(digits.trained).eval()
    found = export_product(digits, built, tmp_path / "1", ["int8"])
    assert names(tmp_path / "1") == {"model_int8.onnx", "int8.json", "preprocessing.json", "card.md"}
    whole = json.loads((tmp_path / "1" / "int8.json").read_text())
    said = found["int8"]
    assert said == {key: value for key, value in whole.items() if key not in ("format", "layers")}
    assert (said["calibration_images"], said["validation_images"]) == (256, 288)
    assert said["weight_bits"] == (7 if sums_saturate() else 8)
    assert said["logits_db"] > 20
    parts = {row["layers"] for row in said["parts"]}
    assert parts == {"stem", "convolution (C)", "bridges to attention (A)", "attention (A)", "head"}
    assert sum(row["count"] for row in said["parts"]) == len(whole["layers"])
    bridges = {layer["module"].split(".")[1] for layer in whole["layers"] if layer["bridge"]}
    assert bridges == {"2"}, "CCAA goes from C to A at its third stage"
    assert all(layer["module"].startswith(("stem", "stages", "head")) for layer in whole["layers"])
    card = (tmp_path / "1" / "card.md").read_text()
    assert "## int8" in card
    assert f"{said['accuracy']:.2%} in int8" in card
    import onnx

    types = {node.op_type for node in onnx.load(tmp_path / "1" / "model_int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    assert b"/nas/ops/" not in (tmp_path / "1" / "model_int8.onnx").read_bytes()


def test_int8_that_loses_more_than_a_point_says_so() -> None:
    found = {"accuracy": 0.9, "accuracy_float32": 0.93, "validation_images": 1000}
    assert "int8 loses 3.0 points" in Int8().caution({"int8": found})
    assert Int8().caution({"int8": {**found, "accuracy": 0.921}}) == ""


# -- what disagrees -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("torch-export", TorchExport), ("openvino", OpenVino), ("onnx", Onnx)])
def test_a_format_of_another_network_leaves_no_folder(
    name: str, kind: type[Format], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed(name, monkeypatch)
    real = kind.write

    def wrong(self: Format, export: Export) -> None:
        other = nas.build(convnext().at_resolution(TRAINED)).eval()
        real(self, replace(export, network=other))

    monkeypatch.setattr(kind, "write", wrong)
    with pytest.raises(ExportError, match=r"does not give the network's output: the relative error is"):
        export(tmp_path / "1", name)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["timm", "hf"])
def test_weights_of_another_network_are_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(name, monkeypatch)
    kind = EXPORT_FORMATS[name]
    real = kind.check

    def wrong(self: Format, export: Export) -> dict[str, Any]:
        network = nas.build(convnext().at_resolution(TRAINED)).eval()
        with torch.inference_mode():
            reference = replace(export.reference, logits=network(export.reference.images))
        return real(self, replace(export, reference=reference))

    monkeypatch.setattr(kind, "check", wrong)
    with pytest.raises(ExportError, match="does not give the network's output"):
        export(tmp_path / "1", name)
    assert names(tmp_path) == set()


# -- what cannot be written -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in EXPORT_FORMATS if EXPORT_FORMATS[name].packages])
def test_a_missing_extra_is_named_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = EXPORT_FORMATS[name]
    monkeypatch.setattr(kind, "packages", ("not_there",))
    with pytest.raises(
        ExportError, match=rf"^--format {name} needs not_there: pip install 'hybrid-nas\[{kind.extra}\]'\.$"
    ):
        export(tmp_path / "1", name)
    assert names(tmp_path) == set()


def test_an_unknown_format_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'openvino'"):
        export(tmp_path / "1", "openvion")


@pytest.mark.parametrize("name", ["timm", "hf", "int8"])
def test_a_network_of_which_too_little_is_known_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXPORT_FORMATS[name], "packages", ())
    with pytest.raises(ExportError, match=r"is not known of this network|its folder names none"):
        export_architecture(convnext(), nas.build(convnext()), tmp_path / "1", formats=[name])


def test_int8_takes_the_images_of_the_training_and_no_others(tmp_path: Path, digits: ExportedModel) -> None:
    with pytest.raises(ExportError, match=r"There is no data at 'my images/cifar'.*where the network was trained"):
        export(tmp_path / "1", "int8")
    other = replace(digits, facts=replace(digits.facts, data="digits (99 training images, 10 classes)"))
    with pytest.raises(ExportError, match=r"99 training images.* is digits \(1,150 training.*restore these data"):
        export_product(other, nas.build(digits.trained), tmp_path / "1", ["int8"])
    assert names(tmp_path) == set()


def test_classes_of_one_name_cannot_be_told_apart_by_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXPORT_FORMATS["hf"], "packages", ())
    twice = replace(product(convnext()), class_names=("cat", "cat", *CLASSES[2:]))
    with pytest.raises(ExportError, match="--format hf: two classes have the same name"):
        export(tmp_path / "1", "hf", of=twice)


# -- the registry, the card, latencies ------------------------------------------------------------------------


class Digest(Format):
    """A format from outside: the network's digest in a file."""

    name = "digest"
    files: ClassVar[Mapping[str, str]] = {"deep/digest.txt": "what the network is called"}
    agrees = "`digest.txt`"

    def write(self, export: Export) -> None:
        (export.folder / "deep").mkdir()
        atomic_write(export.folder / self.main, export.product.architecture.digest)

    def check(self, export: Export) -> dict[str, Any]:
        return {self.key: 0.0}


def test_a_format_from_outside_is_one_class(tmp_path: Path) -> None:
    EXPORT_FORMATS.add("digest", Digest)
    try:
        for _ in range(2):  # the second replaces the first
            found = export(tmp_path / "1", "digest")
    finally:
        EXPORT_FORMATS.remove("digest")
    assert found["digest_error"] == 0
    assert found["sizes"]["deep/digest.txt"] == len(convnext().digest)
    card = (tmp_path / "1" / "card.md").read_text()
    assert "| `deep/digest.txt` | what the network is called |" in card
    assert "- `digest.txt` gives the same output bit for bit." in card


def test_all_formats_are_declared_whole() -> None:
    for name in EXPORT_FORMATS:
        kind = EXPORT_FORMATS[name]
        assert kind.name == name
        assert bool(kind.packages) == bool(kind.extra)
        assert kind.files
    files = [file for name in EXPORT_FORMATS for file in EXPORT_FORMATS[name].files]
    assert len(set(files)) == len(files)
    assert DEFAULT_FORMATS == ("config", "code", "weights", "onnx")
    assert set(NAMES.items()) <= {(name, EXPORT_FORMATS[name]().main) for name in EXPORT_FORMATS}


def test_latencies_and_sizes_are_on_the_card(tmp_path: Path) -> None:
    timed: dict[str, Callable[[], object]] = {}

    def timer(runs: Mapping[str, Callable[[], object]]) -> dict[str, dict[str, Any]]:
        timed.update(runs)
        figure = {"latency_s": 0.002, "latency_iqr_s": 0.0001, "blocks": 15, "where": "a CPU, 1 thread", "why": ""}
        busy = {**figure, "latency_s": None, "why": "The machine is too busy."}
        return {name: busy if name.startswith("torch.") else figure for name in runs}

    found = export(tmp_path / "1", "code", "weights", "onnx", "torch-export", timer=timer)
    assert list(timed) == ["torch, eager", "ONNX Runtime", "torch.export's program"]
    assert all(getattr(run(), "shape", None) == (1, 10) for run in timed.values())
    card = (tmp_path / "1" / "card.md").read_text()
    assert f"| ONNX Runtime | {format_quantity('latency_s', 0.002)} (interquartile range" in card
    assert "| torch.export's program | The machine is too busy. |" in card
    assert "One image, a CPU, 1 thread, measured in turn." in card
    assert b"/nas/ops/" not in (tmp_path / "1" / "model.onnx").read_bytes(), "a path of this machine"
    for name, count in found["sizes"].items():
        assert (tmp_path / "1" / name).stat().st_size == count
        assert f"| `{name}` |" in card
