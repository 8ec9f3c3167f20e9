"""Parts of long videos as frames: annotated times by the file's rate, and ends that lie beyond the video."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import av

from gateshift.data.raw.records import RawVideo
from gateshift.errors import VideoError

FASTEST_RATE = 60  # of the frames that EPIC-KITCHENS is published as


class Timing(NamedTuple):
    """Frames per second of a video file, and its frames by its header; None where it does not say."""

    rate: float
    num_frames: int | None


class Span(NamedTuple):
    """Frames of a part: the first, the one after the last (None: to the end), and the annotated end."""

    start: int
    end: int | None
    annotated_end: int | None


def read_timings(
    files: Iterable[Path], workers: int = 8, advance: Callable[[int], object] = lambda files: None
) -> Mapping[Path, Timing | str]:
    """Return the timing of each video file, or why it cannot be read."""
    files = list(files)

    def read(file: Path) -> Timing | str:
        try:
            return read_timing(file)
        except VideoError as error:
            return str(error)
        finally:
            advance(1)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        return dict(zip(files, pool.map(read, files), strict=True))


def read_timing(file: Path) -> Timing:
    """Return a video file's timing from its header; nothing is decoded."""
    try:
        with av.open(f"file:{file}", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            rate = stream.average_rate if stream else None
            if stream is None or not rate:
                raise VideoError(
                    f"'{file}' has no video stream with a rate. Fetch it again, or leave it out."
                )
            seconds = container.duration / av.time_base if container.duration else None
            frames = stream.frames or (round(seconds * rate) if seconds else None)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"'{file}' cannot be opened as a video ({error.strerror}). Fetch it again, or leave it out."
        ) from error
    return Timing(float(rate), frames)


def in_frames(video: RawVideo, timing: Timing) -> Span:
    """Return a part of a video file in frames, from its times where it has them.

    >>> in_frames(RawVideo("P01", "open", "a.csv:2", start_seconds=0.5, end_seconds=2.0), Timing(50.0, 90))
    Span(start=25, end=90, annotated_end=100)
    """
    start, end = video.start_frame, video.end_frame
    if video.start_seconds is not None:
        start = round(video.start_seconds * timing.rate)
    if video.end_seconds is not None:
        end = max(start + 1, round(video.end_seconds * timing.rate))
    return within(start, end, timing.num_frames, timing.rate if video.end_seconds is not None else 1)


def within(start: int, end: int | None, num_frames: int | None, most: float) -> Span:
    """Return a part that ends where its video does, if that is at most ``most`` frames too early.

    Annotated times are rounded, and videos lose frames at their end; what goes beyond is missing.

    Raises:
        VideoError: the part is not all there.
    """
    if num_frames is not None and (start >= num_frames or (end or 0) > num_frames + most):
        last = f"{start} to {end - 1}" if end else f"from {start} on"
        raise VideoError(f"frames {last} are annotated, and there are {num_frames}")
    late = num_frames is not None and end is not None and end > num_frames
    return Span(start, num_frames if late else end, end)
