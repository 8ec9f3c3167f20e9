"""The benchmark of scaling: its model in numbers, and one run of all that it measures."""

import doctest
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import scaling

    return scaling


def test_examples_of_the_model_hold(scaling):
    found = doctest.testmod(scaling)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("load", "compute", "communication", "cores", "expected"),
    [
        (1.0, 3.0, 0.0, 64, 3.0),  # reading goes on beside computing
        (5.0, 3.0, 0.0, 64, 5.0),  # which waits for it
        (0.1, 3.0, 1.0, 64, 3.5),  # of communication only the last part is waited for
        (0.1, 3.0, 4.0, 64, 5.0),  # or what the backward pass does not hide
        (0.0, 3.0, 1.0, 2, 4.0),  # and all of it where no core is free
        (2.0, 3.0, 0.0, 2, 5.0),  # reading then takes the cores from computing
    ],
)
def test_a_step_is_as_long_as_its_longest_part(load, compute, communication, cores, expected, scaling):
    parts = scaling.Parts(2, 1, load, compute, communication, min(communication, 0.5))
    assert parts.step(cores) == pytest.approx(expected)


@pytest.mark.slow
def test_it_measures_all_parts_and_training(scaling, tmp_path, capsys):
    small = ["--per-class", "1", "--size", "32", "--segments", "2", "--batch", "4", "--rounds", "1"]
    answer = scaling.main([*small, "--processes", "1", "2", "--room", str(tmp_path)])
    printed = capsys.readouterr()
    assert json.loads(printed.out) == answer
    assert "measured / predicted" in printed.err
    assert [row["processes"] for row in answer] == [1, 2]
    assert all(row[part] > 0 for row in answer for part in ("load", "compute", "predicted", "measured"))
    assert answer[0]["communication"] == 0 < answer[1]["communication"]
