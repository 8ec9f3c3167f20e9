import json
from pathlib import Path

import numpy as np
import pytest

from gateshift.data import sampling
from gateshift.errors import ConfigError, VideoError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "sampling_something.json").read_text())


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['num_frames']}-{case['segments']}")
def test_matches_released_indices(case):
    num_frames, segments = case["num_frames"], case["segments"]
    one = (sampling.test_clips(num_frames, segments, 1) + 1).tolist()
    assert one == [case["test_1clip"]]
    assert (sampling.test_clips(num_frames, segments, 2) + 1).tolist() == case["test_2clip"]
    centres = (sampling.segment_centres(num_frames, segments) + 1).tolist()
    # released validation repeats frame 1 up to num_frames == segments; here the test's frames stand there
    assert centres == (case["val"] if num_frames > segments else case["test_1clip"])


@pytest.mark.parametrize("num_clips", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 50, 1001])
def test_clips_lie_in_the_video_and_in_order(num_frames, num_clips):
    clips = sampling.test_clips(num_frames, 8, num_clips)
    assert clips.shape == (num_clips, 8)
    assert clips.min() >= 0
    assert clips.max() < num_frames
    assert (np.diff(clips, axis=1) >= 0).all()
    assert (np.diff(clips, axis=0) >= 0).all()


@pytest.mark.parametrize("num_frames", range(1, 40))
def test_random_segments_stay_in_their_segments(num_frames):
    rng = np.random.default_rng(num_frames)
    drawn = np.stack([sampling.random_segments(num_frames, 8, rng) for _ in range(200)])
    if num_frames <= 8:
        assert (drawn == sampling.segment_centres(num_frames, 8)).all()
        return
    length = num_frames // 8
    offsets = drawn - np.arange(8) * length
    assert offsets.min() == 0
    assert offsets.max() == length - 1  # every offset below the segment's length, and no other
    assert len(np.unique(offsets)) == length


def test_random_segments_are_even():
    rng = np.random.default_rng(0)
    offsets = np.stack([sampling.random_segments(43, 8, rng) for _ in range(4000)]) % 5
    counts = np.stack([(offsets == i).mean(axis=0) for i in range(5)])
    np.testing.assert_allclose(counts, 0.2, atol=0.04)  # 6 standard deviations


def test_same_generator_same_frames():
    draw = [sampling.random_segments(50, 8, np.random.default_rng(3)).tolist() for _ in range(2)]
    assert draw[0] == draw[1]


def test_refuses_what_cannot_be_sampled():
    with pytest.raises(VideoError, match="no frames"):
        sampling.segment_centres(0, 8)
    with pytest.raises(ConfigError, match="num_segments is 0"):
        sampling.random_segments(10, 0, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="0 clips"):
        sampling.test_clips(10, 8, 0)
