"""Accuracy from scores: against a count by hand, with absent classes and with few classes."""

import json

import numpy as np
import pytest

from gateshift.errors import ConfigError, DataError
from gateshift.evidence.metrics import summary, wilson_interval
from gateshift.evidence.scores import Scores


def scores_of(labels, predicted, num_classes):
    """Return scores whose best class is ``predicted`` and whose runner-up is the class after it."""
    logits = np.zeros((len(labels), num_classes), dtype=np.float32)
    logits[np.arange(len(labels)), predicted] = 2
    logits[np.arange(len(labels)), (np.array(predicted) + 1) % num_classes] = 1
    videos = tuple(f"{index}.mp4" for index in range(len(labels)))
    return Scores(videos, np.array(labels), logits, tuple(f"class {index}" for index in range(num_classes)))


def test_counts_by_hand():
    found = summary(scores_of([0, 0, 1, 2], [0, 1, 1, 0], 3))
    assert found["top1"] == 0.5
    assert found["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    row = {"class": "class 0", "videos": 2, "accuracy": 0.5, "interval": list(wilson_interval(1, 2))}
    assert found["per_class"][0] == row


def test_nine_of_ten_is_exactly_0_9():
    assert summary(scores_of([0] * 10, [0] * 9 + [1], 2))["top1"] == 0.9


def test_absent_classes_have_no_accuracy_and_no_part_in_the_mean():
    found = summary(scores_of([0, 0, 2], [0, 0, 1], 7))
    assert found["mean_class_accuracy"] == 0.5
    assert found["per_class"][1]["accuracy"] is None
    assert "NaN" not in json.dumps(found)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_top5_of_at_most_five_classes_is_one(num_classes):
    assert summary(scores_of([0, 1], [1, 0], num_classes))["top5"] == 1.0


def test_top5_against_sorting():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 12)).astype(np.float32), rng.integers(0, 12, 200)
    found = summary(Scores(tuple(map(str, range(200))), labels, logits, tuple("abcdefghijkl")))
    best = np.argsort(-logits, axis=1)
    assert found["top5"] == np.mean([label in row for label, row in zip(labels, best[:, :5], strict=True)])
    assert found["top1"] == np.mean(best[:, 0] == labels)


def test_nothing_to_measure_is_refused():
    with pytest.raises(DataError, match="at least one video"):
        summary(Scores((), np.zeros(0, int), np.zeros((0, 3), np.float32), ("a", "b", "c")))


@pytest.mark.parametrize(  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_interval_is_the_published_one(right, total, low, high):
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(total - right, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("right", "total"), [(0, 1), (3, 4), (5442, 11522), (11522, 11522)])
def test_interval_ends_where_a_score_test_just_refuses(right, total, confidence):
    z = {0.8: 1.2815515655446004, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}[confidence]
    low, high = wilson_interval(right, total, confidence)
    for end in {low, high} - {0.0, 1.0}:
        assert abs(right / total - end) == pytest.approx(z * np.sqrt(end * (1 - end) / total))
    assert 0 <= low <= right / total <= high <= 1
    assert (low == 0) == (right == 0)
    assert (high == 1) == (right == total)


@pytest.mark.parametrize(("right", "total"), [(1, 0), (3, 2), (-1, 2)])
def test_interval_of_nothing_is_refused(right, total):
    with pytest.raises(DataError, match=f"{right} of {total} videos"):
        wilson_interval(right, total)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_interval_needs_a_confidence(confidence):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        wilson_interval(1, 2, confidence)
