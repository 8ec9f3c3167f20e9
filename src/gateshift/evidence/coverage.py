"""How accurate a network is of the videos that it is surest of, and keeps silent about the others."""

from dataclasses import dataclass

import numpy as np

from gateshift.evidence.calibration import probabilities
from gateshift.evidence.metrics import among_best
from gateshift.evidence.scores import Scores

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5, 0.25)


@dataclass(frozen=True)
class Answered:
    """What comes of answering only from some confidence on.

    Attributes:
        coverage: share of the videos that are answered.
        confidence: of the least sure answer.
        accuracy: of the answers.
    """

    coverage: float
    confidence: float
    accuracy: float


def selective_accuracy(scores: Scores, coverages: tuple[float, ...] = COVERAGES) -> list[Answered]:
    """Return the accuracy at each coverage, of the videos of the highest confidence.

    Of equally sure videos, those in the middle of the cut count in part, so that their order means nothing.
    """
    confidence, right = probabilities(scores).max(axis=1), among_best(scores, 1)
    order = np.argsort(-confidence, kind="stable")
    sure, total = confidence[order], len(order)
    mean_right = _mean_of_equals(sure, right[order].astype(np.float64))
    answered = []
    for coverage in coverages:
        count = max(1, round(coverage * total))
        answered.append(Answered(count / total, float(sure[count - 1]), float(mean_right[:count].mean())))
    return answered


def _mean_of_equals(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values, each replaced by the mean of those with an equal key."""
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return (np.bincount(place, weights=values) / counts)[place]
