"""The benchmark of predicting runs, and holds both routes to the same answers."""

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def predicting(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import predicting

    return predicting


@pytest.fixture
def videos(predicting, tmp_path):
    from material import draw_videos

    draw_videos(tmp_path / "videos", 3, (96, 64))
    return tmp_path / "videos"


@pytest.mark.slow
def test_both_routes_say_the_same(predicting, videos, monkeypatch, capsys):
    monkeypatch.setattr(predicting, "NEAR", 1.0)  # drawn scenes differ little from each other
    small = ["--model", "gsm_resnet18", "--num-segments", "2", "--rounds", "1"]
    answer = predicting.main(["--videos", str(videos), *small])
    printed = capsys.readouterr()
    assert json.loads(printed.out) == answer
    assert "times plain" in printed.err
    assert answer["videos"] == 3
    assert 0 < answer["difference"] < predicting.NEAR
    assert set(answer["ratios"]) == {"plain", "command", "command_float32", "in_process"}
    assert answer["met"] == (answer["ratios"]["command"] >= predicting.TARGET)


def test_a_folder_without_videos_is_refused(predicting, tmp_path):
    with pytest.raises(SystemExit, match="no readable video"):
        predicting.main(["--videos", str(tmp_path)])
