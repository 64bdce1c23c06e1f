"""`nas train` stopped and started again: it goes on with what it was of and nothing else, and knows its epochs."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import random
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import nas
from nas.architecture import Architecture
from nas.data import open_data
from nas.data.sharing import to_array
from nas.errors import NasError, RunError
from nas.export.folder import read_exported
from nas.export.formats import code
from nas.networks.loading import load_architecture
from nas.networks.network import build
from nas.options import SearchOptions
from nas.pipeline import plan as plans
from nas.pipeline.given_teacher import GivenTeacher
from nas.pipeline.given_weights import GivenWeights
from nas.pipeline.train import plan_training, reduced_note, train
from nas.pipeline.training_curve import TrainingCurve
from nas.progress import Silent
from nas.run.files import file_digest
from nas.run.lock import FolderLock
from nas.training import loop as training
from nas.training.checkpoint import read_facts
from tests.notes import Interrupt

from ..notes import Notes
from ..small_space import small_space

OPTIONS = SearchOptions.of(
    space="small",
    data="digits",
    finalist_epochs=3,
    batch_size=256,
    threads=1,
    device="cpu",
    onnx=False,
)
SHORT = OPTIONS.replaced(finalist_epochs=1)
SPACE = small_space()
SMALLEST = min((SPACE.sample(random.Random(seed)) for seed in range(20)), key=lambda a: nas.cost(a).macs)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of its own for each exported network."""
    monkeypatch.setattr(code, "check_code", lambda *_: 0.0)


def test_a_training_that_goes_on_has_the_history_of_all_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_FIRST_S", 1e9)  # no checkpoint but those at the end of the first epoch and of all
    whole, again = tmp_path / "whole", tmp_path / "again"
    expected = train(SMALLEST, out=whole, options=OPTIONS)
    # Four steps an epoch: in the third, so that the second is told of twice.
    with pytest.raises(KeyboardInterrupt):
        train(SMALLEST, out=again, options=OPTIONS, progress=Interrupt(10))
    assert sorted(path.name for path in (again / "checkpoints").iterdir())[-1] == "step-00000010.safetensors"
    found = train(SMALLEST, out=again, options=OPTIONS)
    assert {**found, "out": ""} == {**expected, "out": ""}
    histories = [json.loads((out / "training.json").read_text())["history"] for out in (whole, again)]
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]
    assert [row["epoch"] for row in histories[1]] == [1, 2, 3]


