"""Two networks on the same videos: McNemar against published and counted values, and what it is called."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest

from gateshift.errors import ScoresMismatch
from gateshift.evidence.paired import compare_scores, mcnemar
from made_scores import make_scores


@pytest.mark.parametrize(
    ("one", "other", "chance"),
    [
        (10, 20, 0.0987),  # binom.test(10, 30) of R
        (5, 0, 0.0625),
        (0, 6, 0.03125),
        (7, 7, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(one, other, chance):
    assert mcnemar(one, other) == mcnemar(other, one)
    assert mcnemar(one, other) == pytest.approx(chance, rel=1e-3)


@pytest.mark.parametrize("total", [1, 4, 9, 12])
def test_mcnemar_counts_all_outcomes_that_are_as_uneven(total):
    for one in range(total + 1):
        apart = abs(total - 2 * one)
        as_uneven = sum(abs(total - 2 * sum(outcome)) >= apart for outcome in product((0, 1), repeat=total))
        assert mcnemar(one, total - one) == pytest.approx(as_uneven / 2**total)


def test_mcnemar_of_thousands_is_exact():
    tail = Fraction(sum(comb(4000, count) for count in range(1901)), 2**4000)
    assert mcnemar(1900, 2100) == pytest.approx(float(2 * tail))


def test_a_gain_is_counted_video_by_video_whatever_their_order():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    better, worse = rng.random(300) < 0.9, rng.random(300) < 0.5
    this, baseline = make_scores(better, labels, 3), make_scores(worse, labels, 3)
    found = compare_scores(this, baseline)
    assert found.gain == pytest.approx(better.mean() - worse.mean())
    assert (found.only_this, found.only_baseline) == ((better & ~worse).sum(), (worse & ~better).sum())
    assert found.gain_interval[0] < found.gain < found.gain_interval[1]
    assert found.is_sure and found.verdict().startswith("better: ")
    order = rng.permutation(300)
    turned = replace(
        baseline,
        videos=tuple(baseline.videos[i] for i in order),
        labels=baseline.labels[order],
        logits=baseline.logits[order],
    )
    assert compare_scores(this, turned) == found
    back = compare_scores(baseline, this)
    assert back.gain == -found.gain and back.verdict().startswith("worse: ")


def test_what_chance_would_do_is_called_no_difference():
    labels = np.zeros(20, int)
    this = make_scores([True] * 11 + [False] * 9, labels, 2)
    baseline = make_scores([True] * 10 + [False] * 10, labels, 2)
    found = compare_scores(this, baseline)
    assert not found.is_sure and found.verdict().startswith("no difference that chance would not make")


def test_other_videos_and_other_labels_are_refused():
    scores = make_scores([True] * 4, [0, 1, 0, 1], 2)
    with pytest.raises(ScoresMismatch, match="different videos"):
        compare_scores(scores, replace(scores, videos=("a", "b", "c", "d")))
    with pytest.raises(ScoresMismatch, match="disagree on the label of 4 of 4 videos"):
        compare_scores(scores, replace(scores, labels=1 - scores.labels))
