"""`model.py`: only what a network uses, needing only torch, and the same network."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import nas
from nas.architecture import Architecture
from nas.errors import ExportError
from nas.export import standalone_source
from nas.export.checks import imported_packages
from nas.export.source import literal
from nas.networks.network import resize_tables
from nas.ops import OPS

from .export_cases import MEAN, STD, TRAINED, coatnet, convnext, mixed, perturbed


def source_of(architecture: Architecture, **more: Any) -> str:
    return standalone_source(architecture, trained_resolution=TRAINED, title="A network", **more)


def imported(path: Path) -> ModuleType:
    """The module as many people load files: without an entry in sys.modules."""
    spec = importlib.util.spec_from_file_location("standalone_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def classes(source: str) -> set[str]:
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def test_source_holds_the_used_ops_and_no_others() -> None:
    # The activations are one table, as are attention's biases, so those that are classes of ours come along.
    grammar = {"NasError", "ArchitectureError", "Shape", "SquaredReLU", "StarReLU"}
    grammar |= {"Residual", "Layer", "Stage", "Network"}
    grammar |= {"GELU", "Hardswish", "Linear", "ReLU", "ReLU6", "SiLU"}
    assert classes(source_of(convnext())) == grammar | {
        "Attention",
        "Classifier",
        "Constant",
        "Conv",
        "DepthwiseConv",
        "DistanceBias",
        "FeedForward",
        "GatedPosition",
        "LayerNorm",
        "MLPBias",
        "Projected",
        "RelativeBias",
        "Serial",
        "StridedConv",
        "TokenBias",
        "Windows",
    }
    assert classes(source_of(coatnet("CCCC"))) == grammar | {
        "BatchNorm",
        "Classifier",
        "ConvStem",
        "LayerNorm",
        "MBConv",
        "PoolProject",
        "SameConv",
        "SqueezeExcite",
        "StridedConv",
    }


def test_source_imports_torch_and_the_standard_library_and_pillow_only_where_files_are_read() -> None:
    source = source_of(coatnet())
    assert imported_packages(source) - sys.stdlib_module_names == {"torch", "PIL"}
    top = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "PIL" not in imported_packages("\n".join(map(ast.unparse, top)))


@pytest.mark.parametrize("architecture", [convnext(), mixed()], ids=["convnext", "mixed"])
def test_source_builds_the_same_network(architecture: Architecture, tmp_path: Path) -> None:
    network = perturbed(nas.build(architecture.at_resolution(TRAINED)))
    (tmp_path / "model.py").write_text(source_of(architecture))
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "w.safetensors")
    module = imported(tmp_path / "model.py")
    images = torch.randn(2, 3, TRAINED, TRAINED)
    with torch.inference_mode():
        assert torch.equal(module.load(tmp_path / "w.safetensors")(images), network(images))
    assert not module.load(tmp_path / "w.safetensors").training


def test_weights_load_at_another_resolution_with_their_tables_resized(tmp_path: Path) -> None:
    architecture = coatnet("CAAA")
    network = perturbed(nas.build(architecture.at_resolution(TRAINED)))
    (tmp_path / "model.py").write_text(source_of(architecture))
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "w.safetensors")
    larger = nas.build(architecture.at_resolution(24)).eval()
    larger.load_state_dict(resize_tables(network.state_dict(), larger))
    images = torch.randn(2, 3, 24, 24)
    with torch.inference_mode():
        found = imported(tmp_path / "model.py").load(tmp_path / "w.safetensors", resolution=24)(images)
        assert torch.equal(found, larger(images))


def test_an_image_of_another_size_is_refused_with_what_would_work(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(source_of(coatnet("CAAA")))
    module = imported(tmp_path / "model.py")
    with pytest.raises(module.ArchitectureError, match="or build the network for resolution 24"):
        module.build()(torch.zeros(1, 3, 24, 24))


def test_reader_gives_what_safetensors_wrote(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(source_of(convnext()))
    state = {
        "a": torch.randn(3, 2),
        "half": torch.randn(5).half(),
        "brain": torch.randn(2, 1, 3).bfloat16(),
        "count": torch.tensor(2**40),
    }
    save_file(state, tmp_path / "w.safetensors", metadata={"about": "ü"})
    found = imported(tmp_path / "model.py").read_weights(tmp_path / "w.safetensors")
    assert set(found) == set(state)
    assert all(found[name].dtype == state[name].dtype and torch.equal(found[name], state[name]) for name in state)


def test_file_runs_by_itself_with_and_without_weights(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(source_of(convnext()))
    network = nas.build(convnext().at_resolution(TRAINED))
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "weights.safetensors")
    command = [sys.executable, "-I", str(tmp_path / "model.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"trained weights, {count:,} parameters" in done.stdout
    assert f"(2, 3, {TRAINED}, {TRAINED}) -> (2, 10)" in done.stdout


def test_source_is_clean_to_a_linter(tmp_path: Path) -> None:
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")
    (tmp_path / "model.py").write_text(source_of(coatnet(), mean=MEAN, std=STD, class_names=["a"] * 10))
    chosen = ["--select", "E,F,W,I", "--ignore", "E501"]
    command = [ruff, "check", "--isolated", *chosen, str(tmp_path / "model.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_header_states_costs_at_both_sizes_and_survives_any_title() -> None:
    architecture = convnext()
    text = standalone_source(architecture, trained_resolution=TRAINED, title='evil """ \\ title\nimport nas')
    doc = ast.get_docstring(ast.parse(text)) or ""
    assert "import nas" in doc.splitlines()[0]
    assert "Apache-2.0" in doc
    assert "at 32x32" in doc
    assert "for 18x18" in doc
    assert "18x18" not in standalone_source(architecture, trained_resolution=32, title="x").split('"""')[1]


