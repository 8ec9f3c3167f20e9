"""Pixels as people see them: turned, square, opaque, and of the colours that were put in."""

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gateshift.data.pixels import Painter, rotation_of, upright
from gateshift.data.reader import VideoFile

ONE = 2**16
COLOURS = {"grey": (128, 128, 128), "white": (255, 255, 255), "red": (200, 30, 20), "blue": (20, 40, 220)}
BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)


def write(
    path: Path, codec: str, frame: av.VideoFrame, *, sar: Fraction | None = None, **settings: object
) -> Path:
    """Encode one frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        stream.codec_context.thread_count = 1
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        for name, value in settings.items():
            owner = stream if name == "matrix" else stream.codec_context
            stream.set_display_matrix(value) if name == "matrix" else setattr(owner, name, value)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def corners(width: int = 96, height: int = 64) -> np.ndarray:
    """A picture that looks different whichever way it is turned or mirrored."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 255
    pixels[height // 2 :, : width // 4] = 128
    return pixels


def turned_by_ffmpeg(frame: av.VideoFrame, matrix: Sequence[int]) -> np.ndarray:
    """Turn a frame by FFmpeg's own filters, chosen as its command line chooses them from a display matrix."""
    a, b, _, c, d = matrix[:5]
    angle = round(np.degrees(np.arctan2(b, a))) % 360
    if angle == 90:
        names = [("transpose", "cclock_flip" if c > 0 else "clock")]
    elif angle == 180:
        names = [("hflip", None)] * (a < 0) + [("vflip", None)] * (d < 0)
    elif angle == 270:
        names = [("transpose", "clock_flip" if c < 0 else "cclock")]
    else:
        names = [("vflip", None)] * (d < 0)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    nodes = [source, *(graph.add(*name) for name in names), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    return graph.pull().to_ndarray()


@pytest.mark.parametrize(("p", "q"), list(itertools.product((ONE, -ONE), repeat=2)))
@pytest.mark.parametrize("transposed", [False, True])
def test_all_eight_ways_of_turning_and_mirroring(p, q, transposed, tmp_path):
    matrix = (0, p, 0, q, 0, 0, 0, 0, 2**30) if transposed else (p, 0, 0, 0, q, 0, 0, 0, 2**30)
    frame = av.VideoFrame.from_ndarray(corners(), format="rgb24")
    expected = turned_by_ffmpeg(frame, matrix)
    assert np.array_equal(upright(corners(), matrix), expected)
    path = write(tmp_path / "a.mp4", "libx264", frame.reformat(format="yuv444p"), matrix=matrix)
    video = VideoFile(path)
    shown = video.read([0])[0].astype(int)
    assert shown.shape == expected.shape
    assert abs(shown - expected).mean() < 8
    assert video.facts.rotation == rotation_of(matrix)


@pytest.mark.parametrize("matrix", [None, (0,) * 9, (ONE, 0, 0, ONE, 0, 0, 0, 0, 2**30)])
def test_a_matrix_that_shows_nothing_is_left_out(matrix):
    assert np.array_equal(upright(corners(), matrix), corners())
    assert rotation_of(matrix) == 0


@pytest.mark.parametrize(
    ("sar", "width"),
    [(Fraction(16, 9), 171), (Fraction(1, 2), 48), (Fraction(400), 96), (Fraction(160, 161), 96)],
)
def test_pixels_become_square(sar, width, tmp_path):
    """The width is scaled as `scale=iw*sar:ih` does; an aspect that no camera has is a damaged header."""
    frame = av.VideoFrame.from_ndarray(corners(), format="rgb24").reformat(format="yuv444p")
    video = VideoFile(write(tmp_path / "a.mkv", "libx264", frame, sar=sar))
    shown = video.read([0])[0].astype(int)
    assert shown.shape == (64, width, 3)
    expected = Image.fromarray(corners()).resize((width, 64), Image.Resampling.BICUBIC)
    assert abs(shown - np.asarray(expected)).mean() < 8


def test_pixels_become_square_before_the_frame_is_turned(tmp_path):
    frame = av.VideoFrame.from_ndarray(corners(), format="rgb24").reformat(format="yuv444p")
    matrix = (0, ONE, 0, -ONE, 0, 0, 0, 0, 2**30)
    path = write(tmp_path / "a.mov", "libx264", frame, sar=Fraction(2), matrix=matrix)
    assert VideoFile(path).read([0]).shape == (1, 192, 64, 3)


def coded(colour: Sequence[int], matrix: tuple[float, float], *, full: bool, bits: int) -> tuple[int, ...]:
    """Y, Cb and Cr of a colour by the formulas of the standards."""
    red, green, blue = (part / 255 for part in colour)
    kr, kb = matrix
    y = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    most = 2**bits - 1
    if full:
        return round(y * most), *(round(part * most + 2 ** (bits - 1)) for part in chroma)
    scale = 2 ** (bits - 8)
    return round((16 + 219 * y) * scale), *(round((128 + 224 * part) * scale) for part in chroma)


def plain(format_name: str, parts: Sequence[int], size: tuple[int, int] = (64, 48)) -> av.VideoFrame:
    """A frame of one colour, given as the values of its planes."""
    frame = av.VideoFrame(*size, format_name)
    for plane, value in zip(frame.planes, parts, strict=False):
        kind = np.uint16 if "10" in format_name else np.uint8
        plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, value, kind).tobytes())
    return frame


