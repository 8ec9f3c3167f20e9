"""One video file as a folder of JPEG frames, 00001.jpg and on, which appears in one step when it is whole.

The frames are those that ``VideoFile`` shows, one at a time: memory does not grow with the video. JPEG
rounds: at quality 95 pixels differ by about one grey level of 255.
"""

import errno
import io
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gateshift.data.reader import FewerFrames, VideoFile
from gateshift.data.worker_pool import Stopped
from gateshift.errors import ConfigError, DataError, VideoError

FRAME_TEMPLATE = "{:05d}.jpg"  # 1-based; from frame 100,000 on names are longer
FULL = (errno.ENOSPC, errno.EDQUOT)


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
    video: Path,
    folder: Path,
    room: Path,
    settings: FrameSettings,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Write the frames of a video into ``folder``, in place of what was there; return how many there are.

    Args:
        video: the file.
        folder: appears in one step, when its frames are counted.
        room: an empty place on the same disk that is this call's own; it is removed at the end.
        settings: how frames are written.
        stopped: asked before every frame whether to give up.

    Raises:
        VideoError: the video cannot be decoded; the folder is as it was.
        DataError: frames cannot be written, such as on a full disk; likewise.
        Stopped: ``stopped`` said so; likewise.
    """
    try:
        fresh = room / "frames"
        fresh.mkdir(parents=True)
        num_frames = _write_all(VideoFile(video), fresh, settings, stopped)
        if count_frames(fresh) != num_frames:
            raise DataError(f"'{fresh}' does not hold the {num_frames} frames that were written. Try again.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.replace(room / "before")
        fresh.replace(folder)
    except OSError as error:
        raise DataError(cannot_write(folder, error)) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return num_frames


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


def cannot_write(folder: Path, error: OSError) -> str:
    """Return what to tell the user of a folder that the system will not write to."""
    if error.errno in FULL:
        return (
            f"there is no space left for '{folder}'. Free some, or name a larger disk with --out; "
            "the same command goes on where it ended."
        )
    return (
        f"'{error.filename or folder}' cannot be written ({error.strerror or error}). "
        "Mend that, or give another folder with --out; the same command goes on where it ended."
    )


def _write_all(video: VideoFile, folder: Path, settings: FrameSettings, stopped: Callable[[], bool]) -> int:
    num_written = 0
    try:
        with closing(video.frames()) as frames:
            for frame in frames:
                if stopped():
                    raise Stopped
                num_written += 1
                file = folder / FRAME_TEMPLATE.format(num_written)
                file.write_bytes(_jpeg(video.path, frame, settings))
    except FewerFrames:  # some packets hold no frame; the decoder's count is the video's
        if num_written == 0:
            raise
    return num_written


def _jpeg(video: Path, frame: np.ndarray, settings: FrameSettings) -> bytes:
    """Return a frame as JPEG; in memory first, where Pillow would hide why a disk does not take it."""
    image = shrink(frame, settings.short_side)
    data = io.BytesIO()
    try:
        image.save(data, "JPEG", quality=settings.quality, subsampling=0)
    except (OSError, ValueError) as error:
        raise VideoError(
            f"'{video}' has frames of {image.width}x{image.height} pixels, which JPEG cannot hold ({error}). "
            "Shrink them with --short-side."
        ) from error
    return data.getvalue()
