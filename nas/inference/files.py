"""The image files that words of a command line mean: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.data.folder import EXTENSIONS, HEIF_EXTENSIONS
from nas.data.images import reads_heif
from nas.data.left_out import LeftOut
from nas.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Paths of image files, each once, and what folders hold besides, a line each."""

    paths: tuple[str, ...]
    left_out: tuple[str, ...]


def find_images(words: Sequence[str]) -> Found:
    """Returns the files that are named, those in folders at any depth, and those that patterns match.

    In folders and by patterns only files with an extension of images are taken, no hidden ones; a file that is named is
    taken whatever its name.

    Raises:
        DataError: If a folder or a pattern gives no image.
    """
    left_out = LeftOut()
    paths: list[str] = []
    for word in words:
        if os.path.isdir(word):
            found = _images([word], left_out)
            if not found:
                raise DataError(f"{word} holds no images: give a folder of image files.")
        elif glob.has_magic(word) and not os.path.lexists(word):
            # A link to a folder above it leads round in circles: each file once, by its shortest path.
            matched = sorted(glob.glob(word, recursive=True), key=lambda path: (path.count(os.sep), path))
            places = {os.path.join(os.path.realpath(os.path.dirname(p)), os.path.basename(p)): p for p in matched[::-1]}
            matched = sorted(places.values())
            found = _images(matched, left_out)
            if not found:
                raise DataError(f"{word} matches no image: write a pattern such as 'photos/*.jpg'.")
        else:
            found = [word]
        paths += found
    return Found(paths=tuple(dict.fromkeys(paths)), left_out=left_out.described())


def _images(places: Iterable[str], left_out: LeftOut) -> list[str]:
    """The images among files and in folders, in order; counts what is left out."""
    found: list[str] = []
    for place in places:
        if os.path.isdir(place):
            for parent, folders, names in os.walk(place):
                for name in [name for name in folders if name.startswith((".", "__"))]:
                    left_out.add("hidden", os.path.join(parent, name))
                    folders.remove(name)
                for name in [name for name in folders if os.path.islink(os.path.join(parent, name))]:
                    left_out.add("link", os.path.join(parent, name))
                folders.sort()
                found += [path for name in sorted(names) if _is_image(path := os.path.join(parent, name), left_out)]
        elif _is_image(place, left_out):
            found.append(place)
    return found


def _is_image(path: str, left_out: LeftOut) -> bool:
    name = os.path.basename(path)
    extension = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        left_out.add("hidden", path)
        return False
    if extension in EXTENSIONS or (extension in HEIF_EXTENSIONS and reads_heif()):
        return True
    left_out.add_file(extension, path)
    return False
