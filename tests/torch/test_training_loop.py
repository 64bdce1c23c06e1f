"""Trainings that are stopped and go on give the bits of those that are not; faults are told in one line."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.errors import RunError, TrainingError
from nas.networks.supernet import Supernet
from nas.progress import Silent
from nas.training import SupernetTraining, fresh_network, layout_weights, train_network
from nas.training import loop as loops
from nas.training.checkpoint import newest, read_facts, save_checkpoint
from nas.training.device import has_room
from nas.training.loop import TrainingLoop

from ..notes import Notes
from .training_cases import Members, StopAt, Stopped, member, plain_loop, recipe, same_tensors, tiny_data, tiny_space

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


@pytest.mark.parametrize("pauses", [(1,), (2,), (1, 2)])
def test_a_training_that_pauses_ends_with_the_bits_of_one_that_does_not(
    tmp_path: Path, pauses: tuple[int, ...]
) -> None:
    data, asked = tiny_data(), recipe()
    whole = fresh_network(member(tiny_space()), seed=5)
    reached = train_network(whole, data, asked, progress=Silent())
    seen: list[int] = []
    for until in (*pauses, None):
        network = fresh_network(member(tiny_space()), seed=5)
        accuracy = train_network(
            network,
            data,
            asked,
            progress=Silent(),
            folder=tmp_path,
            until=until,
            on_epoch=lambda row: seen.append(row["epoch"]),
        )
        assert len(list(tmp_path.glob("step-*"))) == 1
    assert same_tensors(network.state_dict(), whole.state_dict())
    assert accuracy == reached
    assert seen == [1, 2, 3], "no epoch is trained twice"


def test_a_pause_behind_what_is_trained_trains_nothing(tmp_path: Path) -> None:
    for until in (2, 1):
        network = fresh_network(member(tiny_space()), seed=5)
        train_network(network, tiny_data(), recipe(), progress=Silent(), folder=tmp_path, until=until)
    [path] = tmp_path.glob("step-*")
    assert path.name == "step-00000008.safetensors"


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
    with pytest.raises(RunError, match="trained by another recipe"):
        train_network(fresh_network(member(SPACE), seed=1), DATA, recipe(epochs=4), progress=Silent(), folder=tmp_path)


def without_images(folder: Path) -> Path:
    """Makes the newest checkpoint one of an earlier version."""
    path = newest(folder)
    assert path is not None
    loop = plain_loop(folder)
    loop.resume()
    facts = read_facts(path)
    facts.pop("images", None)
    save_checkpoint(path, loop.module, loop.optimizer, facts)
    return path


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("count", [24, 45, 51])
def test_a_checkpoint_of_more_or_fewer_images_is_refused(tmp_path: Path, count: int, ended: bool) -> None:
    with suppress(Stopped):
        plain_loop(tmp_path).run(Silent() if ended else StopAt(2 * STEPS + 2), lambda *_: None)
    loop = plain_loop(tmp_path, data=tiny_data(train=count))
    with pytest.raises(RunError, match=rf"was trained on 48 images, not {count}\. Restore the data, or delete"):
        loop.resume()


@pytest.mark.usefixtures("often")
def test_an_earlier_version_s_checkpoint_goes_on_but_not_beyond_the_end(tmp_path: Path) -> None:
    with suppress(Stopped):
        plain_loop(tmp_path).run(StopAt(2 * STEPS + 2), lambda *_: None)
    path = without_images(tmp_path)
    loop = plain_loop(tmp_path)
    assert loop.resume()
    assert loop.done == 2 * STEPS + 1
    with pytest.raises(RunError, match=rf"{path.name} holds 9 steps, but 24 images make 6\. Restore the data, or"):
        plain_loop(tmp_path, data=tiny_data(train=24)).resume()
    loop.run(Silent(), lambda *_: None)
    assert loop.done == 3 * STEPS


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("name", TRAININGS)
def test_a_checkpoint_that_cannot_be_read_is_told_of(tmp_path: Path, name: str) -> None:
    with pytest.raises(Stopped):
        TRAININGS[name](tmp_path, StopAt(7), [])
    before, last = sorted(tmp_path.glob("step-*"))
    shutil.copytree(tmp_path, tmp_path / "other")
    last.write_bytes(b"torn")
    progress = Notes()
    TRAININGS[name](tmp_path, progress, [])
    assert progress.notes == [f"{last.name} in {tmp_path} cannot be read: going on from {before.name}"]
    for path in (tmp_path / "other").glob("step-*"):
        path.write_bytes(b"torn")
    progress = Notes()
    TRAININGS[name](tmp_path / "other", progress, [])
    names = f"{last.name} and {before.name}"
    assert progress.notes == [f"{names} in {tmp_path / 'other'} cannot be read: starting again"]
    TRAININGS[name](tmp_path / "other", progress, [])
    assert len(progress.notes) == 1


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


def test_images_go_to_a_gpu_at_once_only_if_they_leave_it_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    assert [has_room("cuda:1", size) for size in (250, 251)] == [True, False]
    assert [has_room(device, 1) for device in ("cpu", "mps")] == [False, True]
