import os
import re
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import data_lines, open_data
from nas.data.encoded import survey
from nas.data.labels import names_look_like_glyphs
from nas.errors import DataError
from nas.progress import Silent

COLOURS = {"apple": (200, 30, 30), "leaf": (30, 200, 30), "sky": (30, 30, 200)}


def write_class(folder: Path, colour: tuple[int, int, int], count: int, *, size=(12, 10), kind="png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, tuple(value + i for value in colour)).save(folder / f"{i:02}.{kind}")


def write_classes(root: Path, count: int = 10, **options) -> Path:
    for name, colour in COLOURS.items():
        write_class(root / name, colour, count, **options)
    return root


def spoil(*paths: Path) -> None:
    for path in paths:
        path.write_bytes(b"not an image at all")


def test_class_folders_are_read(tmp_path):
    source = open_data(write_classes(tmp_path / "fruit"))
    info = source.info
    assert (info.name, info.kind, info.channels, info.height, info.width) == ("fruit", "folder", 3, 10, 12)
    assert (info.train_count, info.validation_count, info.test_count) == (30, 0, 0)
    assert info.class_names == ("apple", "leaf", "sky")
    assert info.class_counts == (10, 10, 10)
    assert not info.glyphs
    data = source.load(resolution=8, seed=0)
    assert (len(data.train), len(data.search_validation), len(data.test)) == source.info.divided() == (19, 5, 6)
    for split in (data.train, data.search_validation, data.test):
        assert torch.equal(split.images[:, :, 0, 0].argmax(dim=1), split.labels)


def test_all_given_splits_are_used_as_they_are(tmp_path):
    write_classes(tmp_path / "train", 4)
    write_classes(tmp_path / "validation", 3)
    write_classes(tmp_path / "test", 2)
    source = open_data(tmp_path)
    assert (source.info.train_count, source.info.validation_count, source.info.test_count) == (12, 9, 6)
    data = source.load(resolution=8, seed=0)
    assert (len(data.train), len(data.search_validation), len(data.test)) == source.info.divided() == (12, 9, 6)
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.search_validation.labels.tolist() != sorted(data.search_validation.labels.tolist())


@pytest.mark.parametrize(
    "name", ["validation", "val", "valid", "Val", "VALID", "dev", "eval", "Validation_Set", "val2017"]
)
def test_a_validation_folder_becomes_search_validation_and_a_test_split_is_made(tmp_path, name):
    write_classes(tmp_path / "train", 10)
    write_classes(tmp_path / name, 3)
    data = open_data(tmp_path).load(resolution=8, seed=0)
    assert (len(data.train), len(data.search_validation), len(data.test)) == (24, 9, 6)


def test_a_test_folder_stays_the_test_split_and_search_validation_is_made(tmp_path):
    write_classes(tmp_path / "train", 10)
    write_classes(tmp_path / "test", 3)
    source = open_data(tmp_path)
    data = source.load(resolution=8, seed=0)
    assert (len(data.train), len(data.search_validation), len(data.test)) == (24, 6, 9)
    (alone,) = source.load_to_evaluate(resolution=8)
    assert torch.equal(alone.images, data.test.images)
    assert torch.equal(alone.labels, data.test.labels)


def test_all_parts_are_read_to_evaluate_where_none_is_the_test(tmp_path):
    write_classes(tmp_path / "train", 1)
    write_classes(tmp_path / "val", 2)
    with pytest.raises(DataError, match="needs at least 2 training images to be divided, but 'apple' of"):
        open_data(tmp_path)
    source = open_data(tmp_path, to_train=False)
    assert [split.labels.tolist() for split in source.load_to_evaluate(resolution=8)] == [[0, 1, 2], [0, 0, 1, 1, 2, 2]]
    with pytest.raises(DataError, match="needs at least 2 training images"):
        source.load(resolution=8, seed=0)


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAINING", "testing"), ("training_set", "test_set"), ("trainset", "test-images")],
)
def test_splits_go_by_the_names_that_people_give_them(tmp_path, train, test):
    write_classes(tmp_path / train, 4)
    write_classes(tmp_path / test, 3)
    info = open_data(tmp_path).info
    assert info.class_names == ("apple", "leaf", "sky")
    assert (info.train_count, info.test_count) == (12, 9)
    assert info.origins == {"train": f"{train}/", "test": f"{test}/"}


