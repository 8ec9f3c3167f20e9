"""Images are decoded to the pixels of Pillow, whatever their kind, and refused where Pillow refuses them."""

import io

import numpy as np
import pytest
from PIL import Image

from gateshift.data import frame_image
from gateshift.data.frame_image import decode_image, decode_rgb


def picture(mode="RGB", size=(85, 61)):
    pixels = np.random.default_rng(0).integers(256, size=(16, 20, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


JPEGS = {
    **{
        f"quality {quality}, {subsampling}": encoded(picture(), quality=quality, subsampling=subsampling)
        for quality in (5, 75, 95, 100)
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")
    },
    "progressive": encoded(picture(), progressive=True),
    "grey": encoded(picture("L")),
    "RGB inside": encoded(picture(), keep_rgb=True),
    "restart markers": encoded(picture(), restart_marker_rows=1),
    "one pixel": encoded(picture(size=(1, 1))),
    "bytes after its end": encoded(picture()) + b"\0" * 99,
}
OTHERS = {
    "CMYK": encoded(picture("CMYK")),
    "PNG": encoded(picture(), "PNG"),
    "PNG with alpha": encoded(picture("RGBA"), "PNG"),
    "PNG with a palette": encoded(picture("P"), "PNG"),
    "WebP": encoded(picture(), "WEBP", lossless=True),
    "BMP": encoded(picture(), "BMP"),
}


@pytest.mark.parametrize("content", [*JPEGS.values(), *OTHERS.values()], ids=[*JPEGS, *OTHERS])
def test_pixels_are_those_of_pillow(content):
    assert np.array_equal(decode_rgb(content), by_pillow(content))


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_without_fault_is_not_left_to_pillow(content, monkeypatch):
    expected = by_pillow(content)
    monkeypatch.setattr(frame_image, "_decode_by_pillow", None)
    into = np.zeros_like(expected)
    assert decode_rgb(content, into) is into
    assert np.array_equal(into, expected)


def test_what_does_not_fit_goes_elsewhere():
    content = JPEGS["progressive"]
    for into in (np.zeros((61, 84, 3), np.uint8), np.zeros((85, 61, 3), np.uint8)):
        assert decode_rgb(content, into) is not into
        assert not into.any()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_stays_one_plane(kind):
    grey = encoded(picture("L"), kind)
    assert np.array_equal(np.repeat(decode_image(grey), 3, axis=-1), by_pillow(grey))
    assert decode_image(grey).shape == (61, 85, 1)
    assert decode_image(encoded(picture(), kind)).shape == (61, 85, 3)


def test_damaged_files_are_read_or_refused_as_by_pillow():
    rng = np.random.default_rng(1)
    whole = encoded(picture(), quality=90)
    read = 0
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        try:
            expected = by_pillow(bytes(content))
        except (OSError, SyntaxError, ValueError):
            with pytest.raises(ValueError):
                decode_rgb(bytes(content))
            continue
        read += 1
        assert np.array_equal(decode_rgb(bytes(content)), expected)
    assert 100 < read < 300


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty or no image"), (b"text", "empty or no image"), (encoded(picture())[:-200], "truncated")],
)
def test_refusals_say_why(content, says):
    with pytest.raises(ValueError, match=says):
        decode_rgb(content)


def test_a_picture_too_large_to_be_a_frame_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="decompression bomb"):
        decode_rgb(encoded(picture()))
