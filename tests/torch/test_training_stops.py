"""When checkpoints come, what an interrupt leaves, and which weights are kept as the best."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas.progress import Silent
from nas.run.signals import stoppable
from nas.training import loop as loops
from nas.training.checkpoint import newest, read_facts
from nas.training.loop import TrainingLoop

from .training_cases import Stopped, plain_loop

STEPS = 4


class Time:
    """A clock that is moved by hand; seconds pass as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(loops.time, "monotonic", lambda: self.now)


@pytest.mark.parametrize("write_s", [0.1, 5.0, 20.0, 40.0])
@pytest.mark.parametrize("step_s", [0.5, 3.0, 15.0])
def test_a_kill_never_costs_more_than_a_minute_or_a_fiftieth(
    monkeypatch: pytest.MonkeyPatch, write_s: float, step_s: float
) -> None:
    time = Time(monkeypatch)
    clock = loops._Clock()
    clock.start()
    began, work, writes, worst = time.now, 0.0, 0, 0.0
    while time.now < began + 20_000:
        time.now += step_s
        work += step_s
        # Killed within the step, or while a checkpoint is written.
        worst = max(worst, work / max(60.0, 0.02 * (time.now - began)))
        if clock.due(step_s):
            moment = time.now
            time.now += write_s
            work, writes = 0.0, writes + 1
            clock.saved(writes, moment)
    assert worst <= 1
    assert writes < 20_000 / 30, "and no more often than need be"


def test_what_comes_after_an_epoch_may_take_long_and_finds_a_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time(monkeypatch)
    found: list[int] = []

    def watch(epoch: int, *_: Any) -> None:
        last = newest(tmp_path)
        found.append(0 if last is None else read_facts(last)["step"])
        time.now += 500.0

    def step(done: int) -> float:
        time.now += 1.0
        return 0.0

    plain_loop(tmp_path, step).run(Silent(), watch)
    assert found == [STEPS, 2 * STEPS, 3 * STEPS]


def test_the_end_of_an_epoch_is_told_again_until_a_checkpoint_knows_of_it(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []

    def stops(epoch: int, loss: float, _: float) -> None:
        told.append((epoch, loss))
        if len(told) == 2:
            raise Stopped

    def loop() -> TrainingLoop:
        made = plain_loop(tmp_path, float)
        made.resume()
        return made

    with pytest.raises(Stopped):
        loop().run(Silent(), stops)
    loop().run(Silent(), stops)
    # The first checkpoint is written before the first epoch is told of, the next at the end.
    assert told == [(1, 1.5), (2, 5.5), (1, 1.5), (2, 5.5), (3, 9.5)]


# -- interrupts, and the best ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_step_is_finished_and_saved(tmp_path: Path, number: signal.Signals) -> None:
    def step(done: int) -> float:
        if done == 5:
            os.kill(os.getpid(), number)
        return 0.0

    # Whatever ran before in this process (pytest, Ray) has put handlers of its own in place.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        loop = plain_loop(tmp_path, step)
        with pytest.raises(KeyboardInterrupt), stoppable():
            loop.run(Silent(), lambda *_: None)
    finally:
        signal.signal(number, before)
    last = newest(tmp_path)
    assert last is not None
    assert read_facts(last)["step"] == loop.done == 6


def test_an_interrupt_that_cuts_a_step_saves_nothing_of_it(tmp_path: Path) -> None:
    def step(done: int) -> float:
        if done == 5:
            raise KeyboardInterrupt  # a handler of somebody else's, or a second Ctrl-C
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        plain_loop(tmp_path, step).run(Silent(), lambda *_: None)
    last = newest(tmp_path)
    assert last is not None
    assert read_facts(last)["step"] == STEPS


def test_a_checkpoint_that_would_take_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "seconds_left", lambda: 0.0)

    class Interrupt(Silent):
        def advance(self, n: int = 1, **figures: str | float | int) -> None:
            if loop.done == 6:
                raise KeyboardInterrupt

    loop = plain_loop(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        loop.run(Interrupt(), lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{STEPS:08d}.safetensors"]


def test_the_best_weights_are_kept_beside_the_last(tmp_path: Path) -> None:
    values = {1: 0.3, 2: 0.5, 3: 0.5}
    weights: dict[int, torch.Tensor] = {}
    loop = plain_loop(tmp_path)

    def on_epoch(epoch: int, *_: float) -> None:
        loop.keep_best(values[epoch])
        weights[epoch] = loop.module.state_dict()["weight"].clone()

    loop.run(Silent(), on_epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "step-00000012.safetensors"]
    assert read_facts(tmp_path / "best.safetensors")["step"] == 2 * STEPS
    best = load_file(tmp_path / "best.safetensors")
    assert set(best) == {"model/weight", "model/bias"}
    assert best["model/weight"].equal(weights[2])
    assert not best["model/weight"].equal(weights[3])  # it decays


def test_the_last_weights_are_the_best_without_taking_room_twice(tmp_path: Path) -> None:
    loop = plain_loop(tmp_path, checkpoint="best")
    loop.run(Silent(), lambda epoch, *_: loop.keep_best(float(epoch)))
    best, last = sorted(tmp_path.iterdir())
    assert best.stat().st_ino == last.stat().st_ino
    again = plain_loop(tmp_path, checkpoint="best")
    assert again.resume(), "as a search does with every finalist that workers trained"
    again.restore_best()
    assert again.module.weight.equal(loop.module.weight)
