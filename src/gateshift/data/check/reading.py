"""What reading a video shows: a clip as validation reads it, every frame in order, and what is refused.

Of the frames of the clip, a full reading requires that they come out the same among all frames in order.
"""

import re
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from gateshift.data.check.bare_decode import decode_bare
from gateshift.data.check.findings import Finding
from gateshift.data.check.stream_findings import AGAIN, count_findings, stream_findings
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.reader import VideoFile, open_video
from gateshift.data.sampling import segment_centres
from gateshift.data.stream_index import StreamFacts
from gateshift.errors import VideoError

NUM_THUMBNAILS = 3
THUMBNAIL = 16  # pixels on a side


@dataclass
class Reading:
    """What reading a video has shown so far."""

    video: str
    path: Path
    frame_template: str | None
    facts: StreamFacts | None = None
    num_frames: int = 0
    decoded: int = 0
    seconds: float = 0.0
    size: tuple[int, int] = (0, 0)  # width, height
    thumbnails: bytes = b""
    clip: dict[int, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def open(self) -> VideoFile | FrameFolder:
        """Return a reader of the video."""
        return open_video(self.path, self.frame_template)

    def add(self, finding: Finding) -> None:
        """Keep a finding; of errors the first, which the others come from."""
        if finding.severity != "error" or not self.error:
            self.findings.append(finding)

    @property
    def error(self) -> Finding | None:
        """What the reader refuses the video for."""
        return next((finding for finding in self.findings if finding.severity == "error"), None)

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Make a finding of what the reader refuses."""
        try:
            yield
        except VideoError as error:
            text = str(error).replace(f"'{self.path}'", f"'{self.video}'")
            self.add(Finding(self.video, error.kind, *split_advice(text)))


def read(reading: Reading, video: VideoFile | FrameFolder, num_segments: int, fast: bool) -> None:
    """Read as much of a video as is asked for."""
    if isinstance(video, VideoFile):
        reading.facts = video.facts
        for finding in stream_findings(reading.video, video.facts):
            reading.add(finding)
    with reading.noting_errors():
        reading.num_frames = video.num_frames
        if fast:
            _read_clip(reading, NUM_THUMBNAILS)
            _note_clip(reading)
        else:
            _read_all(reading, video, num_segments)
        for finding in count_findings(reading.video, reading.num_frames, num_segments, reading.facts):
            reading.add(finding)
    if not fast and reading.facts and reading.error:
        _decode_bare(reading, reading.facts, reading.error)


def _decode_bare(reading: Reading, facts: StreamFacts, error: Finding) -> None:
    """Find out how far FFmpeg itself gets with a refused video, and say so if it gets stuck on the way."""
    reading.decoded, said = decode_bare(reading.path)
    if said and reading.decoded and error.kind in ("no-frames", "damaged-frame"):
        promised = facts.declared_frames or facts.num_packets
        detail = (
            f"'{reading.video}' is damaged: {reading.decoded} of {promised} frames can be decoded, not all "
            f"without a fault, then FFmpeg says '{said}'."
        )
        reading.findings[reading.findings.index(error)] = replace(error, kind="broken-off", detail=detail)


def _read_clip(reading: Reading, num_segments: int) -> None:
    """Read the frames that validation reads, and take the time."""
    began = time.perf_counter()
    with reading.open() as video:
        indices = segment_centres(video.num_frames, num_segments)
        clip = video.read(indices)
    reading.seconds = time.perf_counter() - began
    reading.clip = dict(zip(indices.tolist(), clip, strict=True))


def _note_clip(reading: Reading) -> None:
    """Take from a clip what a fast probe says of frames."""
    reading.decoded = len(reading.clip)
    indices = segment_centres(reading.num_frames, NUM_THUMBNAILS).tolist()
    reading.thumbnails = b"".join(thumbnail(reading.clip[i]) for i in indices)
    height, width, _ = reading.clip[indices[0]].shape
    reading.size = width, height


def _read_all(reading: Reading, video: VideoFile | FrameFolder, num_segments: int) -> None:
    """Read a clip, and every frame in order, which says more about what is wrong."""
    refusal: VideoError | None = None
    try:
        _read_clip(reading, num_segments)
    except VideoError as error:
        refusal = error
    indices = segment_centres(reading.num_frames, NUM_THUMBNAILS).tolist()
    thumbnails: dict[int, bytes] = {}
    with closing(_all_frames(video)) as frames:
        for i, pixels in enumerate(frames):
            height, width, _ = pixels.shape
            reading.size = reading.size if i else (width, height)
            _require_same(reading, i, pixels)
            if i in indices:
                thumbnails[i] = thumbnail(pixels)
            reading.decoded = i + 1
    if refusal:
        raise refusal
    reading.thumbnails = b"".join(thumbnails[i] for i in indices)


def _all_frames(video: VideoFile | FrameFolder) -> Generator[np.ndarray, None, None]:
    if isinstance(video, VideoFile):
        yield from video.frames()
    else:
        yield from (video.read([i])[0] for i in range(video.num_frames))


def _require_same(reading: Reading, i: int, pixels: np.ndarray) -> None:
    """Refuse a frame of another size than the first, and one that came out otherwise in the clip."""
    height, width, _ = pixels.shape
    if (width, height) != reading.size:
        raise VideoError(
            f"frame {i} of '{reading.path}' is {width} x {height}, and the first {reading.size[0]} x "
            f"{reading.size[1]}. Extract the frames again.",
            "frame-size",
        )
    if i in reading.clip and not np.array_equal(reading.clip[i], pixels):
        raise VideoError(
            f"frame {i} of '{reading.path}' comes out otherwise when it is read alone than when all are "
            f"decoded in order. {AGAIN}",
            "damaged-frame",
        )


def split_advice(text: str) -> tuple[str, str]:
    """Split a message into what is wrong and, its last sentence, what to do.

    >>> split_advice("'a.mp4' is damaged (end of file). Fetch it again, or leave it out.")
    ("'a.mp4' is damaged (end of file).", 'Fetch it again, or leave it out.')
    """
    *before, last = re.split(r"(?<=\.) (?=[A-Z])", text)
    return (" ".join(before), last) if before else (text, AGAIN)


def thumbnail(pixels: np.ndarray) -> bytes:
    """Return a frame (H, W, 3) as 16 x 16 grey bytes, each the mean of its part."""
    grey = Image.fromarray(pixels).convert("L")
    return grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()