def test_preparation_is_written_down(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(source_of(convnext(), mean=MEAN, std=STD, class_names=['quo"te', "\\"]))
    module = imported(tmp_path / "model.py")
    found = module.MEAN, module.STD, module.CLASS_NAMES
    assert found == (list(MEAN), list(STD), ['quo"te', "\\"])


def test_literals_read_back_and_break_long_lines() -> None:
    value = {"a": [{"b": None, "c": "ü'\""}] * 9, "d": {}, "e": [], "f": True, "g": -1.5e-7}
    text = literal(value)
    assert ast.literal_eval(text) == value
    assert max(map(len, text.splitlines())) <= 120


# Ops of users, in modules of their own.

PLUGIN = """
from __future__ import annotations

from dataclasses import dataclass
{imports}
from torch import nn

from nas.ops import Shape, op
from plugin_helpers import twice


@op("plugin_test")
class Doubled(nn.Module):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        factor: int = 2

    elastic = ()

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.factor, self.shape = config.factor, shape

    def copied(self) -> {annotation}:
        return self

    def forward(self, x):
        return {expression}
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    known = set(OPS), set(sys.modules)
    yield tmp_path
    for name in set(OPS) - known[0]:
        del OPS[name]
    for name in set(sys.modules) - known[1]:
        if name.startswith("plugin"):
            del sys.modules[name]


def with_plugin(folder: Path, helpers: str = "", **parts: str) -> Architecture:
    filled = {"imports": "", "annotation": "None", "expression": "x * self.factor", **parts}
    package = folder / "plugin_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    text = PLUGIN.format(**filled).replace("plugin_helpers", "plugin_package.helpers")
    (package / "ops.py").write_text(text)
    (package / "helpers.py").write_text(helpers + "\n\ndef twice(x):\n    # Both.\n    return x + x\n")
    importlib.import_module("plugin_package.ops")
    data = convnext().to_dict()
    data["stages"] = [{"layers": [{"branches": [{"mixer": {"op": "plugin_test", "factor": 3}}]}]}]
    return Architecture.from_dict(data)


def test_an_op_of_a_user_is_copied_with_its_own_helpers(plugins: Path) -> None:
    source = source_of(with_plugin(plugins, expression="twice(x) * self.factor"))
    assert "def twice(x):\n    # Both." in source
    assert "plugin_package" not in source
    (plugins / "model.py").write_text(source)
    assert imported(plugins / "model.py").build()(torch.zeros(1, 3, TRAINED, TRAINED)).shape == (1, 10)


def test_annotations_that_cannot_run_stay_text(plugins: Path) -> None:
    source = source_of(with_plugin(plugins, annotation="Doubled"))
    assert "\nfrom __future__ import annotations\n" in source
    assert "__future__" not in source_of(convnext())


def test_an_op_that_needs_another_package_says_so_in_its_imports(plugins: Path) -> None:
    source = source_of(with_plugin(plugins, imports="import numpy as np", expression="x * np.float32(2)"))
    assert "numpy" in imported_packages(source)


def test_one_name_for_two_things_is_refused(plugins: Path) -> None:
    architecture = with_plugin(
        plugins, helpers="def whole(x):\n    return x\n", imports="from plugin_package.helpers import whole",
        expression="whole(x)",
    )  # fmt: skip
    data = architecture.to_dict()
    data["stages"].append(convnext().to_dict()["stages"][0])
    with pytest.raises(ExportError, match="'whole' means one thing in .* and another in"):
        source_of(Architecture.from_dict(data))


def test_a_module_imported_whole_from_the_same_package_is_refused(plugins: Path) -> None:
    architecture = with_plugin(
        plugins, imports="from plugin_package import helpers as tools", expression="tools.twice(x)"
    )
    with pytest.raises(ExportError, match="import what it uses"):
        source_of(architecture)


def test_a_class_inside_a_function_is_refused() -> None:
    from nas.export.closure import gather

    class Local:
        pass

    with pytest.raises(ExportError, match="move it to the top level"):
        gather([Local], leave={})
