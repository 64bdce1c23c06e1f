"""The digits of scikit-learn: 1,797 handwritten digits of 8x8 gray pixels, available without a download."""

from __future__ import annotations

import numpy as np

from nas.data.arrays import ArrayPart
from nas.data.assembly import PartSource
from nas.data.dataset import OnCorrupt, Source
from nas.data.labels import Classes


def open_digits(*, on_corrupt: OnCorrupt) -> Source:
    """Returns the source `digits`. Its 17 gray levels are scaled to 0 to 255."""
    from sklearn.datasets import load_digits  # slow to import, and used by this source only

    flat, target = load_digits(return_X_y=True)
    pixels = np.rint(np.asarray(flat) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = np.asarray(target)
    classes = Classes.of(labels, what="digits")
    return PartSource.of(
        name="digits",
        kind="digits",
        classes=classes,
        channels=1,
        height=8,
        width=8,
        glyphs=True,
        parts={
            "train": ArrayPart(
                labels=classes.indices(labels, what="digits"), read=lambda: pixels, raw_bytes=0, what="digits"
            )
        },
        origins={"train": "scikit-learn"},
        on_corrupt=on_corrupt,
    )
