"""Trainings that are stopped and go on give the bits of those that are not; faults are told in one line."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nas
from nas.errors import TrainingError
from nas.progress import Silent
from nas.run.stopping import stoppable
from nas.supernet import Supernet
from nas.training import SupernetTraining, fresh_network, layout_weights, train_network
from nas.training import loop as loops
from nas.training.checkpoint import newest, read_facts
from nas.training.loop import TrainingLoop

from .training_cases import Members, StopAt, Stopped, member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()
STEPS = 4


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step."""
    monkeypatch.setattr(loops, "_CAUTION", 0.0)
    monkeypatch.setattr(loops, "_FIRST_S", -1.0)


def network_training(folder: Path | None, progress: Any, rows: list[Any]) -> dict[str, torch.Tensor]:
    network = fresh_network(member(SPACE), seed=1)
    train_network(network, DATA, recipe(), progress=progress, folder=folder, on_epoch=rows.append)
    return network.state_dict()


def supernet_training(strategy: str) -> Callable[..., dict[str, torch.Tensor]]:
    def run(folder: Path | None, progress: Any, rows: list[Any]) -> dict[str, torch.Tensor]:
        supernet = Supernet(SPACE, seed=1)
        training = SupernetTraining(supernet, Members(SPACE), DATA, recipe(), strategy=strategy, folder=folder)
        training.run(progress, rows.append)
        rows.append({"updates": training.updates})
        return {name: value.clone() for name, value in supernet.state_dict().items()}

    return run


TRAININGS = {
    "network": network_training,
    "sandwich": supernet_training("sandwich"),
    "single-path": supernet_training("single-path"),
}


def without_seconds(rows: list[Any]) -> list[Any]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("step", [STEPS + 1, 2 * STEPS, 2 * STEPS + 2])
def test_a_training_resumed_within_an_epoch_ends_with_the_same_bits(tmp_path: Path, name: str, step: int) -> None:
    train = TRAININGS[name]
    whole: list[Any] = []
    expected = train(None, Silent(), whole)
    parts: list[Any] = []
    with pytest.raises(Stopped):
        train(tmp_path, StopAt(step + 1), parts)
    last = newest(tmp_path)
    assert last is not None
    assert read_facts(last)["step"] == step
    assert same_tensors(train(tmp_path, Silent(), parts), expected)
    assert without_seconds(parts) == without_seconds(whole)


@pytest.mark.usefixtures("often")
def test_the_batches_of_a_resumed_epoch_are_those_left_of_it(tmp_path: Path) -> None:
    def seen(progress: Any, folder: Path | None) -> list[list[int]]:
        found: list[list[int]] = []
        network = torch.nn.Linear(1, 1)

        def step(images: torch.Tensor, labels: torch.Tensor, number: int) -> float:
            network(images.mean((1, 2, 3))[:, None]).sum().backward()
            found.append([number, int((images * 1e4).sum()), *labels.tolist()])
            return 0.0

        loop = TrainingLoop(network, DATA, recipe(), step, folder=folder)
        loop.resume()
        progress.advance(loop.done)
        with suppress(Stopped):
            loop.run(progress, lambda *_: None)
        return found

    whole = seen(Silent(), None)
    assert [row[0] for row in whole] == list(range(3 * STEPS))
    parts = [*seen(StopAt(6), tmp_path), *seen(Silent(), tmp_path)]
    # The last step before the stop had no checkpoint yet, so it is done again.
    assert parts[:6] == whole[:6]
    assert parts[6:] == whole[5:]


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    rows: list[Any] = []
    first = network_training(tmp_path, Silent(), rows)
    assert len(rows) == 3
    assert same_tensors(network_training(tmp_path, Silent(), rows), first)
    assert len(rows) == 3


@pytest.mark.usefixtures("often")
def test_two_checkpoints_are_kept_on_the_way_and_the_weights_at_the_end(tmp_path: Path) -> None:
    with suppress(Stopped):
        network_training(tmp_path, StopAt(2 * STEPS), [])
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 2
    on_the_way = kept[-1].stat().st_size
    network_training(tmp_path, Silent(), [])
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{3 * STEPS:08d}.safetensors"]
    assert next(tmp_path.iterdir()).stat().st_size < on_the_way / 2


