"""Frames out of a video file or a folder of frames: read(indices) -> uint8 (len(indices), H, W, 3), RGB.

The n-th frame is the n-th that a player shows. Outside of ``with`` nothing stays open between calls, so
readers can be made anywhere and sent to any process. A frame that cannot be read is an error that names the
file; another frame is never shown in its place.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Container, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from gateshift.data.decoding import KEPT_BYTES, OpenVideo
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.numbering import frames_in_order, wanted_frames
from gateshift.data.pixels import Painter, display_matrix, rotation_of
from gateshift.data.stream_index import OddStream, StreamFacts, StreamIndex
from gateshift.errors import VideoError

VIDEO_EXTENSIONS = frozenset(
    (".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg")
    + (".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m")
)
MILLISECOND = 0.001
MOST_DISORDER = 64  # frames that may come out of a decoder before one that is shown earlier
MEND = "Fetch or encode it again, or leave it out."


class FewerFrames(VideoError):
    """The decoder ended, without an error, before a frame that the file's packets promise."""


class VideoFile:
    """A video file, decoded on one thread: only what the wanted frames need, or in order from the first on.

    Frames stand as a player shows them: turned and mirrored by their display matrix, with square pixels (the
    width is scaled, the height kept). A frame that FFmpeg flags as corrupt is refused when it is asked for.
    Within ``with`` the file is opened once for all calls.

    Args:
        path: the file.
        content: its bytes, where they are in memory; then ``path`` is only what messages call it.

    Raises:
        VideoError: there is no such file, or (from everything else) it cannot be decoded.
    """

    def __init__(self, path: str | Path, content: bytes | None = None) -> None:
        self.path = Path(path)
        self._content = content
        self._index: StreamIndex | None = None
        self._held: OpenVideo | None = None
        self._holding = False
        if content is None and not self.path.is_file():
            raise VideoError(
                f"there is no video '{self.path}'. Give the path of an existing file.", "missing-file"
            )

    def __enter__(self) -> "VideoFile":
        self._holding = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._holding = False
        if self._held is not None:
            self._held.close()
            self._held = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_held": None, "_holding": False, "_index": None}

    @cached_property
    def facts(self) -> StreamFacts:
        """The stream as its header describes it and its packets count it; one frame at most is decoded."""
        with self._opened() as video:
            return replace(video.index.facts, rotation=_first_rotation(video))

    @cached_property
    def num_frames(self) -> int:
        """Frames of the video, counted from its packets and not taken from its header."""
        with self._opened() as video:
            index = video.index
        facts = index.facts
        if facts.encrypted:
            raise VideoError(
                f"'{self.path}' is encrypted. Decrypt it with its key, or leave it out.", "encrypted"
            )
        promised = index.listed if facts.num_packets else facts.declared_frames
        if facts.num_packets < promised:
            raise VideoError(
                f"'{self.path}' holds {facts.num_packets} of the {promised} frames that its header promises; "
                f"it may be cut short. {MEND}",
                "cut-short",
            )
        if index.num_frames == 0:
            raise VideoError(f"'{self.path}' has a video stream without frames. Leave it out.", "no-frames")
        return index.num_frames

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the frames at ``indices``, in that order and with repeats: uint8 (len(indices), H, W, 3).

        Raises:
            FewerFrames: there are not so many; ``num_frames`` then says how many.
        """
        wanted = sorted(set(map(int, indices)))
        with self._opened() as video:
            frames = self._read_leaping(video, wanted) or self._read_in_order(video, wanted)
        return np.stack([frames[int(i)] for i in indices])

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Yield all ``num_frames`` frames in order, one at a time: uint8 (H, W, 3). Close it, or use it up.

        Raises:
            FewerFrames: after the last frame, where the decoder ended early; ``num_frames`` then says so.
        """
        num_frames, num_shown = self.num_frames, 0
        early: dict[int, np.ndarray] = {}
        with self._opened() as video, closing(self._painted(video, range(num_frames))) as painted:
            for number, pixels in painted:
                if number < num_frames and pixels is not None:
                    early[number] = pixels
                while num_shown in early:
                    yield early.pop(num_shown)
                    num_shown += 1
                if num_shown == num_frames or len(early) > MOST_DISORDER:
                    break
        self._require(range(num_shown, num_frames), num_shown, gap=bool(early))

    def frames_between(self, start_seconds: float, end_seconds: float | None = None) -> tuple[int, int]:
        """Return the first frame shown in a span of time, and the one after its last.

        Times count from the first frame, and are told apart to the millisecond. A span in which no frame
        begins has the frame that is shown then.

        Args:
            start_seconds: where the span begins.
            end_seconds: where it ends, exclusive; None: with the video. It may lie a second beyond that.
        """
        times = self._times
        ending = times[-1] + (times[-1] / (len(times) - 1) if len(times) > 1 else 1.0)
        last = ending if end_seconds is None else end_seconds
        if not 0 <= start_seconds < min(last, ending) or last > ending + 1:
            raise VideoError(
                f"seconds {start_seconds} to {last} of '{self.path}' were asked for, and it ends at "
                f"{ending:.3f}. Correct start_seconds and end_seconds in its list.",
                "bad-span",
            )
        start, end = (bisect_left(times, seconds - MILLISECOND) for seconds in (start_seconds, last))
        if start == end:
            start = bisect_right(times, start_seconds) - 1
        return start, max(start + 1, end)

    @cached_property
    def _times(self) -> list[float]:
        """Seconds from the first frame at which each frame is shown."""
        num_frames = self.num_frames
        index = self._index
        assert index is not None, "num_frames opens the video"
        ticks = index.times
        if len(set(ticks)) == num_frames:
            seconds = (np.array(ticks) - ticks[0]) * index.time_base.numerator / index.time_base.denominator
            return [float(time) for time in seconds]
        if not index.facts.rate:
            raise VideoError(f"'{self.path}' does not say when its frames are shown. Give frame numbers.")
        return [float(number / index.facts.rate) for number in range(num_frames)]

    @contextmanager
    def _opened(self) -> Iterator[OpenVideo]:
        """Lend the open video: the one that is held, or one for this call."""
        shelf = self._shelf()
        video = self._held or OpenVideo(self.path, self._content, self._index or next(iter(shelf), None))
        shelf[:] = [video.index]
        if self._holding:
            self._held = video
        try:
            yield video
        finally:
            self._index = video.index
            if video is not self._held:
                video.close()

    def _shelf(self) -> list[StreamIndex]:
        """Return where a process keeps the index of a long video, whose packets take a while to count."""
        if self._index or self._content is not None or not self.path.is_file():
            return []
        found = self.path.stat()
        if found.st_size <= KEPT_BYTES:
            return []
        return _shelf_of(self.path.absolute(), found.st_size, found.st_mtime_ns)

    def _read_leaping(self, video: OpenVideo, wanted: Sequence[int]) -> dict[int, np.ndarray] | None:
        """Return the wanted frames from as few packets as hold them; None where that cannot be trusted."""
        index = video.index
        if not index.exact or not wanted or wanted[0] < 0 or wanted[-1] >= index.num_frames:
            return None
        painter = Painter(index.facts.sample_aspect_ratio)
        try:
            frames = wanted_frames(video, wanted)
            return {number: self._paint(painter, number, frame) for number, frame in frames}
        except (OddStream, av.FFmpegError):
            return None  # decoding in order shows the frames, or says what is wrong with them

    def _read_in_order(self, video: OpenVideo, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        """Return the wanted frames, decoding from the first packet on until they are there."""
        missing = set(wanted)
        frames: dict[int, np.ndarray] = {}
        num_shown, gap = 0, False
        with closing(self._painted(video, missing)) as painted:
            for number, pixels in painted:
                gap, num_shown = gap or number != num_shown, num_shown + 1
                if pixels is not None:
                    frames[number] = pixels
                    missing.discard(number)
                if not missing:
                    return frames
        self._require(sorted(missing), num_shown, gap)
        return frames

    def _painted(
        self, video: OpenVideo, wanted: Container[int]
    ) -> Generator[tuple[int, np.ndarray | None], None, None]:
        """Decode in order: each frame's number, and its pixels if it is wanted."""
        painter = Painter(video.index.facts.sample_aspect_ratio)
        num_shown = 0
        damage: int | None = None  # the corrupt frame that those after it are built on, up to a keyframe
        try:
            with closing(frames_in_order(video)) as decoded:
                for number, frame in decoded:
                    painter.hold_size(frame)
                    if frame.is_corrupt:
                        damage = number
                    elif frame.key_frame:
                        damage = None
                    if number in wanted:
                        self._refuse_damage(number, damage)
                    yield number, self._paint(painter, number, frame) if number in wanted else None
                    num_shown += 1
        except OddStream as error:
            raise VideoError(
                f"'{self.path}' is damaged: after {num_shown} frames FFmpeg shows one of a time that no "
                f"packet has. {MEND}",
                "damaged-frame",
            ) from error
        except av.FFmpegError as error:
            promised = video.index.facts.declared_frames
            raise VideoError(
                f"'{self.path}' is damaged: {num_shown}{f' of {promised}' if promised else ''} frames can be "
                f"decoded, then FFmpeg says '{error.strerror}'. {MEND}",
                "broken-off" if num_shown else "no-frames",
            ) from error

    def _refuse_damage(self, number: int, damage: int | None) -> None:
        if damage is not None:
            marked = "it" if damage == number else f"frame {damage}, which it is built on,"
            raise VideoError(
                f"frame {number} of '{self.path}' is damaged: FFmpeg marks {marked} as corrupt. {MEND}",
                "damaged-frame",
            )

    def _paint(self, painter: Painter, number: int, frame: av.VideoFrame) -> np.ndarray:
        try:
            return painter.paint(frame)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"frame {number} of '{self.path}' has pixels that cannot be turned into RGB "
                f"({frame.format.name}: {error}). Encode it again, or leave it out.",
                "damaged-frame",
            ) from error

    def _require(self, missing: Sequence[int], num_shown: int, gap: bool) -> None:
        """Refuse frames that the decoder did not show, and remember how many there are."""
        if not missing:
            return
        if gap:
            raise VideoError(
                f"frame {missing[0]} of '{self.path}' cannot be decoded: FFmpeg shows later ones, and not "
                f"this. {MEND}",
                "damaged-frame",
            )
        self.num_frames = num_shown
        raise FewerFrames(
            f"frame {missing[0]} of '{self.path}' was asked for, and it has {num_shown} frames. "
            "Correct the list's frame numbers, or leave the video out.",
            "broken-off",
        )


def open_video(path: str | Path, frame_template: str | None = None) -> VideoFile | FrameFolder:
    """Return the reader of a video file, or of a folder of frames."""
    if Path(path).is_dir():
        return FrameFolder(path, frame_template)
    return VideoFile(path)


@lru_cache(maxsize=16)
def _shelf_of(path: Path, num_bytes: int, modified_ns: int) -> list[StreamIndex]:
    """Return the place for the index of one state of a long video."""
    return []


def _first_rotation(video: OpenVideo) -> int:
    """Return how the first frame is turned; 0 where there is none."""
    try:
        with closing(video.frames_from(0)) as frames:
            return next((rotation_of(display_matrix(frame)) for _, frame in frames), 0)
    except av.FFmpegError:
        return 0
