"""Data sets: located, decoded, split once into three parts, and served in batches.

>>> source = open_data("digits")
>>> source.info.num_classes
10
>>> data = source.load(resolution=8, seed=0)
>>> len(data.train), len(data.search_validation), len(data.test)
(1150, 288, 359)
"""

from nas.data.augmentation import ImageAugmentation
from nas.data.batches import Augment, Batches, choose_augment
from nas.data.dataset import DataInfo, Dataset, Source, Split, data_lines, size_lines
from nas.data.sources import open_data

__all__ = [
    "Augment",
    "Batches",
    "DataInfo",
    "Dataset",
    "ImageAugmentation",
    "Source",
    "Split",
    "choose_augment",
    "data_lines",
    "open_data",
    "size_lines",
]
