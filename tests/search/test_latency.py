"""Runtimes and measuring on this machine. Nothing here asserts how long something takes."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.architecture import Architecture
from nas.errors import LatencyError, OptionError
from nas.latency import measure, measure_together, measuring, runtimes, time_runs
from nas.latency.blocks import Record, interleave
from nas.latency.reference import Reference, reference
from nas.latency.runtimes import Runtime, Torch, find_runtime
from nas.machine import available_cores
from nas.networks.network import build
from nas.ops import normalize
from nas.setting import RUNTIMES, Setting


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock in whose time everything takes 10 ms, however busy this machine is."""
    ticks = itertools.count()

    def interleaved(*given: Any, **options: Any) -> Record:
        return interleave(*given, **{**options, "clock": lambda: next(ticks) / 100})

    monkeypatch.setattr(measuring, "interleave", interleaved)


def tiny(width: int = 8) -> Architecture:
    norm, down = {"op": "batch_norm"}, {"op": "conv", "width": width, "kernel_size": 3, "stride": 2}
    return normalize(
        Architecture.from_dict(
            {
                "format": 2,
                "input": {"channels": 3, "resolution": 16},
                "stem": {"op": "conv", "width": width, "kernel_size": 2, "stride": 2, "padding": 0},
                "stages": [
                    {
                        "transition": {"op": "serial", "ops": [down, norm]},
                        "layers": [{"branches": [{"mixer": {"op": "depthwise_conv", "kernel_size": 3}}]}],
                    },
                    {
                        "layers": [
                            {"branches": [{"norm": {"op": "layer_norm"}, "mixer": {"op": "attention", "head_dim": 4}}]}
                        ]
                    },
                ],
                "head": {"op": "classifier", "num_classes": 5, "hidden": False},
            }
        )
    )


def trained(architecture: Architecture) -> nn.Module:
    """A network whose BatchNorms are not the identity."""
    torch.manual_seed(4)
    network = build(architecture).train()
    for _ in range(3):
        network(torch.randn(8, 3, 16, 16) * 2 + 1)
    return network.eval()


def logits_of(made: Any) -> torch.Tensor:
    """The logits that an inference of torch or OpenVINO gives."""
    return made if isinstance(made, torch.Tensor) else torch.from_numpy(next(iter(made.values())))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # by torch itself
@pytest.mark.parametrize("name", ["torch", pytest.param("torch.compile", marks=pytest.mark.slow), "openvino"])
def test_runtime_gives_the_logits_of_the_network(name: str) -> None:
    if name == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    setting = Setting(runtime=name, threads=1, batch=2)
    network, images = trained(tiny()), torch.randn(2, 3, 16, 16)
    made = logits_of(find_runtime(setting).prepare(network, images, setting)())
    torch.testing.assert_close(made, network(images), rtol=1e-4, atol=1e-5)


def test_onnxruntime_runs_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    sessions: list[Any] = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            sessions.append(self)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    setting = Setting(runtime="onnxruntime", threads=1, batch=2)
    network, images = trained(tiny()), torch.randn(2, 3, 16, 16)
    find_runtime(setting).prepare(network, images, setting)()
    assert sessions[0].get_session_options().intra_op_num_threads == 1
    (logits,) = sessions[0].run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), network(images), rtol=1e-4, atol=1e-5)


def test_torch_runs_folded_and_channels_last_in_inference_mode_and_leaves_the_network_alone() -> None:
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            assert torch.is_inference_mode_enabled()
            assert isinstance(self.body[1], nn.Identity)
            return self.body(x)

    network = Spy()
    setting = Setting(threads=1, batch=3, dtype="bfloat16")
    made = Torch().prepare(network, torch.randn(3, 3, 8, 8), setting)()
    assert isinstance(network.body[1], nn.BatchNorm2d)
    assert network.body[0].weight.dtype == torch.float32
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].dtype == torch.bfloat16
    assert isinstance(made, torch.Tensor)
    assert made.shape[0] == 3


def test_parts_make_what_the_whole_makes() -> None:
    network, images, setting = trained(tiny()), torch.randn(2, 3, 16, 16), Setting(threads=1, batch=2)
    made: Any = None
    parts = Torch().prepare_parts(network, images, setting)
    for _ in range(2):  # again from the images
        for _, part in parts:
            made = part(made)
    assert [name for name, _ in parts] == ["stem", "stage 1", "stage 2", "head"]
    torch.testing.assert_close(made, network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cuda:99", ("torch", "finds", "cuda devices here", "Use cpu")),
        ("openvino:device=cuda", ("openvino runs on cpu here", "use one of these")),
        ("onnxruntime:device=mps", ("onnxruntime runs on cpu or cuda here",)),
        ("cpu:dtype=int8", ("torch computes in float32, float16 or bfloat16 here",)),
        ("onnxruntime:dtype=bfloat16", ("onnxruntime computes in float32 or float16 here",)),
        ("cpu:threads=1024", ("more than the", "cores that this process may use", "use at most threads=")),
    ],
)
def test_setting_that_is_not_there_is_refused_in_one_line(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(OptionError) as caught:
        measure(tiny(), text)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("openvino", "The runtime openvino needs openvino: pip install 'hybrid-nas[openvino]'"),
        ("onnxruntime", "The runtime onnxruntime needs onnxruntime: pip install 'hybrid-nas[onnx]'"),
    ],
)
def test_runtime_that_is_not_installed_says_what_to_install(
    runtime: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == runtime else object())
    with pytest.raises(OptionError) as caught:
        measure(tiny(), Setting(runtime=runtime))
    assert words in str(caught.value)


