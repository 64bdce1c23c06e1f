"""What holds for a source of any format, on the digits and on small arrays; and how --data is understood."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nas.data import Dataset, Source, Split, open_data
from nas.data import memory as memory_module
from nas.data import storage as storage_module
from nas.errors import DataError, OptionError

from ..notes import Notes


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_data("digits")


@pytest.fixture(scope="module")
def loaded(digits) -> Dataset:
    return digits.load(resolution=8, seed=0)


def keys(split: Split) -> list[tuple[int, ...]]:
    """Each image as a value."""
    return [tuple(row) for row in split.images.flatten(1).tolist()]


def write_npz(path, *, per_class=10, classes=2, **arrays) -> str:
    """Images that are all different: the number of each is written in its pixels."""
    count = per_class * classes
    numbers = np.arange(count)
    x_train = np.zeros((count, 8, 8), dtype=np.uint8)
    x_train[:, 0, 0], x_train[:, 0, 1] = numbers % 256, numbers // 256
    np.savez(path, **({"x_train": x_train, "y_train": numbers % classes} | arrays))
    return str(path)


def numbers_in(split: Split) -> list[int]:
    return (split.images[:, 0, 0, 0].long() + 256 * split.images[:, 0, 0, 1].long()).tolist()


def test_pixels_of_another_scale_are_said(tmp_path):
    notes = Notes()
    masks = np.random.default_rng(0).integers(0, 2, (20, 8, 8))
    open_data(write_npz(tmp_path / "a.npz", x_train=masks)).load(resolution=8, seed=0, progress=notes)
    assert notes.notes[0] == (
        "Pixels of a are whole numbers up to 1 and are read as of 0 to 255: resizing and RandAugment lose much of so"
        " few levels. Where 1 is white, save pixels * 255"
    )


def test_the_digits_are_there(digits, loaded):
    info = digits.info
    assert (info.name, info.kind, info.num_classes, info.channels) == ("digits", "digits", 10, 1)
    assert (info.height, info.width, info.train_count, info.test_count) == (8, 8, 1797, 0)
    assert info.class_names == tuple("0123456789")
    assert info.glyphs
    assert sum(info.class_counts) == 1797
    assert (len(loaded.train), len(loaded.search_validation), len(loaded.test)) == (1150, 288, 359)
    assert loaded.train.images.dtype == torch.uint8
    assert loaded.train.images.shape[1:] == (1, 8, 8)
    assert loaded.train.images.max() == 255
    assert loaded.skipped == ()


def test_every_digit_is_in_exactly_one_split(loaded):
    from sklearn.datasets import load_digits

    flat, _ = load_digits(return_X_y=True)
    expected = sorted(tuple(row) for row in np.rint(np.asarray(flat) * 255 / 16).astype(int).tolist())
    splits = (loaded.train, loaded.search_validation, loaded.test)
    assert sorted(key for split in splits for key in keys(split)) == expected


def test_all_splits_are_stratified(loaded):
    for split in (loaded.train, loaded.search_validation, loaded.test):
        shares = torch.bincount(split.labels, minlength=10) / len(split)
        expected = torch.tensor(loaded.info.class_counts) / 1797
        assert (shares - expected).abs().max() < 1.5 / len(split)


def test_the_same_seed_gives_the_same_data_set(digits, loaded):
    again = digits.load(resolution=8, seed=0)
    for name in ("train", "search_validation", "test"):
        first, second = getattr(loaded, name), getattr(again, name)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
    assert (loaded.mean, loaded.std) == (again.mean, again.std)


def test_another_seed_divides_otherwise(digits, loaded):
    other = digits.load(resolution=8, seed=1)
    assert set(keys(other.test)) != set(keys(loaded.test))


def test_mean_and_deviation_are_those_of_the_training_pixels(loaded):
    pixels = loaded.train.images.double() / 255
    assert loaded.mean == pytest.approx([pixels.mean().item()], abs=1e-12)
    assert loaded.std == pytest.approx([pixels.std(correction=0).item()], abs=1e-9)


def test_images_come_at_the_resolution_asked_for(digits):
    data = digits.load(resolution=16, seed=0)
    assert data.resolution == 16
    assert data.train.images.shape == (1150, 1, 16, 16)
    assert data.train.images.is_contiguous(memory_format=torch.channels_last)


def test_a_given_test_set_stays_whole_and_in_order(tmp_path):
    x_test = np.full((4, 8, 8), 7, dtype=np.uint8)
    x_test[:, 0, 0] = [3, 1, 2, 0]
    spec = write_npz(tmp_path / "a.npz", x_test=x_test, y_test=np.array([1, 0, 1, 0]))
    data = open_data(spec).load(resolution=8, seed=5)
    assert numbers_in(data.test) == [3 + 7 * 256, 1 + 7 * 256, 2 + 7 * 256, 7 * 256]
    assert data.test.labels.tolist() == [1, 0, 1, 0]
    assert (len(data.train), len(data.search_validation)) == (16, 4)


def test_the_test_images_change_nothing_but_the_test_split(tmp_path):
    labels = np.array([1, 0, 1, 0])
    first, second = (
        open_data(write_npz(tmp_path / "a.npz", x_test=np.full((4, size, size), value), y_test=labels)).load(
            resolution=8, seed=0
        )
        for size, value in ((8, 0), (20, 255))
    )
    assert (first.info, first.mean, first.std) == (second.info, second.mean, second.std)
    for name in ("train", "search_validation"):
        assert torch.equal(getattr(first, name).images, getattr(second, name).images)
    assert not torch.equal(first.test.images, second.test.images)


def test_images_keep_their_labels_through_dividing(tmp_path):
    data = open_data(write_npz(tmp_path / "a.npz", per_class=100, classes=3)).load(resolution=8, seed=0)
    for split in (data.train, data.search_validation, data.test):
        assert [number % 3 for number in numbers_in(split)] == split.labels.tolist()
    numbers = numbers_in(data.train) + numbers_in(data.search_validation) + numbers_in(data.test)
    assert sorted(numbers) == list(range(300))


def test_shares_are_those_asked_for(tmp_path):
    source = open_data(write_npz(tmp_path / "a.npz", per_class=50))
    data = source.load(resolution=8, seed=0, test_share=0.1, validation_share=0.5)
    assert (len(data.test), len(data.search_validation), len(data.train)) == (10, 45, 45)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_three_images_per_class_are_enough_at_any_share(tmp_path, share):
    source = open_data(write_npz(tmp_path / "a.npz", per_class=3))
    data = source.load(resolution=8, seed=0, test_share=share, validation_share=share)
    for split in (data.train, data.search_validation, data.test):
        assert sorted(split.labels.tolist()) == [0, 1]


def test_a_class_with_too_few_images_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        open_data(write_npz(tmp_path / "few.npz", per_class=2))
    assert str(caught.value) == (
        "Each class needs at least 3 training images to be divided, but '0' of few has 2: add images or"
        " remove the class."
    )


def test_images_that_are_all_equal_are_refused(tmp_path):
    spec = write_npz(tmp_path / "a.npz", x_train=np.full((20, 8, 8), 9, dtype=np.uint8))
    with pytest.raises(DataError, match="All training pixels of a have the same value, 9: check"):
        open_data(spec).load(resolution=8, seed=0)


def test_a_colour_that_is_never_used_gives_no_infinities(tmp_path):
    x_train = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    x_train[..., 2] = 0
    data = open_data(write_npz(tmp_path / "a.npz", x_train=x_train)).load(resolution=8, seed=0)
    assert data.mean[2] == 0
    assert data.std[2] == 1


def test_what_fits_neither_memory_nor_disk_is_refused_before_it_is_read(digits, monkeypatch):
    monkeypatch.setattr(memory_module, "available_bytes", lambda: 10**6)
    monkeypatch.setattr(storage_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(DataError, match=r"1,797 images at 64x64 need .* GB.*lower --train-resolution to 16"):
        digits.load(resolution=64, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "at least 4x4 pixels, not 0: raise --train-resolution"),
        ({"test_share": 0.0}, "test_share must lie between 0 and 1, but is 0.0"),
        ({"validation_share": 1.0}, "validation_share must lie between 0 and 1, but is 1.0"),
    ],
)
def test_options_that_mean_nothing_are_refused(digits, options, message):
    with pytest.raises(OptionError, match=message):
        digits.load(**({"resolution": 8, "seed": 0} | options))


def test_reading_tells_how_far_it_is(digits):
    class Recorder:
        def __init__(self):
            self.calls = []

        def start(self, phase, total, unit):
            self.calls.append(("start", phase, total, unit))

        def advance(self, n=1, **figures):
            self.calls.append(("advance", n, figures))

        def finish(self):
            self.calls.append(("finish",))

        def note(self, text): ...

    progress = Recorder()
    digits.load(resolution=8, seed=0, progress=progress)
    assert progress.calls[0] == ("start", "data", 1797, "images")
    assert progress.calls[-1] == ("finish",)
    assert sum(call[1] for call in progress.calls if call[0] == "advance") == 1797


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digitts", "There is no data at 'digitts': did you mean 'digits'\\? Give 'digits', a folder"),
        ("", "There is no data at ''"),
        ("/no/such/place.npz", "There is no data at '/no/such/place.npz'"),
        ("x" * 5000, "There is no data at"),
        ("a\0b", "There is no data at"),
        ("https://example.org/data.npz", "must be a local path or hf:NAME, not the URL"),
        ("hf:", "names no data set"),
    ],
    ids=["misspelt", "empty", "missing", "long", "null", "address", "hub"],
)
def test_what_is_no_data_is_refused(spec, message):
    with pytest.raises(DataError, match=message) as caught:
        open_data(spec)
    assert "\n" not in str(caught.value)


def test_unknown_treatment_of_corrupt_images_is_refused():
    with pytest.raises(OptionError, match="'ignore'.*Known: refuse, skip"):
        open_data("digits", on_corrupt="ignore")  # pyright: ignore[reportArgumentType]


def test_importing_the_package_loads_no_slow_library():
    code = (
        "import sys, nas.data; slow = {'sklearn', 'datasets', 'pandas', 'scipy'} & set(sys.modules);"
        " sys.exit(f'loaded {slow}' if slow else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
