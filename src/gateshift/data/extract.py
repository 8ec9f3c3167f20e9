"""Video files to folders of JPEG frames, several at a time, going on where an earlier extraction ended.

    open_log -> name_folders -> workers: write_frames, each video in one step -> log

A worker is a process at the other end of a pipe. Closing the pipe asks it to stop, and so does the death of
the main process; a worker that dies, as a decoder may over a damaged file, costs one video.
"""

import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from gateshift.data.extraction_log import Entry, ExtractionLog, name_folders, open_log
from gateshift.data.frame_writer import FrameSettings, Stopped, cannot_write, count_frames, write_frames
from gateshift.errors import DataError, VideoError

ROOM = ".partial"  # where the videos lie that are being extracted
PATIENCE = 5.0  # seconds that a worker has to end after its frame


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
    answers = _in_processes(tasks, min(workers, len(tasks))) if workers else _in_this_process(tasks)
    with closing(answers):
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


def _in_this_process(tasks: Iterable[_Task]) -> Generator[_Answer, None, None]:
    for task in tasks:
        yield task.run(lambda: False)


def _in_processes(tasks: Iterable[_Task], num_workers: int) -> Generator[_Answer, None, None]:
    """Yield an answer to each task as it is done; no process outlives the iteration."""
    waiting = iter(tasks)
    workers: dict[Connection, SpawnProcess] = {}
    busy: dict[Connection, _Task | None] = {}  # a worker without a task is still starting
    try:
        for _ in range(num_workers):
            busy[_start_worker(workers)] = None
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                task, answer = busy.pop(ready), None
                try:
                    answer = ready.recv()
                except (EOFError, OSError):
                    answer = _lost(task, workers.pop(ready))
                    busy[_start_worker(workers)] = None
                else:
                    if following := next(waiting, None):
                        busy[ready] = following
                        with suppress(OSError):  # it has died since, which the next turn finds
                            ready.send(following)
                if answer:
                    yield answer
    finally:
        for connection in workers:
            connection.close()
        for process in workers.values():
            process.join(PATIENCE)
            process.terminate()
            process.join()


def _start_worker(workers: dict[Connection, SpawnProcess]) -> Connection:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    workers[ours] = process
    return ours


def _work(connection: Connection) -> None:
    """Say that this process has started, then extract what comes in, until the other end is closed."""
    with suppress(EOFError, OSError, Stopped):
        connection.send(None)
        while True:
            connection.send(connection.recv().run(connection.poll))


def _lost(task: _Task | None, process: SpawnProcess) -> _Answer:
    """Return the answer of a worker that ended without one."""
    process.join()
    status = process.exitcode or 0
    how = f"signal {-status}" if status < 0 else f"status {status}"
    if task is None:
        refusal = DataError(
            f"a process to decode videos ended as it started ({how}); what it said is above. "
            "In a program of your own, call prepare under `if __name__ == '__main__':`."
        )
        return _Answer("", refusal=refusal)
    return _Answer(
        task.video,
        error=f"'{task.file}' ended the process that decoded it ({how}). Fetch or encode it again, or leave "
        "it out; where memory is short, lower --workers.",
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that Ctrl-C, which a terminal sends to all of them, does not reach."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it would let interrupts through if it started with the first worker
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _refusing_to_write(frames: Path) -> Iterator[None]:
    """Turn what the system says of a folder into a refusal."""
    try:
        yield
    except OSError as error:
        raise DataError(cannot_write(frames, error)) from error
