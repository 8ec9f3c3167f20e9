"""One frame out of an image file: the pixels that Pillow gives, sooner.

JPEG goes through simplejpeg, which hands the bytes to the library that is in Pillow too: the same pixels in
half to three quarters of the time. What it refuses, and every other format, is Pillow's to read or refuse.
"""

import io
import math

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

JPEG = b"\xff\xd8\xff"  # how such a file begins
COLOURS = ("Gray", "YCbCr", "RGB")  # of JPEG; those that both libraries show alike


def decode_rgb(content: bytes, into: np.ndarray | None = None) -> np.ndarray:
    """Return the pixels of an image file: uint8 (H, W, 3), RGB.

    Args:
        content: the bytes of the file.
        into: where the pixels may go, which spares a copy; it is returned if they went there.

    Raises:
        ValueError: it cannot be read; the message says why.
    """
    pixels = _decode_jpeg(content, into)
    return _decode_by_pillow(content) if pixels is None else pixels


def decode_image(content: bytes) -> np.ndarray:
    """Return the pixels of an image file: uint8 (H, W, 1) where it is grey, (H, W, 3) of any other.

    Raises:
        ValueError: it cannot be read; the message says why.
    """
    pixels = _decode_jpeg(content, keep_grey=True)
    return _decode_by_pillow(content, keep_grey=True) if pixels is None else pixels


def _decode_jpeg(
    content: bytes, into: np.ndarray | None = None, *, keep_grey: bool = False
) -> np.ndarray | None:
    """Return the pixels of a JPEG without fault and of usual size and colours, or else None."""
    if not content.startswith(JPEG):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in COLOURS or height * width > (Image.MAX_IMAGE_PIXELS or math.inf):
            return None
        planes = "GRAY" if keep_grey and colours == "Gray" else "RGB"
        if into is None or into.shape != (height, width, 3):
            return simplejpeg.decode_jpeg(content, planes)
        simplejpeg.decode_jpeg(content, planes, buffer=into)
    except ValueError:  # Pillow makes something of some damaged files, and says what is wrong with others
        return None
    return into


def _decode_by_pillow(content: bytes, *, keep_grey: bool = False) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            if keep_grey and image.mode == "L":
                return np.asarray(image)[..., None]
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError("it is empty or no image") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
