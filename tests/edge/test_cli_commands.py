"""The smaller commands: what they ask of the library, and what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import nas
from nas.cli.main import main
from nas.run import Run
from nas.sampling.summary import summary
from nas.setting import Setting
from nas.spaces import catalog
from nas.spaces.catalog.listing import listed_summary


@dataclass(frozen=True)
class Profile:
    params: int
    macs: int
    stages: list[dict[str, Any]]
    unsupported: dict[str, int]
    reasons: dict[str, str]
    peak_memory_bytes: int
    memory: dict[str, Any]


PROFILE = Profile(
    params=25_036_948,
    macs=4_142_000_000,
    stages=[
        {
            "name": "stem",
            "macs": 4_142_000_000,
            "params": 38_848,
            "output": (64, 112, 112),
            "ops": "conv_stem, width 64",
            "letter": "",
            "depth": 0,
        }
    ],
    unsupported={},
    reasons={},
    peak_memory_bytes=121_680_000,
    memory={"weights": 100_200_000, "activations": 21_480_000, "place": "stem", "dtype": "float32", "batch": 1},
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    Run.create(tmp_path / "a", {"options": {"space": "coatnet"}}).close()
    return tmp_path / "a"


def put(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Any) -> None:
    """Puts a module with these functions in the place of one of ours."""
    module = ModuleType(name)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, name, module)


def test_spaces_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--json"]) == 0
    names = [space["name"] for space in json.loads(capsys.readouterr().out)]
    assert {"coatnet", "coatnet-small"} <= set(names)
    assert main(["spaces"]) == 0
    assert all(name in capsys.readouterr().out for name in names[:1])


def test_the_list_of_spaces_is_counted_beforehand_and_needs_no_torch() -> None:
    """If this fails: python -m nas.sampling.summary."""
    assert [name for name in catalog.space_names() if listed_summary(name) is None] == []
    for name in ("coatnet-small", "hytra", "nats-size"):
        assert listed_summary(name) == summary(nas.load_space(name))
    program = "import sys; from nas.cli.main import main; main(['spaces']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"{name} " in done.stdout for name in catalog.space_names())


def test_a_space_of_another_text_is_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.spaces.catalog.listing.source_hash", lambda: "of edited ops")
    assert listed_summary("nats-size") is None


def test_space_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "coatnet-small", "--json"]) == 0
    space = json.loads(capsys.readouterr().out)
    assert space["name"] == "coatnet-small"
    assert "CCAA" in space["layouts"]
    assert len(space["stages"]) == 4
    assert main(["spaces", "coatnet-small"]) == 0
    assert f"{space['size']:,} networks" in capsys.readouterr().out


def test_zoo_rows_have_exact_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["coatnet_0"] == {
        "name": "coatnet_0",
        "family": "CoAtNet",
        "params": 25_036_948,
        "macs": rows["coatnet_0"]["macs"],
        "resolution": 224,
        "top1": 81.6,
    }
    assert round(rows["coatnet_0"]["macs"] / 1e9, 3) == 4.142


def test_zoo_keeps_what_fits_best_published_accuracy_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--fits", "9GFLOPs", "--fits", "50Mparams", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"coatnet_0", "coatnet_1"} <= {row["name"] for row in rows}
    assert all(row["macs"] <= 9e9 and row["params"] <= 50e6 for row in rows)
    accuracies = [row["top1"] or 0 for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert main(["zoo", "--fits", "4.2GFLOPs"]) == 0
    shown = capsys.readouterr().out
    assert "coatnet_0" in shown
    assert "coatnet_2" not in shown


def test_zoo_counts_at_the_resolution_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "zoo_names", lambda: ["edgenext_xxs", "levit_256", "maxvit_tiny"])
    assert main(["zoo", "--fits", "20MFLOPs", "--resolution", "64", "--json"]) == 0
    out, err = capsys.readouterr()
    small = nas.load_architecture("edgenext_xxs").at_resolution(64)
    assert [(row["name"], row["macs"], row["resolution"]) for row in json.loads(out)] == [
        ("edgenext_xxs", nas.cost(small).macs, 64)
    ]
    assert "1 networks, such as maxvit_tiny, cannot be built for images of 64x64." in err
    assert main(["zoo", "maxvit_tiny", "--resolution", "64"]) == 2
    assert "64x64. Near sizes that fit: 56 and 112." in capsys.readouterr().err


def test_zoo_refuses_a_budget_that_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["--fits", "1MFLOPs"], "No zoo network fits 1MFLOPs: the nearest, "),
        (["--fits", "8ms@cpu"], "counted, not measured"),
        (["--fits", "4.2"], "has no unit"),
    ):
        assert main(["zoo", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert told in err
        assert err.count("\n") == 1


def test_stages_are_drawn_with_map_layers_and_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "coatnet_0"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("stage 3") and "%" in line]
    assert line.split()[2:5] == ["14x14", "384", "AAAAA"]
    assert "44.7 %" in line
    assert max(map(len, out.splitlines())) <= 120


def test_long_runs_of_layers_are_counted_and_bars_can_be_plain() -> None:
    from nas.cli.drawing import bar, letters

    assert letters("C", 3) == "CCC"
    assert letters("C", 28) == "28C"
    assert letters("C" * 30 + "AA", 32) == "30C 2A"
    assert letters("", 0) == ""
    assert bar(0.5, blocks=False) == "#" * 10
    assert bar(0.5, blocks=True) == "█" * 10
    assert bar(0.13, blocks=True) == "██▋"


@dataclass(frozen=True)
class Latency:
    stages: tuple[tuple[str, float], ...] = (("stem", 0.0042),)
    setting: Setting = field(default_factory=lambda: Setting(threads=2))
    peak_memory_bytes: int | None = 98_000_000

    def to_dict(self) -> dict[str, Any]:
        return {
            "latency_s": 0.0123,
            "latency_iqr_s": 0.0004,
            "peak_memory_bytes": 98_000_000,
            "setting": "cpu:threads=2",
            "runtime": "torch 3.0",
            "device": "Model T",
            "blocks": 15,
            "disturbed": 2,
            "calls": 7,
            "reference_s": 0.005,
        }


def measured(monkeypatch: pytest.MonkeyPatch, latency: Latency) -> list[tuple[Any, ...]]:
    """The calls of a measurement that is made up."""
    calls: list[tuple[Any, ...]] = []

    def measure(architecture: Any, setting: Setting, **given: Any) -> Latency:
        calls.append((architecture.input.resolution, str(setting), given))
        return latency

    put(
        monkeypatch,
        "nas.costs",
        profile=lambda architecture, **_: PROFILE,
        sized_architecture=lambda architecture, side: architecture.at_resolution(side),
    )
    put(monkeypatch, "nas.latency", measure=measure)
    model = SimpleNamespace(space="", predict=lambda architecture: 0.0119)
    put(monkeypatch, "nas.latency.budgets", model_here=lambda setting: model)
    return calls


def test_profile_measures_and_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls = measured(monkeypatch, Latency())
    words = ["profile", "coatnet_0", "--resolution", "160", "--latency", "--threads", "2"]
    assert main([*words, "--json"]) == 0
    assert calls == [(160, "cpu:threads=2", {"stages": True})]
    document = json.loads(capsys.readouterr().out)
    assert (document["params"], document["macs"]) == (25_036_948, 4_142_000_000)
    assert document["stages"][0]["output"] == [64, 112, 112]
    assert document["stages"][0]["latency_s"] == 0.0042
    measures = ("latency_s", "latency_iqr_s", "latency_predicted_s", "peak_memory_measured_bytes", "setting")
    assert [document[key] for key in measures] == [0.0123, 0.0004, 0.0119, 98_000_000, "cpu:threads=2"]
    assert main(words) == 0
    out = " ".join(capsys.readouterr().out.split())
    for told in (
        "112x112",
        "conv_stem, width 64",
        "100.0 %",
        "4.14 GMACs",
        "25,036,948 parameters",
        "38.85 K params 4.20 ms",
        "Latency 12.30 ms at cpu:threads=2: median of 15 blocks of 7 inferences (2 more were disturbed)",
        "interquartile range 400.00 us; reference workload 5.00 ms; torch 3.0 on Model T; peak memory 98.00 MB; "
        "the device model predicts 11.90 ms",
    ):
        assert told in out


def test_stages_that_a_runtime_does_not_have_apart_have_no_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(monkeypatch, Latency(stages=()))
    words = ["profile", "coatnet_0", "--latency", "onnxruntime:threads=2"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["latency_s"] is None
    assert main(words) == 0
    assert " latency" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ("--latency", "cpu"),
        ("--latency cuda:1:batch=32,dtype=float16", "cuda:1:batch=32,dtype=float16"),
        ("--latency --runtime onnxruntime --threads 2 --batch 4", "onnxruntime:threads=2,batch=4"),
        ("--latency --device cuda --dtype bfloat16", "cuda:dtype=bfloat16"),
    ],
)
def test_setting_is_one_text_or_options(words: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = measured(monkeypatch, Latency())
    assert main(["profile", "coatnet_0", *words.split()]) == 0
    assert [call[1] for call in calls] == [setting]


def test_train_hands_its_options_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calls: list[tuple[Any, ...]] = []

    def train(
        architecture: Any, *, out: Any, options: Any, weights: Any, teacher: Any, progress: Any
    ) -> dict[str, Any]:
        calls.append(
            (architecture.num_classes, options.data, options.finalist_epochs, options.recipe, out, weights, teacher)
        )
        return {"test_accuracy": 0.5, "epochs": 2}

    put(monkeypatch, "nas.pipeline.train", train=train)
    out = str(tmp_path)
    more = ["--recipe", "finetune", "--weights", "w.safetensors", "--teacher", "winner"]
    assert main(["train", "coatnet_0", "--data", "x.npz", "--epochs", "2", "--out", out, "--json", *more]) == 0
    assert calls == [(1000, "x.npz", 2, "finetune", tmp_path, "w.safetensors", "winner")]
    assert json.loads(capsys.readouterr().out) == {"test_accuracy": 0.5, "epochs": 2}


def test_report_tells_what_it_wrote(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run_folder: Path
) -> None:
    put(monkeypatch, "nas.report", rebuild=lambda run, out: [run / "report.html"])
    assert main(["report", str(run_folder)]) == 0
    assert capsys.readouterr().out == f"{run_folder}/report.html\n"
    assert main(["report", str(run_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [f"{run_folder}/report.html"]


def test_export_hands_its_options_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run_folder: Path
) -> None:
    calls: list[tuple[Any, ...]] = []

    def export_run(*given: Any, timer: Any) -> dict[str, Any]:
        assert callable(timer)
        calls.append(given)
        return {"path": "a/exports/2", "files": ["model.py", "card.md"], "cautions": ["int8 loses much."]}

    put(monkeypatch, "nas.export", export_run=export_run)
    put(monkeypatch, "nas.latency", time_runs=dict)
    assert main(["export", str(run_folder)]) == 0
    assert main(["export", str(run_folder), "--rank", "2", "--format", "onnx", "--format", "code,hf, onnx"]) == 0
    assert calls == [(run_folder, 1, None), (run_folder, 2, ("onnx", "code", "hf"))]
    said = capsys.readouterr()
    assert said.out == "a/exports/2/model.py\na/exports/2/card.md\n" * 2
    assert said.err.count("Warning: int8 loses much.") == 2