# -- what a training is of ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits: `same.npz`; `other.npz` with two labels exchanged; `tested.npz` with a test set; `divided` with all."""
    folder = tmp_path_factory.mktemp("images")
    data = open_data("digits").load(resolution=8, seed=0)
    x, y = to_array(data.train.images), to_array(data.train.labels)
    exchanged = y.copy()
    i, j = 0, int(np.flatnonzero(y != y[0])[0])
    exchanged[[i, j]] = exchanged[[j, i]]
    for name, labels in (("same", y), ("other", exchanged)):
        np.savez(folder / f"{name}.npz", x_train=x, y_train=labels)
    np.savez(folder / "tested.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    for part in ("train", "validation", "test"):
        for label in range(10):
            path = folder / "divided" / part / str(label)
            path.mkdir(parents=True)
            for number, image in enumerate(x[y == label][:4]):
                Image.fromarray(image[:, :, 0]).save(path / f"{number}.png")
    return folder


def half_done(out: Path, options: SearchOptions, **others: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(SMALLEST, out=out, options=options, progress=Interrupt(2), **others)
    assert list((out / "checkpoints").iterdir())


def same_shapes() -> tuple[Architecture, Architecture]:
    """Two architectures whose weights have the same names and shapes."""
    plain = SMALLEST.to_dict()
    other = json.loads(json.dumps(plain).replace('"batch_norm"', '"batch_norm", "eps": 0.01', 1))
    return SMALLEST, Architecture.from_dict(other)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": "other"}, r"on other data: same \(.*\), not other \(.*\)"),
        ({"data": "renamed"}, r"on other data: images, labels or class names of same \(.*\) differ"),
        ({"train_resolution": 16}, "at 8 pixels, not 16"),
        ({"seed": 1}, "with --seed 0, not 1"),
        ({"metric": "balanced-accuracy"}, "with --metric accuracy, not balanced-accuracy"),
    ],
)
def test_a_folder_with_a_training_of_something_else_is_refused(
    tmp_path: Path, images: Path, changes: dict[str, Any], reason: str, ended: bool
) -> None:
    data = tmp_path / "same.npz"
    shutil.copy(images / "same.npz", data)
    options, out = SHORT.replaced(data=str(data), train_resolution=8), tmp_path / "out"
    if ended:
        train(SMALLEST, out=out, options=options)
    else:
        half_done(out, options)
    if changes.get("data") == "renamed":
        shutil.copy(images / "other.npz", data)
        changes = {}
    elif "data" in changes:
        changes = {"data": str(images / "other.npz")}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=rf"^{out} was trained {reason}\. Give another --out\.$"):
        train(SMALLEST, out=out, options=replace(options, **changes))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_another_architecture_or_other_weights_are_refused_where_shapes_agree(tmp_path: Path) -> None:
    first, second = same_shapes()
    assert first.digest != second.digest
    assert nas.build(first).state_dict().keys() == nas.build(second).state_dict().keys()
    train(first, out=tmp_path / "out", options=SHORT)
    with pytest.raises(RunError, match=r"out was trained as another architecture\. Give another --out\."):
        train(second, out=tmp_path / "out", options=SHORT)
    weights = tmp_path / "out" / "network" / "weights.safetensors"
    shutil.copy(weights, tmp_path / "moved.safetensors")
    with pytest.raises(
        RunError, match=r"was trained from fresh weights, not weights [0-9a-f]{12}\. Give another --out"
    ):
        train(first, out=tmp_path / "out", options=SHORT, weights=weights)
    found = train(first, out=tmp_path / "tuned", options=SHORT, weights=weights)
    assert train(first, out=tmp_path / "tuned", options=SHORT, weights=tmp_path / "moved.safetensors") == found
    with pytest.raises(
        RunError, match=r"was trained from weights [0-9a-f]{12}, not fresh weights\. Give another --out"
    ):
        train(first, out=tmp_path / "tuned", options=SHORT)


def test_the_same_images_may_lie_elsewhere(tmp_path: Path, images: Path) -> None:
    options = SHORT.replaced(data=str(images / "same.npz"))
    found = train(SMALLEST, out=tmp_path / "out", options=options)
    shutil.copy(images / "same.npz", tmp_path / "moved.npz")
    assert train(SMALLEST, out=tmp_path / "out", options=replace(options, data=str(tmp_path / "moved.npz"))) == found


def test_a_folder_of_an_earlier_version_goes_on_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    half_done(tmp_path, SHORT)
    inputs = tmp_path / "inputs.json"
    for content in ("", "[]", '{"format": 1}'):
        inputs.write_text(content)
        with pytest.raises(RunError, match=r"inputs\.json does not say what was trained there\. Give another --out\."):
            train(SMALLEST, out=tmp_path, options=SHORT)
    inputs.unlink()
    train(SMALLEST, out=tmp_path, options=SHORT)
    assert not inputs.exists()


def test_what_was_planned_stays_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SHORT.replaced(finalist_epochs=None, batch_size=None)
    monkeypatch.setattr(plans, "images_per_second", lambda macs, **_: 2.0)
    half_done(tmp_path, options)
    monkeypatch.setattr(plans, "images_per_second", lambda macs, **_: 400.0)
    first = json.loads((tmp_path / "inputs.json").read_text())["planned"]
    assert plan_training(SMALLEST, open_data("digits").info, options)[1].finalist_epochs > first["finalist_epochs"]
    found = train(SMALLEST, out=tmp_path, options=options)
    assert (found["epochs"], found["train_resolution"]) == (first["finalist_epochs"], first["train_resolution"])
    half_done(tmp_path / "other", options)
    with pytest.raises(RunError, match="was trained by another recipe: epochs"):
        train(SMALLEST, out=tmp_path / "other", options=options.replaced(finalist_epochs=1))


