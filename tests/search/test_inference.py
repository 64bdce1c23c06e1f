"""Exported networks in use: classes of files, figures on a data set, and their files."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, precision_score, recall_score

import nas
from nas.data import Batches, Split, open_data
from nas.data.dataset import describe_data, likeness
from nas.data.images import decode
from nas.data.pixel_range import PixelRange
from nas.errors import DataError, ExportError, RunError
from nas.export import export_winner, winner
from nas.export.formats import code
from nas.inference import Classifier, evaluate_exported, find_images, predict
from nas.inference.confusion import draw_confusion
from nas.inference.evaluation import Evaluation, figures_of
from nas.inference.outputs import classes_csv, confusion_csv, write_evaluation
from nas.networks.network import Network
from nas.run import exported_folder

from ..notes import Notes
from .export_cases import FACTS, LEVELS, MEAN, STD, TRAINED, convnext, perturbed

NAMES = ("ant", "bee", "cat", "dog")
RNG = np.random.default_rng(0)


def network(channels: int) -> Network:
    torch.manual_seed(0)
    return perturbed(nas.build(convnext().with_channels(channels).with_classes(4).at_resolution(TRAINED)))


def export(folder: Path, channels: int, **facts: Any) -> Path:
    export_winner(
        folder,
        network(channels),
        convnext().with_channels(channels).with_classes(4),
        trained_resolution=TRAINED,
        mean=MEAN[:channels],
        std=STD[:channels],
        class_names=NAMES,
        levels=LEVELS,
        card=replace(FACTS, **facts),
        onnx=False,
    )
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "check_code", lambda *_: 0.0)
    monkeypatch.setattr(winner, "compare_counts", lambda architecture: {**COUNTS, "resolution": 1})


COUNTS = {"macs": 1, "macs_fvcore": 1, "macs_difference": 0}


@pytest.fixture
def color(tmp_path: Path, quick: None) -> Classifier:
    return Classifier(export(tmp_path / "color", 3), device="cpu")


@pytest.fixture
def grey(tmp_path: Path, quick: None) -> Classifier:
    return Classifier(export(tmp_path / "grey", 1), device="cpu")


def photos(folder: Path, count: int = 5) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (30, 41, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


def class_folders(root: Path, splits: dict[str, dict[str, int]]) -> str:
    for split, classes in splits.items():
        for name, count in classes.items():
            photos(root / split / name, count)
    return str(root)


# Files


def test_files_folders_and_patterns_are_found_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "a" / "b", 2)
    photos(tmp_path / "a" / ".cache", 1)
    (tmp_path / "a" / "notes.txt").write_text("")
    (tmp_path / "a" / "._1.png").write_text("")
    (tmp_path / "odd name").write_text("")
    found = find_images(["a", "a/b/*.png", "odd name", "not there.jpg"])
    assert found.paths == ("a/b/0.png", "a/b/1.png", "odd name", "not there.jpg")
    assert found.left_out == (
        "1 file that is no image by its extension (1 .txt), such as a/notes.txt",
        "2 hidden files or folders (named .* or __*), such as a/.cache",
    )
    assert find_images(["a/**/1.png"]).paths == ("a/b/1.png",)
    assert find_images(["[a]"]).paths == ("a/b/0.png", "a/b/1.png")
    (tmp_path / "x[1].png").write_text("")
    assert find_images(["x[1].png"]).paths == ("x[1].png",)


def test_a_folder_or_pattern_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match="holds no images: give a folder of image files"):
        find_images([str(tmp_path)])
    with pytest.raises(DataError, match=r"\*\.jpg matches no image: write a pattern"):
        find_images([str(tmp_path / "*.jpg")])


# Predictions


def test_predictions_are_those_of_the_network_on_images_as_in_training(color: Classifier, tmp_path: Path) -> None:
    paths = photos(tmp_path / "photos")
    Image.fromarray(RNG.integers(0, 3000, (40, 40), dtype=np.uint16)).save(tmp_path / "deep.png")
    paths.append(str(tmp_path / "deep.png"))
    pixels = [decode(path, resolution=TRAINED, channels=3, pixel_range=PixelRange(*LEVELS)) for path in paths]
    split = Split(
        images=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), labels=torch.zeros(6, dtype=torch.int64)
    )
    images, _ = next(iter(Batches(split, batch_size=6, mean=MEAN, std=STD)))
    with torch.inference_mode():
        expected = network(3)(images).softmax(1)
    found = predict(color, paths, top=99, batch_size=4)
    assert [each.path for each in found] == paths
    for row, each in zip(expected, found, strict=True):
        assert each.error is None
        assert [one.index for one in each.classes] == row.argsort(descending=True).tolist()
        assert [one.name for one in each.classes] == [NAMES[one.index] for one in each.classes]
        torch.testing.assert_close(torch.tensor([one.probability for one in each.classes]), row.sort().values.flip(0))
    assert [len(each.classes) for each in predict(color, paths[:1], top=2)] == [2]


def test_files_that_cannot_be_read_keep_their_place(color: Classifier, tmp_path: Path) -> None:
    paths = photos(tmp_path / "photos", 2)
    (tmp_path / "text.png").write_text("no image")
    found = predict(color, [str(tmp_path / "none.png"), paths[0], str(tmp_path / "text.png"), paths[1]], batch_size=3)
    assert [each.error for each in found] == ["No such file or directory", None, "not an image", None]
    assert [len(each.classes) for each in found] == [0, 4, 0, 4]
    assert [each.error for each in predict(color, [str(tmp_path)])] == ["not a file"]


def test_exports_without_preparation_or_with_damaged_weights_are_refused(tmp_path: Path, quick: None) -> None:
    nas_export = export(tmp_path / "1", 3)
    (nas_export / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(ExportError, match="holds no network that was exported whole"):
        Classifier(nas_export)
    from nas.export import export_architecture

    export_architecture(convnext(), nas.build(convnext()), tmp_path / "2", formats=["config", "weights"])
    with pytest.raises(ExportError, match="does not say how images are prepared"):
        Classifier(tmp_path / "2")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, quick: None) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    from nas.networks.sealed_file import write_sealed

    path = export(tmp_path / "1", 3) / "weights.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = {name: value.clone() for name, value in load_file(path).items()}  # the file is mapped, and written over
    state["head.linear.bias"][1] = float("nan")
    write_sealed(path, state, metadata)
    with pytest.raises(ExportError, match=r"head\.linear\.bias has values that are not finite"):
        Classifier(tmp_path / "1")


def test_the_folder_of_a_training_stands_for_its_network(tmp_path: Path) -> None:
    for folder in ("winner", "training/network"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "architecture.yaml").write_text("")
    assert exported_folder(tmp_path / "winner") == tmp_path / "winner"
    assert exported_folder(tmp_path / "training") == tmp_path / "training" / "network"
    (tmp_path / "run" / "winners" / "1").mkdir(parents=True)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "inputs.json").write_text("{}")
    for folder, text in (
        ("run", "is a run, which may have several winners. Give one: .*run/winners/1"),
        ("begun", "is not finished. Repeat its nas train command"),
        ("none", "There is no folder .*none. Give a winner's folder"),
        (".", r"holds no architecture\.yaml"),
    ):
        with pytest.raises(RunError, match=text):
            exported_folder(tmp_path / folder)


# Figures


def test_figures_equal_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (200,), generator=generator)  # the fourth class has no images
    logits = torch.randn(200, 4, generator=generator) + torch.eye(4)[labels]
    predicted = logits.argmax(1)
    found = figures_of(logits, labels, NAMES)
    assert found.images == 200
    assert found.accuracy == pytest.approx((predicted == labels).double().mean().item())
    share = (200 * found.accuracy + 1) / 202
    assert found.accuracy_error == pytest.approx((share * (1 - share) / 200) ** 0.5)
    present = labels[predicted < 3], predicted[predicted < 3]
    assert 0 < len(present[0]) < 200, "some images are taken for the class without images"
    np.testing.assert_array_equal(found.confusion, confusion_matrix(labels, predicted, labels=range(4)))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    recalls = recall_score(labels, predicted, average=None, labels=range(4), zero_division=np.nan)
    precisions = precision_score(labels, predicted, average=None, labels=range(4), zero_division=np.nan)
    assert [each.recall for each in found.classes] == [*map(pytest.approx, recalls[:3]), None]
    assert [each.precision for each in found.classes] == [*map(pytest.approx, precisions)]
    assert [each.images for each in found.classes] == torch.bincount(labels, minlength=4).tolist()


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    found = figures_of(torch.eye(4)[[0, 1, 0]] * 5, torch.tensor([0, 1, 2]), NAMES)
    assert [each.precision for each in found.classes] == [0.5, 1.0, None, None]
    assert [each.recall for each in found.classes] == [1.0, 1.0, 0.0, None]
    assert found.balanced_accuracy == pytest.approx(2 / 3)


def test_calibration_error_is_that_of_the_paper() -> None:
    # By the definition, a bin after the other: images whose confidence lies in ((m - 1) / 15, m / 15].
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (300,), generator=generator)
    logits = 3 * torch.randn(300, 4, generator=generator)
    confidence, predicted = logits.double().softmax(1).max(1)
    expected = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            gap = (predicted[inside] == labels[inside]).double().mean() - confidence[inside].mean()
            expected += inside.double().mean().item() * abs(gap.item())
    assert expected > 0.1
    assert figures_of(logits, labels, NAMES).calibration_error == pytest.approx(expected)


@pytest.mark.parametrize(("right", "expected"), [(4, 0.0), (1, 0.75), (0, 1.0)])
def test_calibration_error_of_a_certain_network_is_its_share_of_mistakes(right: int, expected: float) -> None:
    labels = torch.tensor([0] * right + [1] * (4 - right))
    assert figures_of(torch.eye(4)[[0] * 4] * 1000, labels, NAMES).calibration_error == pytest.approx(expected)


# Data


def test_the_data_s_own_test_split_is_used(color: Classifier, tmp_path: Path) -> None:
    data = class_folders(
        tmp_path / "d", {"train": dict.fromkeys(NAMES, 4), "test": {**dict.fromkeys(NAMES, 2), "dog": 3}}
    )
    found = evaluate_exported(color, data)
    assert found.split == "test split of d, test/"
    assert [each.images for each in found.figures.classes] == [2, 2, 2, 3]
    predictions = predict(color, find_images([f"{data}/test"]).paths, top=1)
    counts = np.zeros((4, 4), int)
    for each in predictions:
        counts[NAMES.index(Path(each.path).parent.name), each.classes[0].index] += 1
    np.testing.assert_array_equal(found.figures.confusion, counts)
    for path in Path(data, "train", "ant").iterdir():
        path.write_bytes(b"not an image")
    notes = Notes()
    assert evaluate_exported(color, data, on_corrupt="refuse", progress=notes) == found, "training images are not read"
    assert notes.notes == []


def test_without_one_the_test_split_of_the_training_is_made_again_and_other_data_is_used_whole(
    tmp_path: Path, quick: None
) -> None:
    data = class_folders(tmp_path / "d", {"": dict.fromkeys(NAMES, 10)})
    loaded = open_data(data).load(resolution=TRAINED, seed=7)
    trained_on = f"renamed ({len(loaded.train)} training images, 4 classes)"
    same = Classifier(export(tmp_path / "same", 3, data=trained_on, seed=7), device="cpu")
    found = evaluate_exported(same, data)
    assert found.split == "test split of d, split off its training images by seed 7 as in training"
    expected = same.logits(loaded.test.images).argmax(1)
    assert found.figures == figures_of(same.logits(loaded.test.images), loaded.test.labels, NAMES)
    assert len(expected) == found.figures.images == 8
    other = Classifier(export(tmp_path / "other", 3, data="e (99 training images, 4 classes)"), device="cpu")
    whole = evaluate_exported(other, data)
    assert whole.split == "all images of d, which has no test split and is not what the network was trained on"
    assert whole.figures.images == 40


def test_data_that_could_not_be_trained_on_are_evaluated(color: Classifier, tmp_path: Path) -> None:
    few = evaluate_exported(color, class_folders(tmp_path / "few", {"": {"cat": 1, "bee": 2}}))
    assert (few.split, few.figures.images) == (
        "all images of few, which has no test split and is not what the network was trained on",
        3,
    )
    class_folders(tmp_path / "broken", {"": {"cat": 3, "bee": 3}})
    next((tmp_path / "broken" / "cat").iterdir()).write_bytes(b"no image")
    broken = evaluate_exported(color, str(tmp_path / "broken"))
    assert broken.figures.images == 5
    one = evaluate_exported(color, class_folders(tmp_path / "one", {"": {"dog": 4}}))
    assert [each.images for each in one.figures.classes] == [0, 0, 0, 4]


def test_other_images_in_the_same_numbers_are_not_those_of_the_training(tmp_path: Path, quick: None) -> None:
    mine, other = (class_folders(tmp_path / name, {"": dict.fromkeys(NAMES, 10)}) for name in ("d", "e"))
    for number, path in enumerate(sorted(Path(other).rglob("*.png"))):
        Image.new("RGB", (TRAINED, TRAINED), (number, 200 - number, 3 * number)).save(path)
    loaded = open_data(mine).load(resolution=TRAINED, seed=7)
    facts: dict[str, Any] = {"data": describe_data(loaded), "likeness": likeness(loaded), "seed": 7}
    classifier = Classifier(export(tmp_path / "network", 3, **facts), device="cpu")
    assert evaluate_exported(classifier, mine).figures.images == 8
    found = evaluate_exported(classifier, other)
    assert found.split == "all images of e, which has no test split and is not what the network was trained on"
    assert found.figures.images == 40


def test_images_added_since_the_training_are_noticed_and_cautioned_against(tmp_path: Path, quick: None) -> None:
    data = class_folders(tmp_path / "d", {"": dict.fromkeys(NAMES, 10)})
    loaded = open_data(data).load(resolution=TRAINED, seed=7)
    facts: dict[str, Any] = {"data": describe_data(loaded), "likeness": likeness(loaded), "seed": 7}
    classifier = Classifier(export(tmp_path / "network", 3, **facts), device="cpu")
    first = next(Path(data).rglob("*.png"))
    shutil.copy(first, first.with_name("more.png"))
    notes = Notes()
    found = evaluate_exported(classifier, data, progress=notes)
    assert found.split == "all images of d, which has no test split and has changed since the training"
    assert any("it may have seen most of them, and the figures may be too high" in text for text in notes.notes)


def test_a_pattern_that_leads_round_in_a_circle_gives_each_image_once(tmp_path: Path) -> None:
    data = Path(class_folders(tmp_path / "d", {"": {"ant": 2, "bee": 1}}))
    (data / "ant" / "back").symlink_to(data)
    expected = sorted(str(path) for name in ("ant", "bee") for path in (data / name).glob("*.png"))
    assert list(find_images([f"{data}/**/*.png"]).paths) == expected


def test_classes_go_by_name_and_may_be_fewer(color: Classifier, tmp_path: Path) -> None:
    data = class_folders(tmp_path / "d", {"train": {"cat": 4, "bee": 4}, "test": {"cat": 3, "bee": 2}})
    found = evaluate_exported(color, data)
    assert [(each.name, each.images) for each in found.figures.classes] == [
        ("ant", 0),
        ("bee", 2),
        ("cat", 3),
        ("dog", 0),
    ]
    foreign = class_folders(tmp_path / "f", {"train": {"cat": 4, "eel": 4}, "test": {"cat": 3, "eel": 2}})
    with pytest.raises(DataError, match="does not know 1 of the 2 classes of f: 'eel'. It knows 'ant', 'bee'"):
        evaluate_exported(color, foreign)


def test_data_of_other_channels_is_converted_as_files_are(color: Classifier, grey: Classifier, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (16, TRAINED, TRAINED, 3), dtype=np.uint8)
    labels = np.arange(16) % 4
    classes = np.array(NAMES)
    for name, x in (("color", pixels), ("grey", pixels[..., 0])):
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=labels, x_test=x, y_test=labels, classes=classes)
    as_grey = np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in pixels])
    as_color = np.stack([pixels[..., 0]] * 3, axis=1)
    progress = Notes()
    found = evaluate_exported(grey, str(tmp_path / "color.npz"), progress=progress)
    assert found.figures == figures_of(grey.logits(torch.from_numpy(as_grey)[:, None]), torch.from_numpy(labels), NAMES)
    assert any("takes grey images" in text for text in progress.notes)
    found = evaluate_exported(color, str(tmp_path / "grey.npz"))
    assert found.figures == figures_of(color.logits(torch.from_numpy(as_color)), torch.from_numpy(labels), NAMES)


# Files of an evaluation


def evaluation(classes: int, names: tuple[str, ...] = ()) -> Evaluation:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (50 * classes,), generator=generator)
    logits = torch.randn(len(labels), classes, generator=generator) + 3 * torch.eye(classes)[labels]
    shown = names or tuple(f"class {i}" for i in range(classes))
    return Evaluation(data="some data", split="test split", figures=figures_of(logits, labels, shown))


@pytest.mark.parametrize("classes", [2, 10, 45, 100])
def test_the_picture_shows_any_number_of_classes(classes: int) -> None:
    with Image.open(BytesIO(draw_confusion(evaluation(classes)))) as picture:
        assert picture.format == "PNG"
        assert 700 < picture.width < 2700
        colors = picture.convert("RGB").getcolors(maxcolors=2**24)
    assert colors is not None
    assert len(colors) > 50


def test_the_picture_and_tables_hold_any_names(tmp_path: Path) -> None:
    names = ("$x^2$", "猫", 'a,b\n"c"', "long " * 40)
    found = evaluation(4, names)
    paths = write_evaluation(tmp_path / "new" / "out", found)
    assert [path.name for path in paths] == ["confusion.png", "confusion.csv", "classes.csv", "evaluation.json"]
    rows = list(csv.reader(StringIO((tmp_path / "new" / "out" / "confusion.csv").read_text())))
    assert rows == [
        ["true class", *names],
        *([name, *map(str, row)] for name, row in zip(names, found.figures.confusion, strict=True)),
    ]
    plain = json.loads(paths[3].read_text())
    assert plain["format"] == 1
    assert plain["accuracy"] == found.figures.accuracy
    assert plain["confusion"] == [list(row) for row in found.figures.confusion]


def test_a_share_of_nothing_is_left_empty() -> None:
    figures = figures_of(torch.eye(4)[[0, 1, 0]] * 5, torch.tensor([0, 1, 2]), NAMES)
    assert classes_csv(figures).splitlines() == [
        "class,images,recall,precision", "ant,1,1.0,0.5", "bee,1,1.0,1.0", "cat,1,0.0,", "dog,0,,",
    ]  # fmt: skip
    assert confusion_csv(figures).splitlines()[3] == "cat,1,0,0,0"
