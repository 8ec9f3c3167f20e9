"""One dataset as videos, proxies, frames and shards: a network that has learnt it says the same of all."""

from pathlib import Path

import numpy as np
import pytest

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine.scores import Scores


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


def scores_of(run: Path, data: Path, workers: int = 2) -> Scores:
    save = run.parent / f"{data.name}-{workers}.npz"
    gateshift.test(run, data, split="test", workers=workers, device="cpu", save_scores=save)
    return Scores.load(save)


SOURCES = {
    "proxies": {"proxy": 0},
    "frames": {"extract": True},
    "shards": {"shards": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_accuracy_does_not_depend_on_how_videos_are_kept(run, videos, source):
    out = videos.parent / source
    gateshift.prepare(str(videos), out=out, workers=2, **SOURCES[source])
    before, after = scores_of(run, videos), scores_of(run, out)
    assert np.array_equal(before.labels, after.labels)
    right = [scores.logits.argmax(1) == scores.labels for scores in (before, after)]
    assert right[0].sum() == right[1].sum()
    if source == "shards":
        assert np.array_equal(before.logits, after.logits)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # there may be fewer cores
def test_accuracy_does_not_depend_on_the_number_of_workers(run, videos):
    first, *others = (scores_of(run, videos, workers) for workers in (0, 1, 2, 4))
    for other in others:
        assert np.array_equal(first.logits, other.logits)
        assert first.videos == other.videos
