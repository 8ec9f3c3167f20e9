"""What the packets of a video tell before any of it is decoded: its frames, their times, where to begin.

A container hands out packets in the order of decoding. Each holds one frame and the time at which that is
shown; sorted, the times number the frames. Where they cannot be trusted the index is not ``exact``, and the
frames are numbered as the decoder shows them, from the first one on.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from gateshift.data.packet_bits import begins_decoding, nal_length_size, shows_frame

# Containers that say when each frame is shown. Those of AVI only count packets, and those of MPEG programme
# and transport streams are guessed where they are not written.
TIMED = frozenset(("mov", "mp4", "matroska", "webm", "flv", "gif", "ogg"))
# Decoders that give one frame for each packet that shows one, and go on from any packet that begins decoding.
SEEKABLE = frozenset(
    ("h264", "hevc", "vp8", "vp9", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "png", "gif")
    + ("rawvideo", "prores", "dnxhd", "ffv1")
)
HIDING = frozenset(("vp8", "vp9"))  # codecs with packets that show nothing, as their first bits say
NEVER = -(2**63)  # where FFmpeg has no timestamp
SMALL = 16  # bytes; an MPEG-4 packet of fewer says "as before", which may show nothing
MILLISECOND = Fraction(1, 1000)


class OddStream(Exception):
    """What came out of a stream is not what its index says."""


@dataclass(frozen=True)
class StreamFacts:
    """A video stream as its header describes it and its packets count it.

    Attributes:
        container: FFmpeg's name of the format, such as "mov,mp4,m4a,3gp,3g2,mj2".
        codec: the decoder, such as "h264" or "libdav1d".
        pixel_format: such as "yuv420p"; None where it is unknown.
        width: pixels of a coded frame, before rotation and aspect; 0 where it is unknown.
        height: likewise.
        rotation: degrees counter-clockwise by which the frames are turned to be shown.
        sample_aspect_ratio: a pixel's width over its height.
        rate: frames per second on average; None where it is unknown.
        declared_frames: frames by the header; 0 where it does not say.
        num_packets: packets with data.
        num_keyframes: packets that the container marks as keyframes.
        variable_rate: the frames are not shown at even intervals, or, in an AVI file that reorders them,
            nothing says when they are shown.
        has_audio: there is a stream of sound beside it.
        encrypted: the packets need a key.
        seconds: duration; 0 where it is unknown.
    """

    container: str
    codec: str
    pixel_format: str | None
    width: int
    height: int
    rotation: int
    sample_aspect_ratio: Fraction
    rate: Fraction | None
    declared_frames: int
    num_packets: int
    num_keyframes: int
    variable_rate: bool
    has_audio: bool
    encrypted: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class StreamIndex:
    """The packets of a stream with data, in the order of decoding, and the frames that they show.

    Attributes:
        facts: the stream as a whole; its rotation is not known before a frame is decoded.
        time_base: seconds in a unit of the timestamps.
        pts: when each packet's frame is shown; ``NEVER`` where the container does not say.
        dts: when it is decoded, likewise.
        sizes: its bytes.
        shown: whether it shows a frame.
        begins: the packets that decoding can begin at.
        listed: packets that the container's own index lists, where it has one of all; 0 where not.
        exact: the timestamps number the frames, and decoding may begin in the middle.
    """

    facts: StreamFacts
    time_base: Fraction
    pts: np.ndarray
    dts: np.ndarray
    sizes: np.ndarray
    shown: np.ndarray
    begins: tuple[int, ...]
    listed: int
    exact: bool

    @property
    def num_frames(self) -> int:
        """Packets that show a frame."""
        return int(self.shown.sum())

    @property
    def num_bytes(self) -> int:
        """Bytes of all packets."""
        return int(self.sizes.sum())

    @cached_property
    def times(self) -> list[int]:
        """When the frames are shown, in order; frames of which nothing says so are left out."""
        times = np.sort(self.pts[self.shown])
        return [int(time) for time in times if time != NEVER]

    @cached_property
    def packet_of(self) -> list[int]:
        """Which packet holds each frame, where the index is exact."""
        shown = np.flatnonzero(self.shown)
        return [int(packet) for packet in shown[np.argsort(self.pts[shown])]]

    def number_at(self, time: int) -> int | None:
        """Return which frame is shown from a time on, where the index is exact; None if none is."""
        number = bisect_left(self.times, time)
        return number if number < len(self.times) and self.times[number] == time else None

    def start_of(self, number: int) -> int:
        """Return the packet at which decoding must begin to show a frame, where the index is exact."""
        packet = self.packet_of[number]
        before = bisect_right(self.begins, packet)
        # What is shown before a keyframe and stored after it needs the frames before that as well.
        starts = (k for k in reversed(self.begins[:before][-2:]) if self.pts[k] <= self.pts[packet])
        return next(starts, 0)

    def first_whole(self, packet: int) -> int:
        """Return the first frame that decoding from a packet on shows as it is; those before lack others."""
        return bisect_left(self.times, int(self.pts[packet]))


class _Columns(NamedTuple):
    """What is kept of each packet, and of all of them."""

    pts: np.ndarray
    dts: np.ndarray
    sizes: np.ndarray
    marked: np.ndarray  # as a keyframe, by the container
    begins: np.ndarray
    shown: np.ndarray
    corrupt: bool
    encrypted: bool


def index_stream(container: InputContainer, packets: "Iterable[Packet[VideoStream]]") -> StreamIndex:
    """Return the index of the first video stream of a container from its packets."""
    stream = container.streams.video[0]
    codec = stream.codec_context
    time_base = stream.time_base or MILLISECOND
    columns = _columns(packets, codec.name, nal_length_size(codec.name, codec.extradata))
    formats = set(container.format.name.split(","))
    reordered = "avi" in formats and codec.has_b_frames
    facts = StreamFacts(
        container=container.format.name,
        codec=codec.name,
        pixel_format=codec.pix_fmt,
        width=codec.width,
        height=codec.height,
        rotation=0,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        rate=stream.average_rate,
        declared_frames=stream.frames,
        num_packets=len(columns.sizes),
        num_keyframes=int(columns.marked.sum()),
        variable_rate=reordered or not _evenly_spaced(columns, time_base),
        has_audio=bool(container.streams.audio),
        encrypted="enc_key_id" in stream.metadata or columns.encrypted,
        seconds=_seconds(container, stream),
    )
    timed = formats & TIMED or ("avi" in formats and not reordered)
    return StreamIndex(
        facts,
        time_base,
        columns.pts,
        columns.dts,
        columns.sizes,
        columns.shown,
        begins=tuple(np.flatnonzero(columns.begins).tolist()),
        # An edit that leaves out whole parts shortens the list of an mp4, and not the number in its header.
        listed=(len(stream.index_entries) or stream.frames) if "mp4" in formats else 0,
        exact=bool(timed) and codec.name in SEEKABLE and _numbers_frames(columns, codec.name),
    )


def _columns(packets: "Iterable[Packet[VideoStream]]", codec: str, nal_length: int) -> _Columns:
    rows: list[tuple[int, ...]] = []
    corrupt = encrypted = False
    for packet in packets:
        pts, dts, marked = packet.pts, packet.dts, packet.is_keyframe
        begins = marked and begins_decoding(codec, memoryview(packet), nal_length)
        # Packets to discard are those that an edit hides, such as the start of a trimmed video.
        shown = not packet.is_discard and (codec not in HIDING or shows_frame(codec, memoryview(packet)))
        corrupt = corrupt or packet.is_corrupt
        if marked or not rows:
            encrypted = encrypted or packet.has_sidedata("encryption_info")
        rows.append(
            (
                NEVER if pts is None else pts,
                NEVER if dts is None else dts,
                packet.size,
                marked,
                begins,
                shown,
            )
        )
    table = np.array(rows, np.int64).reshape(-1, 6).T
    pts, dts, sizes = table[:3].copy()
    marked, begins, shown = table[3:].astype(bool)
    return _Columns(pts, dts, sizes, marked, begins, shown, corrupt, encrypted)


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def _evenly_spaced(columns: _Columns, time_base: Fraction) -> bool:
    """Tell whether frames follow each other at one interval, to a tick of the clock or a millisecond."""
    times = columns.pts[columns.shown & (columns.pts != NEVER)]
    intervals = np.diff(np.unique(times))
    return len(intervals) == 0 or int(np.ptp(intervals)) <= max(1, int(MILLISECOND / time_base))


def _numbers_frames(columns: _Columns, codec: str) -> bool:
    """Tell whether the timestamps of packets say which frame is the n-th, without any doubt."""
    times = columns.pts[columns.shown]
    if len(times) == 0 or not columns.begins[0] or columns.corrupt:
        return False
    return bool(
        (columns.pts != NEVER).all()
        and len(np.unique(times)) == len(times)
        and (np.diff(columns.dts[columns.dts != NEVER]) >= 0).all()
        # Frames shown before the first keyframe need frames that are not in the file.
        and (columns.pts >= columns.pts[0]).all()
        and not (codec == "mpeg4" and (columns.sizes < SMALL).any())
    )
