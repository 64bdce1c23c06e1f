"""Conversion of tensors and data sets to plain arrays that several processes can share, and back without a copy."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
import torch

from nas.data.dataset import DataInfo, Dataset, Split
from nas.data.memory import fits_memory
from nas.errors import DataError

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]


def to_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Converts a tensor to an array; with four axes, channels become last: (N, C, H, W) becomes (N, H, W, C).

    Arrays are transferred in C order. Kernels and images are channels last in memory; with another memory format torch
    would choose another convolution algorithm, whose results differ in the last bits.
    """
    tensor = tensor.detach().cpu()
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).contiguous().numpy()


def to_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """Converts an array from `to_array` back to a tensor, which shares the array's memory.

    **Never write to it**: torch would do so without an error even if the array is read-only, and change it for every
    process that shares it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def pack_data(
    data: Dataset, *, train_images: int | None = None, validation_images: int | None = None
) -> tuple[dict[str, Any], Arrays]:
    """Returns the first images of `train` and `search_validation` as arrays, and everything else as plain data.

    The test split is not included, since scoring and training must not use it.

    Raises:
        DataError: If the images are on disk because they do not fit in memory, where processes share them.
    """
    splits = {
        "train": data.train.first(train_images or len(data.train)),
        "search_validation": data.search_validation.first(validation_images or len(data.search_validation)),
    }
    for split in splits.values():
        if split.mapped and not fits_memory(split.images.nbytes):
            raise DataError(
                f"The images of {data.info.name} do not fit in memory, where workers share them: lower "
                "--train-resolution, or use --workers 0."
            )
    facts = {"info": asdict(data.info), "resolution": data.resolution, "mean": data.mean, "std": data.std}
    arrays: Arrays = {}
    for name, split in splits.items():
        arrays[f"{name}/images"] = to_array(split.images)
        arrays[f"{name}/labels"] = to_array(split.labels)
    return facts, arrays


def unpack_data(facts: dict[str, Any], arrays: Arrays) -> Dataset:
    """Restores a data set from `pack_data`, with an empty test split; it shares the arrays' memory."""
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
