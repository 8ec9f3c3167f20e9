"""Confidence: its error against other code, the temperature that mends it, and what silence gains."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from gateshift.errors import DataError
from gateshift.evidence.calibration import calibration, cooled, fit_temperature, probabilities
from gateshift.evidence.coverage import selective_accuracy
from gateshift.evidence.scores import Scores
from made_scores import make_scores


def honest_scores(num_videos, num_classes, sharpness, seed=0):
    """Return scores whose labels are drawn with the probabilities that they give, then made too sharp."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num_videos, num_classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((num_videos, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    names = tuple(f"{index}" for index in range(num_videos))
    classes = tuple(f"class {index}" for index in range(num_classes))
    return Scores(names, labels, (sharpness * logits).astype(np.float32), classes)


@pytest.mark.parametrize("bins", [5, 15])
@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_calibration_error_is_that_of_torchmetrics(sharpness, bins):
    scores = honest_scores(700, 6, sharpness)
    expected = multiclass_calibration_error(
        torch.from_numpy(scores.logits),
        torch.from_numpy(scores.labels),
        num_classes=6,
        n_bins=bins,
        norm="l1",
    )
    assert calibration(scores, bins)["ece"] == pytest.approx(expected.item(), abs=1e-6)


def test_bins_by_hand():
    """Confidences 0.75, 0.75 and 0.55, of which one is right: off by 0.25 in a bin, by 0.55 in another."""
    logits = np.log([[0.75, 0.25], [0.25, 0.75], [0.55, 0.45]]).astype(np.float32)
    scores = Scores(("a", "b", "c"), np.array([0, 0, 1]), logits, ("x", "y"))
    found = calibration(scores, bins=10)
    assert found["ece"] == pytest.approx((2 * 0.25 + 0.55) / 3)
    assert found["confidence"] == pytest.approx((0.75 + 0.75 + 0.55) / 3)
    filled = [(row["low"], row["videos"], row["accuracy"]) for row in found["bins"] if row["videos"]]
    assert filled == [(0.5, 1, 0.0), (pytest.approx(0.7), 2, 0.5)]


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 2.5])
def test_temperature_gives_sharpened_logits_back(sharpness):
    scores = honest_scores(20_000, 5, sharpness)
    assert fit_temperature(scores) == pytest.approx(sharpness, rel=0.05)
    assert calibration(cooled(scores, fit_temperature(scores)))["ece"] < 0.015


def test_temperature_is_where_another_optimiser_finds_it():
    scores = honest_scores(500, 4, 2.0, seed=3)
    logits, labels = torch.from_numpy(scores.logits).double(), torch.from_numpy(scores.labels)
    inverse = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        cold = logits * inverse
        value = F.cross_entropy(cold, labels, reduction="sum") - cold.log_softmax(dim=1).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert fit_temperature(scores) == pytest.approx(1 / inverse.item(), rel=1e-4)


def test_a_network_that_is_always_right_is_not_made_sure_of_everything():
    scores = make_scores([True] * 20, [0, 1] * 10, 2)
    sure = probabilities(cooled(scores, fit_temperature(scores))).max(axis=1)
    assert 0.9 < sure.mean() < 0.999


def test_temperature_changes_no_answer_and_probabilities_like_logits():
    scores = honest_scores(50, 4, 1.0)
    chances = replace(scores, logits=probabilities(scores), kind="probabilities")
    for temperature in (0.3, 3.0):
        cold = cooled(scores, temperature)
        assert (cold.logits.argmax(axis=1) == scores.logits.argmax(axis=1)).all()
        np.testing.assert_allclose(
            probabilities(cooled(chances, temperature)), probabilities(cold), rtol=1e-5
        )


def test_no_videos_have_no_temperature():
    with pytest.raises(DataError, match="got none"):
        fit_temperature(Scores((), np.zeros(0, int), np.zeros((0, 2), np.float32), ("a", "b")))


def test_the_surest_videos_are_answered_first():
    logits = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]).astype(np.float32)
    scores = Scores(tuple("abcd"), np.array([0, 0, 1, 1]), logits, ("x", "y"))
    found = selective_accuracy(scores, (1.0, 0.75, 0.5, 0.1))
    assert [row.accuracy for row in found] == pytest.approx([0.5, 2 / 3, 1.0, 1.0])
    assert [row.coverage for row in found] == [1.0, 0.75, 0.5, 0.25]
    assert [row.confidence for row in found] == pytest.approx([0.6, 0.7, 0.8, 0.9])


def test_equally_sure_videos_count_in_part_whatever_their_order():
    logits = np.zeros((4, 2), np.float32)
    for labels in ([0, 0, 1, 1], [1, 1, 0, 0]):
        scores = Scores(tuple("abcd"), np.array(labels), logits, ("x", "y"))
        assert [row.accuracy for row in selective_accuracy(scores, (1.0, 0.5))] == [0.5, 0.5]
