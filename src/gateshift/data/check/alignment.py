"""Whether one video is a copy of another: encoded anew, resized, mirrored, cut a little at either end.

Two takes of one scene share their background, so what decides is what moves: each video's frames less their
mean. A copy moves the same way at the same time; another take does not. See LOG.md for what was measured.
Letters: F frames of a video, P values of a frame: 3 channels of 16 x 16 pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gateshift.data.check.reading import THUMBNAIL
from gateshift.data.check.unpack import PackedVideo, packed_videos
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.reader import VideoFile, open_video
from gateshift.data.records import Shards
from gateshift.data.worker_pool import run_tasks
from gateshift.errors import VideoError

NUM_VALUES = 3 * THUMBNAIL**2  # P
MOST_FRAMES = 96  # of a video, evenly spaced
COMPARED = 24  # of these, along one alignment
TRIMS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.125)  # share of a video that may be missing at an end
SAME_MOTION = 0.8
SAME_PICTURE = 0.9
STILL = 0.25  # grey levels that frames differ from their mean, below which nothing moves
SAME_STILL = 0.995  # similarity of the pictures where nothing moves
MOST_SECONDS = 600.0  # to read one video
Frames = np.ndarray  # float32 (F, P)


@dataclass(frozen=True)
class _Task:
    """One video to read."""

    video: str
    place: Path | PackedVideo
    frame_template: str | None

    def run(self, stopped: Callable[[], bool]) -> tuple[str, Frames]:
        """Return the video and its frames; none where it cannot be read, which its probe says."""
        place = self.place
        try:
            with place.unpacked() if isinstance(place, PackedVideo) else nullcontext(place) as path:
                return self.video, small_frames(path, self.frame_template)
        except VideoError:
            return _lost(self, "")


def read_all(
    root: Path, videos: Iterable[str], frame_template: str | None, shards: Shards | None, workers: int
) -> dict[str, Frames]:
    """Return the small frames of videos, none of one that cannot be read; 0 workers read in this process."""
    packed = packed_videos(shards) if shards else {}
    tasks = [_Task(video, packed.get(video, root / video), frame_template) for video in sorted(set(videos))]
    answers = run_tasks(tasks, min(workers, len(tasks)), _lost, most_seconds=MOST_SECONDS)
    with closing(answers):
        return dict(answers)


def _lost(task: _Task, how: str) -> tuple[str, Frames]:
    return task.video, np.zeros((0, NUM_VALUES), np.float32)


def small_frames(path: Path, frame_template: str | None = None) -> Frames:
    """Return up to ``MOST_FRAMES`` frames of a video in 16 x 16 pixels of three channels."""
    video = open_video(path, frame_template)
    num_frames = video.num_frames
    wanted = np.linspace(0, num_frames - 1, min(num_frames, MOST_FRAMES)).round().astype(int).tolist()
    return np.stack([_small(pixels) for pixels in _read_each(video, wanted)])


def _read_each(video: VideoFile | FrameFolder, wanted: list[int]) -> Iterator[np.ndarray]:
    """Yield frames one by one: together, those of a large video would fill the memory."""
    if isinstance(video, VideoFile):
        chosen = set(wanted)
        with closing(video.frames()) as frames:
            yield from (pixels for i, pixels in enumerate(frames) if i in chosen)
    else:
        yield from (video.read([i])[0] for i in wanted)


def _small(pixels: np.ndarray) -> np.ndarray:
    channels = [  # as floats: fractions of a grey level matter where dark videos move little
        channel.convert("F").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        for channel in Image.fromarray(pixels).split()
    ]
    return np.stack([np.asarray(channel) for channel in channels]).ravel()


def mirror(frames: Frames) -> Frames:
    """Return frames as a mirror shows them."""
    return frames.reshape(-1, THUMBNAIL, THUMBNAIL)[..., ::-1].reshape(frames.shape)


def is_copy(a: Frames, b: Frames) -> bool:
    """Tell whether two videos are one, up to ``TRIMS`` at either end of either."""
    if min(len(a), len(b)) < 2:
        return False
    products = _Products.of(a, b)
    cuts = [(trim, 0.0) for trim in TRIMS] + [(0.0, trim) for trim in TRIMS[1:]]
    return any(
        _agree(products, _along(len(a), start, end), _along(len(b), other_start, other_end))
        for (start, other_start), (end, other_end) in product(cuts, cuts)
    )


class _Products(NamedTuple):
    """The inner products of all frames, each less its own mean: what any alignment is decided by."""

    ab: np.ndarray  # (F of a, F of b)
    aa: np.ndarray
    bb: np.ndarray

    @classmethod
    def of(cls, a: Frames, b: Frames) -> "_Products":
        a, b = ((frames - frames.mean(1, keepdims=True)).astype(np.float64) for frames in (a, b))
        return cls(a @ b.T, a @ a.T, b @ b.T)


def _along(num_frames: int, first: float, last: float) -> np.ndarray:
    """Return which frames to compare of a video, less a share of its start and of its end."""
    return (np.linspace(first, 1 - last, COMPARED) * (num_frames - 1)).round().astype(int)


def _agree(products: _Products, a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether frames ``a`` of one video are frames ``b`` of the other."""
    ab, aa, bb = products.ab[a, b].sum(), products.aa[a, a].sum(), products.bb[b, b].sum()
    picture = _cosine(ab, aa, bb)
    if picture < SAME_PICTURE:
        return False
    ab -= products.ab[np.ix_(a, b)].sum() / COMPARED  # what is left once the mean frame is taken away: motion
    aa -= products.aa[np.ix_(a, a)].sum() / COMPARED
    bb -= products.bb[np.ix_(b, b)].sum() / COMPARED
    if max(aa, bb) < STILL**2 * COMPARED * NUM_VALUES:
        return picture >= SAME_STILL
    return _cosine(ab, aa, bb) >= SAME_MOTION


def _cosine(ab: float, aa: float, bb: float) -> float:
    return ab / (max(aa, 1.0) * max(bb, 1.0)) ** 0.5  # sums of squared grey levels: below 1 is rounding
