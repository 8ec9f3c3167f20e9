"""A decoded frame as people see it: RGB, upright, with square pixels, and nothing transparent.

Colours follow what the stream says of its matrix and range; where it says nothing they are BT.601 of limited
range, as FFmpeg takes them. More than 8 bits are rounded to 8; high dynamic range is not tone-mapped.
"""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

BACKGROUND = 255  # white shines through where a frame is transparent, as it does in a browser
FULL_RANGE = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)
# Formats that FFmpeg turns into RGB of the same size fast and right; most others it darkens by two levels
# unless it is told to take its time.
QUICK = frozenset(("yuv420p", "yuv422p", "yuva420p", "yuvj420p", "yuvj422p"))
TRUE_COLOURS = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
NEARLY_SQUARE = Fraction(1, 100)  # off by less is a width that was rounded to even, as in 426 x 240
ODDEST_ASPECT = 10  # pixels wider or higher than this come from a damaged header


class Painter:
    """Turns the frames of one video into RGB arrays of one size.

    Args:
        aspect: a pixel's width over its height. The width is scaled by it, and the height kept.
    """

    def __init__(self, aspect: Fraction) -> None:
        real = 1 / ODDEST_ASPECT <= aspect <= ODDEST_ASPECT and abs(aspect - 1) > NEARLY_SQUARE
        self._aspect = aspect if real else Fraction(1)
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def hold_size(self, frame: av.VideoFrame) -> None:
        """Take the size of the first frame for all; one that changes on the way is scaled back to it."""
        if self._size is None:
            self._size = max(1, round(frame.width * self._aspect)), frame.height

    def paint(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the pixels of a frame, uint8 (H, W, 3).

        Raises:
            FFmpegError, ValueError: its pixels are of a kind that cannot be turned into RGB.
        """
        self.hold_size(frame)
        assert self._size is not None, "it was just set"
        width, height = self._size
        seen_through = any(part.is_alpha for part in frame.format.components)
        quick = (frame.width, frame.height) == self._size and frame.format.name in QUICK
        painted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgba" if seen_through else "rgb24",
            interpolation=Interpolation.BILINEAR if quick else TRUE_COLOURS,
            threads=1,
        )
        plane = painted.planes[0]
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height]
        if seen_through:
            pixels = _over_background(pixels[:, : width * 4].reshape(height, width, 4))
        else:
            pixels = pixels[:, : width * 3].reshape(height, width, 3)
        if frame.color_range == ColorRange.MPEG and frame.format.name.startswith("gray"):
            pixels = FULL_RANGE[pixels]  # FFmpeg takes all grey for full range
        return upright(pixels, display_matrix(frame))


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Return the nine numbers by which a frame is turned and mirrored to be shown, or None."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return tuple(np.frombuffer(memoryview(data), np.int32).tolist()) if isinstance(data, SideData) else None


def upright(pixels: np.ndarray, matrix: Sequence[int] | None) -> np.ndarray:
    """Turn and mirror pixels (H, W, 3) by a display matrix, to the nearest of its eight ways.

    The matrix (a, b, u, c, d, v, x, y, w) sends a pixel at (p, q) to (a p + c q, b p + d q).

    >>> upright(np.array([[[1], [2]]]), (0, -65536, 0, 65536, 0, 0, 0, 0, 2**30))[..., 0].tolist()
    [[2], [1]]
    """
    if matrix is None:
        return pixels
    a, b, _, c, d = matrix[:5]
    if abs(a * d - b * c) < 2**16:  # flattens the picture: a damaged matrix, where 1 is written as 2**16
        return pixels
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels = pixels.swapaxes(0, 1)
        a, d = c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def rotation_of(matrix: Sequence[int] | None) -> int:
    """Return by how many quarters a display matrix turns, in degrees counter-clockwise; mirrors are left out.

    >>> rotation_of((0, -65536, 0, 65536, 0, 0, 0, 0, 2**30))
    90
    """
    if matrix is None:
        return 0
    a, b, _, c, d = matrix[:5]
    if abs(a * d - b * c) < 2**16:
        return 0
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return 180 if a < 0 else 0
    return 90 if b < 0 else -90


def _over_background(pixels: np.ndarray) -> np.ndarray:
    """Lay pixels (H, W, 4) over the background, (H, W, 3)."""
    alpha = pixels[..., 3:].astype(np.uint16)
    blended = pixels[..., :3] * alpha + BACKGROUND * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)
