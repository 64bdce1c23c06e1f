"""Weights and teachers of a training whose classes, metric or division of the images were others."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import nas
from nas.data import open_data
from nas.export.folder import read_exported
from nas.inference import Classifier
from nas.networks.classes import per_class
from nas.options import SearchOptions
from nas.pipeline.given_weights import GivenWeights
from nas.pipeline.train import train
from nas.training import fresh_network

from ..notes import Notes
from ..small_space import small_space

SPACE = small_space()
NETWORK = min((SPACE.sample(random.Random(seed)) for seed in range(20)), key=lambda a: nas.cost(a).macs)
DIGITS = tuple("0123456789")
SHORT = SearchOptions.of(
    space="small", data="digits", finalist_epochs=1, batch_size=256, threads=1, device="cpu", onnx=False
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `nas train` exported with seed 0 and --metric balanced-accuracy."""
    out = tmp_path_factory.mktemp("trained")
    train(NETWORK, out=out, options=SHORT.replaced(metric="balanced-accuracy"))
    return out / "network"


def started(folder: Path, class_names: tuple[str, ...]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The state of a network that began with a folder's weights for classes of these names, and what was said."""
    architecture = Classifier(folder).product.trained
    network, notes = fresh_network(architecture, seed=1), Notes()
    GivenWeights(folder / "weights.safetensors", network="x").start(network, architecture, class_names, notes)
    return network.state_dict(), notes.notes


def test_classes_of_the_same_names_keep_the_head(trained: Path) -> None:
    state, notes = started(trained, DIGITS)
    given = load_file(trained / "weights.safetensors")
    assert all(torch.equal(state[name], value) for name, value in given.items())
    assert notes == []


def test_classes_in_another_order_have_the_rows_of_their_names(trained: Path) -> None:
    order = ("3", "1", "0", "2", *DIGITS[4:])
    state, notes = started(trained, order)
    given, rows = load_file(trained / "weights.safetensors"), per_class(NETWORK)
    assert rows
    for name, value in given.items():
        expected = value[[int(digit) for digit in order]] if name in rows else value
        assert torch.equal(state[name], expected), name
    assert notes == [f"The head's rows of {trained / 'weights.safetensors'} are put in the order of these classes"]


def test_as_many_classes_of_other_names_have_a_new_head(trained: Path) -> None:
    state, notes = started(trained, ("ant", *DIGITS[1:]))
    given, rows = load_file(trained / "weights.safetensors"), per_class(NETWORK)
    assert {name for name, value in given.items() if not torch.equal(state[name], value)} == rows
    [note] = notes
    assert note.startswith("The head is new: ")
    assert note.endswith("are for other classes")


def test_a_teacher_that_saw_images_of_the_test_is_cautioned_against(trained: Path, tmp_path: Path) -> None:
    notes = Notes()
    found = train(NETWORK, out=tmp_path / "out", options=SHORT.replaced(seed=3), teacher=trained, progress=notes)
    caution = (
        "The teacher was trained with --seed 0, so test and validation images of --seed 3 were among its training "
        "images: test and validation accuracy may be too high."
    )
    assert found["caution"] == caution
    assert caution in notes.notes
    assert caution in (tmp_path / "out" / "network" / "card.md").read_text()
    same = train(NETWORK, out=tmp_path / "same", options=SHORT, teacher=trained)
    assert same["caution"] is None


def test_the_card_names_the_metric_and_the_images_by_their_likeness(trained: Path) -> None:
    card = (trained / "card.md").read_text()
    assert "| Test balanced accuracy | " in card
    assert "| Validation balanced accuracy | " in card
    facts = read_exported(trained)[0].facts
    means = open_data("digits").load(resolution=8, seed=0).train.images[:32].float().mean((1, 2, 3))
    assert facts.likeness == tuple(round(value) for value in means.tolist())
    assert facts.metric == "balanced accuracy"
