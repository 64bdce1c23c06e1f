import unicodedata
import zipfile

import numpy as np
import pytest
import torch

from nas.data import open_data
from nas.errors import DataError
from nas.progress import Silent

LABELS = np.arange(20) % 2
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 10, 3), dtype=np.uint8)


def write(path, **changes) -> str:
    arrays = {"x_train": PIXELS, "y_train": LABELS} | changes
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
    return str(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "small.npz"


def test_what_an_archive_says_of_itself(path):
    info = open_data(write(path, x_test=PIXELS[:5], y_test=LABELS[:5])).info
    assert (info.name, info.kind, info.channels, info.height, info.width) == ("small", "npz", 3, 8, 10)
    assert (info.train_count, info.validation_count, info.test_count) == (20, 0, 5)
    assert info.class_names == ("0", "1")
    assert info.class_counts == (10, 10)
    assert not info.glyphs


@pytest.mark.parametrize(
    ("pixels", "channels"),
    [
        (PIXELS, 3),
        (PIXELS.transpose(0, 3, 1, 2), 3),
        (PIXELS / 255, 3),
        ((PIXELS / 255).astype(np.float32), 3),
        (PIXELS.astype(np.int64), 3),
        (np.asfortranarray(PIXELS), 3),
        (PIXELS[..., 0], 1),
        (PIXELS[..., :1], 1),
        (PIXELS[..., :1].transpose(0, 3, 1, 2), 1),
    ],
    ids=["bytes", "first", "float64", "float32", "int64", "fortran", "grey", "grey-last", "grey-first"],
)
def test_every_layout_and_type_holds_the_same_images(path, pixels, channels):
    data = open_data(write(path, x_train=pixels, x_test=pixels, y_test=LABELS)).load(resolution=8, seed=0)
    expected = torch.from_numpy(PIXELS[:, :, 1:9, :channels]).permute(0, 3, 1, 2)
    assert torch.equal(data.test.images, expected)
    assert data.test.images.is_contiguous(memory_format=torch.channels_last)
    assert data.test.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, ("0", "1")),
        (LABELS[:, None], ("0", "1")),
        (LABELS.astype(bool), ("0", "1")),
        (LABELS.astype(np.float32), ("0", "1")),
        (LABELS.astype(np.uint64), ("0", "1")),
        (LABELS * 12 - 5, ("-5", "7")),
        (np.where(LABELS, "b", "a"), ("a", "b")),
        (np.where(LABELS, "b", "a").astype("S"), ("a", "b")),
        (np.where(LABELS, 10, 9), ("9", "10")),
    ],
    ids=["ints", "column", "bool", "float", "unsigned", "sparse", "strings", "bytes", "numeric-order"],
)
def test_labels_of_any_kind_are_numbered_in_order(path, labels, names):
    source = open_data(write(path, y_train=labels, x_test=PIXELS, y_test=labels))
    assert source.info.class_names == names
    assert source.load(resolution=8, seed=0).test.labels.tolist() == LABELS.tolist()


def test_class_names_are_kept_and_unused_ones_left_out(path):
    source = open_data(write(path, y_train=LABELS + 1, classes=np.array(["frog", "ship", "cat"])))
    assert source.info.class_names == ("ship", "cat")


def test_class_names_set_the_order_of_labels_that_are_strings(path):
    labels = np.where(LABELS, "a", "z")
    source = open_data(write(path, y_train=labels, classes=np.array(["z", "y", "a"]), x_test=PIXELS, y_test=labels))
    assert source.info.class_names == ("z", "a")
    assert source.load(resolution=8, seed=0).test.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("changes", "glyphs"),
    [
        ({}, False),
        ({"x_train": PIXELS[..., 0]}, True),
        ({"classes": np.array(["3", "8"])}, True),
        ({"classes": np.array(["A", "b"])}, True),
        ({"x_train": PIXELS[..., 0], "classes": np.array(["coat", "shirt"])}, False),
    ],
    ids=["colour", "grey", "digits", "letters", "named"],
)
def test_glyphs_are_told_by_their_names_or_by_being_grey(path, changes, glyphs):
    assert open_data(write(path, **changes)).info.glyphs is glyphs


