"""All videos of a dataset probed in several processes, going on where an earlier scan ended.

    log of an earlier scan -> videos that are new or changed -> workers: probe_video -> log

A decoder may end its process over a damaged file, or never end; that costs one video.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from gateshift.data.check.findings import Finding
from gateshift.data.check.fingerprint import Stamp, stamp
from gateshift.data.check.probe import Probe, probe_video
from gateshift.data.check.reading import split_advice
from gateshift.data.check.unpack import PackedVideo, packed_videos
from gateshift.data.records import Shards
from gateshift.data.worker_pool import HANGING, run_tasks
from gateshift.errors import DataError, VideoError

FORMAT = 1  # of the log; a log of another one is written anew
# A probe counts as hanging after these seconds, and one more for each so many bytes of the largest video:
# decoding passes several megabytes a second, here as elsewhere.
LEAST_SECONDS = 60.0
BYTES_PER_SECOND = 100_000
AGAIN = frozenset(("crash", "hang"))  # may be the machine's doing: such videos are probed again


@dataclass(frozen=True)
class _Settings:
    """What probes depend on beside the video."""

    root: str
    frame_template: str | None
    num_segments: int
    fast: bool
    format: int = FORMAT


@dataclass(frozen=True)
class _Task:
    """One video to probe."""

    video: str
    settings: _Settings
    packed: PackedVideo | None = None

    @property
    def stamp(self) -> Stamp:
        """What tells whether the video has changed."""
        return self.packed.stamp if self.packed else stamp(Path(self.settings.root) / self.video)

    def run(self, stopped: Callable[[], bool]) -> Probe:
        """Probe the video."""
        if self.packed is None:
            return self._probe(Path(self.settings.root) / self.video, self.settings.frame_template)
        found = self.packed.stamp
        try:
            with self.packed.unpacked() as path:
                return replace(self._probe(path, None), **found._asdict())
        except VideoError as error:
            finding = Finding(self.video, error.kind, *split_advice(str(error)))
            return Probe(self.video, *found, findings=(finding,))

    def _probe(self, path: Path, frame_template: str | None) -> Probe:
        return probe_video(
            path,
            video=self.video,
            frame_template=frame_template,
            num_segments=self.settings.num_segments,
            fast=self.settings.fast,
        )


def scan_videos(
    root: Path,
    videos: Sequence[str],
    *,
    frame_template: str | None = None,
    num_segments: int = 8,
    fast: bool = False,
    workers: int = 1,
    log: Path,
    advance: Callable[[int], object] = lambda videos: None,
    most_seconds: float | None = None,
    shards: Shards | None = None,
) -> dict[str, Probe]:
    """Probe each video once; return the probes by video, in the order of ``videos``.

    Each probe is written to the log as it is done. Those of an earlier scan with the same settings are taken
    from there where a file's size and time of change agree.

    Args:
        root: folder that the videos' paths start from.
        videos: video files and frame folders, relative to ``root``, with forward slashes.
        frame_template: names of the frames in folders.
        num_segments: frames of a clip.
        fast: look at headers and three frames, instead of every frame.
        workers: processes that decode, one thread each; 0 decodes in this one, where nothing ends a decoder.
        log: the file of probes, one JSON object a line.
        advance: called with the number of videos that are done.
        most_seconds: after which a probe counts as hanging; by the largest video, if not given.
        shards: where the videos lie, if not below ``root``; each is unpacked to be probed.

    Raises:
        DataError: the log cannot be written.
    """
    settings = _Settings(
        shards.location if shards else str(root.resolve()), frame_template, num_segments, fast
    )
    packed = packed_videos(shards) if shards else {}
    wanted = {video: _Task(video, settings, packed.get(video)) for video in videos}
    before = _read_log(log, settings)
    known = _unchanged(before, wanted.values())
    advance(len(known))
    tasks = [task for video, task in wanted.items() if video not in known]
    if most_seconds is None:
        most_seconds = _limit(tasks)
    with _open_log(log, settings, goes_on=bool(before)) as file:
        for probe in _probe(tasks, workers, most_seconds):
            with _refusing_to_write(log):
                _write_line(file, probe.to_json())
            known[probe.video] = probe
            advance(1)
    return {video: known[video] for video in wanted}


def _probe(tasks: Sequence[_Task], workers: int, most_seconds: float) -> Iterator[Probe]:
    with closing(run_tasks(tasks, min(workers, len(tasks)), _lost, most_seconds=most_seconds)) as probes:
        yield from probes


def _lost(task: _Task, how: str) -> Probe:
    """Return the probe of a video whose worker ended without one."""
    hanging = how.startswith(HANGING)
    finding = Finding(
        task.video,
        "hang" if hanging else "crash",
        f"decoding '{task.video}' {'had' if hanging else 'ended its process:'} {how}.",
        "Fetch or encode it again, or leave it out; where memory is short, lower --workers.",
    )
    return Probe(task.video, *task.stamp, findings=(finding,))


def _limit(tasks: Sequence[_Task]) -> float:
    """Return the seconds after which a probe counts as hanging."""
    largest = max((task.stamp.num_bytes for task in tasks), default=0)
    return LEAST_SECONDS + max(largest, 0) / BYTES_PER_SECOND


def _unchanged(probes: Mapping[str, Probe], tasks: Iterable[_Task]) -> dict[str, Probe]:
    """Return the probes that still hold."""
    found = {}
    for task in tasks:
        probe = probes.get(task.video)
        if probe is None or any(finding.kind in AGAIN for finding in probe.findings):
            continue
        if task.stamp == (probe.num_bytes, probe.modified_ns):
            found[task.video] = probe
    return found


def _read_log(log: Path, settings: _Settings) -> dict[str, Probe]:
    """Return the probes of a log, of each video the last; none if it was written with other settings."""
    probes: dict[str, Probe] = {}
    if not log.is_file():
        return probes
    with log.open(encoding="utf-8") as file:
        if _parse(file.readline()) != asdict(settings):
            return probes
        for line in file:
            with suppress(KeyError, TypeError, ValueError):  # what a killed scan left of a line: probed again
                probe = Probe.from_json(_parse(line))
                probes[probe.video] = probe
    return probes


def _parse(line: str) -> Any:
    with suppress(ValueError):
        return json.loads(line)
    return None


@contextmanager
def _open_log(log: Path, settings: _Settings, goes_on: bool) -> Iterator[IO[str]]:
    """Open a log to append to; it begins with the settings."""
    with _refusing_to_write(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("a" if goes_on else "w", encoding="utf-8")
    with file:
        with _refusing_to_write(log):
            if goes_on:
                file.write("\n")  # what a killed scan left of a line ends here
            else:
                _write_line(file, asdict(settings))
        yield file


def _write_line(file: IO[str], values: dict[str, Any]) -> None:
    file.write(f"{json.dumps(values)}\n")
    file.flush()


@contextmanager
def _refusing_to_write(log: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"'{log}' cannot be written ({error.strerror}). Make room, or give another folder with --out."
        ) from error
