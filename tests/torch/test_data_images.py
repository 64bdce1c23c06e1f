import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.arrays import center_square, channels_last, eight_bit, image_shape
from nas.data.images import UnreadableImageError, decode, glance
from nas.errors import DataError


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def solid(mode: str, colour, size=(8, 8)) -> Image.Image:
    return Image.new(mode, size, colour)


RED = (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(solid("RGB", RED)), RED),
        (encoded(solid("RGB", RED).quantize(4)), RED),
        (encoded(solid("RGBA", (*RED, 255))), RED),
        (encoded(solid("L", 77)), (77, 77, 77)),
        (encoded(solid("1", 1)), (255, 255, 255)),
        (encoded(solid("LA", (77, 255))), (77, 77, 77)),
        (encoded(solid("I;16", 257 * 177)), (177, 177, 177)),
        (encoded(solid("I;16", 77)), (77, 77, 77)),
        (encoded(solid("I;16", 2048), "TIFF"), (128, 128, 128)),
        (encoded(solid("I", 65535), "TIFF"), (255, 255, 255)),
        (encoded(solid("F", 0.2), "TIFF"), (51, 51, 51)),
        (encoded(solid("CMYK", (0, 255, 255, 0)), "TIFF"), RED),
        (encoded(solid("RGB", RED), "GIF"), RED),
        (encoded(solid("RGB", RED), "BMP"), RED),
        (encoded(solid("RGB", RED), "WEBP", lossless=True), RED),
    ],
    ids="rgb palette rgba grey bit grey-alpha 16bit 8bit 12bit 32bit float cmyk gif bmp webp".split(),  # noqa: SIM905
)
def test_every_mode_becomes_eight_bit_colour(content, expected):
    pixels = decode(content, resolution=4, channels=3)
    assert pixels.shape == (4, 4, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == expected).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_are_read_in_every_mode(mode):
    content = encoded(solid("RGB", (10, 200, 30), (64, 48)).convert(mode), "JPEG", quality=95)
    expected = np.array(solid("RGB", (10, 200, 30), (1, 1)).convert(mode).convert("RGB"))[0, 0]
    assert np.abs(decode(content, resolution=8, channels=3).astype(int) - expected).max() <= 4


def test_colour_becomes_grey_where_one_channel_is_asked_for():
    pixels = decode(encoded(solid("RGB", RED)), resolution=4, channels=1)
    assert pixels.shape == (4, 4, 1)
    assert (pixels == 76).all()


def test_transparent_pixels_show_white():
    transparent = solid("RGBA", (*RED, 0))
    palette = solid("P", 0)
    palette.putpalette([255, 0, 0, 0, 0, 0])
    for content in (encoded(transparent), encoded(palette, transparency=0)):
        assert (decode(content, resolution=4, channels=3) == 255).all()