OBJECTS = np.empty(20, dtype=object)
OBJECTS[:] = [[1]] * 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "must hold an array 'x_train', but it has y_train: save it by that name"),
        ({"y_train": None}, "must hold an array 'y_train', but it has x_train"),
        ({"x_train": None, "x_trian": PIXELS}, "but it has x_trian, y_train: rename 'x_trian' or save it"),
        ({"X_train": PIXELS}, "has both 'x_train' and 'X_train': keep one of the two"),
        ({"x_val": PIXELS}, "has 'x_val' without 'y_val': add it, or leave both out"),
        ({"x_test": PIXELS}, "has 'x_test' without 'y_test': add it, or leave both out"),
        ({"y_test": LABELS}, "has 'y_test' without 'x_test'"),
        (
            {"y_train": LABELS[:19]},
            "one label per image, but x_train has 20 images and y_train 19 labels: save",
        ),
        ({"x_test": PIXELS, "y_test": LABELS[:3]}, "x_test has 20 images and y_test 3 labels"),
        ({"y_train": np.eye(2)[LABELS]}, r"shape \(N,\), but has \(20, 2\): save y_train.argmax\(1\)"),
        ({"y_train": np.array(3)}, r"shape \(N,\), but has \(\): save one label per image"),
        ({"y_train": LABELS + 0.5}, "whole numbers or strings, but has 0.5: save class indices"),
        ({"y_train": np.where(LABELS, np.nan, 1)}, "whole numbers or strings, but has nan"),
        ({"y_train": LABELS.astype(complex)}, "whole numbers or strings, but holds complex128"),
        ({"y_train": np.zeros(20, int)}, "at least 2 classes, but .* has only '0': add images of another"),
        ({"y_train": LABELS + 1, "classes": np.array(["a", "b"])}, "lie in 0..1 .* but y_train has 2: fix"),
        ({"y_train": LABELS - 1, "classes": np.array(["a", "b"])}, "lie in 0..1 .* but y_train has -1"),
        (
            {"y_train": LABELS.astype("U"), "classes": np.array(["0"])},
            "not among the 1 class names: '1'; list",
        ),
        ({"classes": np.array(["a", "a"])}, "Class names must differ, but 'a' is listed twice"),
        ({"x_test": PIXELS, "y_test": LABELS + 1}, "y_test has classes that the training set lacks: 2; add"),
        ({"y_train": OBJECTS}, r"y_train of .* holds Python objects \(a pickle\), which are never loaded"),
        ({"x_train": np.full((20, 8, 8), None)}, "x_train of .* holds Python objects"),
        ({"classes": np.array(["a", 1], dtype=object)}, "classes of .* holds Python objects"),
        ({"x_train": PIXELS[:, 0, 0]}, r"x_train must have shape .* but has \(20, 3\): reshape it"),
        ({"x_train": PIXELS[:0], "y_train": LABELS[:0]}, "x_train holds no pixels"),
        ({"x_train": PIXELS.astype("U")}, "x_train of .* must hold pixels as uint8 or float, but holds <U3"),
        ({"x_test": PIXELS[..., 0], "y_test": LABELS}, "the same channels, but have 3 and 1: convert one"),
    ],
)
def test_arrays_that_do_not_match_are_refused(path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        open_data(write(path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.where(PIXELS > 250, np.nan, 0.5)}, "must be finite, but x_train has NaN"),
        ({"x_train": PIXELS * 1.0}, r"must lie in \[0, 1\], but x_train has 0 to 255: divide by 255"),
        ({"x_test": PIXELS - 1.0, "y_test": LABELS}, r"must lie in \[0, 1\], but x_test has -1 to 254"),
    ],
)
def test_pixels_out_of_range_are_refused_on_loading(path, changes, message):
    source = open_data(write(path, **changes))
    with pytest.raises(DataError, match=message):
        source.load(resolution=8, seed=0)


def test_a_file_that_is_no_archive_is_refused(path):
    path.write_text("x_train,y_train\n")
    with pytest.raises(DataError, match=r"small.npz is not an .npz archive: save it with numpy.savez_compressed"):
        open_data(path)


def test_a_single_array_or_pickle_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    np.save(tmp_path / "pickle.npy", OBJECTS, allow_pickle=True)
    for name in ("x.npy", "pickle.npy"):
        with pytest.raises(DataError, match="is not an .npz archive"):
            open_data(tmp_path / name)


