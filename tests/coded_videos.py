"""Videos in which every frame tells its number: codecs, keyframe intervals, B-frames, rates and turns."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8
SIZE = (96, 64)  # width, height: wide enough for a block a bit


@dataclass(frozen=True)
class Coding:
    """A way to encode: what a file of it is called, and how it is made."""

    codec: str
    suffix: str
    gop: int = 12
    b_frames: int = 0
    rate: Fraction = Fraction(25)
    uneven: bool = False
    rotation: int = 0
    mirrored: bool = False
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    num_frames: int = 40

    def __str__(self) -> str:
        named = [self.codec, self.suffix, f"g{self.gop}", f"b{self.b_frames}", f"r{float(self.rate):.4g}"]
        named += ["uneven"] * self.uneven + [f"turn{self.rotation}"] * bool(self.rotation)
        named += ["mirrored"] * self.mirrored + [f"{key}={value}" for key, value in self.options.items()]
        return "-".join(named).replace(":", ",").replace("/", "_")


def numbered_frame(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame whose number stands in it as light and dark blocks, on a grey that changes: (H, W, 3)."""
    width, height = size
    pixels = np.full((height, width, 3), 60 + 37 * number % 120, np.uint8)
    step = width // (BITS + 2)
    for bit in range(BITS):
        left = step * (bit + 1)
        pixels[height // 4 : height * 3 // 4, left : left + step] = 235 if number >> bit & 1 else 16
    pixels[: height // 8, : width // 8] = 255  # says which corner is the first
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Read the number of a frame that stands upright."""
    height, width = pixels.shape[:2]
    step = width // (BITS + 2)
    blocks = [
        pixels[height // 2 - 4 : height // 2 + 4, step * (bit + 1) :][:, 2 : step - 2] for bit in range(BITS)
    ]
    return sum(int(block.mean() > 128) << bit for bit, block in enumerate(blocks))


def encode(coding: Coding, folder: Path) -> Path:
    """Write a video of a coding and return its file."""
    path = folder / f"{coding}.{coding.suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(coding.codec, rate=coding.rate, options=_options(coding))
        first = _coded(0, coding)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = coding.pixels
        stream.codec_context.gop_size = coding.gop
        stream.codec_context.max_b_frames = coding.b_frames
        stream.codec_context.thread_count = 1
        if coding.rotation or coding.mirrored:
            stream.set_display_rotation(coding.rotation, hflip=coding.mirrored)
        time = 0
        for number in range(coding.num_frames):
            frame = av.VideoFrame.from_ndarray(_coded(number, coding), format="rgb24")
            frame = frame.reformat(format=coding.pixels)
            frame.pts, frame.time_base = time, 1 / coding.rate
            time += 1 + (number % 3 if coding.uneven else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _coded(number: int, coding: Coding) -> np.ndarray:
    """A numbered frame as it lies in a file that turns it counter-clockwise, and mirrors it after that."""
    shown = numbered_frame(number)
    return np.ascontiguousarray(
        np.rot90(shown[:, ::-1] if coding.mirrored else shown, -coding.rotation // 90)
    )


def _options(coding: Coding) -> dict[str, str]:
    quick = {
        "libx264": {"preset": "superfast", "crf": "18"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "400k"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "400k"},
        "libaom-av1": {"cpu-used": "8", "usage": "realtime"},
        "libsvtav1": {"preset": "12"},
    }
    return quick.get(coding.codec, {"b": "2M"}) | dict(coding.options)


def codings() -> list[Coding]:
    """Return 200 codings: each family with its keyframe intervals, B-frames, rates and turns."""
    rates = [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(15), Fraction(60)]
    found: list[Coding] = []
    for codec, suffixes, gops, b_frames, pixels, options in FAMILIES:
        for suffix, gop, b in itertools.product(suffixes, gops, b_frames):
            turns = TURNS if suffix in ("mp4", "mov") else [(0, False)]
            for option in options:
                i = len(found)
                rotation, mirrored = turns[i % len(turns)]
                uneven = suffix in UNEVEN and i % 3 == 1
                rate = rates[i % len(rates)] if suffix not in ("mpg", "gif") else rates[0]
                found.append(Coding(codec, suffix, gop, b, rate, uneven, rotation, mirrored, pixels, option))
    return found


TURNS = [(0, False), (90, False), (0, False), (180, False), (0, True), (270, False), (90, True), (180, True)]
UNEVEN = ("mp4", "mov", "mkv", "webm")
X264 = [{}, {"x264-params": "open-gop=1"}, {"x264-params": "b-pyramid=strict:ref=4"}]
X264 += [{"x264-params": "intra-refresh=1"}, {"x264-params": "tff=1"}]
X265 = [
    {"x265-params": f"log-level=none:pools=none:frame-threads=1:{more}"}
    for more in ("open-gop=0", "open-gop=1")
]
HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"}
# codec, containers, keyframe intervals, B-frames, pixels, options
FAMILIES: list[tuple[str, list[str], list[int], list[int], str, list[dict[str, str]]]] = [
    ("libx264", ["mp4", "mkv"], [1, 5, 12, 250], [0, 1, 3], "yuv420p", X264[:3]),
    ("libx264", ["mov"], [12, 250], [3], "yuv420p", X264),
    ("libx264", ["avi", "ts", "flv"], [12], [0, 2], "yuv420p", [{}]),
    ("libx265", ["mp4", "mkv"], [5, 12, 250], [0, 3], "yuv420p", X265),
    ("libvpx", ["webm"], [5, 12, 250], [0], "yuv420p", [{}, HIDDEN]),
    ("libvpx-vp9", ["webm", "mp4"], [5, 12, 250], [0], "yuv420p", [{}, HIDDEN]),
    ("libsvtav1", ["mkv", "mp4"], [5, 12], [0], "yuv420p", [{}]),
    ("mpeg4", ["avi", "mp4", "mkv"], [1, 12, 250], [0, 2], "yuv420p", [{}]),
    ("mpeg2video", ["mpg", "ts", "mkv", "mp4"], [5, 12], [0, 2], "yuv420p", [{}]),
    ("mpeg1video", ["mpg", "mkv"], [12], [0, 2], "yuv420p", [{}]),
    ("msmpeg4", ["avi"], [5, 12], [0], "yuv420p", [{}]),
    ("wmv2", ["wmv", "avi"], [5, 12], [0], "yuv420p", [{}]),
    ("flv", ["flv"], [5, 12], [0], "yuv420p", [{}]),
    ("mjpeg", ["avi", "mov", "mkv"], [1], [0], "yuvj420p", [{}]),
    ("ffv1", ["mkv", "avi"], [1, 12], [0], "yuv420p", [{}]),
    ("prores_ks", ["mov"], [1], [0], "yuv422p10le", [{}]),
    ("libx264", ["mp4", "mkv"], [12], [2], "yuv420p10le", [{}]),
    ("libx264", ["mp4"], [12, 250], [2], "yuv444p", [{}]),
    ("wmv1", ["wmv", "avi"], [12], [0], "yuv420p", [{}]),
    ("h263p", ["avi"], [12], [0], "yuv420p", [{}]),
    ("huffyuv", ["avi"], [1], [0], "yuv422p", [{}]),
    ("qtrle", ["mov"], [12], [0], "rgb24", [{}]),
    ("png", ["avi", "mov"], [1], [0], "rgb24", [{}]),
    ("gif", ["gif"], [12], [0], "rgb8", [{}]),
]
