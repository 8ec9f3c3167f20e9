"""Between which values a figure lies that was measured on some videos, and would come out of others.

Letters: M videos, G groups, S sums, R resamples, F figures.

Videos are drawn again with replacement (the bootstrap), whole groups of them where several come from one
recording: those are no independent witnesses, and an interval that takes them for such is too narrow. None
knows anything of other seeds of a training.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from gateshift.errors import ConfigError, DataError

RESAMPLES = 2000
CONFIDENCE = 0.95
AT_ONCE = 2**22  # drawn numbers that are in memory at a time
Interval = tuple[float, float]
Figures = Callable[[np.ndarray], np.ndarray]  # sums over videos (R, S) -> figures (R, F); nan for none


def bootstrap(
    sums: np.ndarray,
    figures: Figures,
    groups: Sequence[str] | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Return an interval of each figure that follows from sums over videos.

    Percentiles of the figures of resampled groups, as far apart as Student's t of G - 1 degrees of freedom
    asks for (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", expanded percentiles): plain
    ones are too narrow for few groups. The same numbers give the same interval.

    Args:
        sums: what each video adds, (M, S).
        figures: what follows from the sums.
        groups: the name of each video's group, M of them; without, each is its own.
        confidence: how often the true figure shall lie inside.
        resamples: R.
        seed: of the draws.

    Raises:
        ConfigError: the confidence is not between 0 and 1.
        DataError: there are no videos.
    """
    require_confidence(confidence)
    if not len(sums):
        raise DataError("there are no videos, and so no interval of what is measured on them.")
    grouped = sum_by_group(sums, groups)
    drawn = figures(resample(grouped, resamples, np.random.default_rng(seed)))
    tail = outer_share(len(grouped), confidence)
    ends = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def wilson_interval(right: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Return between which fractions the true accuracy lies, when ``right`` of ``total`` videos were right.

    Wilson's score interval: sound for few videos too, and for none or all of them right, of which a bootstrap
    knows nothing. It counts the videos as drawn one by one.

    >>> [round(end, 4) for end in wilson_interval(8, 10)]
    [0.4902, 0.9433]

    Raises:
        ConfigError: the confidence is not between 0 and 1.
        DataError: there are no such counts.
    """
    require_confidence(confidence)
    if not 0 <= right <= total or total < 1:
        raise DataError(f"{right} of {total} videos have no accuracy. Give 0 <= right <= total, total >= 1.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    fraction, doubt = right / total, z * z / total
    centre = (fraction + doubt / 2) / (1 + doubt)
    half = z * sqrt(fraction * (1 - fraction) / total + doubt / (4 * total)) / (1 + doubt)
    return (max(0.0, centre - half) if right else 0.0, min(1.0, centre + half) if right < total else 1.0)


def require_confidence(confidence: float) -> None:
    """Refuse what is no share of the cases.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; it must lie between 0 and 1, such as 0.95.")


def sum_by_group(sums: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Return the sums of each group, (G, S).

    >>> sum_by_group(np.array([[1], [2], [4]]), ["a", "b", "a"])
    array([[5.],
           [2.]])
    """
    if groups is None:
        return np.asarray(sums, dtype=np.float64)
    names, group_of = np.unique(np.array(groups), return_inverse=True)
    grouped = np.zeros((len(names), sums.shape[1]))
    np.add.at(grouped, group_of, sums)
    return grouped


def resample(grouped: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return the sums of ``resamples`` draws, with replacement, of as many groups as there are: (R, S)."""
    count = len(grouped)
    at_once = max(1, AT_ONCE // count)
    drawn = []
    for begin in range(0, resamples, at_once):
        rows = min(at_once, resamples - begin)
        chosen = rng.integers(count, size=(rows, count)) + np.arange(0, rows * count, count)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count)
        drawn.append(times.astype(np.float64) @ grouped)
    return np.concatenate(drawn)


def outer_share(count: int, confidence: float) -> float:
    """Return which share of the resamples of ``count`` groups lies beyond each end of the interval.

    >>> [round(outer_share(count, 0.95), 4) for count in (10**6, 100, 10)]
    [0.025, 0.0231, 0.0086]
    """
    if count < 2:
        return 0.0
    quantile = student_quantile((1 + confidence) / 2, count - 1)
    return NormalDist().cdf(-sqrt(count / (count - 1)) * quantile)


def student_quantile(share: float, degrees: int) -> float:
    """Return below which value a share of Student's t distribution lies, within 4 % from two degrees on.

    Abramowitz and Stegun 26.7.5.

    >>> [round(student_quantile(0.975, degrees), 2) for degrees in (5, 30, 1000)]
    [2.57, 2.04, 1.96]
    """
    z = NormalDist().inv_cdf(share)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
