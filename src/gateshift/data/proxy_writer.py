"""One small copy of a video: H.264 that any part of can be decoded soon, with every displayed frame once.

What is encoded are the frames that ``VideoFile`` shows: turned upright, with square pixels, in RGB. So that
predictions do not move by it, colours keep their full resolution (4:4:4, which also lets a side be odd) and
the rate is high: pixels differ by 0.6 grey levels of 255, less than with JPEG of quality 95, in as many bytes
or in half. So that it is read fast, every 8th frame is a keyframe, frames come in their order, and there is
neither arithmetic coding nor a deblocking filter: a quarter of the decoder's time for a tenth more bytes.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from gateshift.data.reader import VideoFile
from gateshift.errors import DataError, VideoError

EXTENSION = ".mp4"
PIXELS = "yuv444p"
ENCODING = {
    "preset": "veryfast",
    "tune": "psnr,fastdecode",  # true to the pixels, not to the eye; and see above
    "crf": "8",
    # The same bytes on every machine; chroma as fine as luma, which x264 makes coarser in 4:4:4.
    "x264-params": "keyint=8:scenecut=0:bframes=0:mbtree=0:cpu-independent=1:chroma-qp-offset=-6",
}
BT_601 = 6  # FFmpeg's number of the matrix; also what readers take where they pass over what a file says
LIMITED = 1  # and of the range
USUAL_RATE = Fraction(25)
FASTEST_RATE = 1000  # frames per second; more is no rate but a damaged header
FINEST_RATE = 1001  # denominator


def write_proxy(frames: Iterable[np.ndarray], file: Path, rate: Fraction | None) -> int:
    """Encode frames, uint8 (H, W, 3), at a constant rate; return how many there are.

    Args:
        frames: of one size, one or more.
        file: to write, as MP4.
        rate: frames per second; None where nothing says.

    Raises:
        VideoError: H.264 cannot hold frames of their size.
        DataError: the file does not hold what was encoded.
        OSError: it cannot be written.
    """
    options = {"fflags": "+bitexact", "movflags": "+faststart"}  # no date in it, and the index at its head
    try:
        with av.open(f"file:{file}", "w", format="mp4", options=options) as container:
            num_frames = _encode(frames, container, usable_rate(rate))
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    if VideoFile(file).num_frames != num_frames:
        raise DataError(f"'{file}' does not hold the {num_frames} frames that were encoded. Try again.")
    return num_frames


def usable_rate(rate: Fraction | None) -> Fraction:
    """Return a rate that MP4 can hold, near that of the source.

    >>> usable_rate(Fraction(500000, 20833)), usable_rate(Fraction(0))
    (Fraction(24, 1), Fraction(25, 1))
    """
    if rate is None or not 1 / FASTEST_RATE <= rate <= FASTEST_RATE:
        return USUAL_RATE
    return max(rate.limit_denominator(FINEST_RATE), Fraction(1, FINEST_RATE))


def _encode(frames: Iterable[np.ndarray], container: OutputContainer, rate: Fraction) -> int:
    stream = None
    reformatter = VideoReformatter()
    num_frames = 0
    for num_frames, frame in enumerate(frames, start=1):
        stream = stream or _add_stream(container, frame.shape[0], frame.shape[1], rate)
        picture = reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format=PIXELS,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.pts, picture.time_base = num_frames - 1, 1 / rate
        container.mux(stream.encode(picture))
    assert stream is not None, "a video without frames is refused before"
    container.mux(stream.encode())
    return num_frames


def _add_stream(container: OutputContainer, height: int, width: int, rate: Fraction) -> VideoStream:
    stream = container.add_stream("libx264", rate=rate, options=dict(ENCODING))
    stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
    codec = stream.codec_context
    codec.time_base = 1 / rate
    codec.colorspace, codec.color_range = BT_601, LIMITED
    codec.thread_type, codec.thread_count = "NONE", 1
    try:
        codec.open()
    except av.FFmpegError as error:
        raise VideoError(
            f"frames of {width}x{height} pixels cannot be encoded ({error.strerror}). "
            "Give --proxy a smaller side, or leave the video out."
        ) from error
    return stream
