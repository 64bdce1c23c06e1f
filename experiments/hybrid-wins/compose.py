"""Data sets composed of real images: what decides the class lies far apart. See README.md.

Images are uint8 (N, 48, 48, 3), labels int64 (N,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

SIZE, OBJECT, CELL, HALF = 48, 14, 16, 18
COUNTS = {"train": 8000, "validation": 1000, "test": 2000}
FASHION_TRAIN, CIFAR_TRAIN = 50_000, 22_000  # sources of training images; validation has the rest
RELATED = (1, 2, 8, 9)  # trouser, pullover, bag, ankle boot
CUED = (0, 1, 4, 7, 8)  # T-shirt, trouser, coat, sneaker, bag
SEEDS = {"train": 11, "validation": 12, "test": 13}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Source images of one split: objects float32 (n, 14, 14) and backgrounds float32 (n, 48, 48, 3), in [0, 1]."""

    objects: np.ndarray
    kinds: np.ndarray
    backgrounds: np.ndarray

    def object_of(self, kind: int, rng: np.random.Generator) -> np.ndarray:
        return self.objects[rng.choice(np.flatnonzero(self.kinds == kind))]


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Images (n, h, w) or (n, h, w, 3) in 0..255 as float32 in [0, 1] of `size` pixels, antialiased."""
    pixels = torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2).float() / 255
    scaled = interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    return scaled.permute(0, 2, 3, 1).numpy().reshape(len(images), size, size, *images.shape[3:])


def sources(folder: Path, split: str, rng: np.random.Generator) -> Sources:
    """The sources of one split, disjoint from those of the others; 4,000 objects and backgrounds at most."""
    with np.load(folder / "fashion_mnist.npz") as fashion, np.load(folder / "cifar10.npz") as cifar:
        half = "test" if split == "test" else "train"
        clothes, kinds, scenes = fashion[f"x_{half}"], fashion[f"y_{half}"], cifar[f"x_{half}"]
    first = {"train": slice(0, FASHION_TRAIN), "validation": slice(FASHION_TRAIN, None), "test": slice(None)}[split]
    second = {"train": slice(0, CIFAR_TRAIN), "validation": slice(CIFAR_TRAIN, None), "test": slice(None)}[split]
    clothes, kinds, scenes = clothes[first], kinds[first], scenes[second]
    chosen = rng.permutation(len(scenes))[:4000]
    return Sources(objects=resized(clothes, OBJECT), kinds=kinds, backgrounds=resized(scenes[chosen], SIZE))


def color(hue: float) -> np.ndarray:
    """The saturated color of a hue in [0, 1), float (3,)."""
    return np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)


def background(images: Sources, rng: np.random.Generator) -> np.ndarray:
    """A source image at 0.4 of its contrast around gray."""
    return 0.5 + 0.4 * (images.backgrounds[rng.integers(len(images.backgrounds))] - 0.5)


def paste(canvas: np.ndarray, thing: np.ndarray, hue: float, top: int, left: int) -> None:
    """Blends an object (14, 14) of a hue into the canvas by its own brightness."""
    there = canvas[top : top + OBJECT, left : left + OBJECT]
    there[:] = there * (1 - thing[..., None]) + color(hue) * thing[..., None]


def relation(label: int, images: Sources, rng: np.random.Generator) -> np.ndarray:
    """Two objects far apart: label 1 if both are of one kind."""
    canvas = background(images, rng)
    first = rng.choice(RELATED)
    second = first if label else rng.choice([kind for kind in RELATED if kind != first])
    for kind, left in ((first, 0), (second, SIZE - HALF)):
        top, shift = rng.integers(SIZE - OBJECT + 1), rng.integers(HALF - OBJECT + 1)
        paste(canvas, images.object_of(kind, rng), rng.random(), top, left + shift)
    return canvas


def cue(label: int, images: Sources, rng: np.random.Generator) -> np.ndarray:
    """Four objects and a square that has the hue of one of them: that one's kind is the label."""
    canvas, start = background(images, rng), rng.random()
    cells = rng.permutation(9)
    for i in range(4):  # the first is the one that the square means
        kind = CUED[label] if i == 0 else rng.choice(CUED)
        top, left = CELL * (cells[i] // 3), CELL * (cells[i] % 3)
        shifts = rng.integers(CELL - OBJECT + 1, size=2)
        paste(canvas, images.object_of(kind, rng), (start + i / 4) % 1, top + shifts[0], left + shifts[1])
    top, left = CELL * (cells[4] // 3) + rng.integers(11), CELL * (cells[4] % 3) + rng.integers(11)
    canvas[top : top + 6, left : left + 6] = color(start)
    return canvas


def symmetry(label: int, images: Sources, rng: np.random.Generator) -> np.ndarray:
    """Two halves apart: label 1 if the right one mirrors the left."""
    first, second = rng.choice(len(images.backgrounds), size=2, replace=False)
    canvas = rng.random((SIZE, SIZE, 3))
    canvas[:, :HALF] = images.backgrounds[first][:, :HALF]
    other = images.backgrounds[first if label else second][:, :HALF]
    canvas[:, -HALF:] = np.clip(other[:, ::-1] * rng.uniform(0.8, 1.2, size=3), 0, 1)
    return canvas


COMPOSERS: dict[str, tuple[int, Callable[[int, Sources, np.random.Generator], np.ndarray]]] = {
    "relation": (2, relation),
    "cue": (len(CUED), cue),
    "symmetry": (2, symmetry),
}


def compose(task: str, folder: Path, path: Path) -> None:
    """Writes one task's images and labels as an .npz archive, unless it is there.

    `x_train` has the training images, then the validation images (`COUNTS`), since archives have no third part.
    """
    if path.exists():
        return
    classes, composer = COMPOSERS[task]
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for split, count in COUNTS.items():
        rng = np.random.default_rng(SEEDS[split])
        images = sources(folder, split, rng)
        labels = rng.permutation(np.arange(count) % classes)
        canvases = [np.rint(255 * composer(int(label), images, rng)).astype(np.uint8) for label in labels]
        parts[split] = np.stack(canvases), labels.astype(np.int64)
    x, y = (np.concatenate([parts["train"][i], parts["validation"][i]]) for i in range(2))
    path.parent.mkdir(parents=True, exist_ok=True)
    x_test, y_test = parts["test"]
    np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
