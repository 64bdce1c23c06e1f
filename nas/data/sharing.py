"""Tensors and data sets as plain arrays that several processes can share, and back without copying any of them."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
import torch

from nas.data.dataset import DataInfo, Dataset, Split

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]


def to_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A tensor's values; those with four axes channels last: (N, C, H, W) becomes (N, H, W, C).

    Arrays travel in C order. Kernels and images lie channels last in memory, and torch picks another convolution, with
    other last bits, for the same kernel in another order.
    """
    tensor = tensor.detach().cpu()
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).contiguous().numpy()


def to_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """The tensor that `to_array` was given, on the array's own memory.

    **Never write to it**: torch would do so without complaint even where the array is read-only, and so change it for
    every process that shares it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def pack_data(
    data: Dataset, *, train_images: int | None = None, validation_images: int | None = None
) -> tuple[dict[str, Any], Arrays]:
    """The first images of `train` and `search_validation` as arrays, and plain data of all else.

    The test split is not among them: whoever scores or trains must not see it.
    """
    splits = {
        "train": data.train.first(train_images or len(data.train)),
        "search_validation": data.search_validation.first(validation_images or len(data.search_validation)),
    }
    facts = {"info": asdict(data.info), "resolution": data.resolution, "mean": data.mean, "std": data.std}
    arrays: Arrays = {}
    for name, split in splits.items():
        arrays[f"{name}/images"] = to_array(split.images)
        arrays[f"{name}/labels"] = to_array(split.labels)
    return facts, arrays


def unpack_data(facts: dict[str, Any], arrays: Arrays) -> Dataset:
    """What `pack_data` was given, with an empty test split, on the arrays' own memory."""
    train, validation = (
        Split(images=to_tensor(arrays[f"{name}/images"]), labels=to_tensor(arrays[f"{name}/labels"]))
        for name in ("train", "search_validation")
    )
    return Dataset(
        info=DataInfo(**facts["info"]),
        resolution=facts["resolution"],
        train=train,
        search_validation=validation,
        test=validation.first(0),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
    )