def test_photographs_are_turned_upright():
    image = solid("RGB", (0, 0, 0), (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # the top is white
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    pixels = decode(encoded(image, exif=exif.tobytes()), resolution=16, channels=1)[..., 0]
    assert pixels[0].max() == 0
    assert pixels[-1].min() == 255


def test_broken_exif_data_does_not_make_an_image_unreadable():
    content = encoded(solid("RGB", RED, (32, 32)), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fjunk")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decode(content, resolution=8, channels=3).shape == (8, 8, 3)


@pytest.mark.parametrize("size", [(12, 4), (4, 12)])
def test_the_center_square_is_kept(size):
    image = solid("L", 0, size)
    width, height = size
    image.paste(255, ((width - 4) // 2, (height - 4) // 2, (width + 4) // 2, (height + 4) // 2))
    assert (decode(encoded(image), resolution=4, channels=1) == 255).all()
    assert (center_square(torch.from_numpy(np.array(image)[None, ..., None]), 4) == 255).all()


def test_shrinking_is_antialiased_in_files_and_arrays_alike():
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    from_file = decode(encoded(Image.fromarray(stripes)), resolution=8, channels=1)
    from_array = center_square(torch.from_numpy(stripes)[None, ..., None], 8)[0].numpy()
    assert np.abs(from_file[1:-1, 1:-1].astype(int) - 127).max() <= 2
    assert np.abs(from_file.astype(int) - from_array.astype(int)).max() <= 1


def test_small_images_are_enlarged_bilinearly_in_files_and_arrays_alike():
    ramp = np.array([[0, 100], [100, 200]], dtype=np.uint8)
    from_file = decode(encoded(Image.fromarray(ramp)), resolution=4, channels=1)
    from_array = center_square(torch.from_numpy(ramp)[None, ..., None], 4)[0].numpy()
    assert from_file[0, :, 0].tolist() == [0, 25, 75, 100]
    assert np.abs(from_file.astype(int) - from_array.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not an image"),
        (b"<html>404</html>", "not an image"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:700], "truncated"),
        (encoded(Image.effect_noise((64, 64), 90))[:700], "truncated"),
        (encoded(solid("F", 3.5), "TIFF"), "pixels of 3.5 to 3.5"),
        (encoded(solid("F", float("nan")), "TIFF"), "pixels of nan"),
    ],
    ids=["empty", "html", "cut-jpeg", "cut-png", "float", "nan"],
)
def test_what_cannot_be_read_says_why(content, why):
    with pytest.raises(UnreadableImageError, match=why) as caught:
        decode(content, resolution=8, channels=3)
    assert "\n" not in str(caught.value)
    assert str(caught.value)


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        decode(str(tmp_path / "a.png"), resolution=8, channels=3)
    with pytest.raises(UnreadableImageError, match="No such file"):
        glance(str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (solid("L", 3), True),
        (solid("1", 1), True),
        (solid("LA", (3, 255)), True),
        (solid("I;16", 3), True),
        (solid("L", 3).convert("P"), True),
        (solid("RGB", (3, 3, 3)), False),
        (solid("RGB", RED).quantize(4), False),
    ],
    ids=["grey", "bit", "grey-alpha", "16bit", "grey-palette", "rgb", "palette"],
)
def test_a_glance_tells_grey_from_colour(image, grey):
    seen = glance(encoded(image))
    assert (seen.width, seen.height, seen.grey) == (8, 8, grey)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 8, 9), (8, 9, 1)),
        ((5, 8, 9, 1), (8, 9, 1)),
        ((5, 8, 9, 3), (8, 9, 3)),
        ((5, 1, 8, 9), (8, 9, 1)),
        ((5, 3, 8, 9), (8, 9, 3)),
    ],
)
def test_arrays_are_read_in_every_layout(shape, expected):
    assert image_shape(shape, what="x") == expected
    assert channels_last(np.zeros(shape)).shape == (5, *expected)


@pytest.mark.parametrize("shape", [(5,), (5, 64), (5, 8, 8, 4), (5, 4, 8, 8), (5, 2, 8, 8, 3)])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match=r"x must have shape .*: reshape it"):
        image_shape(shape, what="x")


def test_empty_arrays_are_refused():
    with pytest.raises(DataError, match="holds no pixels"):
        image_shape((0, 8, 8), what="x")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 128, 255], dtype=np.uint8), [0, 128, 255]),
        (np.array([0, 128, 255], dtype=np.int64), [0, 128, 255]),
        (np.array([False, True]), [0, 255]),
        (np.array([0, 0.2, 1]), [0, 51, 255]),
        (np.array([0, 0.2, 1], dtype=np.float16), [0, 51, 255]),
        (np.array([0, 511, 256]), [0, 255, 128]),
        (np.array([0, 1023, 512], dtype=np.uint16), [0, 255, 128]),
        (np.array([0, 2**32 - 1], dtype=np.uint32), [0, 255]),
        (np.array([-1, 5, 2]), [0, 255, 128]),
        (np.array([0, 16]), [0, 16]),
    ],
)
def test_numbers_become_eight_bit(values, expected):
    assert eight_bit(values, what="x").tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.0, np.nan]), "must be finite, but x has NaN"),
        (np.array([0.0, np.inf]), "must be finite, but x has NaN or infinite"),
        (np.array([0.0, 255.0]), r"must lie in \[0, 1\], but x has 0 to 255: divide by 255"),
        (np.array([-1.0, 1.0]), r"must lie in \[0, 1\], but x has -1 to 1"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        eight_bit(values, what="x")


def test_every_level_of_a_camera_of_twelve_bits_is_kept():
    ramp = np.tile(np.arange(4096, dtype=np.uint16), 4).reshape(128, 128)
    found = decode(encoded(Image.fromarray(ramp), "TIFF"), resolution=128, channels=1)
    assert len(np.unique(found)) == 256


def test_photographs_beyond_pillows_limit_are_read_like_others(monkeypatch):
    content = encoded(solid("RGB", (10, 200, 30), (640, 480)), "JPEG", quality=90)
    expected = decode(content, resolution=16, channels=3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert np.array_equal(decode(content, resolution=16, channels=3), expected)


def test_heic_is_read_with_its_extra():
    heif = pytest.importorskip("pillow_heif")
    buffer = BytesIO()
    heif.from_pillow(solid("RGB", (200, 40, 40), (64, 64))).save(buffer, quality=90)
    assert np.abs(decode(buffer.getvalue(), resolution=8, channels=3).astype(int) - (200, 40, 40)).max() < 12