@pytest.mark.usefixtures("often")
def test_a_torn_newest_checkpoint_costs_no_more_than_its_steps(tmp_path: Path) -> None:
    expected = network_training(None, Silent(), [])
    with pytest.raises(Stopped):
        network_training(tmp_path, StopAt(7), [])
    last = newest(tmp_path)
    assert last is not None
    last.write_bytes(last.read_bytes()[:200])
    assert same_tensors(network_training(tmp_path, Silent(), []), expected)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    network_training(tmp_path, Silent(), [])
    with pytest.raises(TrainingError, match="trained by another recipe"):
        train_network(fresh_network(member(SPACE), seed=1), DATA, recipe(epochs=4), progress=Silent(), folder=tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(value: float) -> None:
    network = torch.nn.Linear(1, 1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loop = TrainingLoop(network, DATA, recipe(), lambda *_: value)
    with pytest.raises(TrainingError, match=r"The loss became (nan|inf) at step 1\. Try --dtype float32"):
        loop.run(Silent(), lambda *_: None)
    assert same_tensors(network.state_dict(), before)


def test_training_learns_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    network = fresh_network(member(SPACE), seed=1)
    found = train_network(network, DATA, recipe(epochs=8, augment="none"), progress=Silent())
    assert found > 0.9
    assert torch.equal(torch.get_rng_state(), before)


def test_fresh_weights_follow_from_the_seed_alone() -> None:
    first, again, other = (fresh_network(member(SPACE), seed=seed).state_dict() for seed in (1, 1, 2))
    assert same_tensors(first, again)
    assert not same_tensors(first, other)


# -- when checkpoints come ------------------------------------------------------------------------------------


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


def plain_loop(folder: Path, step: Callable[[int], float] = lambda _: 0.0) -> TrainingLoop:
    """Twelve steps, in three epochs, that teach nothing; `step` is called with the number of those done."""
    network = torch.nn.Linear(1, 1)

    def graded(images: torch.Tensor, labels: torch.Tensor, done: int) -> float:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return step(done)

    return TrainingLoop(network, DATA, recipe(), graded, folder=folder)


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
    loop = plain_loop(tmp_path)
    loop.run(Silent(), lambda epoch, *_: loop.keep_best(float(epoch)))
    best, last = sorted(tmp_path.iterdir())
    assert best.stat().st_ino == last.stat().st_ino
    assert loop.resume()


# -- the supernet's strategies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layouts", [("CCCC", "CCCA", "CCAA", "CAAA", "AAAA"), nas.load_space("coatnet").layouts, SPACE.layouts, ("CC",)]
)
def test_no_op_of_a_stage_gets_less_than_half_the_mean(layouts: tuple[str, ...]) -> None:
    weights = layout_weights(layouts)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) > 0
    shares: dict[tuple[int, str], float] = {}
    for weight, layout in zip(weights, layouts, strict=True):
        for branch in enumerate(layout):
            shares[branch] = shares.get(branch, 0.0) + weight
    assert min(shares.values()) >= 0.5 * sum(shares.values()) / len(shares)


def test_layouts_are_drawn_alike_where_that_starves_nobody() -> None:
    assert layout_weights(("CC", "CA", "AA")) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(("strategy", "a_step"), [("sandwich", 4), ("single-path", 1)])
def test_updates_are_counted_per_op_and_stage(strategy: str, a_step: int) -> None:
    rows: list[Any] = []
    supernet_training(strategy)(None, Silent(), rows)
    updates = rows[-1]["updates"]
    assert set(updates) == {"stage 1 C", "stage 1 A", "stage 2 C", "stage 2 A"}
    for stage in (1, 2):
        assert updates[f"stage {stage} C"] + updates[f"stage {stage} A"] == a_step * 3 * STEPS


def test_the_curve_has_the_watched_architectures_and_plain_figures() -> None:
    rows: list[Any] = []
    supernet_training("sandwich")(None, Silent(), rows)
    curve = json.loads(json.dumps(rows[:-1], allow_nan=False))
    assert [row["epoch"] for row in curve] == [1, 2, 3]
    assert [row["step"] for row in curve] == [STEPS, 2 * STEPS, 3 * STEPS]
    for row in curve:
        assert set(row["accuracies"]) == {"largest", "smallest", "random 1", "random 2"}
        assert all(0 <= value <= 1 for value in row["accuracies"].values())


def test_accuracies_on_record_are_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = []
    measured: list[tuple[int, str]] = []
    training = SupernetTraining(Supernet(SPACE, seed=1), Members(SPACE), DATA, recipe(), strategy="single-path")
    known = {1: {"largest": 0.25, "smallest": 0.5}, 2: dict.fromkeys(training.watched, 0.75)}
    training.run(
        Silent(), rows.append, known=known, on_watched=lambda epoch, name, accuracy: measured.append((epoch, name))
    )
    assert rows[0]["accuracies"]["smallest"] == 0.5
    assert set(rows[1]["accuracies"].values()) == {0.75}
    assert measured == [(1, "random 1"), (1, "random 2"), *((3, name) for name in training.watched)]


def test_the_curve_may_be_taken_less_often_but_has_its_end() -> None:
    rows: list[Any] = []
    training = SupernetTraining(Supernet(SPACE, seed=1), Members(SPACE), DATA, recipe(), strategy="single-path")
    training.run(Silent(), rows.append, watch_every=2)
    assert [row["epoch"] for row in rows] == [2, 3]
