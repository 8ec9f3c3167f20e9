"""What the headers and packets of a video file tell, before a frame of it is decoded."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from gateshift.data.check.findings import Finding
from gateshift.data.stream_index import StreamFacts

# The extensions of each format that a video is kept in, by FFmpeg's name for the format.
EXTENSIONS = {
    "asf": (".asf", ".wmv"),
    "avi": (".avi",),
    "flv": (".flv",),
    "gif": (".gif",),
    "matroska,webm": (".mkv", ".webm"),
    "mov,mp4,m4a,3gp,3g2,mj2": (".3gp", ".m4v", ".mov", ".mp4"),
    "mpeg": (".mpeg", ".mpg", ".vob"),
    "mpegts": (".m2ts", ".mts", ".ts"),
    "mpegvideo": (".mpeg", ".mpg"),
    "ogg": (".ogv",),
    "yuv4mpegpipe": (".y4m",),
}
USUAL_PIXELS = frozenset(("", "nv12", "yuv420p", "yuvj420p"))
# Formats with the length of the whole video at their start, which stays there when the end is lost.
TIMED_WHOLE = frozenset(("flv", "matroska,webm"))
LACKING, LACKING_SECONDS = 0.1, 0.5  # share of a video, and seconds, that may be missing without a word
AGAIN = "Fetch or encode it again, or leave it out."


def stream_findings(video: str, facts: StreamFacts) -> Iterator[Finding]:
    """Yield what stands out of a file that opens."""
    if facts.encrypted:
        yield Finding(
            video,
            "encrypted",
            f"'{video}' is encrypted ({facts.codec}).",
            "Fetch it without, or leave it out.",
        )
    suffix = PurePosixPath(video).suffix.lower()
    if usual := _wrong_extension(facts.container, suffix):
        named = f"named '{suffix}'" if suffix else "without an extension"
        yield Finding(
            video,
            "wrong-extension",
            f"'{video}' is of the format '{facts.container}' and {named}.",
            f"Name it '{usual}', in the lists too." if usual in suffixes() else AGAIN,
        )
    if facts.variable_rate:
        yield Finding(video, "variable-rate", f"the frames of '{video}' are spaced unevenly in time.")
    if facts.rotation % 360:
        yield Finding(video, "rotated", f"'{video}' is shown turned by {facts.rotation} degrees.")
    if (facts.pixel_format or "") not in USUAL_PIXELS:
        yield Finding(video, "pixel-format", f"'{video}' has pixels of the format {facts.pixel_format}.")


def count_findings(
    video: str, num_frames: int, num_segments: int, facts: StreamFacts | None
) -> Iterator[Finding]:
    """Yield what stands out about the number of a video's frames, as the reader counts them.

    An edit may hide some of the frames that a header counts; that is no fault.
    """
    if facts and facts.declared_frames not in (0, num_frames, facts.num_packets):
        yield Finding(
            video,
            "frame-count",
            f"the header of '{video}' counts {_frames(facts.declared_frames)}, and there are {num_frames}.",
            "Correct num_frames in lists that were made from headers, or encode it again.",
        )
    if facts and (held := _held_seconds(facts)) is not None:
        yield Finding(
            video,
            "cut-short",
            f"the header of '{video}' says {facts.seconds:.1f} seconds, and its frames last {held:.1f}.",
            AGAIN,
        )
    if num_frames < num_segments:
        yield Finding(
            video,
            "few-frames",
            f"'{video}' has {_frames(num_frames)}, fewer than {num_segments} segments; some are taken twice.",
            "Lower --num-segments, or leave it out.",
        )


def _held_seconds(facts: StreamFacts) -> float | None:
    """Return how long the frames of a file last whose header says far longer, though it counts no frames.

    The header's time is that of the longest stream, so a file with sound says nothing here.
    """
    known = facts.rate and facts.num_packets and not facts.declared_frames
    if not known or facts.has_audio or facts.variable_rate or facts.container not in TIMED_WHOLE:
        return None
    assert facts.rate, "that is known"
    held = float(facts.num_packets / facts.rate)
    return held if facts.seconds - held > max(LACKING * facts.seconds, LACKING_SECONDS) else None


def suffixes() -> frozenset[str]:
    """Return all extensions of the formats that are known here."""
    return frozenset(suffix for known in EXTENSIONS.values() for suffix in known)


def _wrong_extension(container: str, suffix: str) -> str | None:
    """Return the extension to expect where a file has another one, or the format's name if it is none's."""
    known = EXTENSIONS.get(container)
    if known is None:
        return container if suffix in suffixes() else None
    return None if suffix in known else known[-1]


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