def test_an_archive_of_something_else_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(DataError, match="must hold an array 'x_train', but it has none"):
        open_data(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", "no array")
    with pytest.raises(DataError, match=r"cannot be read as an .npz archive \("):
        open_data(path)


def test_a_damaged_archive_is_refused(path):
    write(path)
    content = bytearray(path.read_bytes())
    for at in range(300, 900):  # within the compressed pixels
        content[at] ^= 0x55
    path.write_bytes(content)
    source = open_data(path)
    with pytest.raises(DataError, match=r"x_train of .* cannot be read \(.*\): save the archive again"):
        source.load(resolution=8, seed=0)


def test_an_archive_cut_short_is_refused(path):
    write(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="is damaged or cut short|cannot be read"):
        open_data(path)


def test_opening_reads_no_images(path, monkeypatch):
    spec = write(path)
    original = np.lib.npyio.NpzFile.__getitem__
    read: list[str] = []
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: read.append(key) or original(self, key))
    source = open_data(spec)
    assert read == ["y_train"]
    source.load(resolution=8, seed=0)
    assert read == ["y_train", "x_train"]


def test_large_arrays_are_converted_in_pieces(path, monkeypatch):
    monkeypatch.setattr("nas.data.arrays.CHUNK_VALUES", 3 * PIXELS[0].size)
    data = open_data(write(path, x_test=PIXELS, y_test=LABELS)).load(resolution=8, seed=0)
    assert torch.equal(data.test.images, torch.from_numpy(PIXELS[:, :, 1:9]).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("x_train y_train", "x_val y_val", "x_test y_test"),
        ("X_Train Y_Train", "X_VALID Y_VALID", "X_TEST Y_TEST"),
        ("train_images train_labels", "val_images val_labels", "test_images test_labels"),
        ("xtrain ytrain", "x_dev y_dev", "x_testing targets_testing"),
    ],
)
def test_splits_go_by_the_names_that_people_give_them(tmp_path, train, val, test):
    path = tmp_path / "named.npz"
    arrays = {}
    for names, count in ((train, 20), (val, 6), (test, 4)):
        x, y = names.split()
        arrays |= {x: PIXELS[:count], y: LABELS[:count]}
    np.savez_compressed(path, **arrays, Classes=np.array(["frog", "ship"]), notes=np.arange(3))
    info = open_data(path).info
    assert (info.train_count, info.validation_count, info.test_count) == (20, 6, 4)
    assert info.class_names == ("frog", "ship")
    assert info.origins == {
        "train": train.split()[0],
        "search_validation": val.split()[0],
        "test": test.split()[0],
    }
    assert info.left_out == ("arrays by other names: 'notes'",)


class Noted(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_whole_numbers_of_more_than_eight_bits_are_scaled_by_the_range_of_all_splits(path):
    dark = np.linspace(0, 1500, PIXELS.size).astype(np.uint16).reshape(PIXELS.shape)
    light = dark.copy()
    light[0, 0, 0, 0] = 4000  # 12 bits
    said = Noted()
    data = open_data(write(path, x_train=dark, x_test=light, y_test=LABELS)).load(resolution=8, seed=0, progress=said)
    expected = np.rint(light[:, :, 1:9] * (255 / 4095)).astype(np.uint8)
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1).numpy(), expected)
    assert data.train.images.max() == round(1500 * 255 / 4095)
    assert said.notes[0] == ("Pixels of small are whole numbers from 0 to 4,000: 0 is read as black, 4,095 as white")


def test_negative_pixels_are_scaled_from_the_lowest_to_the_highest(path):
    scan = np.tile(np.array([-1024, 0, 1024], dtype=np.int32), (20, 8, 2))
    data = open_data(write(path, x_train=scan, x_test=scan, y_test=LABELS)).load(resolution=6, seed=0)
    assert sorted(set(data.test.images.flatten().tolist())) == [0, 128, 255]


def test_names_of_classes_in_two_unicode_forms_are_one_class(path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    source = open_data(
        write(
            path, y_train=np.where(LABELS, composed, "dog"), x_test=PIXELS, y_test=np.where(LABELS, decomposed, "dog")
        )
    )
    assert source.info.class_names == (composed, "dog")
    assert source.load(resolution=8, seed=0).test.labels.tolist() == (1 - LABELS).tolist()