def test_folders_beside_splits_are_said(tmp_path):
    write_classes(tmp_path / "train", 4)
    write_class(tmp_path / "unsorted", (1, 2, 3), 5)
    assert open_data(tmp_path).info.left_out == ("5 images in folders beside the splits, such as unsorted/00.png",)


def test_a_folder_around_the_classes_is_named(tmp_path):
    write_classes(tmp_path / "photos", 4)
    with pytest.raises(DataError, match=r"has one folder, whose folders are the classes: give .*photos as --data\."):
        open_data(tmp_path)


def test_classes_that_a_test_set_lacks_are_said(tmp_path):
    write_classes(tmp_path / "train", 4)
    write_class(tmp_path / "test" / "leaf", COLOURS["leaf"], 2)
    info = open_data(tmp_path).info
    assert info.absent == {"test": ("apple", "sky")}
    assert "No test images of apple and sky" in data_lines(info)


def test_test_images_without_classes_are_left_out(tmp_path):
    write_classes(tmp_path / "train", 10)
    write_class(tmp_path / "test", (1, 2, 3), 4)
    info = open_data(tmp_path).info
    assert (info.train_count, info.test_count) == (30, 0)
    assert info.left_out == ("4 test images without class folders, such as test/00.png",)


def test_long_images_say_how_much_of_them_is_used(tmp_path):
    square, long = (open_data(write_classes(tmp_path / str(w), 4, size=(w, 10))).info for w in (15, 40))
    assert not any("central square" in line for line in data_lines(square))
    assert data_lines(long)[1] == (
        "The central square of each image is used, 25% of it: where the rest matters, resize the images to squares"
        " before"
    )
    assert (square.side, long.side) == (10, 10)


def test_a_class_may_be_called_train_or_test(tmp_path):
    for name, colour in zip(("bus", "train", "test"), COLOURS.values(), strict=True):
        write_class(tmp_path / name, colour, 3)
    assert open_data(tmp_path).info.class_names == ("bus", "test", "train")


def test_images_in_folders_within_a_class_count(tmp_path):
    write_classes(tmp_path, 3)
    write_class(tmp_path / "sky" / "evening", COLOURS["sky"], 2)
    assert open_data(tmp_path).info.class_counts == (3, 3, 5)