def test_network_that_a_runtime_cannot_run_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(LatencyError, match="cannot run this network: no kernel. Measure it in another runtime"):
        measure(tiny(), "onnxruntime:threads=1")


@pytest.mark.usefixtures("steady")
def test_latency_says_what_it_holds_for_and_leaves_torch_as_it_was() -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    latency = measure(tiny(), Setting(threads=1, batch=2), stages=True, blocks=3)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert str(latency.setting) == "cpu:threads=1,batch=2"
    assert latency.runtime == f"torch {torch.__version__}"
    assert latency.device
    assert (latency.median_s, latency.reference_s) == pytest.approx((0.01, 0.01))
    assert (latency.iqr_s, latency.blocks, latency.disturbed) == (pytest.approx(0), 3, 0)
    assert dict(latency.stages) == pytest.approx(dict.fromkeys(("stem", "stage 1", "stage 2", "head"), 0.01))
    assert latency.peak_memory_bytes is None
    plain = json.loads(json.dumps(latency.to_dict()))
    assert plain["setting"] == "cpu:threads=1,batch=2"
    assert {"latency_s", "latency_iqr_s", "peak_memory_bytes", "reference_s"} <= set(plain)


@pytest.mark.usefixtures("steady")
def test_threads_left_out_are_resolved() -> None:
    latency = measure(tiny(), "cpu", blocks=3)
    assert latency.setting == Setting(threads=available_cores())
    assert latency.stages == ()


def test_noisy_machine_is_refused_with_the_networks_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    now, jumps = [0.0], random.Random(5)

    def clock() -> float:
        now[0] += jumps.uniform(0.01, 0.04)
        return now[0]

    monkeypatch.setattr(
        measuring, "interleave", lambda *given, **options: interleave(*given, **options | {"clock": clock})
    )
    with pytest.raises(LatencyError, match=f"too (busy|noisy) to tell the latency of {tiny().digest} at cpu:threads=1"):
        measure(tiny(), "cpu:threads=1")


class Counting(Runtime):
    """Runs nothing, and notes what it was asked to."""

    name = "counting"

    def __init__(self) -> None:
        self.prepared: list[tuple[str, tuple[int, ...], str]] = []

    def __call__(self) -> Counting:
        return self

    def version(self) -> str:
        return "counting 1"

    def prepare(self, network: nn.Module, images: torch.Tensor, setting: Setting) -> Callable[[], object]:
        self.prepared.append((type(network).__name__, tuple(images.shape), str(setting)))
        return lambda: None


@pytest.mark.usefixtures("steady")
def test_runtime_from_outside_measures_networks_together() -> None:
    mine = Counting()
    RUNTIMES.add("counting", mine)
    try:
        found = measure_together([tiny(8), tiny(16)], "counting:threads=1,batch=4", blocks=3)
    finally:
        RUNTIMES.remove("counting")
    text = "counting:threads=1,batch=4"
    assert mine.prepared == [
        ("Reference", (4, 3, 64, 64), text),
        ("Network", (4, 3, 16, 16), text),
        ("Network", (4, 3, 16, 16), text),
    ]
    assert [latency.runtime for latency in found] == ["counting 1"] * 2
    assert len({latency.reference_s for latency in found}) == 1


def test_reference_is_always_the_same() -> None:
    state = torch.get_rng_state()
    first, shape = reference()
    assert torch.equal(torch.get_rng_state(), state)
    images = torch.ones(1, *shape)
    assert torch.equal(first(images), reference()[0](images))
    assert sum(weights.numel() for weights in Reference().parameters()) == 1_248_778


def test_blocks_that_mean_nothing_are_refused() -> None:
    with pytest.raises(OptionError, match="--blocks must be a whole number from 3"):
        measure(tiny(), "cpu:threads=1", blocks=2)


def test_python_interface() -> None:
    assert nas.measure is measure
    assert nas.Setting.parse("cpu:threads=1") == Setting(threads=1)


@pytest.mark.usefixtures("steady")
def test_functions_are_timed_in_turn_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"one": 0, "two": 0}

    def run(name: str) -> Callable[[], object]:
        def call() -> None:
            calls[name] += 1

        return call

    found = time_runs({name: run(name) for name in calls}, blocks=3)
    assert list(found) == ["one", "two"]
    assert all(row["latency_s"] == pytest.approx(0.01) and row["why"] == "" for row in found.values())
    assert all(row["blocks"] == 3 and "thread" in row["where"] for row in found.values())
    assert min(calls.values()) > 9

    def noisy(*_: object, **__: object) -> None:
        raise LatencyError("The machine is too busy. Stop what else runs.")

    monkeypatch.setattr(measuring, "summarize", noisy)
    assert time_runs({"one": run("one")}, blocks=3)["one"]["latency_s"] is None
