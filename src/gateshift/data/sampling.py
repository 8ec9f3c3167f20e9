"""Which frames of a video become a clip: integers in, integers out, 0-based.

A video of n frames is cut in T equal segments of ``tick = n / T`` frames, and one frame is taken from each.
Videos with fewer frames than segments repeat frames. The order of the float operations is the released
code's: another order rounds differently at some lengths.

Stacks: with a ``span`` of S, the frame that is taken begins a stack of S consecutive ones. As released, the
segments are laid over the n - S + 1 frames that a stack can begin at. A video shorter than its span begins
every stack at its first frame and repeats its last.
"""

import numpy as np

from gateshift.errors import ConfigError, VideoError


def random_segments(
    num_frames: int, num_segments: int, rng: np.random.Generator, span: int = 1
) -> np.ndarray:
    """Return one random frame (or stack) of each segment, for training: (T * span,).

    Segments are ``num_frames // num_segments`` frames long, so a remainder at the end is never drawn (the
    released rule). A video with no more frames than segments has nothing to draw: it takes the test's frames.

    >>> random_segments(8, 8, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    _refuse_empty(num_frames, num_segments)
    num_starts = count_starts(num_frames, span)
    if num_starts <= num_segments:
        return segment_centres(num_frames, num_segments, span)
    length = num_starts // num_segments
    starts = np.arange(num_segments) * length + rng.integers(length, size=num_segments)
    return stacks(starts, num_frames, span)


def segment_centres(num_frames: int, num_segments: int, span: int = 1) -> np.ndarray:
    """Return the middle frame (or stack) of each segment, for validation and 1-clip tests: (T * span,).

    >>> segment_centres(32, 8).tolist()
    [2, 6, 10, 14, 18, 22, 26, 30]
    >>> segment_centres(3, 8).tolist()  # a short video repeats frames
    [0, 0, 0, 1, 1, 2, 2, 2]
    """
    return test_clips(num_frames, num_segments, 1, span)[0]


def test_clips(num_frames: int, num_segments: int, num_clips: int, span: int = 1) -> np.ndarray:
    """Return the frames of ``num_clips`` clips, each one frame or stack per segment: (num_clips, T * span).

    A single clip takes the centres of the segments. Of N > 1 clips, clip k starts ``tick * k / N`` into each
    segment: for two clips that is the released pair, at the start and at the centre of the segments.

    >>> test_clips(16, 4, 2).tolist()
    [[0, 4, 8, 12], [2, 6, 10, 14]]
    """
    _refuse_empty(num_frames, num_segments)
    if num_clips < 1:
        raise ConfigError(f"cannot take {num_clips} clips of a video. Ask for 1 or more.")
    tick = count_starts(num_frames, span) / num_segments
    offsets = [tick / 2] if num_clips == 1 else [tick * k / num_clips for k in range(num_clips)]
    starts = tick * np.arange(num_segments)
    return stacks(np.stack([(starts + offset).astype(np.int64) for offset in offsets]), num_frames, span)


def count_starts(num_frames: int, span: int) -> int:
    """Return how many frames of a video a stack can begin at: 1 where it is shorter than the stack.

    >>> count_starts(12, 5), count_starts(3, 5)
    (8, 1)
    """
    return max(num_frames - span + 1, 1)


def stacks(starts: np.ndarray, num_frames: int, span: int) -> np.ndarray:
    """Return ``span`` consecutive frames from each start on, not past the last: (..., T) -> (..., T * span).

    >>> stacks(np.array([0, 1]), num_frames=3, span=3).tolist()
    [0, 1, 2, 1, 2, 2]
    """
    frames = np.minimum(starts[..., None] + np.arange(span), num_frames - 1)
    return frames.reshape(*starts.shape[:-1], -1)


def _refuse_empty(num_frames: int, num_segments: int) -> None:
    if num_segments < 1:
        raise ConfigError(f"num_segments is {num_segments}. A clip needs 1 frame or more.")
    if num_frames < 1:
        raise VideoError("the video has no frames, so no clip can be taken from it.")
