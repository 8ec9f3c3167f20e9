"""The frames of one video as a folder of JPEG files, 00001.jpg and on.

They are those that ``VideoFile`` shows, one at a time: memory does not grow with the video. JPEG rounds: at
quality 95 pixels differ by about one grey level of 255.
"""

import io
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gateshift.data.reader import FewerFrames, VideoFile
from gateshift.data.worker_pool import Stopped
from gateshift.errors import ConfigError, DataError, VideoError

FRAME_TEMPLATE = "{:05d}.jpg"  # 1-based; from frame 100,000 on names are longer


@dataclass(frozen=True)
class FrameSettings:
    """How frames are written.

    Attributes:
        quality: of the JPEG, 1 to 100.
        short_side: pixels that larger frames are shrunk to, keeping proportions; 0 keeps their size.
    """

    quality: int = 95
    short_side: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}; JPEG has 1 to 100. Change --quality.")
        if self.short_side < 0:
            raise ConfigError(
                f"short_side is {self.short_side}. Give pixels with --short-side, or 0 to keep the size."
            )


def write_frames(
    video: VideoFile, folder: Path, settings: FrameSettings, stopped: Callable[[], bool] = lambda: False
) -> int:
    """Write the frames of a video into a new folder; return how many there are.

    Raises:
        VideoError: the video cannot be decoded.
        DataError: the folder does not hold what was written.
        Stopped: ``stopped``, asked before every frame, said so.
    """
    folder.mkdir()
    num_frames = 0
    with closing(all_frames(video, stopped)) as frames:
        for num_frames, frame in enumerate(frames, start=1):
            write_frame(folder / FRAME_TEMPLATE.format(num_frames), frame, settings, video.path)
    if count_frames(folder) != num_frames:
        raise DataError(f"'{folder}' does not hold the {num_frames} frames that were written. Try again.")
    return num_frames


def all_frames(video: VideoFile, stopped: Callable[[], bool]) -> Generator[np.ndarray, None, None]:
    """Yield the frames of a video, (H, W, 3) each; where some packets hold no frame, those that there are.

    Raises:
        VideoError: the video cannot be decoded, or has no frame.
        Stopped: ``stopped``, asked before every frame, said so.
    """
    num_shown = 0
    try:
        with closing(video.frames()) as frames:
            for num_shown, frame in enumerate(frames, start=1):  # noqa: B007
                if stopped():
                    raise Stopped
                yield frame
    except FewerFrames:  # the decoder's count is the video's
        if num_shown == 0:
            raise


def write_frame(file: Path, frame: np.ndarray, settings: FrameSettings, video: Path) -> None:
    """Write one frame of ``video`` as JPEG; in memory first, where Pillow would hide why a disk refuses it.

    Raises:
        VideoError: JPEG cannot hold so large a frame.
    """
    image = shrink(frame, settings.short_side)
    data = io.BytesIO()
    try:
        image.save(data, "JPEG", quality=settings.quality, subsampling=0)
    except (OSError, ValueError) as error:
        raise VideoError(
            f"'{video}' has frames of {image.width}x{image.height} pixels, which JPEG cannot hold ({error}). "
            "Shrink them with --short-side."
        ) from error
    file.write_bytes(data.getvalue())


def count_frames(folder: Path) -> int:
    """Return how many frames a folder holds; 0 where one of them is missing or empty, or the folder is."""
    try:
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries if entry.name.endswith(".jpg")}
    except (FileNotFoundError, NotADirectoryError):
        return 0
    names = (FRAME_TEMPLATE.format(number) for number in range(1, len(sizes) + 1))
    return len(sizes) if all(sizes.get(name) for name in names) else 0


def shrink(frame: np.ndarray, short_side: int) -> Image.Image:
    """Return a frame (H, W, 3) whose short side has at most ``short_side`` pixels; 0 keeps its size.

    >>> shrink(np.zeros((240, 320, 3), np.uint8), 120).size
    (160, 120)
    """
    image = Image.fromarray(frame)
    short = min(image.size)
    if not 0 < short_side < short:
        return image
    width, height = (round(side * short_side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)
