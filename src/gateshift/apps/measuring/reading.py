"""Reading clips as one worker of training does, up to normalised floats, beside the plain route.

"frames" are JPEG files cut from the videos, read by both routes; "videos" are the videos themselves, which
the plain route decodes by bare PyAV up to the last frame it wants.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from gateshift.apps.measuring.cases import Case
from gateshift.apps.measuring.plain_clips import PlainClips
from gateshift.data.dataset import TrainClips
from gateshift.data.folders import walk_videos
from gateshift.data.reader import VideoFile
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.shapes import CLASSES, render, write_video
from gateshift.data.transforms import normalize, train_transform
from gateshift.errors import DataError, VideoError
from gateshift.models.backbones import BACKBONES

NUM_FRAMES = 32  # of each video that is drawn, and of each folder of frames
DRAWN_SIZE = 256  # side of drawn videos, in pixels
QUALITY = 95  # of JPEG files
TEMPLATE = "{:05d}.jpg"
INPUT = BACKBONES["bninception"].input_spec

Reading = tuple[Path, int]  # a video and its frames


@contextmanager
def reading_steps(case: Case) -> Iterator[dict[str, Callable[[], object]]]:
    """Yield both sides' ways to read all clips of the case once; what they read is removed afterwards.

    Raises:
        DataError: there is no video that can be read.
    """
    with TemporaryDirectory(prefix="gateshift-bench-") as room:
        videos = find_readable(case.videos, case.batch_size) if case.videos else draw(room, case.batch_size)
        annotations = cut_frames(videos, Path(room, "frames")) if case.part == "frames" else as_files(videos)
        ours = TrainClips(annotations, "train", case.num_segments, train_transform(INPUT, {}), seed=0)
        plain = PlainClips(ours, INPUT)
        yield {
            "ours": lambda: on_one_thread(lambda i: normalize(ours[i][0], INPUT), len(ours)),
            "plain": lambda: on_one_thread(lambda i: plain[i], len(plain)),
        }


def on_one_thread(read: Callable[[int], object], count: int) -> None:
    """Read ``count`` clips with the one thread that a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for index in range(count):
            read(index)
    finally:
        torch.set_num_threads(threads)


def find_readable(folder: Path, most: int) -> list[Reading]:
    """Return up to ``most`` video files below ``folder``, spread evenly over their names.

    Those that cannot be read, or have less than ``NUM_FRAMES`` frames, are passed over.

    Raises:
        DataError: there is none.
    """
    paths = [path for path in walk_videos(folder) if path.is_file()]
    found: list[Reading] = []
    for path in paths[:: max(1, len(paths) // most)]:
        try:
            num_frames = VideoFile(path).num_frames
        except VideoError:
            continue
        if num_frames >= NUM_FRAMES and len(found) < most:
            found.append((path, num_frames))
    if not found:
        raise DataError(
            f"'{folder}' holds no video file of {NUM_FRAMES} frames or more that can be read. "
            "Give another --videos, or none for drawn ones."
        )
    return found


def draw(room: str, count: int) -> list[Reading]:
    """Write videos of the embedded dataset's classes, one after the other."""
    videos = []
    for number in range(count):
        path = Path(room, "videos", f"{number:05d}.mp4")
        name, rng = CLASSES[number % len(CLASSES)], np.random.default_rng(number)
        frames, _ = render(name, rng, size=DRAWN_SIZE, num_frames=NUM_FRAMES)
        write_video(path, frames)
        videos.append((path, NUM_FRAMES))
    return videos


def cut_frames(videos: Sequence[Reading], folder: Path) -> Annotations:
    """Write the first frames of each video as JPEG files; return them as a dataset."""
    for number, (path, _) in enumerate(videos):
        (folder / f"{number:05d}").mkdir(parents=True)
        for i, pixels in enumerate(VideoFile(path).read(range(NUM_FRAMES)), start=1):
            Image.fromarray(pixels).save(folder / f"{number:05d}" / TEMPLATE.format(i), quality=QUALITY)
    records = [VideoRecord(f"{number:05d}", 0, NUM_FRAMES) for number in range(len(videos))]
    return Annotations(folder, ("any",), (), TEMPLATE, "bench", {"train": tuple(records)})


def as_files(videos: Sequence[Reading]) -> Annotations:
    """Return videos as a dataset."""
    records = [VideoRecord(str(path.resolve()), 0, num_frames) for path, num_frames in videos]
    return Annotations(Path("/"), ("any",), (), None, "bench", {"train": tuple(records)})
