"""Two networks on the same videos: which is better, and could chance have made it so.

Letters: M videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateshift.evidence.intervals import Interval, bootstrap
from gateshift.evidence.metrics import among_best
from gateshift.evidence.scores import Scores

SURE = 0.05  # chances below it are taken for a difference


@dataclass(frozen=True)
class Comparison:
    """What sets a network apart from another, the baseline, on the same videos.

    Attributes:
        gain: top-1 over the baseline's, a fraction.
        gain_interval: where it lies, 95 %, by resampled groups of videos.
        only_this: videos that this network alone has right.
        only_baseline: videos that the baseline alone has right.
        chance: how often chance sets two equally good networks so far apart: McNemar's exact test. It takes
            every video for a witness of its own.
    """

    gain: float
    gain_interval: Interval
    only_this: int
    only_baseline: int
    chance: float

    @property
    def is_sure(self) -> bool:
        """Whether both the test and the interval call it a difference."""
        low, high = self.gain_interval
        return self.chance < SURE and not low <= 0 <= high

    def verdict(self) -> str:
        """Say in words which is better.

        >>> Comparison(0.02, (-0.01, 0.05), 12, 8, 0.5034).verdict()
        'no difference that chance would not make: 2.0 points (-1.0 to 5.0), p = 0.50'
        """
        low, high = (f"{100 * end:.1f}" for end in self.gain_interval)
        figures = f"{100 * self.gain:.1f} points ({low} to {high}), {chance_text(self.chance)}"
        if not self.is_sure:
            return f"no difference that chance would not make: {figures}"
        return f"{'better' if self.gain > 0 else 'worse'}: {figures}"


def chance_text(chance: float) -> str:
    """Return a chance as people write it.

    >>> chance_text(0.5034), chance_text(0.00042), chance_text(0.0)
    ('p = 0.50', 'p = 0.0004', 'p < 1e-16')
    """
    if chance < 1e-16:
        return "p < 1e-16"
    return f"p = {chance:.2f}" if chance >= 0.01 else f"p = {chance:.1g}"


def compare_scores(scores: Scores, baseline: Scores, groups: Sequence[str] | None = None) -> Comparison:
    """Compare two networks on the same videos, which are matched by name.

    Args:
        scores: of a network.
        baseline: of another.
        groups: the name of each video's group, in the order of ``scores``; without, each is its own.

    Raises:
        ScoresMismatch: the videos, classes or labels are not the same.
    """
    baseline = baseline.same_videos_as(scores)
    own, other = among_best(scores, 1), among_best(baseline, 1)
    difference = own.astype(np.float64) - other
    (interval,) = bootstrap(np.column_stack([difference, np.ones(len(own))]), share_of_sums, groups)
    only_this, only_baseline = int((own & ~other).sum()), int((other & ~own).sum())
    chance = mcnemar(only_this, only_baseline)
    return Comparison(float(difference.mean()), interval, only_this, only_baseline, chance)


def share_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return what the first sum is of the second: (R, 2) -> (R, 1)."""
    return sums[:, :1] / sums[:, 1:]


def mcnemar(only_one: int, only_other: int) -> float:
    """Return how often chance divides as many videos so unevenly, or more so, between two equal networks.

    The exact two-sided test of McNemar (1947): of the videos that one network alone has right, each is as
    likely to be the one's as the other's.

    >>> round(mcnemar(9, 1), 4), mcnemar(4, 4), mcnemar(0, 0)
    (0.0215, 1.0, 1.0)
    """
    total, fewer = only_one + only_other, min(only_one, only_other)
    ways = tail = 1  # of choosing none, then one, then two
    for count in range(fewer):
        ways = ways * (total - count) // (count + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**total)


@dataclass(frozen=True)
class ClassGain:
    """One class under two networks, by accuracies as fractions."""

    name: str
    videos: int
    accuracy: float
    baseline: float

    @property
    def gain(self) -> float:
        """What the network has over the baseline."""
        return self.accuracy - self.baseline


def class_gains(scores: Scores, baseline: Scores) -> list[ClassGain]:
    """Return the classes that there are videos of, the one that gains most first (the paper's poster).

    Raises:
        ScoresMismatch: the videos, classes or labels are not the same.
    """
    own, other = among_best(scores, 1), among_best(baseline.same_videos_as(scores), 1)
    gains = [
        ClassGain(name, int(of.sum()), float(own[of].mean()), float(other[of].mean()))
        for label, name in enumerate(scores.classes)
        if (of := scores.labels == label).any()
    ]
    return sorted(gains, key=lambda row: (-row.gain, row.name))
