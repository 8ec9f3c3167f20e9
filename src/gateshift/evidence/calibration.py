"""Whether a network's confidence can be believed: of what it is 80 % sure of, is it right in 80 %.

Letters: M videos, K classes.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gateshift.errors import DataError
from gateshift.evidence.metrics import among_best
from gateshift.evidence.scores import Scores

BINS = 15  # of Guo et al. 2017
SHARPEST, FLATTEST = 0.05, 20.0  # temperatures that are looked at
STEPS = 60  # of the search, each of which divides what is left by 1.6


@dataclass(frozen=True)
class Bin:
    """The videos whose confidence lies between two values.

    Attributes:
        low: least confidence, not itself of this bin.
        high: most confidence.
        videos: how many.
        confidence: their mean; 0 without videos.
        accuracy: share that is right; 0 without videos.
    """

    low: float
    high: float
    videos: int
    confidence: float
    accuracy: float


def calibration(scores: Scores, bins: int = BINS) -> dict[str, Any]:
    """Return how far confidence is from accuracy.

    ``ece``, the expected calibration error: the mean distance of confidence and accuracy in bins of equal
    width, by their videos (Guo et al. 2017, "On Calibration of Modern Neural Networks"); ``confidence``, its
    mean; ``bins``, each a ``Bin`` as a dict, for the reliability diagram.
    """
    table = reliability(scores, bins)
    total = len(scores.videos)
    return {
        "ece": sum(row.videos * abs(row.confidence - row.accuracy) for row in table) / total,
        "confidence": sum(row.videos * row.confidence for row in table) / total,
        "bins": [row.__dict__ for row in table],
    }


def reliability(scores: Scores, bins: int = BINS) -> list[Bin]:
    """Return confidence and accuracy in bins of equal width."""
    confidence = probabilities(scores).max(axis=1)
    right = among_best(scores, 1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    table = []
    for index in range(bins):
        inside = place == index
        means = (values[inside].mean() if inside.any() else 0.0 for values in (confidence, right))
        table.append(Bin(float(edges[index]), float(edges[index + 1]), int(inside.sum()), *map(float, means)))
    return table


def probabilities(scores: Scores) -> np.ndarray:
    """Return the probability of each class, (M, K) float64; rows sum to 1."""
    values = scores.logits.astype(np.float64)
    if scores.kind == "probabilities":
        return values / values.sum(axis=1, keepdims=True)
    return softmax(values)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def calibrated(logits: np.ndarray, temperature: float | None) -> np.ndarray:
    """Return what people are shown of logits (..., K): probabilities, at a temperature where one is known."""
    return softmax(logits.astype(np.float64) / (temperature or 1.0))


def cooled(scores: Scores, temperature: float) -> Scores:
    """Return scores whose probabilities are those at a temperature: the same order, another confidence.

    Probabilities are divided as their logarithms.
    """
    if scores.kind == "probabilities":
        logarithms = np.log(np.maximum(scores.logits.astype(np.float64), np.finfo(np.float32).tiny))
        return replace(scores, logits=softmax(logarithms / temperature))
    return scores.scaled(1 / temperature)


def fit_temperature(scores: Scores) -> float:
    """Return the temperature at which the true labels are likeliest; logits divided by it are calibrated.

    Guo et al. 2017, section 4.2, with one more video, which may be of any class: without it a network that
    is right of every video would be sure of everything. The loss is convex in 1 / T, and a golden-section
    search finds its minimum between 0.05 and 20.

    Raises:
        DataError: there are no videos.
    """
    if not scores.videos:
        raise DataError("a temperature needs videos to be fitted on, got none.")
    low, high = 1 / FLATTEST, 1 / SHARPEST
    golden = (5**0.5 - 1) / 2
    for _ in range(STEPS):
        first, second = high - golden * (high - low), low + golden * (high - low)
        if _loss(scores, 1 / first) < _loss(scores, 1 / second):
            high = second
        else:
            low = first
    return 2 / (low + high)


def _loss(scores: Scores, temperature: float) -> float:
    """Return minus the log-likelihood of all labels, and of one that is as likely to be any."""
    logarithms = log_probabilities(cooled(scores, temperature))
    own = logarithms[np.arange(len(scores.labels)), scores.labels]
    return -float(own.sum() + logarithms.mean())


def log_probabilities(scores: Scores) -> np.ndarray:
    """Return the logarithm of each class's probability, (M, K) float64."""
    return np.log(np.maximum(probabilities(scores), np.finfo(np.float64).tiny))
