"""Frames out of a video file or a folder of frames: read(indices) -> uint8 (len(indices), H, W, 3), RGB.

Nothing stays open between calls, so readers can be made anywhere and sent to any process. A frame that cannot
be read is an error that names the file; another frame is never shown in its place.
"""

from collections.abc import Container, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from gateshift.data.frame_folder import FrameFolder
from gateshift.errors import VideoError

VIDEO_EXTENSIONS = frozenset(
    (".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg")
    + (".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m")
)
# Codecs with packets that are never shown: their frames are counted by decoding.
HIDDEN_FRAMES = frozenset(("vp8",))


class FewerFrames(VideoError):
    """The decoder ended, without an error, before a frame that the file's packets promise."""


class VideoFile:
    """A video file, decoded in order on one thread.

    Args:
        path: the file. Its rotation flag is applied: frames stand as a player shows them.

    Raises:
        VideoError: there is no such file, or (from ``num_frames`` and ``read``) it cannot be decoded.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise VideoError(f"there is no video '{self.path}'. Give the path of an existing file.")

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @cached_property
    def num_frames(self) -> int:
        """Frames of the video, counted from its packets and not taken from its header."""
        with self._open() as container:
            stream = container.streams.video[0]
            declared = stream.frames
            packets = [packet.is_discard for packet in container.demux(stream) if packet.size]
            hidden = stream.codec_context.name in HIDDEN_FRAMES
            indexed = "mp4" in container.format.name  # these containers list every packet in their header
        if len(packets) < declared and (indexed or not packets):
            raise VideoError(
                f"'{self.path}' holds {len(packets)} of the {declared} frames that its header promises; "
                "it may be cut short. Fetch or encode it again, or leave it out."
            )
        # Packets to discard are those that an edit hides, such as the start of a trimmed video.
        num_frames = sum(1 for _ in self._decode()) if hidden else packets.count(False)
        if num_frames == 0:
            raise VideoError(f"'{self.path}' has a video stream without frames. Leave it out.")
        return num_frames

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the frames at ``indices``, in that order and with repeats: uint8 (len(indices), H, W, 3)."""
        wanted = set(map(int, indices))
        frames: dict[int, np.ndarray] = {}
        num_decoded = 0
        with closing(self._shown(wanted)) as shown:
            for i, pixels in shown:
                num_decoded = i + 1
                if pixels is not None:
                    frames[i] = pixels
                if len(frames) == len(wanted):
                    break
        self._require(sorted(wanted - frames.keys()), num_decoded)
        return np.stack([frames[int(i)] for i in indices])

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Yield all ``num_frames`` frames in order, one at a time: uint8 (H, W, 3). Close it, or use it up.

        Raises:
            FewerFrames: after the last frame, where the decoder ended early; ``num_frames`` then says so.
        """
        num_frames, num_decoded = self.num_frames, 0
        with closing(self._shown(range(num_frames))) as shown:
            for i, pixels in islice(shown, num_frames):
                assert pixels is not None, "all of these are wanted"
                num_decoded = i + 1
                yield pixels
        self._require(range(num_decoded, num_frames), num_decoded)

    def _shown(self, wanted: Container[int]) -> Generator[tuple[int, np.ndarray | None], None, None]:
        """Decode in order: each frame's number, and its pixels as a player shows them if it is wanted."""
        reformatter = VideoReformatter()
        size: tuple[int, int] | None = None
        with closing(self._decode()) as decoded:
            for i, frame in enumerate(decoded):
                size = size or (frame.width, frame.height)  # a size that changes on the way is scaled back
                yield i, self._upright_rgb(reformatter, frame, *size) if i in wanted else None

    def _require(self, missing: Sequence[int], num_decoded: int) -> None:
        """Refuse frames that the decoder did not reach, and remember how many there are."""
        if missing:
            self.num_frames = num_decoded
            raise FewerFrames(
                f"frame {missing[0]} of '{self.path}' was asked for, and it has {num_decoded} frames. "
                "Correct the list's frame numbers, or leave the video out."
            )

    def _upright_rgb(
        self, reformatter: VideoReformatter, frame: av.VideoFrame, width: int, height: int
    ) -> np.ndarray:
        try:
            rgb = reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"'{self.path}' has pixels that cannot be turned into RGB ({frame.format.name}: {error}). "
                "Encode it again, or leave it out."
            ) from error
        return upright(rgb, frame.rotation)

    @contextmanager
    def _open(self) -> Iterator[InputContainer]:
        """Open the container and check that it has a video; say what FFmpeg said where it cannot be used."""
        try:
            with av.open(f"file:{self.path}", metadata_errors="replace") as container:
                if not container.streams.video:
                    raise VideoError(f"'{self.path}' has no video stream. Give a video, or leave it out.")
                codec = container.streams.video[0].codec_context
                codec.thread_type, codec.thread_count = "NONE", 1
                yield container
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"'{self.path}' cannot be opened as a video ({error.strerror}). "
                "Fetch or encode it again, or leave it out."
            ) from error

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        with self._open() as container:
            stream = container.streams.video[0]
            num_decoded = 0
            try:
                for frame in container.decode(stream):
                    yield frame
                    num_decoded += 1
            except av.FFmpegError as error:
                promised = f" of {stream.frames}" if stream.frames else ""
                raise VideoError(
                    f"'{self.path}' is damaged: {num_decoded}{promised} frames can be decoded, then "
                    f"FFmpeg says '{error.strerror}'. Fetch or encode it again, or leave it out."
                ) from error


def upright(frame: np.ndarray, rotation: int) -> np.ndarray:
    """Turn a frame (H, W, 3) by its display matrix: degrees counter-clockwise, to the nearest quarter.

    >>> upright(np.array([[[1], [2]]]), -90)[..., 0].tolist()
    [[1], [2]]
    """
    if abs(rotation) > 360:  # not an angle: a damaged matrix
        return frame
    return np.rot90(frame, round(rotation / 90) % 4)


def open_video(path: str | Path, frame_template: str | None = None) -> VideoFile | FrameFolder:
    """Return the reader of a video file, or of a folder of frames."""
    if Path(path).is_dir():
        return FrameFolder(path, frame_template)
    return VideoFile(path)
