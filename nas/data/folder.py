"""Folders in ImageFolder layout: one folder per class, at the top or in train/, validation/ and test/."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.encoded import EncodedPart, survey
from nas.data.labels import Classes, names_look_like_glyphs
from nas.data.messages import shown
from nas.errors import DataError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
)
VALIDATION = ("validation", "val", "valid")
LAYOUT = "FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg beside validation/ and test/"


def open_folder(root: Path, *, on_corrupt: OnCorrupt) -> Source:
    """The source of a folder of images. File names are listed now, and a sample of headers read.

    Raises:
        DataError: If the folder is in neither layout, or a class or split is empty.
    """
    halves = _halves(root)
    listed = {half: _listed(folder) for half, folder in halves.items()}
    classes = _classes(root, listed["train"])
    parts = {half: _part(files, classes, halves[half], root) for half, files in listed.items()}
    train, validation, test = parts["train"], parts.get("search_validation"), parts.get("test")
    seen = survey(train, what=str(root))
    return PartSource.of(
        name=root.resolve().name,
        kind="folder",
        classes=classes,
        channels=seen.channels,
        height=seen.height,
        width=seen.width,
        glyphs=names_look_like_glyphs(classes.names),
        train=train,
        search_validation=validation,
        test=test,
        on_corrupt=on_corrupt,
    )


def _halves(root: Path) -> dict[str, Path]:
    """The folder of each split that is given; `root` itself as "train" where classes lie directly in it."""
    folders = {path.name: path for path in _subfolders(root)}
    if not folders:
        loose = any(_is_image(path.name) for path in root.iterdir())
        found = "images but no class folders" if loose else "neither class folders nor images"
        raise DataError(f"{root} has {found}: lay it out as {LAYOUT}.")
    reserved = [name for name in (*VALIDATION, "test") if name in folders]
    if "train" not in folders or not _subfolders(folders["train"]):  # "train" may be a class, beside "bus"
        split_like = [name for name in reserved if _subfolders(folders[name])]
        if split_like:
            raise DataError(f"{root} has {split_like[0]}/ but no train/ with class folders: lay it out as {LAYOUT}.")
        return {"train": root}
    given = [name for name in VALIDATION if name in folders]
    if len(given) > 1:
        raise DataError(f"{root} has both {given[0]}/ and {given[1]}/: keep one validation folder.")
    halves = {"train": folders["train"]}
    if given:
        halves["search_validation"] = folders[given[0]]
    if "test" in folders:
        halves["test"] = folders["test"]
    return halves


def _listed(folder: Path) -> dict[str, list[str]]:
    """Paths of the images of each class, sorted; those in folders within a class folder count too."""

    def refuse(error: OSError) -> None:
        raise _unlisted(error.filename, error) from error

    listed: dict[str, list[str]] = {}
    for class_folder in _subfolders(folder):
        files: list[str] = []
        for parent, _, names in os.walk(class_folder, onerror=refuse):
            files += [os.path.join(parent, name) for name in names if _is_image(name)]
        listed[class_folder.name] = sorted(files)
    if not any(listed.values()):
        kinds = "jpg, png, webp, bmp, gif, tif, …"
        raise DataError(f"{folder} has no images ({kinds}) in class folders: lay it out as {LAYOUT}.")
    return listed


def _classes(root: Path, listed: dict[str, list[str]]) -> Classes:
    empty = [name for name, files in listed.items() if not files]
    if empty:
        raise DataError(f"{root} has class folders without images: {shown(empty)}; add images or remove the folders.")
    return Classes.of(np.array(list(listed)), what=str(root))


def _part(listed: dict[str, list[str]], classes: Classes, folder: Path, root: Path) -> EncodedPart:
    files = [file for of_class in listed.values() for file in of_class]
    labels = np.array([name for name, of_class in listed.items() for _ in of_class])
    return EncodedPart(
        labels=classes.indices(labels, what=str(folder)),
        fetch=files.__getitem__,
        name=lambda i: os.path.relpath(files[i], root),
    )


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    except OSError as error:
        raise _unlisted(folder, error) from error


def _unlisted(folder: str | Path, error: OSError) -> DataError:
    return DataError(f"{folder} cannot be listed ({error.strerror}): check its permissions.")


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS
