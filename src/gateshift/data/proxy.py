"""Small copies of videos, so that training reads no more pixels than it takes: what is small stays as it is.

Video files become H.264 files, see ``proxy_writer``; folders of frames become folders of smaller JPEG frames.
"""

import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from gateshift.data.conversion import Made, Written
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.frame_writer import FrameSettings, all_frames, shrink, write_frame
from gateshift.data.free_names import split_extension
from gateshift.data.prepared_log import Settings
from gateshift.data.proxy_writer import EXTENSION, write_proxy
from gateshift.data.reader import VideoFile, open_video
from gateshift.data.worker_pool import Stopped
from gateshift.errors import ConfigError

JPEG = frozenset((".jpeg", ".jpg"))
AT_ONCE = 16  # frames of a folder that are in memory together


@dataclass(frozen=True)
class ProxySettings:
    """How small copies are.

    Attributes:
        proxy: pixels of their short side; 0 encodes every video anew at its own size.
        quality: of JPEG frames, 1 to 100.
    """

    proxy: int
    quality: int = 95

    def __post_init__(self) -> None:
        FrameSettings(self.quality)  # refuses what JPEG has not
        if self.proxy < 0:
            raise ConfigError(
                f"proxy is {self.proxy}. Give the pixels of the short side with --proxy, or 0 for any size."
            )

    def keeps(self, frame: np.ndarray) -> bool:
        """Tell whether a video of such frames, (H, W, 3), stays as it is."""
        return 0 < min(frame.shape[:2]) <= self.proxy


@dataclass(frozen=True)
class Proxying:
    """A small copy of each video, or, where it is small, the video itself: a hard link if the disk has them.

    Attributes:
        how: how small.
        template: names of frames in folders, where they do not tell themselves.
    """

    how: ProxySettings
    template: str | None = None

    @property
    def settings(self) -> Settings:
        """How copies are made."""
        return asdict(self.how)

    def write(self, source: Path, target: Path, stopped: Callable[[], bool]) -> Written:
        """Write the copy of one video."""
        video = open_video(source, self.template)
        if isinstance(video, FrameFolder):
            return self._write_folder(video, target, stopped)
        return self._write_file(video, target, stopped)

    def frame_template(self, before: str | None, made: Mapping[str, Made]) -> str | None:
        """Return how frames are named; None where some were taken and others became JPEG."""
        there = [one for one in made.values() if not one.error]
        names = {before if one.taken else as_jpeg(before) for one in there if before}
        return names.pop() if len(names) == 1 else None

    def remarks(self, made: Mapping[str, Made]) -> tuple[str, ...]:
        """Return how many videos became smaller."""
        there = [one for one in made.values() if not one.error]
        taken = sum(one.taken for one in there)
        if not self.how.proxy:
            return (f"{len(there)} videos were encoded anew, at their own size.",)
        return (
            f"{len(there) - taken} of {len(there)} videos are larger than {self.how.proxy} pixels on their "
            f"short side and became smaller; {taken} are the files themselves.",
        )

    def _write_file(self, video: VideoFile, target: Path, stopped: Callable[[], bool]) -> Written:
        rate = video.facts.rate
        with closing(all_frames(video, stopped)) as frames:
            first = next(frames)
            if self.how.keeps(first):
                take(video.path, target)
                return Written(video.num_frames, split_extension(video.path.name)[1], taken=True)
            small = (np.asarray(shrink(frame, self.how.proxy)) for frame in chain([first], frames))
            return Written(write_proxy(small, target, rate), EXTENSION)

    def _write_folder(self, folder: FrameFolder, target: Path, stopped: Callable[[], bool]) -> Written:
        target.mkdir()
        files = [folder.file(i) for i in range(folder.num_frames)]
        if self.how.keeps(folder.read([0])[0]):
            for file in files:
                take(file, target / file.name)
            return Written(len(files), taken=True)
        settings = FrameSettings(self.how.quality, self.how.proxy)
        with closing(_frames_of(folder, stopped)) as frames:
            for file, frame in zip(files, frames, strict=True):
                write_frame(target / as_jpeg(file.name), frame, settings, file)
        return Written(len(files))


def take(source: Path, target: Path) -> None:
    """Put a file at another place too: a hard link, or a copy on another disk."""
    source = source.resolve()  # a link to the file, and not to a link to it
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)


def as_jpeg(name: str) -> str:
    """Return the name of a frame that becomes JPEG, or the template of such names.

    >>> as_jpeg("img_{:05d}.png"), as_jpeg("00001.JPG")
    ('img_{:05d}.jpg', '00001.JPG')
    """
    stem, suffix = os.path.splitext(name)
    return name if suffix.lower() in JPEG else f"{stem}.jpg"


def _frames_of(folder: FrameFolder, stopped: Callable[[], bool]) -> Generator[np.ndarray, None, None]:
    """Yield the frames of a folder; one of another size than the first is refused."""
    numbers = iter(range(folder.num_frames))
    while some := list(islice(numbers, AT_ONCE)):
        if stopped():
            raise Stopped
        yield from folder.read([0, *some])[1:]  # the reader compares what it reads together
