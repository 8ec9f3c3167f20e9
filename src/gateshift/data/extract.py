"""Video files to folders of JPEG frames: ``frames/<path without extension>/00001.jpg`` and on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gateshift.data.conversion import Made, Written, convert_videos
from gateshift.data.frame_writer import FRAME_TEMPLATE, FrameSettings, write_frames
from gateshift.data.prepared_log import Settings
from gateshift.data.reader import VideoFile


@dataclass(frozen=True)
class Extraction:
    """Every frame of a video file as JPEG."""

    how: FrameSettings

    @property
    def settings(self) -> Settings:
        """How frames are written."""
        return asdict(self.how)

    def write(self, source: Path, target: Path, stopped: Callable[[], bool]) -> Written:
        """Write the frames of one file into the folder ``target``."""
        return Written(write_frames(VideoFile(source), target, self.how, stopped))

    def frame_template(self, before: str | None, made: Mapping[str, Made]) -> str | None:
        """Return how frames are named."""
        return FRAME_TEMPLATE

    def remarks(self, made: Mapping[str, Made]) -> tuple[str, ...]:
        """Return nothing: the lists say it."""
        return ()


def extract_videos(
    root: Path,
    videos: Sequence[str],
    frames: Path,
    settings: FrameSettings | None = None,
    *,
    workers: int = 1,
    advance: Callable[[int], object] = lambda videos: None,
) -> dict[str, Made]:
    """Write every frame of each video file; the arguments and errors are those of ``convert_videos``."""
    extraction = Extraction(settings or FrameSettings())
    return convert_videos(root, videos, frames, extraction, workers=workers, advance=advance)
