"""Each video of a dataset to something else, several at a time, going on where an earlier run ended.

    open_log -> free_names -> workers: convert one video in a room of its own -> in place, in one step -> log

A decoder may end its process over a damaged file; that costs one video. A run that was killed and is started
again ends with the bytes of one that was not.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from gateshift.data.free_names import free_names
from gateshift.data.prepared_log import Entry, PreparedLog, Settings, open_log
from gateshift.data.worker_pool import run_tasks
from gateshift.errors import DataError, VideoError

ROOM = ".partial"  # where the videos lie that are being made
FULL = (errno.ENOSPC, errno.EDQUOT)


class Written(NamedTuple):
    """What was made of a video."""

    num_frames: int
    suffix: str = ""  # of its name; none of a folder
    taken: bool = False  # it is the source itself


class Conversion(Protocol):
    """How one video becomes something else; it goes to other processes."""

    @property
    def settings(self) -> Settings:
        """What the result depends on."""

    def write(self, source: Path, target: Path, stopped: Callable[[], bool]) -> Written:
        """Write what becomes of ``source`` at ``target``, where nothing is.

        Raises:
            VideoError: the source cannot be decoded.
            DataError, OSError: the target cannot be written.
            Stopped: ``stopped``, asked now and then, said so.
        """

    def frame_template(self, before: str | None, made: Mapping[str, "Made"]) -> str | None:
        """Return how the frames of all folders are named that were made; None where their names must tell."""

    def remarks(self, made: Mapping[str, "Made"]) -> tuple[str, ...]:
        """Return what to know of all that was made, one sentence each."""


@dataclass(frozen=True)
class Made:
    """What came of one video.

    Attributes:
        path: what was made of it, relative to the folder of all, with forward slashes.
        num_frames: frames that it has: all that the decoder shows.
        taken: it is the source itself.
        error: why there is nothing.
    """

    path: str
    num_frames: int = 0
    taken: bool = False
    error: str | None = None


@dataclass(frozen=True)
class _Task:
    """One video to convert, and the entry that the log has of it."""

    video: str
    source: Path
    name: str
    out: Path
    room: Path
    conversion: Conversion
    before: Entry | None

    def run(self, stopped: Callable[[], bool]) -> "_Answer":
        """Convert the video, unless that was done; say what came of it."""
        try:
            num_bytes = total_bytes(self.source)
            before = self.before
            if before and before.num_bytes == num_bytes and _is_there(before, self.out):
                return _Answer(self.video, before)
            return _Answer(self.video, self._convert(num_bytes, stopped))
        except VideoError as error:
            return _Answer(self.video, error=str(error))
        except DataError as error:
            return _Answer(self.video, refusal=error)
        except OSError as error:
            return _Answer(self.video, refusal=DataError(cannot_write(self.out / self.name, error)))
        finally:
            shutil.rmtree(self.room, ignore_errors=True)

    def _convert(self, num_bytes: int, stopped: Callable[[], bool]) -> Entry:
        self.room.mkdir(parents=True)
        fresh = self.room / "made"
        made = self.conversion.write(self.source, fresh, stopped)
        entry = Entry(
            self.video, num_bytes, self.name, made.suffix, made.num_frames, total_bytes(fresh), made.taken
        )
        place = self.out / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        for number, old in enumerate({entry.path} | ({self.before.path} if self.before else set())):
            if (self.out / old).exists():
                (self.out / old).replace(self.room / f"before{number}")
        fresh.replace(place)
        return entry


@dataclass(frozen=True)
class _Answer:
    """What was made of a video, or why nothing was; ``refusal`` ends the run."""

    video: str
    entry: Entry | None = None
    error: str | None = None
    refusal: DataError | None = None


def convert_videos(
    root: Path,
    videos: Sequence[str],
    out: Path,
    conversion: Conversion,
    *,
    workers: int = 1,
    advance: Callable[[int], object] = lambda videos: None,
) -> dict[str, Made]:
    """Convert each video into ``out/<its path without extension>``; return what came of each.

    What is there, whole and of the same file, is left as it is. A video that cannot be decoded leaves
    nothing, and an error in the answer.

    Args:
        root: folder that the videos' paths start from.
        videos: files or folders of frames, relative to ``root``, with forward slashes; each is read once.
        out: the folder to write, of this conversion alone.
        conversion: what is done to each.
        workers: processes that decode, one thread each; 0 decodes in this one.
        advance: called with 1 after each video.

    Raises:
        ConfigError: ``out`` holds what was made with other settings.
        DataError: a path leads out of ``root``, or ``out`` cannot be written or holds something else.
    """
    room = out / ROOM
    try:
        with open_log(out, conversion.settings) as log:
            names = free_names(videos, {video: entry.name for video, entry in log.entries.items()})
            shutil.rmtree(room, ignore_errors=True)  # of a run that was killed
            tasks = [
                _Task(video, root / video, name, out, room / str(i), conversion, log.entries.get(video))
                for i, (video, name) in enumerate(names.items())
            ]
            try:
                made = dict(_convert(tasks, log, workers, advance))
            finally:
                shutil.rmtree(room, ignore_errors=True)
            log.sort()
            return made
    except OSError as error:
        raise DataError(cannot_write(out, error)) from error


def total_bytes(path: Path) -> int:
    """Return the size of a file, or of all files of a folder; -1 where there is neither, or one is empty."""
    try:
        if not path.is_dir():
            return path.stat().st_size or -1
        with os.scandir(path) as entries:
            sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return -1
    return sum(sizes) if all(sizes) and sizes else -1


def cannot_write(path: Path, error: OSError) -> str:
    """Return what to tell the user of a place that the system will not write to."""
    if error.errno in FULL:
        return (
            f"there is no space left for '{path}'. Free some, or name a larger disk with --out; "
            "the same command goes on where it ended."
        )
    return (
        f"'{error.filename or path}' cannot be written ({error.strerror or error}). "
        "Mend that, or give another folder with --out; the same command goes on where it ended."
    )


def _convert(
    tasks: Sequence[_Task], log: PreparedLog, workers: int, advance: Callable[[int], object]
) -> Iterator[tuple[str, Made]]:
    names = {task.video: task.name for task in tasks}
    with closing(run_tasks(tasks, min(workers, len(tasks)), _lost)) as answers:
        for answer in answers:
            if answer.refusal:
                raise answer.refusal
            if (entry := answer.entry) is None:
                yield answer.video, Made(names[answer.video], error=answer.error)
            else:
                if log.entries.get(answer.video) != entry:
                    log.add(entry)
                yield answer.video, Made(entry.path, entry.num_frames, entry.taken)
            advance(1)


def _lost(task: _Task, how: str) -> _Answer:
    """Return the answer of a worker that ended without one."""
    return _Answer(
        task.video,
        error=f"'{task.source}' ended the process that decoded it ({how}). Fetch or encode it again, or "
        "leave it out; where memory is short, lower --workers.",
    )


def _is_there(entry: Entry, out: Path) -> bool:
    return 0 < total_bytes(out / entry.path) == entry.made_bytes
