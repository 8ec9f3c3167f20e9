"""The benchmarks run, on what they make themselves and on what they are given."""

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def reading(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import reading

    monkeypatch.setattr(reading, "SIZES", ((176, 100),))
    monkeypatch.setattr(reading, "QUALITIES", ((95, "4:4:4"),))
    monkeypatch.setattr(reading, "WORKERS", (0, 2))
    monkeypatch.setattr(reading, "PASSES", 1)
    return reading


def test_reading_compares_routes_on_files_of_its_own(reading, capsys):
    answer = reading.main(["--clips", "2", "--rounds", "1"])
    printed = capsys.readouterr()
    assert json.loads(printed.out) == answer
    assert "ratio" in printed.err
    row = answer["frames"][0]
    assert row["difference"] < 1  # grey levels: both routes read the same clip
    assert row["ratio"] > 0 and answer["videos"][0]["share_of_bare"] > 0
    assert [row["what"] for row in answer["workers"]] == ["frames 340 x 256", "videos"]


def test_reading_takes_frames_and_videos_that_are_given(reading, tmp_path):
    videos = reading.draw_videos(tmp_path / "videos", 2, (64, 48))
    reading.write_frames(videos, tmp_path / "frames", (64, 48), 95, "4:2:0")
    folders = ["--videos", str(tmp_path / "videos"), "--frames", str(tmp_path / "frames")]
    answer = reading.main([*folders, "--clips", "2", "--rounds", "1"])
    assert [row["size"] for row in answer["frames"]] == ["as they are"]
    with pytest.raises(SystemExit, match="no readable video"):
        reading.main(["--videos", str(tmp_path / "frames")])