@pytest.mark.parametrize("colour", list(COLOURS.values()), ids=list(COLOURS))
@pytest.mark.parametrize(
    ("format_name", "matrix", "full", "tags"),
    [
        ("yuv420p", BT601, False, {}),
        ("yuv420p", BT601, False, {"colorspace": 6, "color_range": 1}),
        ("yuv420p", BT709, False, {"colorspace": 1, "color_range": 1}),
        ("yuv420p", BT709, True, {"colorspace": 1, "color_range": 2}),
        ("yuv444p", BT601, True, {"colorspace": 6, "color_range": 2}),
        ("yuv422p", BT709, False, {"colorspace": 1}),
        ("yuv420p10le", BT709, False, {"colorspace": 1}),
        ("yuv420p10le", BT601, True, {"color_range": 2}),
        ("yuv444p10le", BT601, False, {}),
    ],
)
def test_colours_are_those_that_were_put_in(colour, format_name, matrix, full, tags, tmp_path):
    parts = coded(colour, matrix, full=full, bits=10 if "10" in format_name else 8)
    path = write(tmp_path / "a.mkv", "libx264", plain(format_name, parts), options={"qp": "0"}, **tags)
    assert abs(VideoFile(path).read([0])[0].astype(int) - colour).max() <= 2


@pytest.mark.parametrize("format_name", ["gray", "yuvj420p", "pal8"])
def test_grey_and_full_range_frames(format_name):
    """Frames as decoders of grey, MJPEG and palette streams give them."""
    grey = np.full((48, 64), 200, np.uint8)
    if format_name == "pal8":
        frame = av.VideoFrame.from_image(Image.fromarray(grey).quantize(8))
    else:
        frame = plain(format_name, (200, 128, 128))
    assert abs(Painter(Fraction(1)).paint(frame).astype(int) - 200).max() <= 1


@pytest.mark.parametrize(("color_range", "shown"), [(0, 235), (1, 255), (2, 235)])
def test_grey_of_limited_range(color_range, shown):
    frame = plain("gray", (235,))
    frame.color_range = color_range
    assert (Painter(Fraction(1)).paint(frame) == shown).all()


def test_grey_video(tmp_path):
    path = write(tmp_path / "a.mkv", "ffv1", plain("gray", (90,)))
    assert (VideoFile(path).read([0]) == 90).all()


def test_transparent_frames_lie_on_white(tmp_path):
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[:, :32] = (200, 30, 20, 255)
    pixels[:, 32:] = (200, 30, 20, 51)  # a fifth of it
    path = write(
        tmp_path / "a.mov", "qtrle", av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="argb")
    )
    shown = VideoFile(path).read([0])[0]
    assert shown[0, 0].tolist() == [200, 30, 20]
    assert shown[0, 63].tolist() == [244, 210, 208]


def test_gif_shows_what_pillow_shows(tmp_path):
    """Frames that change a part of the one before, with a transparent ground."""
    frames = []
    for i in range(5):
        image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
        image.paste((250, 20 * i, 0, 255), (10 * i, 5, 10 * i + 12, 30))
        frames.append(image)
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, loop=0, disposal=2)
    shown = list(VideoFile(path).frames())
    for image, pixels in zip(frames, shown, strict=True):
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image)
        assert abs(np.asarray(ground.convert("RGB")).astype(int) - pixels).max() <= 8


def test_frames_that_change_their_size_are_scaled_back(tmp_path):
    painter = Painter(Fraction(1))
    small, large = (plain("yuv420p", (120, 128, 128), size) for size in ((64, 48), (128, 96)))
    assert painter.paint(small).shape == painter.paint(large).shape == (48, 64, 3)


@pytest.mark.parametrize("size", [(33, 17), (1, 1), (2, 300)])
def test_odd_sizes(size):
    parts: Mapping[str, tuple[int, ...]] = {"rgb24": (80,), "yuv444p": (128, 128, 128)}
    for format_name, values in parts.items():
        assert Painter(Fraction(1)).paint(plain(format_name, values, size)).shape == (size[1], size[0], 3)
