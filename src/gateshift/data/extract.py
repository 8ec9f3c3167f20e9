"""Video files to folders of JPEG frames, several at a time, going on where an earlier extraction ended.

    open_log -> name_folders -> workers: write_frames, each video in one step -> log

A decoder may end its process over a damaged file; that costs one video.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateshift.data.extraction_log import Entry, ExtractionLog, name_folders, open_log
from gateshift.data.frame_writer import FrameSettings, cannot_write, count_frames, write_frames
from gateshift.data.worker_pool import run_tasks
from gateshift.errors import DataError, VideoError

ROOM = ".partial"  # where the videos lie that are being extracted


@dataclass(frozen=True)
class Extracted:
    """What came of one video.

    Attributes:
        folder: its frames, relative to the folder of all frames, with forward slashes.
        num_frames: how many there are: all that the decoder shows.
        error: why there are none.
    """

    folder: str
    num_frames: int = 0
    error: str | None = None


@dataclass(frozen=True)
class _Task:
    """One video to extract, and the entry that the log has of it."""

    video: str
    file: Path
    folder: str
    frames: Path
    room: Path
    settings: FrameSettings
    before: Entry | None

    def run(self, stopped: Callable[[], bool]) -> "_Answer":
        """Extract the video, unless that was done; say what came of it."""
        try:
            num_bytes = self.file.stat().st_size if self.file.is_file() else -1
            target = self.frames / self.folder
            before = self.before
            if before and before.num_bytes == num_bytes and count_frames(target) == before.num_frames:
                return _Answer(self.video, before)
            num_frames = write_frames(self.file, target, self.room, self.settings, stopped)
        except VideoError as error:
            return _Answer(self.video, error=str(error))
        except DataError as error:
            return _Answer(self.video, refusal=error)
        return _Answer(self.video, Entry(self.video, self.folder, num_frames, num_bytes))


@dataclass(frozen=True)
class _Answer:
    """The frames of a video, or why there are none; ``refusal`` ends the extraction."""

    video: str
    entry: Entry | None = None
    error: str | None = None
    refusal: DataError | None = None


def extract_videos(
    root: Path,
    videos: Sequence[str],
    frames: Path,
    settings: FrameSettings | None = None,
    *,
    workers: int = 1,
    advance: Callable[[int], object] = lambda videos: None,
) -> dict[str, Extracted]:
    """Write every frame of each video into ``frames/<video without extension>/00001.jpg`` and on.

    Videos whose frames are there, counted and of the same file, are left as they are. Each folder of frames
    appears in one step; a video that cannot be decoded has none, and an error in the answer.

    Args:
        root: folder that the videos' paths start from.
        videos: paths of files, relative to ``root``, with forward slashes; each is decoded once.
        frames: the folder to write, of this extraction alone.
        settings: how frames are written.
        workers: processes that decode, one thread each; 0 decodes in this one.
        advance: called with 1 after each video.

    Raises:
        ConfigError: ``frames`` holds frames that were written with other settings.
        DataError: a path leads out of ``root``, or ``frames`` cannot be written or holds something else.
    """
    settings = settings or FrameSettings()
    with _refusing_to_write(frames), open_log(frames, settings) as log:
        folders = name_folders(videos, {name: entry.folder for name, entry in log.entries.items()})
        room = frames / ROOM
        shutil.rmtree(room, ignore_errors=True)  # of an extraction that was killed
        tasks = [
            _Task(video, root / video, folder, frames, room / str(i), settings, log.entries.get(video))
            for i, (video, folder) in enumerate(folders.items())
        ]
        try:
            return {video: extracted for video, extracted in _extract(tasks, log, workers, advance)}
        finally:
            shutil.rmtree(room, ignore_errors=True)


def _extract(
    tasks: Sequence[_Task], log: ExtractionLog, workers: int, advance: Callable[[int], object]
) -> Iterator[tuple[str, Extracted]]:
    folders = {task.video: task.folder for task in tasks}
    with closing(run_tasks(tasks, min(workers, len(tasks)), _lost)) as answers:
        for answer in answers:
            if answer.refusal:
                raise answer.refusal
            if answer.entry is None:
                yield answer.video, Extracted(folders[answer.video], error=answer.error)
            else:
                if log.entries.get(answer.video) != answer.entry:
                    log.add(answer.entry)
                yield answer.video, Extracted(answer.entry.folder, answer.entry.num_frames)
            advance(1)


def _lost(task: _Task, how: str) -> _Answer:
    """Return the answer of a worker that ended without one."""
    return _Answer(
        task.video,
        error=f"'{task.file}' ended the process that decoded it ({how}). Fetch or encode it again, or leave "
        "it out; where memory is short, lower --workers.",
    )


@contextmanager
def _refusing_to_write(frames: Path) -> Iterator[None]:
    """Turn what the system says of a folder into a refusal."""
    try:
        yield
    except OSError as error:
        raise DataError(cannot_write(frames, error)) from error
