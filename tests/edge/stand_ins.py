"""What the pages' commands need beside what they make: small files of the names that the docs use."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from ..torch.timm_import import import_timm
from .documented import ROOT, Command

CLASSES = ("cat", "dog", "horse")  # digits 0, 1 and 2
SIDE = 64


def lay_out(folder: Path, commands: list[Command], run: Callable[[str], None]) -> None:
    """Puts what the commands name into a folder, unless an earlier command of theirs makes it.

    Args:
        run: Runs a command in the folder, for what only the program makes.
    """
    text = "\n".join(command.line for command in commands)
    for name in FILES:
        if _is_needed(name, text):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            FILES[name](folder / name)
    for name, lines in RUNS.items():
        if _is_needed(name, text):
            lay_out(folder, [Command("", line) for line in lines], run)
            for line in lines:
                run(Command("", line).as_run)


def _is_needed(name: str, text: str) -> bool:
    """Returns whether a command names it as what is there, before one that makes it."""
    for line in text.splitlines():
        words = line.replace("=", " ").split()
        named = [word for word in words if word == name or word.startswith(f"{name.rstrip('/')}/")]
        if named:
            return f"--out {name}" not in line and f"> {name}" not in line
    return False


def photos(folder: Path) -> None:
    """Writes images in folders of classes: digits of 8x8 pixels, enlarged."""
    digits = load_digits()
    for split, start, stop in (("train", 0, 40), ("test", 40, 52)):
        for label, name in enumerate(CLASSES):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(digits.images[digits.target == label][start:stop]):
                _picture(image).save(place / f"{number}.jpg")


def _picture(image: np.ndarray) -> Image.Image:
    levels = (image * 255 / 16).astype(np.uint8)
    return Image.fromarray(levels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")


def photo(path: Path) -> None:
    _picture(load_digits().images[100]).save(path)


def more(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(load_digits().images[:3]):
        _picture(image).save(folder / f"{number}.png")


def released_weights(path: Path) -> None:
    """Writes weights of EfficientNet-Lite0 as timm names them; they are random."""
    import torch

    timm = import_timm()
    torch.manual_seed(0)
    torch.save(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), path)


def space(path: Path) -> None:
    shutil.copyfile(ROOT / "search_spaces" / "coatnet-small.yaml", path)


def scores(path: Path) -> None:
    path.write_text("network,accuracy,my_score\n" + "".join(f"n{i},0.{50 + i * i % 17},{i}\n" for i in range(12)))


def published(path: Path) -> None:
    names = ("mobilenetv2_100", "resnet18", "resnet26", "efficientnet_b0", "mnasnet_b1")
    path.write_text("architecture,top1\n" + "".join(f"{name},{70 + i}.5\n" for i, name in enumerate(names)))


def sizes(path: Path) -> None:
    path.write_text("arch,accuracy\n" + "".join(f"{8 * i}:16:24:32:40,0.{10 + i}\n" for i in range(1, 9)))


def trained(path: Path) -> None:
    """Writes the first rows of a table of this repository: members of coatnet-small, each trained from scratch."""
    with (ROOT / "results" / "hybrid-truth" / "truth.csv").open(newline="") as file:
        rows = list(csv.reader(file))[:9]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def colors(path: Path) -> None:
    """Writes digits as 32x32 pixels with three channels, in an `.npz` file."""
    digits = load_digits()
    images = np.stack([np.array(_picture(image).resize((32, 32))) for image in digits.images[:400]])
    np.savez(
        path, x_train=images[:320], y_train=digits.target[:320], x_test=images[320:], y_test=digits.target[320:400]
    )


FILES: dict[str, Callable[[Path], None]] = {
    "photos": photos,
    "path/to/images": photos,
    "photo.jpg": photo,
    "more/": more,
    "efficientnet-lite0-57934424.pth": released_weights,
    "my-space.yaml": space,
    "table.csv": scores,
    "published.csv": published,
    "nats_size_cifar10.csv": sizes,
    "truth.csv": trained,
    "cifar10.npz": colors,
}
_SEARCH = "nas-search --space coatnet-small"
# What only commands make, and which; they are made smaller as those of pages are.
RUNS = {
    "lite0.safetensors": (
        "nas weights convert efficientnet-lite0-57934424.pth --network tf_efficientnet_lite0 --out lite0.safetensors",
    ),
    "runs/photos": (f"{_SEARCH} --budget 20MFLOPs --data photos --method params --out runs/photos",),
    "runs/other": (f"{_SEARCH} --budget 20MFLOPs --data photos --method params --out runs/other",),
    "runs/cifar10": (f"{_SEARCH} --budget 5MFLOPs --data cifar10.npz --method supernet --out runs/cifar10",),
    "runs/by-blocks": (f"{_SEARCH} --budget 5MFLOPs --data cifar10.npz --method blockwise --out runs/by-blocks",),
}


def shell(line: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a line in a folder as a reader's shell does."""
    return subprocess.run(
        ["bash", "-ec", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
