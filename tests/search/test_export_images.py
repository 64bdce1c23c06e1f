"""Image files as `model.py` and the card's code read them: as the training did, whatever the file holds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import nas
from nas.data import Batches, Split, open_data
from nas.data.arrays import center_square
from nas.data.images import decode
from nas.data.pixel_range import PixelRange
from nas.export import standalone_source
from nas.export.card import card_text
from nas.export.exported_model import ExportedModel
from nas.networks.network import Network
from nas.networks.sealed_file import write_sealed

from .export_cases import FACTS, MEAN, STD, TRAINED, convnext, perturbed

RNG = np.random.default_rng(0)
COLORS = np.kron(RNG.integers(0, 256, (15, 20, 4), dtype=np.uint8), np.ones((20, 20, 1), np.uint8))
NAMES = tuple(f"kind {i}" for i in range(10))


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def palette() -> Image.Image:
    image = Image.fromarray(COLORS[..., :3]).quantize(16)
    image.info["transparency"] = 3
    return image


def deep(kind: type, high: int, low: int = 0) -> Image.Image:
    return Image.fromarray(RNG.integers(low, high, (50, 61)).astype(kind))


IMAGES: dict[str, Callable[[Path], Any]] = {
    "rgb.png": lambda path: Image.fromarray(COLORS[..., :3]).save(path),
    "rgba.png": lambda path: Image.fromarray(COLORS).save(path),
    "rgba.webp": lambda path: Image.fromarray(COLORS).save(path, lossless=True),
    "large.jpg": lambda path: Image.fromarray(COLORS[..., :3]).save(path),
    "progressive.jpg": lambda path: Image.fromarray(COLORS[..., :3]).save(path, progressive=True),
    "turned.jpg": lambda path: Image.fromarray(COLORS[..., :3]).save(path, exif=exif(6)),
    "mirrored.png": lambda path: Image.fromarray(COLORS[..., :3]).save(path, exif=exif(5)),
    "cmyk.jpg": lambda path: Image.fromarray(COLORS[..., :3]).convert("CMYK").save(path),
    "grey.jpg": lambda path: Image.fromarray(COLORS[..., 0]).save(path),
    "grey.png": lambda path: Image.fromarray(COLORS[::20, ::20, 0]).save(path),
    "grey-alpha.png": lambda path: Image.fromarray(COLORS).convert("LA").save(path),
    "two-levels.png": lambda path: Image.fromarray(COLORS[..., 0]).convert("1").save(path),
    "palette.png": lambda path: palette().convert("P").save(path, transparency=3),
    "palette.gif": lambda path: palette().save(path, transparency=3),
    "12-bit.png": lambda path: deep(np.uint16, 4096).save(path),
    "16-bit.png": lambda path: deep(np.uint16, 65536).save(path),
    "16-bit.tif": lambda path: deep(np.uint16, 1000).save(path),
    "big-endian.tif": lambda path: path.write_bytes(big_endian()),
    "32-bit.tif": lambda path: deep(np.int32, 100_000, -50_000).save(path),
    "floats.tif": lambda path: Image.fromarray(RNG.random((50, 61), dtype=np.float32)).save(path),
}
DEEP = {"12-bit.png", "16-bit.png", "16-bit.tif", "big-endian.tif", "32-bit.tif", "floats.tif"}


def big_endian() -> bytes:
    """A TIFF of 8x6 big-endian pixels of 16 bits, which Pillow reads in mode I;16B."""
    entries = [
        (256, 3, 8),
        (257, 3, 6),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 200),
        (277, 3, 1),
        (278, 3, 6),
    ]
    entries.append((279, 4, 96))
    head = b"MM\x00*" + (8).to_bytes(4, "big") + len(entries).to_bytes(2, "big")
    for tag, kind, value in entries:
        stored = value.to_bytes(2, "big") + b"\0\0" if kind == 3 else value.to_bytes(4, "big")
        head += tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big") + stored
    return (head + bytes(4)).ljust(200, b"\0") + RNG.integers(0, 65536, 48).astype(">u2").tobytes()


def as_in_training(path: Path, channels: int, levels: tuple[int, int] | None) -> torch.Tensor:
    pixel_range = None if levels is None else PixelRange(*levels)
    pixels = decode(str(path), resolution=TRAINED, channels=channels, pixel_range=pixel_range)
    split = Split(images=torch.tensor(pixels).permute(2, 0, 1)[None], labels=torch.zeros(1, dtype=torch.int64))
    images, _ = next(iter(Batches(split, batch_size=1, mean=MEAN[:channels], std=STD[:channels])))
    return images


def code(channels: int, levels: tuple[int, int] | None = None) -> str:
    return standalone_source(
        convnext().with_channels(channels),
        trained_resolution=TRAINED,
        title="A network",
        mean=MEAN[:channels],
        std=STD[:channels],
        class_names=NAMES,
        levels=levels,
    )


@pytest.fixture(scope="module", params=[(1, None), (3, None), (3, (0, 4095)), (1, (-20_000, 30_000))], ids=str)
def setting(request: pytest.FixtureRequest) -> Any:
    channels, levels = request.param
    module: dict[str, Any] = {"__name__": "nas.export.standalone"}
    exec(compile(code(channels, levels), "model.py", "exec", dont_inherit=True), module)
    return channels, levels, module


@pytest.mark.parametrize("name", IMAGES)
def test_files_are_read_as_in_training_to_the_bit(setting: Any, name: str, tmp_path: Path) -> None:
    channels, levels, module = setting
    IMAGES[name](tmp_path / name)
    found = module["read_image"](tmp_path / name)
    assert found.shape == (channels, TRAINED, TRAINED)
    assert torch.equal(found[None], as_in_training(tmp_path / name, channels, levels))


@pytest.mark.parametrize("shape", [(18, 18), (28, 28), (40, 40), (11, 11)])
def test_square_arrays_are_resized_as_files_are_but_for_rounding(shape: tuple[int, int], tmp_path: Path) -> None:
    image = Image.effect_noise((shape[1], shape[0]), 60)
    image.save(tmp_path / "image.png")
    by_torch = center_square(torch.from_numpy(np.array(image))[None, :, :, None], TRAINED)[0]
    by_pillow = torch.tensor(decode(str(tmp_path / "image.png"), resolution=TRAINED, channels=1))
    assert (by_torch.int() - by_pillow.int()).abs().max() <= 1


def test_the_images_are_of_the_kinds_that_they_should_be(tmp_path: Path) -> None:
    modes = {}
    for name, write in IMAGES.items():
        write(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            modes[name] = image.mode
    assert {*modes.values()} >= {"RGB", "RGBA", "CMYK", "L", "LA", "1", "P", "I;16", "I;16B", "I", "F"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted({*IMAGES} - DEEP))
def test_the_code_for_onnx_on_the_card_reads_files_as_in_training(
    channels: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = ExportedModel(
        architecture=convnext().with_channels(channels),
        trained_resolution=TRAINED,
        mean=MEAN[:channels],
        std=STD[:channels],
        class_names=NAMES,
        facts=FACTS,
    )
    text = card_text(product, {}, files={"model.onnx": 1000})
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    IMAGES[name](tmp_path / name)
    seen = []

    class Session:
        def __init__(self, _: str) -> None: ...

        def get_modelmeta(self) -> Any:
            return SimpleNamespace(custom_metadata_map={"preprocessing": product.preprocessing.to_json()})  # type: ignore[union-attr]

        def run(self, _: Any, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(torch.from_numpy(fed["images"]))
            return [np.eye(10, dtype=np.float32)[4:5]]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    exec(snippet.replace("photo.jpg", name), {"print": seen.append})
    torch.testing.assert_close(seen[0], as_in_training(tmp_path / name, channels, None), atol=1e-6, rtol=0)
    assert seen[1] == NAMES[4]


def network() -> Network:
    torch.manual_seed(0)
    return perturbed(nas.build(convnext().at_resolution(TRAINED)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.py`, weights and images."""
    folder = tmp_path_factory.mktemp("winner")
    (folder / "model.py").write_text(code(3))
    write_sealed(folder / "weights.safetensors", network().state_dict(), {})
    for name, write in IMAGES.items():
        write(folder / name)
    (folder / "torn.jpg").write_bytes((folder / "large.jpg").read_bytes()[:-3000])
    (folder / "text.jpg").write_text("no image")
    return folder


