"""Training steps that torch compiles: what runs compiled, what a machine lacks for it, and that they stay the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.errors import OptionError
from nas.progress import Silent
from nas.training import fresh_network, train_network
from nas.training.compiling import check_compiler, compiled, reason
from nas.training.stochastic_depth import StochasticDepth

from .training_cases import member, recipe, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Whether this machine can compile is not known from an earlier test."""
    check_compiler.cache_clear()
    yield
    check_compiler.cache_clear()


def compiles() -> bool:
    try:
        check_compiler("cpu")
    except OptionError:
        return False
    return True


def trained(**how: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    network, rows = fresh_network(member(SPACE, "CA"), seed=1), list[dict[str, Any]]()
    train_network(network, DATA, recipe(**how), progress=Silent(), on_epoch=rows.append, validate=True)
    return network.state_dict(), rows


def test_steps_run_compiled_and_validation_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool]] = []

    def compile(run: Callable[..., torch.Tensor], **given: Any) -> Callable[..., torch.Tensor]:
        def counted(x: torch.Tensor) -> torch.Tensor:
            calls.append((len(x), torch.is_grad_enabled()))
            return run(x)

        return counted

    monkeypatch.setattr(torch, "compile", compile)
    expected, _ = trained(epochs=2)
    assert not calls
    found, rows = trained(epochs=2, compile=True)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    (probe, *steps) = calls
    assert probe[0] == 2
    batches = len(DATA.train) // recipe().batch_size
    assert steps == [(recipe().batch_size, True)] * (2 * batches)
    assert len(rows) == 2


def test_a_machine_that_cannot_compile_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(*_: Any, **__: Any) -> Any:
        raise RuntimeError("backend='inductor' raised:\nmore") from ValueError("\nNo compiler found:\nhelp")

    monkeypatch.setattr(torch, "compile", compile)
    with pytest.raises(OptionError) as refused:
        trained(epochs=1, compile=True)
    assert str(refused.value) == (
        f"--compile: torch {torch.__version__} cannot compile for cpu here: No compiler found. Install a C++ compiler "
        "(g++ or clang++) and Python's header files, or leave out --compile."
    )


@pytest.mark.parametrize(
    ("fault", "said"), [(RuntimeError("a\nb"), "a"), (RuntimeError(), "RuntimeError"), (RuntimeError("a: b."), "a: b")]
)
def test_a_reason_is_one_line(fault: Exception, said: str) -> None:
    assert reason(fault) == said


@pytest.mark.slow
def test_compiled_steps_train_as_eager_ones() -> None:
    if not compiles():
        pytest.skip("torch cannot compile on this machine")
    expected, eager = trained(epochs=2)
    found, rows = trained(epochs=2, compile=True, drop_path=0.0)
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in eager], rel=1e-4)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_many_networks_are_compiled_one_after_another() -> None:
    if not compiles():
        pytest.skip("torch cannot compile on this machine")
    torch._dynamo.reset()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for seed in range(10):  # torch files eight graphs under one code object by default
        compiled(torch.nn.Sequential(torch.nn.Linear(4, 4 + seed), torch.nn.ReLU()))(torch.ones(2, 4))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 10


@pytest.mark.slow
def test_the_command_without_a_compiler_ends_with_one_line(tmp_path: Path) -> None:
    call = "import sys; from nas.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", call, "train", "coatnet_0", "--data", "digits", "--resolution", "32", "--compile"]
    command += ["--train-resolution", "32", "--epochs", "1", "--out", str(tmp_path / "out")]
    root = str(Path(nas.__file__).resolve().parents[1])
    lacking = {"CXX": "/no/compiler", "PYTHONPATH": root, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, env={**os.environ, **lacking}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--compile: torch" in done.stderr.splitlines()[-1]
    assert "Install a C++ compiler" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_dropped_branches_are_compiled_in_one_graph_which_every_draw_uses() -> None:
    network = fresh_network(member(SPACE, "CA"), seed=1).train()
    depth = StochasticDepth(network, 0.5, seed=0)
    graphs: list[Any] = []

    def kept(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    run = torch.compile(network, backend=kept, fullgraph=True, dynamic=False)
    images = torch.randn(8, 1, 8, 8)
    found: list[torch.Tensor] = []
    for step in range(4):
        for way in (network, run):
            depth.begin(step)
            depth.draw(len(images), images.device)
            found.append(way(images))
    assert all(torch.equal(eager, same) for eager, same in zip(found[::2], found[1::2], strict=True))
    assert not torch.equal(found[0], found[2])
    assert len(graphs) == 1
