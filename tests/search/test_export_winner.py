"""An exported folder: whole, in agreement and usable, or not there at all."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import nas
from nas.architecture import Architecture
from nas.errors import ExportError, OptionError, RunError
from nas.export import FILES, export_architecture, export_winner, read_exported
from nas.export.folder import appearing
from nas.export.formats import code, config
from nas.export.formats.onnx import Onnx
from nas.export.job import Exported
from nas.networks.network import Network

from .export_cases import CLASSES, FACTS, LEVELS, MEAN, STD, TRAINED, coatnet, convnext, mixed, perturbed, product

EVERYTHING = {*FILES.values(), "preprocessing.json", "card.md"}


def export(folder: Path, network: Network, architecture: Architecture, *, onnx: bool = False) -> dict[str, Any]:
    return export_winner(
        folder,
        network,
        architecture,
        trained_resolution=TRAINED,
        mean=MEAN,
        std=STD,
        class_names=CLASSES,
        levels=LEVELS,
        card=FACTS,
        onnx=onnx,
    )


def small() -> Network:
    return perturbed(nas.build(convnext().at_resolution(TRAINED)))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One real export with everything: its folder, network, architecture and what the export reported."""
    folder, architecture = tmp_path_factory.mktemp("run") / "winners" / "1", mixed()
    network = perturbed(nas.build(architecture.at_resolution(TRAINED)))
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        checks = export(folder, network, architecture, onnx=True)
    assert said.getvalue() == "", "only the command line prints"
    return folder, network, architecture, checks


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of other things: leaves out the process that runs `model.py`."""
    monkeypatch.setattr(code, "check_code", lambda *_: 0.0)


def test_all_formats_are_written_and_agree(done: Any) -> None:
    folder, _, architecture, checks = done
    assert names(folder) == EVERYTHING
    assert names(folder.parent) == {"1"}
    assert (checks["config_error"], checks["code_error"]) == (0, 0)
    assert checks["onnx_error"] < 1e-5
    assert checks["onnx_skipped"] is None
    assert [counts["macs_difference"] for counts in checks["counts"]] == [0, 0]
    assert [counts["resolution"] for counts in checks["counts"]] == [32, TRAINED]
    assert checks["counts"][0]["macs"] == nas.cost(architecture).macs
    assert set(checks["files"]) == EVERYTHING
    json.dumps(checks)


def test_files_are_as_readable_as_others(done: Any) -> None:
    modes = {path.stat().st_mode for path in done[0].iterdir()}
    assert len(modes) == 1


def test_onnx_is_one_file_with_a_free_batch(done: Any) -> None:
    folder, network, _, _ = done
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [
        ("images", ["batch", 3, TRAINED, TRAINED], "tensor(float)")
    ]
    images = torch.randn(5, 3, TRAINED, TRAINED)
    with torch.inference_mode():
        torch.testing.assert_close(
            torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0]), network(images)
        )


def test_weights_are_float32_and_say_how_to_use_them(done: Any) -> None:
    with safe_open(done[0] / "weights.safetensors", "pt") as file:
        dtypes = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert dtypes <= {torch.float32, torch.int64}
    assert metadata["trained_resolution"] == str(TRAINED)
    assert json.loads(metadata["mean"]) == list(MEAN)
    assert json.loads(metadata["class_names"]) == list(CLASSES)


def test_an_export_reads_back_whole(done: Any) -> None:
    folder, network, architecture, _ = done
    found, rebuilt = read_exported(folder)
    assert found == product(architecture)
    images = torch.randn(2, 3, TRAINED, TRAINED)
    with torch.inference_mode():
        assert torch.equal(rebuilt(images), network(images))


def test_the_snippets_on_the_card_name_the_class_of_a_file(done: Any, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(done[0], folder)
    Image.effect_noise((40, 30), 80).convert("RGB").save(folder / "photo.jpg")
    snippets = re.findall(r"```python\n(.*?)```", (folder / "card.md").read_text(), re.DOTALL)
    assert len(snippets) == 3
    script = f"import sys\nsys.path.insert(0, '.')\nsys.dont_write_bytecode = True\n{''.join(snippets)}"
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout in [f"{name}\n" * 2 for name in CLASSES], "torch and ONNX Runtime name one class"


def test_preprocessing_is_the_same_beside_the_config_and_in_onnx(done: Any) -> None:
    text = (done[0] / "preprocessing.json").read_text()
    assert json.loads(text) == {
        "format": 1,
        "channels": 3,
        "jpeg_draft": [2 * TRAINED, 2 * TRAINED],
        "orientation": "exif",
        "transparency": "white",
        "deep_pixels": {"black": 0, "white": 4095},
        "crop": "center-square",
        "resolution": TRAINED,
        "interpolation": "bilinear",
        "antialias": True,
        "resize": "PIL.Image.Image.resize((resolution, resolution), BILINEAR, box=center square)",
        "rescale_factor": 1 / 255,
        "mean": list(MEAN),
        "std": list(STD),
        "class_names": list(CLASSES),
    }
    session = onnxruntime.InferenceSession(done[0] / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"preprocessing": text}


def test_the_network_that_is_exported_is_left_alone(tmp_path: Path) -> None:
    network = small().to(torch.bfloat16).train()
    before = copy.deepcopy(network.state_dict())
    export(tmp_path / "1", network, convnext())
    after = network.state_dict()
    assert network.training
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    with safe_open(tmp_path / "1" / "weights.safetensors", "pt") as file:
        assert file.get_tensor("head.linear.weight").dtype == torch.float32


def test_a_format_that_disagrees_leaves_no_folder_and_keeps_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "card.md").write_text("earlier")
    real = code.standalone_source

    def wrong(*args: Any, **options: Any) -> str:
        return real(*args, **options).replace("eps: float = 1e-5", "eps: float = 1e-1")

    monkeypatch.setattr(code, "standalone_source", wrong)
    with pytest.raises(ExportError, match=r"model\.py does not give") as caught:
        export(folder, small(), convnext())
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"1"}
    assert (folder / "card.md").read_text() == "earlier"


def test_a_failure_where_nothing_was_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> float:
        raise ExportError("no")

    monkeypatch.setattr(config, "check_config", refuse)
    with pytest.raises(ExportError):
        export(tmp_path / "1", small(), convnext())
    assert names(tmp_path) == set()


@pytest.mark.usefixtures("quick")
def test_an_earlier_export_is_replaced_and_leftovers_of_a_killed_one_go(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_text("earlier")
    for name in (".1.123.tmp", ".1.0f3a.old.tmp", ".10.1.tmp"):
        (tmp_path / name).mkdir()
    export(tmp_path / "1", small(), convnext())
    assert names(tmp_path / "1") == EVERYTHING - {"model.onnx"}
    assert names(tmp_path) == {"1", ".10.1.tmp"}


@pytest.mark.usefixtures("quick")
def test_what_another_export_is_writing_beside_it_is_left_alone(tmp_path: Path) -> None:
    with appearing(tmp_path / "1", []) as other:
        (other / "model.py").write_text("other")
        export(tmp_path / "1", small(), convnext())
        assert (other / "model.py").read_text() == "other"


@pytest.mark.usefixtures("quick")
def test_exported_weights_in_which_a_bit_has_changed_are_refused(tmp_path: Path) -> None:
    export(tmp_path / "1", small(), convnext())
    weights = tmp_path / "1" / "weights.safetensors"
    read_exported(tmp_path / "1")
    content = bytearray(weights.read_bytes())
    content[-4] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ExportError, match="its content has changed since it was written"):
        read_exported(tmp_path / "1")


def test_a_folder_with_other_things_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"notes\.txt.*choose another folder"):
        export(tmp_path, small(), convnext())
    with pytest.raises(ExportError, match="is a file"):
        export(tmp_path / "notes.txt", small(), convnext())
    assert names(tmp_path) == {"notes.txt"}


def test_a_network_of_another_architecture_or_resolution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is not the architecture at 18x18"):
        export(tmp_path / "1", small(), coatnet())
    network = nas.build(coatnet())
    with pytest.raises(ExportError, match="is not the architecture at 18x18: .*table"):
        export(tmp_path / "1", network, coatnet())
    assert names(tmp_path) == set()


def test_a_network_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    network = small()
    network.head.activation = torch.nn.ReLU()
    with pytest.raises(ExportError, match="not what its architecture computes"):
        export(tmp_path / "1", network, convnext())


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write .*choose another --out"):
        export(tmp_path / "file" / "1", small(), convnext())


@pytest.mark.usefixtures("quick")
def test_without_the_packages_onnx_is_left_out_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Onnx, "packages", ("onnxscrypt",))
    checks = export(tmp_path / "1", small(), convnext(), onnx=True)
    assert checks["onnx_error"] is None
    assert "pip install 'hybrid-nas[onnx]'" in checks["onnx_skipped"]
    assert "pip install 'hybrid-nas[onnx]'" in (tmp_path / "1" / "card.md").read_text()
    with pytest.raises(ExportError, match="--format onnx needs onnxscrypt"):
        export_architecture(convnext(), nas.build(convnext()), tmp_path / "2", formats=["onnx"])


@pytest.mark.usefixtures("quick")
def test_chosen_formats_are_written_alone_with_the_card(tmp_path: Path) -> None:
    checks = export_architecture(convnext(), nas.build(convnext()), tmp_path / "1", formats=["code", "config"])
    assert names(tmp_path / "1") == {"model.py", "architecture.yaml", "card.md"}
    assert checks["files"] == ["architecture.yaml", "model.py", "card.md"]
    assert len(checks["counts"]) == 1
    with pytest.raises(OptionError, match="did you mean 'code'"):
        export_architecture(convnext(), nas.build(convnext()), tmp_path / "2", formats=["cod"])


@pytest.mark.usefixtures("quick")
def test_a_folder_without_a_whole_export_cannot_be_read_back(tmp_path: Path) -> None:
    export_architecture(convnext(), nas.build(convnext()), tmp_path / "1", formats=["config", "weights"])
    other = convnext().with_classes(7)
    (tmp_path / "1" / "architecture.yaml").write_text(other.to_yaml())
    with pytest.raises(ExportError, match="weights of another network"):
        read_exported(tmp_path / "1")
    (tmp_path / "1" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(ExportError, match="holds no network that was exported whole"):
        read_exported(tmp_path / "1")


def test_a_worker_cannot_have_a_file_written_elsewhere(tmp_path: Path) -> None:
    sent = Exported(checks={}, files={"model.py": b"x", "../model.py": b"y"})
    with pytest.raises(ExportError, match=r"A worker sent a file named '../model.py', which is none of an export's"):
        sent.appear_in(tmp_path / "winners" / "1")
    assert not any(tmp_path.rglob("*.py"))
