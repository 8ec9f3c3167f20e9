"""Accuracy from scores: against a count by hand, with absent classes and with few classes."""

import json

import numpy as np
import pytest

from gateshift.engine.metrics import summary
from gateshift.engine.scores import Scores
from gateshift.errors import DataError


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
    assert found["per_class"][0] == {"class": "class 0", "videos": 2, "accuracy": 0.5}


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
