"""A seeded fuzzer of video files: bytes flipped, cut, moved and spliced, then read as training does."""

import ctypes
import gc
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet

from gateshift.data.packet_bits import shows_frame
from gateshift.data.pixels import Painter
from gateshift.data.reader import VideoFile
from gateshift.data.sampling import random_segments
from gateshift.errors import VideoError

# What is encoded beside the files at hand: suffix, codec, keyframe interval, B-frames.
ENCODINGS = (
    ("mp4", "libx264", 8, 2),
    ("mkv", "libx264", 12, 3),
    ("ts", "libx264", 6, 0),
    ("mp4", "libx265", 10, 2),
    ("avi", "mpeg4", 6, 0),
    ("mov", "mpeg4", 5, 2),
    ("webm", "libvpx", 8, 0),
    ("webm", "libvpx-vp9", 8, 0),
    ("mpg", "mpeg2video", 6, 2),
    ("avi", "mjpeg", 1, 0),
)
NUM_FRAMES = 40
WEIGHED = 20  # after every so many files the memory is looked at


def encode(path: Path, codec: str, interval: int, b_frames: int, num_frames: int = NUM_FRAMES) -> Path:
    """Write a small video of moving noise in which no two frames agree."""
    rng = np.random.default_rng(len(path.name))
    texture = rng.integers(0, 256, (48, 64 + num_frames, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=0"} if codec == "libx265" else {"bf": str(b_frames)}
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = interval
        stream.codec_context.thread_count = 1
        for i in range(num_frames):
            pixels = texture[:, i : i + 64].copy()
            pixels[:, : 1 + i] //= 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def encode_all(folder: Path) -> list[Path]:
    """Write a video of each encoding."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        encode(folder / f"{codec}_{interval}_{b_frames}.{suffix}", codec, interval, b_frames)
        for suffix, codec, interval, b_frames in ENCODINGS
    ]


@dataclass(frozen=True)
class Sources:
    """Files to mutate, and how often each is taken: the shorter its decoding, the more often."""

    paths: tuple[Path, ...]
    contents: tuple[bytes, ...]
    shares: np.ndarray


@lru_cache(maxsize=1)
def load(paths: tuple[Path, ...]) -> Sources:
    """Read the sources, once in a process."""
    work = []
    for path in paths:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            num_packets = sum(1 for packet in container.demux(stream) if packet.size)
            work.append(stream.codec_context.width * stream.codec_context.height * num_packets)
    shares = 1 / (3_000_000 + np.array(work))
    return Sources(paths, tuple(path.read_bytes() for path in paths), shares / shares.sum())


def flip(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Change some bits anywhere."""
    for _ in range(_count(rng)):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)


def flip_header(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Change some bytes near the start or the end, where headers and indexes lie."""
    reach = min(len(content), 1500)
    for _ in range(_count(rng)):
        place = int(rng.integers(reach))
        content[place if rng.random() < 0.7 else -1 - place] = int(rng.integers(256))


def overwrite(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Fill a stretch with zeros, with ones, or with noise."""
    start, end = _stretch(content, rng)
    fill = (bytes(end - start), b"\xff" * (end - start), rng.bytes(end - start))
    content[start:end] = fill[rng.integers(3)]


def cut_end(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Leave out what follows some place."""
    del content[rng.integers(1, len(content) + 1) :]


def cut_out(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Leave out a stretch."""
    start, end = _stretch(content, rng)
    del content[start:end]


def repeat(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Put a stretch in a second time, somewhere else."""
    start, end = _stretch(content, rng)
    place = int(rng.integers(len(content) + 1))
    content[place:place] = content[start:end]


def splice(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Go on with the end of another file."""
    del content[rng.integers(1, len(content) + 1) :]
    content += other[rng.integers(len(other)) :]


def graft(content: bytearray, rng: np.random.Generator, other: bytes) -> None:
    """Write a stretch of another file over one of this."""
    start, end = _stretch(content, rng)
    begin = int(rng.integers(len(other)))
    piece = other[begin : begin + end - start]
    content[start : start + len(piece)] = piece


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator, bytes], None], ...] = (
    flip,
    flip,
    flip_header,
    overwrite,
    cut_end,
    cut_out,
    repeat,
    splice,
    graft,
)


def mutate(sources: Sources, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return one mutated file: its extension and its content."""
    first, second = rng.choice(len(sources.paths), 2, p=sources.shares)
    content = bytearray(sources.contents[first])
    for _ in range(1 + int(rng.random() < 0.2)):
        if content:
            MUTATIONS[rng.integers(len(MUTATIONS))](content, rng, sources.contents[second])
    return sources.paths[first].suffix, bytes(content)


def _count(rng: np.random.Generator) -> int:
    return int(2 ** rng.uniform(0, 6))


def _stretch(content: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    """Draw where a stretch begins and ends: short ones as often as long ones."""
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(2 ** rng.uniform(0, np.log2(1 + len(content)))))


@dataclass(frozen=True)
class Outcome:
    """What reading a mutated file came to."""

    index: int
    refused: str = ""  # the reader's first refusal, "" where it answered all
    wrong: tuple[str, ...] = ()  # what must not be
    num_read: int = 0
    seconds: float = 0.0  # of the longest call
    resident: int = 0  # bytes of this process afterwards, where they were looked at


@dataclass
class _Timed:
    """Calls of the reader: what it refused, and the longest time it took."""

    refused: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def call(self, function: Callable[[], np.ndarray | int]) -> np.ndarray | int | None:
        began = time.perf_counter()
        try:
            return function()
        except VideoError as error:
            self.refused = self.refused or str(error)
        except Exception as error:  # noqa: BLE001 - any other is what the fuzzer looks for
            self.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            self.seconds = max(self.seconds, time.perf_counter() - began)
        return None


@dataclass(frozen=True)
class FuzzTask:
    """One mutated file, made and read in a worker."""

    seed: int
    index: int
    sources: tuple[Path, ...]
    room: Path

    def run(self, stopped: Callable[[], bool]) -> Outcome:
        sources = load(self.sources)
        rng = np.random.default_rng((self.seed, self.index))
        suffix, content = mutate(sources, rng)
        path = self.room / f"{self.index:06d}{suffix}"
        path.write_bytes(content)
        timed = _Timed()
        num_read = read_as_training_does(path, rng, timed)
        if not timed.wrong:
            path.unlink()
        resident = 0 if self.index % WEIGHED else resident_bytes()
        return Outcome(self.index, timed.refused, tuple(timed.wrong), num_read, timed.seconds, resident)


def read_as_training_does(path: Path, rng: np.random.Generator, timed: _Timed) -> int:
    """Read a clip and single frames, from the file or from its bytes; return how many different ones."""
    content = path.read_bytes() if rng.random() < 0.3 else None
    num_frames = timed.call(lambda: VideoFile(path, content).num_frames)
    if num_frames is None:
        return 0
    assert isinstance(num_frames, int)
    wanted = [random_segments(num_frames, 8, rng)] + [rng.integers(num_frames, size=1) for _ in range(2)]
    found: dict[int, set[bytes]] = {}
    for indices in wanted:
        clip = timed.call(lambda indices=indices: VideoFile(path, content).read(indices))
        for i, pixels in zip(indices.tolist(), () if clip is None else clip, strict=False):
            found.setdefault(i, set()).add(digest(pixels))
    if found:
        with suppress(VideoError):  # of a frame that nobody asked for
            for i, pixels in enumerate(VideoFile(path).frames()):
                if i in found:
                    found[i].add(digest(pixels))
        timed.wrong += compare(path, found)
    return len(found)


class _Bare(NamedTuple):
    """A frame that the decoder showed, without our reader."""

    place: int  # in the decoder's order; -1 after an error
    rank: int  # of its time among those of all packets; -1 without one
    corrupt: bool
    pixels: bytes  # their digest


def compare(path: Path, found: dict[int, set[bytes]]) -> list[str]:
    """Return what is wrong with frames that the reader showed, each in one way or more.

    Of a damaged file neither the decoder's order nor the times can be relied on alone: a frame is right if it
    is the n-th that came out before any error, or the one whose time is the n-th. It may also come out of a
    decoder that began at a keyframe, and has not seen the damage before that. Some decoders (VP8's) leave in
    a damaged frame what its memory held before, and say nothing. Its pixels then differ from one use of
    memory to another, which further decodes show; of such a frame it is asked only not to be another one.
    """
    bare = decode_bare(path)
    suspects = {i: shown for i, shown in found.items() if not shown <= pixels_of(bare, i)}
    if not suspects:
        return []
    held, sparse = decode_bare(path, hold=64), decode_bare(path, paint=suspects)
    begun = [frame for start in keyframes(path) for frame in decode_bare(path, start=start)]
    wrong = []
    for i, shown in suspects.items():
        stable = pixels_of(bare, i) == pixels_of(held, i) == pixels_of(sparse, i)
        others = {frame.pixels for frame in bare + held + begun if i not in (frame.place, frame.rank)}
        right = pixels_of(bare + held + begun, i)
        if (stable and not shown <= right) or shown & (others - right):
            there = [(frame.place, frame.rank, frame.corrupt) for frame in bare if frame.pixels in shown]
            wrong.append(f"frame {i} is shown in {len(shown)} ways, which a bare decode shows as {there}")
    return wrong


def pixels_of(bare: Sequence[_Bare], i: int) -> set[bytes]:
    return {frame.pixels for frame in bare if i in (frame.place, frame.rank) and not frame.corrupt}


def keyframes(path: Path) -> list[int]:
    """Return the numbers of the packets at which a decoder may begin, but for the first."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        return [i for i, packet in enumerate(packets_of(container)) if packet and packet.is_keyframe and i]


def packets_of(container: InputContainer) -> Iterator[Packet | None]:
    """Yield the packets with data, and None, which flushes a decoder."""
    with suppress(IndexError):  # PyAV, after the last one, of a stream that began on the way
        yield from (packet for packet in container.demux(video=0) if packet.size)
    yield None


def decode_bare(
    path: Path, hold: int = 1, paint: Container[int] | None = None, start: int = 0
) -> list[_Bare]:
    """Decode all packets, and go on after errors.

    Args:
        path: the file.
        hold: frames that keep their memory while others are decoded.
        paint: the places of the frames to convert; all, if not given.
        start: packets to leave out.
    """
    times = set()
    held: deque[av.VideoFrame] = deque(maxlen=hold)
    shown: list[tuple[int, int | None, bool, bytes]] = []
    failed = start > 0
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        codec.thread_type, codec.thread_count = "NONE", 1
        painter = Painter(stream.sample_aspect_ratio or Fraction(1))
        for number, packet in enumerate(packets_of(container)):
            if packet and not packet.is_discard and shows_frame(codec.name, memoryview(packet)):
                times.add(packet.pts)
            if number < start:
                continue
            try:
                frames = codec.decode(packet)
            except av.FFmpegError:
                frames, failed = [], True
            for frame in frames:
                wanted = paint is None or len(shown) in paint
                pixels = digest(painter.paint(frame)) if wanted else b""
                shown.append((-1 if failed else len(shown), frame.pts, frame.is_corrupt, pixels))
                held.append(frame)
    ranks = {time: rank for rank, time in enumerate(sorted(times - {None}))}
    return [_Bare(place, ranks.get(pts, -1), corrupt, pixels) for place, pts, corrupt, pixels in shown]


def digest(pixels: np.ndarray) -> bytes:
    return (
        hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
        + str(pixels.shape).encode()
    )


def resident_bytes() -> int:
    """Return the memory that this process holds on to, freed memory given back; 0 where nobody says."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    gc.collect()
    with suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