ALONE = """
import runpy, sys
import torch
for name in {barred}:
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(folder: Path, *words: str, barred: tuple[str, ...] = ("nas", "numpy", "safetensors")) -> Any:
    """`python model.py`, where the packages that it must not need are missing."""
    command = [sys.executable, "-I", "-c", ALONE.format(barred=barred), str(folder / "model.py"), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_model_py_predicts_files_with_torch_and_pillow_alone(folder: Path) -> None:
    done = alone(folder, "rgba.png", "12-bit.png")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("rgba.png", "12-bit.png"), strict=True):
        with torch.inference_mode():
            probabilities, order = network()(as_in_training(folder / name, 3, None)).softmax(1)[0].topk(5)
        expected = [f"{NAMES[i]} {p:.1%}" for i, p in zip(order.tolist(), probabilities.tolist(), strict=True)]
        assert line == f"{name}: {', '.join(expected)}"


def test_model_py_without_files_needs_no_pillow(folder: Path) -> None:
    done = alone(folder, barred=("nas", "numpy", "safetensors", "PIL"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trained weights, ")
    missing = alone(folder, "rgb.png", barred=("PIL",))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "Reading images needs Pillow: pip install pillow\n"


def test_files_that_cannot_be_read_are_named_and_the_others_predicted(folder: Path) -> None:
    done = alone(folder, "torn.jpg", "text.jpg", "missing.jpg", ".", "rgb.png")
    assert done.returncode == 2
    assert done.stdout.startswith("rgb.png: kind ")
    assert len(done.stdout.splitlines()) == 1
    reasons = done.stderr.splitlines()
    assert len(reasons) == 4
    assert reasons[0].startswith("torn.jpg cannot be read: image file is truncated")
    assert reasons[1:] == [
        "text.jpg cannot be read: not an image",
        "missing.jpg cannot be read: no such file",
        ". cannot be read: not a file",
    ]


def test_an_unknown_option_prints_the_usage(folder: Path) -> None:
    done = alone(folder, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "usage: python model.py [IMAGE …]\n")


@pytest.mark.parametrize("damage", ["empty", "torn", "flipped", "garbage", "other", "missing", "nan"])
def test_damaged_weights_are_one_line(folder: Path, tmp_path: Path, damage: str) -> None:
    (tmp_path / "model.py").write_text((folder / "model.py").read_text())
    weights = tmp_path / "weights.safetensors"
    whole = (folder / "weights.safetensors").read_bytes()
    if damage == "other":
        save_file({"a": torch.zeros(3)}, weights)
    elif damage == "nan":
        state = {k: v.contiguous() for k, v in network().state_dict().items()}
        save_file({k: v * float("nan") if v.is_floating_point() else v for k, v in state.items()}, weights)
    elif damage == "flipped":  # the last number, by so little that its prediction would hardly change
        weights.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    elif damage != "missing":
        weights.write_bytes({"empty": b"", "torn": whole[: len(whole) // 2], "garbage": b"\xff" * 300}[damage])
    done = alone(tmp_path, str(folder / "rgb.png"))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "weights.safetensors" in line
    if damage != "missing":
        assert "Export it again" in line
        tried = alone(tmp_path)
        assert (tried.returncode, tried.stdout, tried.stderr.count("\n")) == (2, "", 1)


def test_without_known_preparation_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(standalone_source(convnext(), trained_resolution=TRAINED, title="Bare"))
    save_file({k: v.contiguous() for k, v in network().state_dict().items()}, tmp_path / "weights.safetensors")
    IMAGES["rgb.png"](tmp_path / "rgb.png")
    done = alone(tmp_path, "rgb.png")
    assert done.returncode == 2
    assert done.stderr == "rgb.png cannot be read: it is not known how images were prepared for this network\n"


def test_the_levels_of_deep_images_come_from_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(
        tmp_path / "deep.npz", x_train=rng.integers(0, 1000, (40, 8, 8), dtype=np.uint16), y_train=np.arange(40) % 2
    )
    data = open_data(tmp_path / "deep.npz").load(resolution=8, seed=0)
    assert data.levels == (0, 1023)
    assert open_data("digits").load(resolution=8, seed=0).levels is None
