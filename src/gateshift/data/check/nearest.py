"""Which thumbnails of one split look most like those of another: numpy alone, block by block.

A frame is compared as a unit vector of its 16 x 16 grey values less their mean, so that brightness and
contrast do not matter; 1 is the same picture. For each video of either side the likest of the other is found.
Letters: A, B videos of the two sides, F frames of each, P pixels of a frame.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gateshift.data.check.reading import NUM_THUMBNAILS, THUMBNAIL

BLOCK = 2048  # videos of either side at a time: 16 MB of similarities
BLACK, BLACK_RANGE = 24, 3  # the brightest grey of a bar, and how far its greys may differ
FLAT = 1.0  # standard deviation in grey levels below which a frame shows nothing to compare


class Likeness(NamedTuple):
    """Two videos, by their places on either side, and how alike they are, from -1 to 1."""

    a: int
    b: int
    similarity: float
    mirrored: bool = False


class Nearest(NamedTuple):
    """The likest pairs, each once.

    Attributes:
        copies: by frames at the same share of either video, also mirrored ones: what copies have in common.
        scenes: by any frame of one and any of the other on average: what videos of a still camera have in
            common.
    """

    copies: list[Likeness]
    scenes: list[Likeness]


def nearest(a: Sequence[bytes], b: Sequence[bytes], least_copy: float, least_scene: float) -> Nearest:
    """Return the videos of two splits that are most alike.

    Args:
        a: thumbnails of each video of one split.
        b: thumbnails of each video of the other.
        least_copy: similarity of pairs to return as possible copies.
        least_scene: similarity of pairs to return as possibly of one scene.
    """
    timed, scenes = _Best(len(a), len(b)), _Best(len(a), len(b))
    blocks_b = [(j, _unit_frames(b[j : j + BLOCK])) for j in range(0, len(b), BLOCK)]
    for i in range(0, len(a), BLOCK):
        frames = _unit_frames(a[i : i + BLOCK])  # (A, F, P)
        mirrored = np.ascontiguousarray(frames.reshape(*frames.shape[:2], -1, THUMBNAIL)[..., ::-1])
        for j, others in blocks_b:
            timed.note(i, j, _same_time(frames, others), mirrored=False)
            timed.note(i, j, _same_time(mirrored.reshape(frames.shape), others), mirrored=True)
            scenes.note(i, j, frames.mean(1) @ others.mean(1).T, mirrored=False)
    return Nearest(list(timed.pairs(least_copy)), list(scenes.pairs(least_scene)))


class _Best:
    """The likest video of the other side, for each video of either, as blocks of similarities come in."""

    def __init__(self, num_a: int, num_b: int) -> None:
        self.sides = [_Side(num_a), _Side(num_b)]

    def note(self, i: int, j: int, similarity: np.ndarray, mirrored: bool) -> None:
        """Take in the similarities (A, B) of the videos from ``i`` and from ``j`` on."""
        self.sides[0].note(i, j, similarity, mirrored)
        self.sides[1].note(j, i, similarity.T, mirrored)

    def pairs(self, least: float) -> Iterator[Likeness]:
        """Yield the pairs that are at least so similar, the likest first."""
        found = {(i, j): (s, m) for i, j, s, m in self.sides[0].pairs(least)}
        found |= {(i, j): (s, m) for j, i, s, m in self.sides[1].pairs(least)}
        for (i, j), (similarity, mirrored) in sorted(found.items(), key=lambda item: (-item[1][0], item[0])):
            yield Likeness(i, j, similarity, mirrored)


class _Side:
    def __init__(self, num_videos: int) -> None:
        self.similarity = np.full(num_videos, -1.0, dtype=np.float32)
        self.other = np.zeros(num_videos, dtype=np.int64)
        self.mirrored = np.zeros(num_videos, dtype=bool)

    def note(self, i: int, j: int, similarity: np.ndarray, mirrored: bool) -> None:
        rows = np.arange(len(similarity))
        column = similarity.argmax(1)
        better = similarity[rows, column] > self.similarity[i + rows]
        self.similarity[i + rows[better]] = similarity[rows, column][better]
        self.other[i + rows[better]] = j + column[better]
        self.mirrored[i + rows[better]] = mirrored

    def pairs(self, least: float) -> Iterator[tuple[int, int, float, bool]]:
        for i in np.flatnonzero(self.similarity >= least).tolist():
            yield i, int(self.other[i]), float(self.similarity[i]), bool(self.mirrored[i])


def _unit_frames(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Return frames as unit vectors, float32 (A, F, P); one that shows nothing is 0, and like no other."""
    pixels = np.frombuffer(b"".join(thumbnails), np.uint8)
    pixels = pixels.reshape(-1, NUM_THUMBNAILS, THUMBNAIL, THUMBNAIL)
    shown = ~_bars(pixels)[:, None]  # (A, 1, H, W)
    num_shown = np.maximum(shown.sum((2, 3), keepdims=True), 1)
    frames = np.where(shown, pixels, 0).astype(np.float32)
    frames = np.where(shown, frames - frames.sum((2, 3), keepdims=True) / num_shown, 0)
    frames = frames.reshape(*frames.shape[:2], -1).astype(np.float32)
    norm = np.linalg.norm(frames, axis=-1, keepdims=True)
    clear = norm >= FLAT * THUMBNAIL
    return np.where(clear, frames / np.where(clear, norm, 1), 0)


def _bars(pixels: np.ndarray) -> np.ndarray:
    """Return where black bars fill up pictures (A, F, H, W), which makes them alike: bool (A, H, W)."""
    found = np.zeros((len(pixels), THUMBNAIL, THUMBNAIL), bool)
    for axis in (2, 1):  # along rows, then along columns
        lines = pixels.max((1, axis + 1)), pixels.min((1, axis + 1))
        black = (lines[0] <= BLACK) & (lines[0] - lines[1] <= BLACK_RANGE)
        edge = np.logical_and.accumulate(black, 1) | np.logical_and.accumulate(black[:, ::-1], 1)[:, ::-1]
        found |= np.expand_dims(edge, axis)
    return found


def _same_time(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the similarity (A, B) of frames (A, F, P) and (B, F, P) at the same share of each video."""
    return a.reshape(len(a), -1) @ b.reshape(len(b), -1).T / a.shape[1]
