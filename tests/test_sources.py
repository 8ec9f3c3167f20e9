"""One dataset as videos, proxies, frames and shards: a network that has learnt it says the same of all."""

from pathlib import Path

import numpy as np
import pytest

import gateshift
from gateshift.data.shapes import generate
from gateshift.evidence.scores import Scores


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded dataset."""
    return generate(tmp_path_factory.mktemp("videos") / "shapes")


@pytest.fixture(scope="module")
def run(videos: Path) -> Path:
    """A network that has learnt it from the videos."""
    out = videos.parent / "run"
    answer = gateshift.train(videos, out=out, recipe="shapes", device="cpu")
    assert answer["best_top1"] > 0.8  # chance is 1 in 12
    return out


def scores_of(run: Path, data: Path, workers: int = 2, precision: str = "float32") -> Scores:
    save = run.parent / f"{data.name}-{workers}-{precision}.npz"
    gateshift.test(
        run, data, split="test", workers=workers, device="cpu", precision=precision, save_scores=save
    )
    return Scores.load(save)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "value"), [("shards", True), ("proxy", 64)])  # 64: their own size
def test_accuracy_is_the_same_to_the_last_bit(run, videos, step, value):
    out = videos.parent / f"{step}-{value}"
    gateshift.prepare(str(videos), out=out, workers=2, **{step: value})
    before, after = scores_of(run, videos), scores_of(run, out)
    assert np.array_equal(before.labels, after.labels)
    assert np.array_equal(before.logits, after.logits)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "value"), [("extract", True), ("proxy", 0)])
def test_rounding_tips_near_ties_alone(run, videos, step, value):
    out = videos.parent / f"{step}-{value}"
    gateshift.prepare(str(videos), out=out, workers=2, **{step: value})
    before, after = scores_of(run, videos), scores_of(run, out)
    assert np.array_equal(before.labels, after.labels)
    first, second = np.sort(before.logits)[:, ::-1][:, :2].T
    sure = first - second > 0.5  # in logits: e to that is 1.6 times as likely as the next class
    assert sure.mean() > 0.8
    assert np.array_equal(before.logits.argmax(1)[sure], after.logits.argmax(1)[sure])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # there may be fewer cores
def test_accuracy_does_not_depend_on_the_number_of_workers(run, videos):
    first, *others = (scores_of(run, videos, workers) for workers in (0, 1, 2, 4))
    for other in others:
        assert np.array_equal(first.logits, other.logits)
        assert first.videos == other.videos


@pytest.mark.slow
def test_bfloat16_changes_at_most_one_prediction_in_two_hundred(run, videos):
    exact, rounded = scores_of(run, videos), scores_of(run, videos, precision="bfloat16")
    changed = exact.logits.argmax(1) != rounded.logits.argmax(1)
    assert changed.mean() <= 1 / 200
    right = [(scores.logits.argmax(1) == scores.labels).mean() for scores in (exact, rounded)]
    assert abs(right[0] - right[1]) <= 0.005
    assert not np.array_equal(exact.logits, rounded.logits)
