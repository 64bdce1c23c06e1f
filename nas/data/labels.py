"""Conversion of stored labels (any integers or strings) to class indices."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.data.messages import shown
from nas.errors import DataError
from nas.texts import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The classes of a training set in a stable order: integers by value, strings by code point.

    `values` are the stored labels, `names` their display names; a class's index is its position in both.
    """

    values: tuple[int | str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, labels: np.ndarray, *, what: str, names: Sequence[str] = ()) -> Classes:
        """Returns the classes that occur in `labels`.

        Args:
            labels: Integers or strings (N,), from `plain_labels`.
            what: The name of the labels, for messages.
            names: All class names, if the data set lists them: integer labels index them, string labels are among
                them and sorted in their order. Names without an image are left out.

        Raises:
            DataError: If there are labels that have no name.
        """
        values: list[int | str] = np.unique(labels).tolist()
        names = [unicodedata.normalize("NFC", name) for name in names]
        if not names:
            return cls(values=tuple(values), names=_named(values))
        if len(set(names)) != len(names):
            twice = next(name for name in names if list(names).count(name) > 1)
            raise DataError(f"Class names must differ, but {twice!r} is listed twice: rename one.")
        if isinstance(values[0], str):
            lacking = [value for value in values if value not in names]
            if lacking:
                raise DataError(
                    f"{what} has labels that are not among the {len(names)} class names: {shown(lacking)};"
                    " list every class."
                )
            present = set(values)
            values = [name for name in names if name in present]
            return cls(values=tuple(values), names=_named(values))
        outside = [value for value in values if not 0 <= int(value) < len(names)]
        if outside:
            raise DataError(
                f"Labels must lie in 0..{len(names) - 1} for the {len(names)} class names, but {what} has"
                f" {shown(outside)}: fix the labels or list every class."
            )
        return cls(values=tuple(values), names=_named([names[int(value)] for value in values]))

    def indices(self, labels: np.ndarray, *, what: str) -> Tensor:
        """Returns the class indices, int64 (N,), of stored labels.

        Raises:
            DataError: If a label belongs to no class of the training set.
        """
        present, inverse = np.unique(labels, return_inverse=True)
        place: dict[int | str, int] = {value: index for index, value in enumerate(self.values)}
        strangers = [value for value in present.tolist() if value not in place]
        if strangers:
            raise DataError(
                f"{what} has classes that the training set lacks: {shown(strangers)}; add training images"
                " of them or remove them."
            )
        table = np.array([place[value] for value in present.tolist()], dtype=np.int64)
        return torch.from_numpy(table[inverse.reshape(-1)] if len(table) else np.zeros(0, dtype=np.int64))

    def without_images(self, indices: Tensor) -> tuple[str, ...]:
        """The names of the classes that none of the indices is of."""
        return tuple(name for name, count in zip(self.names, self.counts(indices), strict=True) if not count)

    def counts(self, indices: Tensor) -> tuple[int, ...]:
        return tuple(torch.bincount(indices, minlength=len(self.names)).tolist())


def check_label_type(shape: tuple[int, ...], dtype: np.dtype, *, what: str) -> None:
    """Refuses labels that `plain_labels` cannot read, judging by shape and type.

    Raises:
        DataError: If there is not one label per image, or labels are neither numbers nor strings.
    """
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        remedy = f"save {what}.argmax(1)" if len(shape) == 2 else "save one label per image"
        raise DataError(f"{what} must have one label per image, shape (N,), but has {shape}: {remedy}.")
    if dtype.kind not in "SfbiuU":
        raise DataError(f"{what} must hold whole numbers or strings, but holds {dtype}: save class indices.")


def plain_labels(array: np.ndarray, *, what: str) -> np.ndarray:
    """Converts stored labels to integers or strings (N,).

    Raises:
        DataError: If they are neither, or not one per image.
    """
    check_label_type(array.shape, array.dtype, what=what)
    array = array.reshape(-1)
    kind = array.dtype.kind
    if kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    elif kind == "f":
        wide = array.astype(np.float64)
        # Beyond 2^53, a double cannot represent every whole number.
        whole = np.isfinite(wide) & (np.abs(wide) < 2.0**53) & (wide == np.floor(wide))
        if not whole.all():
            value = array[~whole][0]
            raise DataError(f"{what} must hold whole numbers or strings, but has {value}: save class indices.")
        array = array.astype(np.int64)
    elif kind == "b":
        array = array.astype(np.int64)
    elif kind == "U" and array.size:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        if array.dtype.itemsize and array.view(np.uint32).max() > sys.maxunicode:
            raise DataError(f"{what} holds strings that are no text: save class names or indices.")
    return _one_form(array) if array.dtype.kind == "U" else array


def _one_form(labels: np.ndarray) -> np.ndarray:
    """Strings of which two Unicode forms, composed and decomposed, are one."""
    present, inverse = np.unique(labels, return_inverse=True)
    composed = np.array([unicodedata.normalize("NFC", each) for each in present.tolist()], dtype=np.str_)
    return composed[inverse.reshape(-1)]


def _named(values: Sequence[int | str]) -> tuple[str, ...]:
    """Returns printable names, since folder names may have undecodable bytes or terminal control codes."""
    return tuple(printable(str(value)) for value in values)


def names_look_like_glyphs(names: Iterable[str]) -> bool:
    """Returns whether class names are single characters, such as folders '0' to '9' or 'A' to 'Z', or up to '10'.

    Numbers beyond are those of a list of classes, such as the 102 of flowers.
    """
    return all(len(name) == 1 or name == "10" for name in names)
