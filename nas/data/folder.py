"""Folders in ImageFolder layout: one folder per class, at the top or in train/, validation/ and test/."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.encoded import EncodedPart, survey
from nas.data.images import reads_heif
from nas.data.labels import Classes, names_look_like_glyphs
from nas.data.left_out import LeftOut
from nas.data.messages import shown
from nas.data.split_names import Role, by_role, mentions_split, role_of
from nas.errors import DataError
from nas.texts import printable

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2", ".j2k"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
)
HEIF_EXTENSIONS = frozenset({".heic", ".heif"})
LAYOUT = "FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg beside validation/ and test/"


@dataclass(slots=True)
class _Tree:
    """What lies in a folder: images directly in it, and those below each of its folders, as paths in order."""

    path: Path
    images: list[str] = field(default_factory=list)
    below: dict[str, list[str]] = field(default_factory=dict)
    linked: set[str] = field(default_factory=set)
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def every(self) -> list[str]:
        """The images directly in it and below it."""
        return [*self.images, *(path for paths in self.below.values() for path in paths)]


def open_folder(root: Path, *, on_corrupt: OnCorrupt) -> Source:
    """The source of a folder of images. File names are listed now, and a sample of headers read.

    Raises:
        DataError: If the folder is in neither layout, or a class or split is empty.
    """
    left_out = LeftOut()
    trees = _trees(root, left_out)
    splits = _splits(root, trees)
    if splits:
        _leave_out_others(root, trees, splits, left_out)
        _leave_out_unlabeled(root, trees, splits, left_out)
        listed = {role: _listed_below(trees[name], left_out) for role, name in splits.items()}
        folders = {role: trees[name].path for role, name in splits.items()}
    else:
        listed: dict[Role, dict[str, list[str]]] = {"train": _listed_here(root, trees, left_out)}
        folders: dict[Role, Path] = {"train": root}
    _refuse_one_too_deep(root, trees, splits)
    classes = _classes(root, listed["train"], left_out)
    parts: dict[Role, EncodedPart] = {
        role: _part(files, classes, folders[role], root) for role, files in listed.items()
    }
    seen = survey(parts["train"], what=str(root))
    return PartSource.of(
        name=printable(root.resolve().name),
        kind="folder",
        classes=classes,
        channels=seen.channels,
        height=seen.height,
        width=seen.width,
        glyphs=names_look_like_glyphs(classes.names),
        parts=parts,
        origins={role: printable(f"{name}/") for role, name in splits.items()},
        left_out=tuple(printable(line) for line in left_out.described()),
        on_corrupt=on_corrupt,
    )


def _refuse_one_too_deep(root: Path, trees: Mapping[str, _Tree], splits: Mapping[Role, str]) -> None:
    """Refuses what archives unpack to: one folder, with the folders of the classes in it."""
    if splits or len(trees) != 1:
        return
    ((name, tree),) = trees.items()
    if not tree.images and sum(map(bool, tree.below.values())) > 1:
        raise DataError(f"{root} has one folder, whose folders are the classes: give {root / name} as --data.")


def _trees(root: Path, left_out: LeftOut) -> dict[str, _Tree]:
    """The folders in `root` with all that is in them; what else is in `root` is left out.

    Raises:
        DataError: If there are none.
    """
    top = _tree(root, root, deep=False)
    left_out.merge(top.left_out)
    if not top.below:
        found = "images but no class folders" if top.images else "neither class folders nor images"
        raise DataError(f"{root} has {found}: lay it out as {LAYOUT}.")
    for path in top.images:
        left_out.add("outside", os.path.relpath(path, root))
    return {name: _tree(root / name, root) for name in top.below}


def _tree(folder: Path, root: Path, *, deep: bool = True) -> _Tree:
    """Lists a folder and, if `deep`, all below it. Folders in it may be links, those further below may not."""
    tree = _Tree(path=folder)

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}): check its permissions.") from error

    def files_of(parent: str, names: list[str]) -> list[str]:
        images: list[str] = []
        for name in sorted(names):
            path = os.path.join(parent, name)
            extension = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                tree.left_out.add("hidden", os.path.relpath(path, root))
            elif extension in EXTENSIONS or (extension in HEIF_EXTENSIONS and reads_heif()):
                images.append(path)
            elif deep:  # beside class folders lie tables and notes, which are no images of a class
                tree.left_out.add_file(extension, os.path.relpath(path, root))
        return images

    def folders_of(parent: str, names: list[str]) -> list[str]:
        hidden = [name for name in names if name.startswith((".", "__"))]
        for name in sorted(hidden):
            tree.left_out.add("hidden", os.path.relpath(os.path.join(parent, name), root))
        return sorted(set(names).difference(hidden))

    def below(start: str) -> list[str]:
        found: list[str] = []
        for parent, folders, names in os.walk(start, onerror=refuse):
            folders[:] = folders_of(parent, folders)
            for name in folders:
                if os.path.islink(os.path.join(parent, name)):
                    tree.left_out.add("link", os.path.relpath(os.path.join(parent, name), root))
            found += files_of(parent, names)
        return sorted(found)

    for parent, folders, names in os.walk(folder, onerror=refuse):
        tree.images = files_of(parent, names)
        for name in folders_of(parent, folders):
            path = os.path.join(parent, name)
            tree.below[name] = below(path) if deep else []
            if os.path.islink(path):
                tree.linked.add(name)
        break
    return tree


def _splits(root: Path, trees: Mapping[str, _Tree]) -> dict[Role, str]:
    """The folder of each split that is given; none where classes lie directly in `root`.

    Raises:
        DataError: If folders look like splits and are none that can be used.
    """
    known = [name for name in trees if role_of(name) is not None]
    with_folders = {name: role_of(name) for name in known if trees[name].below}
    if "train" in with_folders.values():  # a folder "train" may be a class, beside "bus"
        found = by_role(known, what=str(root))
        classes = {_one_form(name) for name in trees[found["train"]].below}
        for name, tree in trees.items():
            if name not in known and any(_one_form(each) in classes and paths for each, paths in tree.below.items()):
                raise DataError(
                    f"{root} has {found['train']}/ and beside it {name}/, which holds classes and is no split by its"
                    " name: rename it to train, validation or test, or move it away."
                )
        return found
    if with_folders:
        raise DataError(
            f"{root} has {next(iter(with_folders))}/ but no train/ with class folders: lay it out as {LAYOUT}."
        )
    if len(known) == len(trees):
        raise DataError(f"{root} has splits ({shown(known)}), but no class folders in them: lay it out as {LAYOUT}.")
    _refuse_unknown_splits(root, trees)
    return {}


def _refuse_unknown_splits(root: Path, trees: Mapping[str, _Tree]) -> None:
    """Refuses folders of class folders, such as seg_train/ and seg_test/, or color/ and segmented/ with one content."""
    holders = {name: tree for name, tree in trees.items() if any(tree.below.values()) and not tree.images}
    remedy = "name splits train, validation and test, or give one of the folders as --data"
    for name in holders:
        if mentions_split(name):
            raise DataError(
                f"{root} has {name}/ with folders in it, which looks like a split and is not known: {remedy}."
            )
    inner = {frozenset(map(_one_form, tree.below)) for tree in holders.values()}
    if len(holders) == len(trees) > 1 and len(inner) == 1 and len(next(iter(inner))) > 1:
        raise DataError(
            f"{root} has {shown(list(trees))} with the same folders in each ({shown(sorted(next(iter(inner))))}), which"
            f" looks like splits and not like classes: {remedy}; images of classes can lie directly in their folders."
        )


def _listed_below(tree: _Tree, left_out: LeftOut) -> dict[str, list[str]]:
    """Paths of the images of each class of a split."""
    for path in tree.images:
        tree.left_out.add("outside", os.path.relpath(path, tree.path.parent))
    left_out.merge(tree.left_out)
    return _by_class(tree.path, tree.below)


def _listed_here(root: Path, trees: Mapping[str, _Tree], left_out: LeftOut) -> dict[str, list[str]]:
    """Paths of the images of each class, where classes lie directly in `root`; folders within them count too."""
    for tree in trees.values():
        for name in sorted(tree.linked):
            del tree.below[name]
            tree.left_out.add("link", os.path.relpath(tree.path / name, root))
        left_out.merge(tree.left_out)
    return _by_class(root, {name: sorted(tree.every) for name, tree in trees.items()})


def _by_class(folder: Path, below: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Images by the class's name, of which two Unicode forms (macOS writes another than Linux) are one."""
    listed: dict[str, list[str]] = {}
    for name in sorted(below, key=_one_form):
        listed.setdefault(_one_form(name), []).extend(below[name])
    if not any(listed.values()):
        kinds = "jpg, png, webp, bmp, gif, tif, …"
        raise DataError(f"{folder} has no images ({kinds}) in class folders: lay it out as {LAYOUT}.")
    return listed


