"""Distillation from a teacher's soft labels, and trainings that begin with given weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nas.errors import RunError, TrainingError
from nas.networks.network import Network
from nas.progress import Silent
from nas.training import fresh_network, start_from, train_network
from nas.training import loop as loops
from nas.training.soft_labels import SoftLabels
from nas.training.standalone import training_step

from .training_cases import CLASSES, StopAt, Stopped, member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()


def network(seed: int = 1) -> Network:
    return fresh_network(member(SPACE), seed=seed)


class Fixed(torch.nn.Module):
    """Gives the same logits whatever it sees."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


def test_the_soft_loss_is_the_divergence_at_a_temperature() -> None:
    taught = SoftLabels(Fixed([2.0, 0.0, -1.0]), DATA, recipe(temperature=4.0))
    logits, images = torch.tensor([[0.5, 0.1, 0.0]]), torch.zeros(1, 1, 8, 8)
    p = F.softmax(torch.tensor([2.0, 0.0, -1.0]) / 4, 0)
    q = F.softmax(logits[0] / 4, 0)
    assert taught.loss(logits, images).item() == pytest.approx(16 * (p * (p / q).log()).sum().item(), rel=1e-5)
    assert taught.loss(torch.tensor([[4.0, 2.0, 1.0]]), images).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_shared_between_labels_and_teacher(weight: float) -> None:
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    losses = {}
    for share in (0.0, weight, 1.0):
        asked = recipe(distill_weight=share)
        taught = SoftLabels(Fixed([2.0, 0.0, -1.0]), DATA, asked)
        losses[share] = training_step(network(), asked, teacher=taught)(images, labels, 0)
    assert losses[0.0] == training_step(network(), recipe())(images, labels, 0)
    assert losses[weight] == pytest.approx((1 - weight) * losses[0.0] + weight * losses[1.0], rel=1e-5)


def test_a_teacher_is_frozen_and_teaches() -> None:
    teacher = network(2)
    train_network(teacher, DATA, recipe(epochs=6), progress=Silent())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teacher.train()
    student, alone = network(), network()
    train_network(student, DATA, recipe(distill_weight=1.0), progress=Silent(), teacher=teacher)
    train_network(alone, DATA, recipe(), progress=Silent())
    assert same_tensors(teacher.state_dict(), before)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    images = torch.randn(32, 1, 8, 8)
    with torch.no_grad():
        wanted, near, far = (F.log_softmax(one.eval()(images), 1) for one in (teacher, student, alone))
    distance = [F.kl_div(found, wanted, reduction="batchmean", log_target=True).item() for found in (near, far)]
    assert distance[0] < distance[1]


def test_a_distilled_training_resumes_with_the_same_bits_and_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "_CAUTION", 0.0)
    monkeypatch.setattr(loops, "_FIRST_S", -1.0)
    whole, again = network(), network()
    train_network(whole, DATA, recipe(), progress=Silent(), teacher=network(2))
    with pytest.raises(Stopped):
        train_network(network(), DATA, recipe(), progress=StopAt(7), folder=tmp_path, teacher=network(2))
    for other, reason in ((network(3), r"with teacher \w{16}"), (None, "without a teacher")):
        with pytest.raises(RunError, match=rf"was trained with teacher \w{{16}}, not {reason}\. Delete it, or resume"):
            train_network(network(), DATA, recipe(), progress=Silent(), folder=tmp_path, teacher=other)
    train_network(again, DATA, recipe(), progress=Silent(), folder=tmp_path, teacher=network(2))
    assert same_tensors(again.state_dict(), whole.state_dict())


def test_a_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(RunError, match=f"The teacher knows 2 classes, and the data has {CLASSES}: give a teacher"):
        train_network(network(), DATA, recipe(), progress=Silent(), teacher=Fixed([0.0, 1.0]))


# -- initial weights ------------------------------------------------------------------------------------------


def test_weights_of_other_classes_give_all_but_the_head() -> None:
    other = fresh_network(member(SPACE).with_classes(7), seed=3)
    mine = network()
    started = start_from(mine, other.state_dict(), source="w.safetensors")
    assert started.new_head
    assert all(name.startswith("head.") for name in started.new_head)
    assert (started.fresh, started.unused) == ((), ())
    assert {*started.taken, *started.new_head} == {*mine.state_dict()}
    for name in started.taken:
        assert torch.equal(mine.state_dict()[name], other.state_dict()[name])
    for name in started.new_head:
        assert torch.equal(mine.state_dict()[name], network().state_dict()[name])
    assert [note.split(":")[0] for note in started.notes("w.safetensors")] == ["The head is new"]


def test_weights_of_another_network_are_refused_and_nothing_is_copied() -> None:
    mine, other = network(), network(2).state_dict()
    with pytest.raises(
        TrainingError, match=r"^w holds the weights of another network: \d+ of \d+ tensors .* \(stem.* is not there"
    ):
        start_from(mine, {f"backbone.{name}": value for name, value in other.items()}, source="w")
    assert same_tensors(mine.state_dict(), network().state_dict())


def test_weights_that_are_not_finite_are_refused() -> None:
    state = network(2).state_dict()
    name = next(iter(state))
    state[name] = torch.full_like(state[name], float("nan"))
    with pytest.raises(TrainingError, match=f"^w holds numbers that are not finite, in {name}"):
        start_from(network(), state, source="w")


def test_some_missing_tensors_stay_random_and_are_told() -> None:
    state = network(2).state_dict()
    gone = next(iter(state))
    del state[gone]
    state["extra"] = torch.zeros(1)
    mine = network()
    started = start_from(mine, state, source="w")
    assert (started.fresh, started.unused) == ((gone,), ("extra",))
    assert started.notes("w") == [
        f"1 of {len(mine.state_dict())} tensors are not in w, left random: {gone}",
        "1 tensors of w are not in this network: extra",
    ]


def test_a_teacher_is_known_by_its_weights_and_not_by_statistics_that_are_estimated_again() -> None:
    class Normed(Fixed):
        def __init__(self) -> None:
            super().__init__([2.0, 0.0, -1.0])
            self.norm = torch.nn.BatchNorm2d(1)

    first, again, other = (SoftLabels(Normed(), DATA, recipe()) for _ in range(3))
    again.teacher.get_buffer("norm.running_mean").add_(1e-7)
    with torch.no_grad():
        other.teacher.get_parameter("norm.weight").add_(1e-6)
    assert first.digest() == again.digest()
    assert first.digest() != other.digest()
