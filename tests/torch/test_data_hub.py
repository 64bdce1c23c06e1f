"""`hf:NAME`, on a stand-in for the optional package `datasets`, and on the package where it is there."""

import importlib.machinery
import importlib.util
import sys
import types
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pillow

from nas.data import open_data
from nas.errors import DataError


class Image:
    def __init__(self, decode: bool = True):
        self.decode = decode


class ClassLabel:
    def __init__(self, names: list[str]):
        self.names = names


class Value: ...


class Rows:
    """As much of `datasets.Dataset` as is used."""

    def __init__(self, columns: dict[str, list], features: dict[str, object]):
        self.columns, self.features = columns, features

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {column: values[key] for column, values in self.columns.items()}

    def cast_column(self, column, feature):
        assert not feature.decode
        return Rows(self.columns, self.features | {column: feature})


def picture(value: int) -> dict:
    buffer = BytesIO()
    Pillow.new("RGB", (9, 8), (value, 0, 0)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def rows(count: int, *, label: str = "label", labels: list | None = None, feature: object = None) -> Rows:
    labels = [i % 2 for i in range(count)] if labels is None else labels
    features = {"image": Image(), label: feature or ClassLabel(["cat", "dog"])}
    return Rows({"image": [picture(i) for i in range(count)], label: labels}, features)


class StandIn(types.ModuleType):
    """A package `datasets` whose `load_dataset` gives `splits`."""

    Image = Image

    def __init__(self) -> None:
        super().__init__("datasets")
        self.__spec__ = importlib.machinery.ModuleSpec("datasets", None, origin="stand-in")
        self.asked: list[tuple[str, str | None]] = []
        self.splits: dict[str, Rows] | Exception = {"train": rows(20)}

    def load_dataset(self, path: str, config: str | None) -> dict[str, Rows]:
        self.asked.append((path, config))
        if isinstance(self.splits, Exception):
            raise self.splits
        return self.splits


@pytest.fixture
def hub(monkeypatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"'hf:cifar10' needs the extra 'hf': pip install 'hybrid-nas\[hf\]'"):
        open_data("hf:cifar10")


def test_a_folder_called_datasets_is_not_the_package(monkeypatch, tmp_path):
    (tmp_path / "datasets").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(DataError, match="needs the extra 'hf'"):
        open_data("hf:cifar10")


def test_a_data_set_of_the_hub_is_read(hub):
    hub.splits = {"train": rows(20), "validation": rows(4), "test": rows(6)}
    source = open_data("hf:someone/pets:small")
    assert hub.asked == [("someone/pets", "small")]
    info = source.info
    assert (info.name, info.kind, info.channels) == ("hf:someone/pets:small", "hf", 3)
    assert (info.height, info.width, info.class_names) == (8, 9, ("cat", "dog"))
    assert (info.train_count, info.validation_count, info.test_count) == (20, 4, 6)
    data = source.load(resolution=8, seed=0)
    assert (len(data.train), len(data.search_validation), len(data.test)) == (20, 4, 6)
    assert data.test.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.test.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_missing_splits_are_made(hub):
    data = open_data("hf:pets").load(resolution=8, seed=0)
    assert hub.asked == [("pets", None)]
    assert (len(data.train), len(data.search_validation), len(data.test)) == (13, 3, 4)


@pytest.mark.parametrize("test", [rows(6, labels=[-1] * 6), rows(0)], ids=["unlabelled", "empty"])
def test_a_test_split_that_tests_nothing_is_left_out(hub, test):
    hub.splits = {"train": rows(20), "test": test}
    assert open_data("hf:pets").info.test_count == 0


def test_labels_may_be_plain_values(hub):
    hub.splits = {"train": rows(6, label="fine_label", labels=list("aabbab"), feature=Value())}
    assert open_data("hf:pets").info.class_names == ("a", "b")


def test_a_corrupt_image_is_named_by_its_place(hub):
    broken = rows(20)
    broken.columns["image"][7] = {"bytes": b"no", "path": None}
    hub.splits = {"train": broken}
    assert open_data("hf:pets").load(resolution=8, seed=0).skipped == ("train[7] (not an image)",)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (ValueError("no such\ndata set"), r"'hf:pets' cannot be loaded \(no such data set\): check the name"),
        ({"test": rows(4)}, "has no split 'train', only 'test'"),
        ({"train": Rows({"text": ["a"]}, {"text": Value()})}, "must have one image column, but has none"),
        (
            {"train": rows(4, label="species", labels=[0, 1, 0, 1], feature=Value())},
            "must have one label column, called 'label' or of type ClassLabel, but has none",
        ),
        ({"train": rows(4, labels=[0, 1, 0, 5])}, r"Labels must lie in 0..1 .* but hf:pets has 5"),
        ({"train": rows(4, labels=[0, 1, 0, None])}, "must hold whole numbers or strings, but holds object"),
        ({"train": rows(4, labels=[0, 0, 0, 0])}, "at least 2 classes"),
    ],
    ids=["unknown", "no-train", "no-image", "no-label", "range", "none", "one-class"],
)
def test_what_cannot_be_learnt_from_is_refused(hub, splits, message):
    hub.splits = splits
    with pytest.raises(DataError, match=message) as caught:
        open_data("hf:pets")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the extra 'hf'")
def test_the_real_package_reads_a_local_data_set(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name, red in (("cat", 10), ("dog", 200)):
        (tmp_path / "pets" / "train" / name).mkdir(parents=True)
        for i in range(5):
            Pillow.new("RGB", (9, 8), (red + i, 0, 0)).save(tmp_path / "pets" / "train" / name / f"{i}.png")
    source = open_data(f"hf:{tmp_path / 'pets'}")
    assert source.info.class_names == ("cat", "dog")
    assert source.info.train_count == 10
    data = source.load(resolution=8, seed=0)
    assert ((data.train.images[:, 0, 0, 0] > 100).long() == data.train.labels).all()
