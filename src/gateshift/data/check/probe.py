"""One video looked at as the reader sees it: what it is, how much of it can be read, and what is wrong.

    stamp, digest -> headers and packets -> a clip, timed -> every frame, unless fast

The clip is read as validation reads it. A full probe then decodes all frames in order, and holds those of the
clip against them.
"""

import base64
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateshift.data.check.findings import Finding
from gateshift.data.check.fingerprint import Stamp, digest, stamp
from gateshift.data.check.reading import Reading, read
from gateshift.errors import VideoError


@dataclass(frozen=True)
class Probe:
    """What is known of one video.

    Attributes:
        video: path relative to the dataset's root.
        num_bytes: size of the file, or of all frames of a folder; -1 where there is none.
        modified_ns: when it was changed last.
        digest: of the whole content; of a fast probe, of its size and its ends.
        container: name of the file's format; "" for a folder of frames, as are the next two.
        codec: name of the decoder.
        pixel_format: how the pixels are kept.
        width: of a frame as the reader shows it; 0 where none was read.
        height: likewise.
        declared_frames: frames that the header counts; 0 where it does not.
        num_frames: frames that the reader counts; 0 where it refuses.
        decoded: frames that FFmpeg decodes before it refuses one; of a fast probe, frames that were read.
        variable_rate: whether frames are spaced unevenly in time.
        duration: how many seconds it lasts, as its header says; 0 where it does not.
        seconds: time to open it and read one frame a segment; of a fast probe, three frames. 0 where they
            cannot be read.
        thumbnails: grey frames of 16 x 16 bytes at 1/6, 1/2 and 5/6 of it; b"" where they cannot be read.
        findings: what was found, an error at most once.
    """

    video: str
    num_bytes: int
    modified_ns: int
    digest: str = ""
    container: str = ""
    codec: str = ""
    pixel_format: str = ""
    width: int = 0
    height: int = 0
    declared_frames: int = 0
    num_frames: int = 0
    decoded: int = 0
    variable_rate: bool = False
    duration: float = 0.0
    seconds: float = 0.0
    thumbnails: bytes = b""
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        thumbnails = base64.b64encode(self.thumbnails).decode()
        return asdict(self) | {"thumbnails": thumbnails, "findings": list(map(asdict, self.findings))}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Probe":
        """Return the probe that ``to_json`` was called on."""
        thumbnails = base64.b64decode(values["thumbnails"])
        findings = tuple(Finding(**finding) for finding in values["findings"])
        return cls(**values | {"thumbnails": thumbnails, "findings": findings})


def probe_video(
    path: Path,
    *,
    video: str | None = None,
    frame_template: str | None = None,
    num_segments: int = 8,
    fast: bool = False,
) -> Probe:
    """Look at a video file or a folder of frames. What is wrong with it is among the findings, never raised.

    Args:
        path: the file or folder.
        video: what the findings call it, such as its path in the dataset.
        frame_template: names of a folder's frames, such as ``{:05d}.jpg``.
        num_segments: frames of a clip; a video with fewer is remarked on.
        fast: look at headers and three frames, instead of every frame.

    Raises:
        DataError: the template does not number frames.
    """
    reading = Reading(path.as_posix() if video is None else video, path, frame_template)
    found = stamp(path)
    if (absent := _absent(reading.video, path, found)) is not None:
        return Probe(reading.video, *found, findings=(absent,))
    content = ""
    with reading.noting_errors():
        content = _digest(path, fast)
        with reading.open() as opened:
            read(reading, opened, num_segments, fast)
    return _probe(reading, found, content)


def _absent(video: str, path: Path, found: Stamp) -> Finding | None:
    if found.num_bytes < 0:
        return Finding(video, "missing-file", f"there is no '{path}'.", "Fetch it, or take it off the list.")
    if found.num_bytes == 0 and not path.is_dir():
        return Finding(video, "empty-file", f"'{video}' has 0 bytes.", "Fetch it again, or leave it out.")
    return None


def _digest(path: Path, fast: bool) -> str:
    try:
        return digest(path, fast)
    except OSError as error:
        raise VideoError(
            f"'{path}' cannot be read ({error.strerror}). Make it readable, or leave it out."
        ) from error


def _probe(reading: Reading, found: Stamp, content: str) -> Probe:
    facts = reading.facts
    of_stream: dict[str, Any] = {}
    if facts:
        of_stream = {
            "container": facts.container,
            "codec": facts.codec,
            "pixel_format": facts.pixel_format or "",
            "declared_frames": facts.declared_frames,
            "variable_rate": facts.variable_rate,
            "duration": facts.seconds,
        }
    return Probe(
        reading.video,
        *found,
        digest=content,
        width=reading.size[0],
        height=reading.size[1],
        num_frames=reading.num_frames,
        decoded=reading.decoded,
        seconds=reading.seconds,
        thumbnails=reading.thumbnails,
        findings=tuple(reading.findings),
        **of_stream,
    )
