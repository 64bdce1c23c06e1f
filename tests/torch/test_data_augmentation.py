"""Augmentation of batches: each operation against what it should give, and the same bits for the same seed."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from nas.data import Batches, ImageAugmentation, Split, color_changes
from nas.data import augmentation as augmented
from nas.data.sharing import to_array

SIZE, COUNT = 24, 40


def photos(channels: int = 3, count: int = COUNT, size: int = SIZE) -> torch.Tensor:
    """Smooth noise, uint8."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(count, channels, 6, 6, generator=generator)
    return (torch.nn.functional.interpolate(noise, (size, size), mode="bilinear") * 255).to(torch.uint8)


def batches(varied: ImageAugmentation | None, *, seed: int = 0, channels: int = 3, **others: object) -> Batches:
    images = photos(channels).contiguous(memory_format=torch.channels_last)
    return Batches(
        Split(images=images, labels=torch.arange(COUNT)),
        batch_size=16,
        mean=[0.5] * channels,
        std=[0.25] * channels,
        varied=varied,
        generator=torch.Generator().manual_seed(seed),
        shuffle=True,
        **others,  # type: ignore[arg-type]
    )


ALL = ImageAugmentation(resized_crop=0.4, randaugment=7, erasing=0.5)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "varied",
    [ImageAugmentation(resized_crop=0.4), ImageAugmentation(randaugment=9), ImageAugmentation(erasing=0.6), ALL],
)
def test_an_epoch_resumes_with_the_same_bits(varied: ImageAugmentation, channels: int) -> None:
    whole = list(batches(varied, channels=channels, augment="crop-flip"))
    part = list(batches(varied, channels=channels, augment="crop-flip").epoch(first_batch=1))
    assert [labels.tolist() for _, labels in part] == [labels.tolist() for _, labels in whole[1:]]
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(part, whole[1:], strict=True))
    other = list(batches(varied, channels=channels, augment="crop-flip", seed=1))
    assert not torch.equal(other[0][0], whole[0][0])
    plain = list(batches(None, channels=channels, augment="crop-flip"))
    assert [labels.tolist() for _, labels in plain] == [labels.tolist() for _, labels in whole], "the same order"
    assert not torch.equal(plain[0][0], whole[0][0])
    for images, _ in whole:
        assert images.is_contiguous(memory_format=torch.channels_last) or images.shape[1] == 1
        assert bool(images.isfinite().all())
        assert images.abs().max() <= 2.0001


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    list(batches(ALL, augment="crop-flip"))
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_that_does_nothing_changes_no_bit() -> None:
    plain, idle = list(batches(None, augment="crop")), list(batches(ImageAugmentation(), augment="crop"))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(plain, idle, strict=True))


@pytest.mark.parametrize("magnitude", [-1.0, -0.5, 0.3, 1.0])
@pytest.mark.parametrize("name", ["brightness", "sharpness", "solarize", "posterize", "autocontrast", "equalize"])
def test_colors_change_as_pillow_changes_them(name: str, magnitude: float) -> None:
    images = photos(count=6, size=192)
    change = getattr(color_changes, name)
    found = change(images.float() / 255, torch.full((6,), magnitude)).clamp(0, 1) * 255
    threshold = 255 * (1 - abs(magnitude))
    by_pillow = {
        "brightness": lambda i: ImageEnhance.Brightness(i).enhance(1 + 0.9 * magnitude),
        "sharpness": lambda i: Image.blend(i.filter(ImageFilter.SMOOTH), i, 1 + 0.9 * magnitude),
        "solarize": lambda i: i.point(lambda v: 255 - v if v >= threshold else v),
        "posterize": lambda i: ImageOps.posterize(i, 8 - round(4 * abs(magnitude))),
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
    }[name]
    for image, one in zip(images, found, strict=True):
        expected = to_array_of(by_pillow(Image.fromarray(to_array(image.permute(1, 2, 0).contiguous()))))
        # Pillow rounds in between: to whole values, and equalize's number of pixels per level.
        assert (one - expected).abs().max() <= (4 if name == "equalize" else 2)


def to_array_of(image: Image.Image) -> torch.Tensor:
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, -1).permute(2, 0, 1).float()


@pytest.mark.parametrize("name", ["contrast", "color"])
def test_half_of_contrast_or_color_halves_the_distance_from_gray(name: str) -> None:
    images = photos(count=2).float() / 255
    found = getattr(color_changes, name)(images, torch.tensor([-0.5 / 0.9, 0.0]))
    base = images.mean((1, 2, 3) if name == "contrast" else 1, keepdim=True)
    assert torch.allclose(found[0] - base[0], (images - base)[0] / 2, atol=1e-6)
    assert torch.allclose(found[1], images[1], atol=1e-6)


def test_even_images_stay_as_they_are() -> None:
    images = torch.full((2, 3, 8, 8), 0.4)
    for change in (color_changes.autocontrast, color_changes.equalize, color_changes.contrast, color_changes.sharpness):
        assert torch.allclose(change(images, torch.tensor([0.7, -0.7])), images, atol=1e-6)


def test_moves_go_where_they_should() -> None:
    images = torch.zeros(1, 1, 20, 20)
    images[0, 0, 10:, 10:] = 1
    turned = augmented._moved(images, augmented._rotation(torch.tensor([3.0])))  # 90 degrees
    assert torch.allclose(turned, images.rot90(1, (2, 3)), atol=1e-4) or torch.allclose(
        turned, images.rot90(-1, (2, 3)), atol=1e-4
    )
    right = augmented._moved(images, augmented._entry(0, 2, 0.9)(torch.tensor([1 / 9])))  # a tenth of the half side
    assert torch.allclose(right[..., :19], images[..., 1:], atol=1e-4)


def test_crops_keep_area_and_ratio_within_their_bounds() -> None:
    maps = augmented._crops(2000, 0.3, torch.Generator().manual_seed(0))
    width, height = maps[:, 0, 0], maps[:, 1, 1]
    area, ratio = width * height, width / height
    assert 0.25 < area.min() < 0.35
    assert 0.95 < area.max() <= 1
    assert ratio.min() >= 0.74
    assert ratio.max() <= 1.34
    for shift, side in ((maps[:, 0, 2], width), (maps[:, 1, 2], height)):
        assert bool((shift.abs() + side <= 1 + 1e-5).all()), "inside the image"
    whole = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    image = photos(count=1).float()
    assert torch.allclose(augmented._moved(image, whole), image, atol=1e-2)


def test_erasing_takes_rectangles_of_its_area_from_its_share_of_images() -> None:
    images = torch.ones(3000, 1, 32, 32)
    gone = ImageAugmentation(erasing=0.3).erased(images, torch.Generator().manual_seed(0)) == 0
    area = gone.float().mean((1, 2, 3))
    assert (area > 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert area[area > 0].min() > 0.01
    assert 0.3 < area.max() < 0.36
    one = gone[int(area.argmax()), 0]
    assert one.sum() == one.any(0).sum() * one.any(1).sum(), "a rectangle"