def test_hidden_and_other_files_are_left_alone(tmp_path):
    write_classes(tmp_path, 3)
    for name in ("apple/notes.txt", "apple/._00.png", "apple/.DS_Store", "README.md", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    info = open_data(tmp_path).info
    assert info.class_counts == (3, 3, 3)
    assert info.left_out == (
        "1 file that is no image by its extension (1 .txt), such as apple/notes.txt",
        "3 hidden files or folders (named .* or __*), such as .git",
    )


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", ".thumbnails", "evening/.cache"])
@pytest.mark.parametrize("split", ["", "train"])
def test_hidden_folders_are_left_out_at_every_level(tmp_path, name, split):
    write_classes(tmp_path / split, 3)
    write_class(tmp_path / split / "sky" / name, COLOURS["sky"], 2)
    info = open_data(tmp_path).info
    assert info.class_counts == (3, 3, 3)
    place = (Path(split) / "sky" / name).as_posix()
    assert info.left_out == (f"1 hidden file or folder (named .* or __*), such as {place}",)


def test_what_is_left_out_is_said_with_a_count_and_an_example(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.data.folder.reads_heif", lambda: False)
    write_classes(tmp_path, 3)
    write_class(tmp_path / "sky" / "evening", COLOURS["sky"], 2)
    for i in range(4):
        (tmp_path / "apple" / f"IMG_{i}.HEIC").write_bytes(b"x")
    (tmp_path / "leaf" / "image0001").write_bytes(b"x")
    write_class(tmp_path, (1, 2, 3), 2)
    elsewhere = tmp_path / ".elsewhere"
    write_class(elsewhere, COLOURS["leaf"], 2)
    (tmp_path / "leaf" / "more").symlink_to(elsewhere)
    (tmp_path / "sky" / "evening" / "more").symlink_to(elsewhere)
    info = open_data(tmp_path).info
    assert info.class_counts == (3, 3, 5)
    assert info.left_out == (
        "5 files that are no images by their extensions (4 .heic, 1 without one), such as apple/IMG_0.HEIC;"
        " HEIC needs an extra: pip install 'hybrid-nas[heif]'",
        "1 hidden file or folder (named .* or __*), such as .elsewhere",
        "2 linked folders, such as leaf/more",
        "2 images outside of the class folders, such as 00.png",
    )


def test_a_class_folder_may_be_a_link(tmp_path):
    write_classes(tmp_path / "data", 3)
    write_class(tmp_path / "elsewhere", (1, 2, 3), 4)
    (tmp_path / "data" / "moon").symlink_to(tmp_path / "elsewhere")
    assert open_data(tmp_path / "data").info.class_counts == (3, 3, 4, 3)


def test_a_class_of_files_that_are_not_read_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.data.folder.reads_heif", lambda: False)
    write_classes(tmp_path, 3)
    (tmp_path / "moon").mkdir()
    (tmp_path / "moon" / "a.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"without images: 'moon'; .*left out: 1 file that is no image .*1 .heic.*heif"):
        open_data(tmp_path)


def test_names_in_two_unicode_forms_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for split, name in (("train", composed), ("train", decomposed), ("test", decomposed)):
        write_class(tmp_path / split / name, (200, 30, 30), 3)
        write_class(tmp_path / split / "dog", (30, 30, 200), 3)
    info = open_data(tmp_path).info
    assert (info.class_names, info.class_counts, info.test_count) == ((composed, "dog"), (6, 3), 6)


def test_names_that_are_no_text_become_text(tmp_path):
    root = tmp_path / os.fsdecode(b"photos\xe9")
    write_classes(root, 3)
    (root / "sky").rename(root / os.fsdecode(b"sk\xff"))
    info = open_data(root).info
    assert info.name == r"photos\udce9"
    assert info.class_names == ("apple", "leaf", r"sk\udcff")


def test_one_class_in_color_among_many_grey_ones_makes_the_data_color(tmp_path):
    for k in range(12):
        (tmp_path / f"{k:02}").mkdir()
        for i in range(30):
            Image.new("RGB" if (k, i) == (7, 11) else "L", (4, 4)).save(tmp_path / f"{k:02}" / f"{i}.png")
    assert open_data(tmp_path).info.channels == 3


def test_grey_of_twelve_bits_is_scaled_by_the_range_of_the_set(tmp_path):
    for name, value in (("dark", 1000), ("light", 4000)):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.fromarray(np.full((8, 8), value + i, np.uint16)).save(tmp_path / name / f"{i}.tif")
    said = Noted()
    data = open_data(tmp_path).load(resolution=8, seed=0, progress=said)
    means = [data.train.images[data.train.labels == k].float().mean().item() for k in range(2)]
    assert means == pytest.approx([1002 * 255 / 4095, 4002 * 255 / 4095], abs=1)
    assert [note for note in said.notes if "4,095 as white" in note] == said.notes[:1]


def test_identical_images_in_two_splits_are_counted(tmp_path):
    write_classes(tmp_path / "train", 4)
    write_classes(tmp_path / "test", 5)
    shutil.copy(tmp_path / "train/sky/00.png", tmp_path / "test/leaf/00.png")
    said = Noted()
    open_data(tmp_path).load(resolution=8, seed=0, progress=said)
    # Images 0 to 3 of each class are the same in both, 4 is not; leaf's 0 is the sky's.
    (line,) = (note for note in said.notes if note.startswith("Identical images"))
    assert line.startswith("Identical images (at 8x8 pixels) are in several splits, which makes accuracies too high: ")
    among = re.findall(r"(\d+) of 15 of test are in (\w+) too", line)
    assert sum(int(count) for count, _ in among) == 12
    assert {split for _, split in among} == {"train", "search_validation"}
    assert "(1 of them under another class)" in line


def test_splits_without_a_common_image_say_nothing_of_it(tmp_path):
    write_classes(tmp_path, 10)
    said = Noted()
    open_data(tmp_path).load(resolution=8, seed=0, progress=said)
    assert said.notes == []


def test_lines_about_the_data_name_classes_counts_and_splits(tmp_path):
    write_classes(tmp_path / "Train", 4)
    write_classes(tmp_path / "Test", 3)
    (tmp_path / "Train" / "sky" / "a.txt").write_text("x")
    assert data_lines(open_data(tmp_path).info) == [
        f"Data: {tmp_path.name}, images of typically 12x10 pixels, color",
        "3 classes, training images of each: apple 4, leaf 4, sky 4",
        "Splits: train from Train/ (12), search_validation made from train, test from Test/ (9)",
        "Left out: 1 file that is no image by its extension (1 .txt), such as Train/sky/a.txt",
    ]


class Noted(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_images_of_any_format_size_and_mode_are_read_together(tmp_path):
    for name, colour in COLOURS.items():
        folder = tmp_path / name
        folder.mkdir()
        image = Image.new("RGB", (40, 30), colour)
        image.save(folder / "a.JPG", "JPEG", quality=95)
        image.resize((5, 9)).save(folder / "b.bmp")
        image.convert("RGBA").save(folder / "c.webp", lossless=True)
        image.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "d.gif")
        image.convert("CMYK").save(folder / "e.tiff")
        image.convert("L").save(folder / "f.png")
    data = open_data(tmp_path).load(resolution=8, seed=0)
    assert len(data.train) + len(data.search_validation) + len(data.test) == 18
    assert data.skipped == ()
    assert data.train.images.shape[1:] == (3, 8, 8)


def test_grey_images_stay_grey(tmp_path):
    for name, value in (("dark", 20), ("light", 200)):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("L", (9, 9), value + i).save(tmp_path / name / f"{i}.png")
    source = open_data(tmp_path)
    assert source.info.channels == 1
    assert not source.info.glyphs
    assert source.load(resolution=8, seed=0).train.images.shape[1:] == (1, 8, 8)


def test_one_colour_image_in_the_sample_makes_the_data_colour(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("L", (9, 9), i).save(tmp_path / name / f"{i}.png")
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "b" / "9.png")
    assert open_data(tmp_path).info.channels == 3


@pytest.mark.parametrize(("last", "glyphs"), [(9, True), (10, True), (11, False)])
def test_numbers_beyond_ten_are_those_of_a_list(last, glyphs):
    assert names_look_like_glyphs(map(str, range(1, last + 1))) is glyphs


def test_folders_of_digits_are_glyphs(tmp_path):
    for name, colour in zip("037", COLOURS.values(), strict=True):
        write_class(tmp_path / name, colour, 3)
    assert open_data(tmp_path).info.glyphs


def test_the_sample_is_spread_over_all_classes(tmp_path, monkeypatch):
    write_classes(tmp_path, 20)
    monkeypatch.setattr("nas.data.encoded.SAMPLE", 6)
    source = open_data(tmp_path)
    looked_at: list[int] = []
    part = source.train  # pyright: ignore[reportAttributeAccessIssue]
    fetch = part.fetch
    survey(replace(part, fetch=lambda i: looked_at.append(i) or fetch(i)), what="x")
    assert looked_at == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("on_corrupt", ["skip", "refuse"])
def test_without_corrupt_images_both_treatments_are_the_same(tmp_path, on_corrupt):
    data = open_data(write_classes(tmp_path), on_corrupt=on_corrupt).load(resolution=8, seed=0)
    assert len(data.train) == 19
    assert data.skipped == ()


def test_corrupt_images_are_skipped_and_named(tmp_path):
    write_classes(tmp_path)
    spoil(tmp_path / "leaf" / "03.png")
    cut = tmp_path / "sky" / "04.png"
    Image.effect_noise((64, 64), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:500])
    data = open_data(tmp_path).load(resolution=8, seed=0)
    assert len(data.train) + len(data.search_validation) + len(data.test) == 28
    assert data.skipped == ("leaf/03.png (not an image)", "sky/04.png (image file is truncated)")
    for split in (data.train, data.search_validation, data.test):
        assert torch.equal(split.images[:, :, 0, 0].argmax(dim=1), split.labels), "labels keep to their images"


def test_a_corrupt_image_moves_no_other_image_to_another_split(tmp_path):
    write_classes(tmp_path, 20)
    whole = open_data(tmp_path).load(resolution=8, seed=0)
    spoil(tmp_path / "leaf" / "03.png", tmp_path / "apple" / "10.png")
    rest = open_data(tmp_path).load(resolution=8, seed=0)
    assert len(rest.skipped) == 2
    for name in ("train", "search_validation", "test"):
        before = [tuple(row) for row in getattr(whole, name).images.flatten(1).tolist()]
        after = [tuple(row) for row in getattr(rest, name).images.flatten(1).tolist()]
        assert after == [row for row in before if row in set(after)], "the order is kept too"
        assert len(after) >= len(before) - 2


def test_a_corrupt_image_is_refused_when_asked(tmp_path):
    write_classes(tmp_path)
    spoil(tmp_path / "leaf" / "03.png")
    source = open_data(tmp_path, on_corrupt="refuse")
    with pytest.raises(DataError) as caught:
        source.load(resolution=8, seed=0)
    assert str(caught.value) == (
        "An image cannot be read: leaf/03.png (not an image); replace it, or allow --on-corrupt skip."
    )


def test_only_corrupt_images_are_an_error(tmp_path):
    write_classes(tmp_path)
    spoil(*tmp_path.rglob("*.png"))
    with pytest.raises(DataError, match=r"None of the 30 images .* can be read, starting with apple/00.png \("):
        open_data(tmp_path)


def test_images_whose_pixels_are_all_damaged_are_an_error(tmp_path):
    write_classes(tmp_path, size=(64, 64), kind="bmp")
    for path in tmp_path.rglob("*.bmp"):
        path.write_bytes(path.read_bytes()[:200])  # the header is whole
    with pytest.raises(DataError, match="No image of the train split of .* can be read, starting with apple/00"):
        open_data(tmp_path).load(resolution=8, seed=0)


def test_a_class_of_corrupt_images_is_an_error(tmp_path):
    write_classes(tmp_path)
    spoil(*(tmp_path / "leaf").iterdir())
    with pytest.raises(DataError, match=r"Class 'leaf' of .* has no readable training image \(10 were skipped"):
        open_data(tmp_path).load(resolution=8, seed=0)


def test_a_test_folder_of_corrupt_images_is_an_error(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", 2)
    spoil(*(tmp_path / "test").rglob("*.png"))
    with pytest.raises(DataError, match="No image of the test split of .* can be read"):
        open_data(tmp_path).load(resolution=8, seed=0)


def test_many_skipped_images_leave_the_others_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.data.assembly.COMPACTED", 3)
    monkeypatch.setattr("nas.data.encoded.CHUNK", 7)
    write_classes(tmp_path, 20)
    generator = np.random.default_rng(0)
    bad = [path for path in sorted(tmp_path.rglob("*.png")) if generator.random() < 0.4]
    spoil(*bad)
    data = open_data(tmp_path).load(resolution=8, seed=0)
    assert len(data.skipped) == len(bad)
    assert len(data.train) + len(data.search_validation) + len(data.test) == 60 - len(bad)
    for split in (data.train, data.search_validation, data.test):
        assert torch.equal(split.images[:, :, 0, 0].argmax(dim=1), split.labels)


def empty(root: Path) -> None: ...


def loose(root: Path) -> None:
    write_class(root, (1, 2, 3), 2)


def one_class(root: Path) -> None:
    write_class(root / "apple", (1, 2, 3), 5)


def no_images(root: Path) -> None:
    for name in ("a", "b"):
        (root / name).mkdir()
        (root / name / "x.txt").write_text("x")


def empty_class(root: Path) -> None:
    write_classes(root)
    (root / "void").mkdir()


def no_train(root: Path) -> None:
    write_classes(root / "test")
    write_classes(root / "val")


def two_validations(root: Path) -> None:
    for name in ("train", "val", "validation"):
        write_classes(root / name, 2)


def unknown_splits(root: Path) -> None:
    for name in ("seg_train", "seg_test"):
        write_classes(root / name, 2)


def versions(root: Path) -> None:
    for name in ("color", "segmented"):
        write_classes(root / name, 3)


def no_classes(root: Path) -> None:
    for name in ("Train", "Test"):
        write_class(root / name, (1, 2, 3), 3)


def another_split(root: Path) -> None:
    for name in ("Train", "holdout"):
        write_classes(root / name, 3)


def strange_class(root: Path) -> None:
    write_classes(root / "train")
    write_class(root / "test" / "pear", (1, 2, 3), 3)


@pytest.mark.parametrize(
    ("lay_out", "message"),
    [
        (empty, "has neither class folders nor images: lay it out as FOLDER/CLASS/image.jpg"),
        (loose, "has images but no class folders: lay it out as FOLDER/CLASS/image.jpg"),
        (one_class, "at least 2 classes, but .* has only 'apple': add images of another class"),
        (no_images, "has no images .* in class folders: lay it out"),
        (empty_class, "has class folders without images: 'void'; add images or remove the folders"),
        (no_train, "has test/ but no train/ with class folders"),
        (two_validations, "has both val and validation: keep one for the validation images"),
        (
            unknown_splits,
            "has seg_test/ with folders in it, which looks like a split and is not known: name splits train",
        ),
        (versions, "has 'color', 'segmented' with the same folders in each"),
        (no_classes, r"has splits \('Test', 'Train'\), but no class folders in them"),
        (another_split, "has Train/ and beside it holdout/, which holds classes and is no split by its name"),
        (strange_class, "test has classes that the training set lacks: 'pear'; add training images of them"),
    ],
)
def test_folders_laid_out_otherwise_are_refused(tmp_path, lay_out, message):
    lay_out(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        open_data(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "needed"), [((), 3), (("test",), 2), (("val", "test"), 1)])
def test_a_class_needs_an_image_for_each_split_that_is_made(tmp_path, given, needed):
    write_classes(tmp_path / "train", 5)
    for name in given:
        write_classes(tmp_path / name, 2)
    for path in sorted((tmp_path / "train" / "sky").iterdir())[needed:]:
        path.unlink()
    open_data(tmp_path).load(resolution=8, seed=0)
    if needed > 1:
        next((tmp_path / "train" / "sky").iterdir()).unlink()
        with pytest.raises(DataError, match=f"needs at least {needed} training images .* 'sky'"):
            open_data(tmp_path)
