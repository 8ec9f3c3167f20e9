"""Intervals: as often around the truth as they say, of videos and of recordings, and of what is all right."""

import numpy as np
import pytest

from gateshift.errors import ConfigError, DataError
from gateshift.evidence.intervals import bootstrap, student_quantile
from gateshift.evidence.metrics import (
    WITH_INTERVALS,
    accuracies_of_sums,
    accuracy_intervals,
    accuracy_sums,
    summary,
)
from gateshift.evidence.paired import compare_scores
from made_scores import make_scores

TRIALS, RESAMPLES = 1000, 400


def covered(truth, draw, figures=accuracies_of_sums):
    """Return how often the interval of each figure holds the truth, of data that ``draw(rng)`` makes."""
    rng = np.random.default_rng(0)
    hits = np.zeros(len(truth))
    for trial in range(TRIALS):
        sums, groups = draw(rng)
        found = bootstrap(sums, figures, groups, resamples=RESAMPLES, seed=trial)
        hits += [low <= value <= high for (low, high), value in zip(found, truth, strict=True)]
    return hits / TRIALS


@pytest.mark.parametrize(
    ("videos", "classes", "low", "high"),
    [
        (100, 5, 0.5, 0.9),
        (60, 12, 0.4, 0.9),
        pytest.param(300, 12, 0.4, 0.9, marks=pytest.mark.slow),
        pytest.param(600, 60, 0.1, 0.6, marks=pytest.mark.slow),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(videos, classes, low, high):
    of_class = np.random.default_rng(videos).uniform(low, high, classes)
    by_rank = np.minimum(1, 1.1 * of_class)

    def draw(rng):
        labels = rng.integers(classes, size=videos)
        luck = rng.random(videos)
        right, among_five = luck < of_class[labels], luck < by_rank[labels]
        member = np.eye(classes)[labels]
        return np.column_stack([right, among_five, member, member * right[:, None]]), None

    found = covered([of_class.mean(), by_rank.mean(), of_class.mean()], draw)
    assert (found >= 0.93).all() and (found <= 0.97).all(), found


@pytest.mark.parametrize("groups", [12, 40])
def test_recordings_are_resampled_whole_or_intervals_were_too_narrow(groups):
    """Clips of a recording are right or wrong together: counted one by one they are no 20 witnesses."""

    def share_right(sums):
        return sums[:, :1] / sums[:, 1:]

    def draw(rng, named=True):
        luck = np.repeat(rng.beta(2, 1, size=groups), 20)
        right = rng.random(len(luck)) < luck
        names = [f"recording {index // 20}" for index in range(len(luck))]
        return np.column_stack([right, np.ones(len(luck))]), names if named else None

    grouped = covered([2 / 3], draw, share_right)
    alone = covered([2 / 3], lambda rng: draw(rng, named=False), share_right)
    assert 0.93 <= grouped[0] <= 0.97, grouped
    assert alone[0] < 0.7, alone


def test_the_interval_of_a_difference_holds_it():
    """Two networks that are right of many videos together."""

    def draw(rng):
        hard = rng.random(200)
        first, second = (hard + rng.normal(0, 0.2, 200) < level for level in (0.7, 0.6))
        sums = [accuracy_sums(make_scores(right, np.arange(200) % 4, 4, rng)) for right in (first, second)]
        return np.hstack(sums), None

    def gains(sums):
        this, baseline = (accuracies_of_sums(half) for half in np.split(sums, 2, axis=1))
        return (this - baseline)[:, :1]

    rng = np.random.default_rng(1)
    hard = rng.random(10**6)
    first, second = (np.mean(hard + rng.normal(0, 0.2, 10**6) < level) for level in (0.7, 0.6))
    found = covered([first - second], draw, gains)
    assert 0.93 <= found[0] <= 0.97, found


def test_intervals_are_the_same_each_time_and_for_any_order():
    rng = np.random.default_rng(3)
    scores = make_scores(rng.random(80) < 0.7, rng.integers(4, size=80), 4)
    names = [f"{index % 9}" for index in range(80)]
    assert accuracy_intervals(scores, names) == accuracy_intervals(scores, names)
    order = rng.permutation(80)
    shuffled = scores.part(np.ones(80, bool))
    shuffled = type(scores)(
        tuple(scores.videos[i] for i in order), scores.labels[order], scores.logits[order], scores.classes
    )
    assert accuracy_intervals(shuffled, [names[i] for i in order]) == accuracy_intervals(scores, names)


def test_every_accuracy_has_an_interval_around_it():
    rng = np.random.default_rng(4)
    found = summary(make_scores(rng.random(200) < 0.6, rng.integers(8, size=200), 9))
    for name in WITH_INTERVALS:
        low, high = found[f"{name}_interval"]
        assert 0 <= low < found[name] < high <= 1
    assert found["per_class"][8]["interval"] is None
    low, high = found["per_class"][0]["interval"]
    assert low < found["per_class"][0]["accuracy"] < high


@pytest.mark.parametrize("right", [True, False])
def test_what_is_all_right_or_all_wrong_is_no_certainty(right):
    scores = make_scores([right] * 20, [0, 1] * 10, 2)
    low, high = accuracy_intervals(scores)["top1"]
    assert high - low == pytest.approx(0.161, abs=1e-3)  # Wilson's, of 20
    low, high = accuracy_intervals(scores, ["one", "two"] * 10)["top1"]
    assert high - low == pytest.approx(0.658, abs=1e-3)  # of 2


def test_a_lone_recording_says_nothing_of_others():
    scores = make_scores([True, False] * 10, [0, 1] * 10, 2)
    low, high = accuracy_intervals(scores, ["one"] * 20)["top1"]
    assert high - low > 0.6


@pytest.mark.parametrize(  # a table of Student's t
    ("share", "degrees", "value"),
    [(0.975, 2, 4.303), (0.975, 3, 3.182), (0.975, 10, 2.228), (0.995, 10, 3.169), (0.95, 20, 1.725)],
)
def test_students_quantiles_are_the_tables(share, degrees, value):
    assert student_quantile(share, degrees) == pytest.approx(value, rel=0.04)


def test_no_videos_and_no_confidence_are_refused():
    sums = np.ones((3, 1))
    with pytest.raises(DataError, match="no videos"):
        bootstrap(sums[:0], lambda drawn: drawn)
    with pytest.raises(ConfigError, match="confidence is 95; it must lie between 0 and 1"):
        bootstrap(sums, lambda drawn: drawn, confidence=95)


def test_174_classes_and_11522_videos_take_seconds():
    rng = np.random.default_rng(5)
    scores = make_scores(rng.random(11522) < 0.5, rng.integers(174, size=11522), 174)
    low, high = accuracy_intervals(scores)["top1"]
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(11522), rel=0.1)
    assert compare_scores(scores, scores).chance == 1.0