def _leave_out_others(root: Path, trees: Mapping[str, _Tree], splits: Mapping[Role, str], left_out: LeftOut) -> None:
    for name, tree in trees.items():
        images = [] if name in splits.values() else tree.every
        if images:
            left_out.add("beside", os.path.relpath(images[0], root), len(images))


def _leave_out_unlabeled(root: Path, trees: Mapping[str, _Tree], splits: dict[Role, str], left_out: LeftOut) -> None:
    """Takes a test set without class folders from the splits, as competitions publish it: it tests nothing."""
    tree = trees.get(splits.get("test", ""))
    if tree is not None and tree.images and not any(tree.below.values()):
        del splits["test"]
        left_out.add("unlabeled", os.path.relpath(tree.images[0], root), len(tree.images))


def _classes(root: Path, listed: Mapping[str, list[str]], left_out: LeftOut) -> Classes:
    empty = [name for name, files in listed.items() if not files]
    if empty:
        known = "; ".join(left_out.described())
        raise DataError(
            f"{root} has class folders without images: {shown(empty)}; add images or remove the folders"
            + (f" (left out: {known})." if known else ".")
        )
    return Classes.of(np.array(list(listed)), what=str(root))


def _part(listed: Mapping[str, list[str]], classes: Classes, folder: Path, root: Path) -> EncodedPart:
    files = [file for of_class in listed.values() for file in of_class]
    labels = np.array([name for name, of_class in listed.items() for _ in of_class])
    return EncodedPart(
        labels=classes.indices(labels, what=str(folder)),
        fetch=files.__getitem__,
        name=lambda i: printable(os.path.relpath(files[i], root)),
    )


def _one_form(name: str) -> str:
    return unicodedata.normalize("NFC", name)
