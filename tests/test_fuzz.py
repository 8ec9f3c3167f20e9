"""Mutated files: the reader answers or refuses, in time, in its memory, and never with another frame."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from conftest import SHARED
from fuzz_videos import FuzzTask, Outcome, _Timed, encode_all, load, mutate, read_as_training_does
from gateshift.data.reader import VideoFile
from gateshift.data.worker_pool import run_tasks

SEED = 20240607
MOST_SECONDS = 10.0  # for one call of the reader
TASK_SECONDS = 120.0  # for a file: three reads, and all frames in order


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> tuple[Path, ...]:
    return tuple(encode_all(tmp_path_factory.mktemp("encoded")))


def real_videos() -> tuple[Path, ...]:
    """The readable files of the tricky ones, where they are beside this checkout."""
    folder = SHARED / "data/tricky_videos"
    if not folder.exists():
        return ()
    lines = (folder / "PROBE.txt").read_text().splitlines()
    failing = ("FAIL", "Error", " decoded 0 ")
    return tuple(folder / line.split()[0] for line in lines if not any(word in line for word in failing))


def fuzz(sources: Sequence[Path], indices: Sequence[int], room: Path) -> list[Outcome]:
    """Read mutated files in one worker; the files that went wrong stay in ``room``."""
    tasks = [FuzzTask(SEED, i, tuple(sources), room) for i in indices]

    def lost(task: FuzzTask, how: str) -> Outcome:
        return Outcome(task.index, wrong=(how,))

    with closing(run_tasks(tasks, 1, lost, most_seconds=TASK_SECONDS)) as outcomes:
        return list(outcomes)


def require_right(outcomes: Sequence[Outcome]) -> None:
    assert [(outcome.index, outcome.wrong) for outcome in outcomes if outcome.wrong] == []
    assert max(outcome.seconds for outcome in outcomes) < MOST_SECONDS
    refused = [outcome.refused for outcome in outcomes if outcome.refused]
    assert all("'" in text and text.endswith(".") for text in refused)  # which file, and what to do
    assert 0.2 < len(refused) / len(outcomes) < 0.9  # the damage is neither harmless nor total


def test_mutated_files_are_answered_or_refused(encoded, tmp_path):
    require_right(fuzz(encoded, range(150), tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_mutated_files(encoded, tmp_path):
    outcomes = fuzz([*encoded, *real_videos()], range(10_000), tmp_path)
    require_right(outcomes)
    resident = [outcome.resident for outcome in outcomes if outcome.resident]
    tenth = len(resident) // 10
    early, late = np.median(resident[2 * tenth : 3 * tenth]), np.median(resident[-tenth:])
    assert late <= 1.05 * early


def test_a_mutation_is_decided_by_its_seed(encoded):
    first, again, other = (mutate(load(encoded), np.random.default_rng((SEED, i))) for i in (7, 7, 8))
    assert first == again != other


def test_the_sound_files_are_read_without_a_fault(encoded):
    for path in encoded:
        timed = _Timed()
        assert read_as_training_does(path, np.random.default_rng(0), timed) >= 8
        assert (timed.refused, timed.wrong) == ("", [])


def test_a_reader_that_shows_another_frame_is_caught(encoded, monkeypatch):
    read = VideoFile.read
    monkeypatch.setattr(
        VideoFile, "read", lambda video, indices: read(video, [max(0, i - 1) for i in indices])
    )
    timed = _Timed()
    read_as_training_does(encoded[0], np.random.default_rng(0), timed)
    assert any("is shown in 2 ways" in wrong for wrong in timed.wrong)


def test_a_reader_that_makes_frames_up_is_caught(encoded, monkeypatch):
    monkeypatch.setattr(VideoFile, "num_frames", 60)
    monkeypatch.setattr(
        VideoFile, "read", lambda video, indices: np.zeros((len(indices), 48, 64, 3), np.uint8)
    )
    timed = _Timed()
    read_as_training_does(encoded[0], np.random.default_rng(0), timed)
    assert any(wrong.endswith("shows as []") for wrong in timed.wrong)
