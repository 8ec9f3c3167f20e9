"""Which frames of a video become a clip: integers in, integers out, 0-based.

A video of n frames is cut in T equal segments of ``tick = n / T`` frames, and one frame is taken from each.
Videos with fewer frames than segments repeat frames. The order of the float operations is the released
code's: another order rounds differently at some lengths.
"""

import numpy as np

from gateshift.errors import ConfigError, VideoError


def random_segments(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """Return one random frame of each segment, for training: (T,).

    Segments are ``num_frames // num_segments`` frames long, so a remainder at the end is never drawn (the
    released rule). A video with no more frames than segments has nothing to draw: it takes the test's frames.

    >>> random_segments(8, 8, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    _refuse_empty(num_frames, num_segments)
    if num_frames <= num_segments:
        return segment_centres(num_frames, num_segments)
    length = num_frames // num_segments
    return np.arange(num_segments) * length + rng.integers(length, size=num_segments)


def segment_centres(num_frames: int, num_segments: int) -> np.ndarray:
    """Return the middle frame of each segment, for validation and 1-clip tests: (T,).

    >>> segment_centres(32, 8).tolist()
    [2, 6, 10, 14, 18, 22, 26, 30]
    >>> segment_centres(3, 8).tolist()  # a short video repeats frames
    [0, 0, 0, 1, 1, 2, 2, 2]
    """
    return test_clips(num_frames, num_segments, 1)[0]


def test_clips(num_frames: int, num_segments: int, num_clips: int) -> np.ndarray:
    """Return the frames of ``num_clips`` clips, each one frame per segment: (num_clips, T).

    A single clip takes the centres of the segments. Of N > 1 clips, clip k starts ``tick * k / N`` into each
    segment: for two clips that is the released pair, at the start and at the centre of the segments.

    >>> test_clips(16, 4, 2).tolist()
    [[0, 4, 8, 12], [2, 6, 10, 14]]
    """
    _refuse_empty(num_frames, num_segments)
    if num_clips < 1:
        raise ConfigError(f"cannot take {num_clips} clips of a video. Ask for 1 or more.")
    tick = num_frames / num_segments
    offsets = [tick / 2] if num_clips == 1 else [tick * k / num_clips for k in range(num_clips)]
    starts = tick * np.arange(num_segments)
    return np.stack([(starts + offset).astype(np.int64) for offset in offsets])


def _refuse_empty(num_frames: int, num_segments: int) -> None:
    if num_segments < 1:
        raise ConfigError(f"num_segments is {num_segments}. A clip needs 1 frame or more.")
    if num_frames < 1:
        raise VideoError("the video has no frames, so no clip can be taken from it.")