def test_a_training_goes_on_on_another_device_and_beside_what_systems_leave(tmp_path: Path) -> None:
    half_done(tmp_path, SHORT)
    [*_, last] = sorted((tmp_path / "checkpoints").iterdir())
    for name in (".DS_Store", "._metrics.csv", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    recipe = read_facts(last)["recipe"]
    assert recipe["device"] == "cpu"
    load = training.load_checkpoint

    def of_a_gpu(*given: Any, **more: Any) -> dict[str, Any]:
        return {**load(*given, **more), "recipe": {**recipe, "device": "cuda"}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_checkpoint", of_a_gpu)
        found = train(SMALLEST, out=tmp_path, options=SHORT)
    assert found["epochs"] == SHORT.finalist_epochs


def test_two_do_not_train_in_one_folder_at_once(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)  # as another process holds it while it trains
    with pytest.raises(RunError, match=rf"{tmp_path} is open in .* Wait for it to end or stop it"):
        train(SMALLEST, out=tmp_path, options=SHORT)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    lock.release()
    train(SMALLEST, out=tmp_path, options=SHORT)


def test_a_folder_without_checkpoints_takes_another_training(tmp_path: Path) -> None:
    half_done(tmp_path, SHORT)
    shutil.rmtree(tmp_path / "checkpoints")
    train(SMALLEST, out=tmp_path, options=SHORT.replaced(seed=1))
    assert json.loads((tmp_path / "inputs.json").read_text())["seed"] == 1


# -- weights that have seen the images ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that `nas train` exported with seed 0."""
    out = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "check_code", lambda *_: 0.0)
        train(SMALLEST, out=out, options=SHORT)
    return out / "network" / "weights.safetensors"


def tuned(out: Path, options: SearchOptions, weights: Path) -> tuple[str | None, list[str], str]:
    """What result, notes and card say of weights that a training begins with."""
    progress = Notes()
    found = train(SMALLEST, out=out, options=options, weights=weights, progress=progress)
    notes = [note for note in progress.notes if "may have trained the weights" in note]
    return found["caution"], notes, (out / "network" / "card.md").read_text()


def test_weights_of_another_seed_are_refused_where_it_cuts_the_test_images(
    tmp_path: Path, weights: Path, images: Path
) -> None:
    with pytest.raises(NasError) as caught:
        train(SMALLEST, out=tmp_path / "a", options=SHORT.replaced(seed=3), weights=weights)
    assert str(caught.value) == (
        f"{weights} was trained with --seed 0, which puts test and validation images of --seed 3 into its training "
        "images. Give --seed 0."
    )
    assert not (tmp_path / "a").exists()
    caution, notes, card = tuned(tmp_path / "b", SHORT, weights)
    assert (caution, notes) == (None, [])
    assert "may have trained" not in card
    divided = SHORT.replaced(seed=3, data=str(images / "divided"))
    assert tuned(tmp_path / "c", divided, weights)[:2] == (None, [])
    caution, _, _ = tuned(tmp_path / "d", replace(divided, data=str(images / "tested.npz")), weights)
    assert caution is not None
    assert caution.startswith("The validation images are split off")
    assert caution.endswith("with: validation accuracy may be too high.")


@pytest.mark.parametrize("kind", ["bare", "other data", "damaged card"])
def test_weights_of_unknown_training_leave_no_untouched_test(
    tmp_path: Path, weights: Path, images: Path, kind: str
) -> None:
    options, path = SHORT.replaced(seed=3), tmp_path / "given.safetensors"
    if kind == "other data":
        options = replace(options, data=str(images / "same.npz"))
    told = {"bare": None, "damaged card": {"card": "[1]", "class_names": "{}"}}
    if kind in told:
        save_file(load_file(weights), path, metadata=told[kind])
    else:
        shutil.copy(weights, path)
    text = (
        "The test and validation images are split off the training images and may have trained the weights that "
        "this training began with: test and validation accuracy may be too high."
    )
    caution, notes, card = tuned(tmp_path / "out", options, path)
    assert (caution, notes) == (text, [text])
    assert text in card
    # Who goes on from there inherits the doubt.
    after = tuned(tmp_path / "after", options, tmp_path / "out" / "network" / "weights.safetensors")
    assert after[:2] == (text, [text])


def test_the_result_and_the_card_say_where_weights_came_from(tmp_path: Path, weights: Path) -> None:
    found = train(SMALLEST, out=tmp_path / "out", options=SHORT, weights=weights)
    size = len(load_file(weights))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert found["weights"] == {"file": "weights.safetensors", "sha256": digest, "taken": size, "random": 0}
    assert json.loads((tmp_path / "out" / "training.json").read_text())["weights"] == found["weights"]
    card = (tmp_path / "out" / "network" / "card.md").read_text()
    assert f"began with the weights in weights.safetensors (sha256 {digest[:16]}): {size} tensors were copied" in card


def test_images_are_normalized_as_for_the_weights_and_for_the_teacher(tmp_path: Path, weights: Path) -> None:
    given, progress = tmp_path / "w.safetensors", Notes()
    save_file(load_file(weights), given, metadata={"mean": "[0.5]", "std": "[0.25]"})
    found = train(SMALLEST, out=tmp_path / "out", options=SHORT, weights=given, progress=progress)
    assert f"Images are normalized as for {given}: mean 0.5, standard deviation 0.25" in progress.notes
    product, network = read_exported(found["out"])
    assert (product.mean, product.std) == ((0.5,), (0.25,))
    data = open_data("digits").load(resolution=8, seed=0)
    assert "trained on 8x8 pixels, it teaches at 12x12" in str(
        GivenTeacher(found["out"], data.info, resolution=12).change
    )
    given_teacher = GivenTeacher(found["out"], data.info, resolution=8)
    assert given_teacher.change is None
    teacher = given_teacher.network(data).eval()
    pixels = torch.rand(4, 1, 8, 8)
    ours = (pixels - data.mean[0]) / data.std[0]
    with torch.no_grad():
        assert torch.allclose(teacher(ours), network((pixels - 0.5) / 0.25), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("renamed", "holds the weights of another network"),
        ("pickle", "may be a pickle, which can run code: convert .* --network NAME"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_before_the_folder_is_made(
    tmp_path: Path, weights: Path, kind: str, reason: str
) -> None:
    path = tmp_path / ("w.pth" if kind == "pickle" else "w.safetensors")
    save_file({f"x.{name}": value for name, value in load_file(weights).items()}, path)
    with pytest.raises(NasError, match=rf"^{path} {reason}"):
        train(SMALLEST, out=tmp_path / "out", options=SHORT, weights=path)
    assert not (tmp_path / "out").exists()


def test_weights_of_an_export_whose_bytes_changed_are_refused(tmp_path: Path, weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-9] ^= 1
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(NasError, match=r"its content has changed since it was written\. Give"):
        GivenWeights(path, network="small")


def test_a_link_to_weights_will_do(tmp_path: Path, weights: Path) -> None:
    """As tools keep them that store each content once."""
    (tmp_path / "w.safetensors").symlink_to(weights)
    assert GivenWeights(tmp_path / "w.safetensors", network="small").digest == file_digest(weights)
    (tmp_path / "network").mkdir()
    for path in weights.parent.iterdir():
        (tmp_path / "network" / path.name).symlink_to(path)
    assert read_exported(tmp_path / "network")[0] == read_exported(weights.parent)[0]


def test_weights_of_color_images_are_averaged_for_gray_ones(tmp_path: Path) -> None:
    color = build(SMALLEST.with_channels(3)).eval()
    path, notes = tmp_path / "w.safetensors", Notes()
    save_file({name: value.contiguous() for name, value in color.state_dict().items()}, path)
    gray = build(SMALLEST.with_channels(1)).eval()
    started = GivenWeights(path, network="small").start(gray, SMALLEST.with_channels(1), (), notes)
    x = torch.rand(2, 1, SMALLEST.input.resolution, SMALLEST.input.resolution)
    with torch.no_grad():
        assert torch.allclose(gray(x), color(x.expand(-1, 3, -1, -1)), atol=1e-5)
    assert not started.fresh
    (name,) = [name for name, value in gray.state_dict().items() if value.shape != color.state_dict()[name].shape]
    assert notes.notes == [f"{name} is averaged over the 3 channels that it has in {path}"]


def test_given_epochs_decide_whether_images_are_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "images_per_second", lambda macs, **_: 6e7 / macs)
    path, network = tmp_path / "large.npz", load_architecture("mnasnet_b1").at_resolution(128)
    np.savez(path, x_train=np.zeros((60, 128, 128, 3), np.uint8), y_train=np.arange(60) % 3)
    info = open_data(str(path)).info
    few, many = (plan_training(network, info, SHORT.replaced(finalist_epochs=epochs))[1] for epochs in (1, 2000))
    assert (few.train_resolution, many.train_resolution) == (128, 64)
    assert reduced_note(info, few) is None
    assert reduced_note(info, many) == (
        "Images of 128x128 pixels are reduced to 64x64 to save time: --train-resolution 128 trains at more"
    )


class Unread(Silent):
    """Fails where images begin to be read."""

    def start(self, phase: str, *_: Any) -> None:
        raise AssertionError(f"{phase} began")


def test_an_exported_network_teaches(tmp_path: Path, weights: Path, images: Path) -> None:
    taught = train(SMALLEST, out=tmp_path / "taught", options=SHORT, teacher=weights.parent.parent)
    alone = train(SMALLEST, out=tmp_path / "alone", options=SHORT)
    losses = [json.loads((Path(found["out"]).parent / "history.json").read_text()) for found in (taught, alone)]
    assert losses[0]["history"][0]["loss"] != losses[1]["history"][0]["loss"]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (taught["teacher"], alone["teacher"]) == ({"folder": weights.parent.parent.name, "sha256": digest}, None)
    card = (tmp_path / "taught" / "network" / "card.md").read_text()
    assert f"with 50% of the loss, from the network in {weights.parent.parent.name} (weights {digest[:16]})" in card
    with pytest.raises(RunError, match="was trained with teacher .*, not without a teacher"):
        train(SMALLEST, out=tmp_path / "taught", options=SHORT)
    with pytest.raises(NasError, match=r"^--teacher .*: .* holds no architecture\.yaml\. Give a winner"):
        train(SMALLEST, out=tmp_path / "none", options=SHORT, teacher=images)
    few = images.parent / "few.npz"
    with np.load(images / "same.npz") as stored:
        kept = stored["y_train"] < 7
        np.savez(few, x_train=stored["x_train"][kept], y_train=stored["y_train"][kept])
    with pytest.raises(NasError, match="it is of 1 channels and 10 classes, and the data has 1 and 7. Give a network"):
        train(
            SMALLEST,
            out=tmp_path / "none",
            options=SHORT.replaced(data=str(few)),
            teacher=weights.parent,
            progress=Unread(),
        )


# -- recipes and curves ---------------------------------------------------------------------------------------


def test_a_recipe_file_is_what_a_training_follows_and_says(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("format: 1\nrecipe: {learning_rate: 1e-3, ema: 0.9, checkpoint: best}\n")
    progress = Notes()
    options = OPTIONS.replaced(recipe=str(mine))
    found = train(SMALLEST, out=tmp_path / "out", options=options, progress=progress)
    assert f"Recipe {mine}: learning_rate 0.001, ema 0.9, checkpoint best" in progress.notes
    assert {name: found["recipe"][name] for name in ("learning_rate", "ema")} == {"learning_rate": 1e-3, "ema": 0.9}
    history = json.loads((tmp_path / "out" / "training.json").read_text())["history"]
    assert found["search_validation_accuracy"] == max(row["validation_accuracy"] for row in history)
    mine.write_text("format: 1\nrecipe: {learning_rate: 2e-3}\n")
    with pytest.raises(RunError, match="was trained by another recipe"):
        train(SMALLEST, out=tmp_path / "out", options=options)
    with pytest.raises(NasError, match="Unknown recipe 'fintune': did you mean 'finetune'"):
        train(SMALLEST, out=tmp_path / "other", options=OPTIONS.replaced(recipe="fintune"))
    assert not (tmp_path / "other").exists()


def test_a_training_goes_on_without_its_recipe_file(tmp_path: Path) -> None:
    mine, text = tmp_path / "mine.yaml", "format: 1\nrecipe: {learning_rate: 1e-3, ema: 0.9}\n"
    mine.write_text(text)
    options = OPTIONS.replaced(recipe=str(mine))
    expected = train(SMALLEST, out=tmp_path / "whole", options=options)
    half_done(tmp_path / "again", options)
    kept = json.loads((tmp_path / "again" / "inputs.json").read_text())["recipe"]
    assert kept == {"name": str(mine), "values": {"learning_rate": 1e-3, "ema": 0.9}}
    mine.unlink()
    with pytest.raises(NasError, match="No recipe file"):
        train(SMALLEST, out=tmp_path / "new", options=options)
    with pytest.raises(NasError, match="No recipe file"):
        train(SMALLEST, out=tmp_path / "again", options=OPTIONS.replaced(recipe=str(tmp_path / "other.yaml")))
    progress = Notes()
    found = train(SMALLEST, out=tmp_path / "again", options=options, progress=progress)
    assert {**found, "out": ""} == {**expected, "out": ""}
    assert any(note.endswith("The training goes on with what it said when it began.") for note in progress.notes)
    inputs = json.loads((tmp_path / "again" / "inputs.json").read_text())
    inputs["recipe"]["values"] = {"learning_rate": "fast"}
    (tmp_path / "again" / "inputs.json").write_text(json.dumps(inputs))
    with pytest.raises(RunError, match=r"inputs\.json is damaged: its recipe cannot be read"):
        train(SMALLEST, out=tmp_path / "again", options=options)


def test_each_epoch_is_a_row_of_metrics_and_a_resumed_one_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_FIRST_S", 1e9)
    with pytest.raises(KeyboardInterrupt):
        train(SMALLEST, out=tmp_path, options=OPTIONS, progress=Interrupt(10))
    train(SMALLEST, out=tmp_path, options=OPTIONS)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    history = json.loads((tmp_path / "history.json").read_text())["history"]
    for row, kept in zip(rows, history, strict=True):
        assert float(row["train_loss"]) == kept["loss"]
        assert float(row["validation_loss"]) > 0
        assert 0 <= float(row["validation_accuracy"]) <= 1
        assert float(row["seconds"]) > 0
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[0] > rates[1] > rates[2] >= 0
    assert "3 of 3 epochs" in (tmp_path / "training.html").read_text()


def test_an_average_of_the_weights_has_a_curve_of_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("format: 1\nrecipe: {ema: 0.9}\n")
    averaged = train(SMALLEST, out=tmp_path / "averaged", options=OPTIONS.replaced(recipe=str(mine)))
    train(SMALLEST, out=tmp_path / "plain", options=OPTIONS)
    files = ((tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("averaged", "plain"))
    rows, plain = (list(csv.DictReader(lines)) for lines in files)
    # The current weights are those of a training without an average, which they do not feel.
    for name in ("accuracy", "loss"):
        assert [row[f"current_validation_{name}"] for row in rows] == [row[f"validation_{name}"] for row in plain]
        assert [row[f"current_validation_{name}"] for row in plain] == [""] * 3
    assert float(rows[-1]["validation_accuracy"]) == averaged["search_validation_accuracy"]
    assert [row["validation_loss"] for row in rows] != [row["validation_loss"] for row in plain]


def test_scalars_are_written_where_tensorboard_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: Path, purge_step: int) -> None:
            assert folder == tmp_path / "tensorboard"
            self.purged = purge_step

        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def add_scalar(self, name: str, value: float, step: int) -> None:
            assert step == self.purged
            written.append((name, value, step))

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorboard" or found(name))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    curve = TrainingCurve(tmp_path, metric="accuracy")
    curve.add(
        {"epoch": 1, "epochs": 2, "loss": 0.5, "learning_rate": 1e-3, "validation_accuracy": None, "seconds": 2.0}
    )
    assert written == [("train_loss", 0.5, 1), ("learning_rate", 1e-3, 1), ("seconds", 2.0, 1)]
