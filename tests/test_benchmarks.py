"""The benchmarks run, on what they make themselves and on what they are given."""

import json
from pathlib import Path

import pytest

from gateshift.apps.measuring.cases import choose_cases

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


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import speed

    monkeypatch.setattr(speed, "BN", "gsm_resnet18")
    small = {"model": "gsm_resnet18", "memory": False}
    monkeypatch.setattr(speed, "RUNS", {"latency": {"what": "infer", "batch_size": "1"} | small})
    targets = [speed.Target("latency", "infer", "gsm_resnet18", "float32", "time over plain", 99.0)]
    targets.append(speed.Target("latency", "infer", "gsm_resnet18", "bfloat16", "time over TSN", 0.0))
    monkeypatch.setattr(speed, "TARGETS", targets)
    return speed


def test_speed_holds_figures_against_targets(speed, tmp_path, capsys):
    figures = speed.main(["--rounds", "1", "--size", "32", "--out", str(tmp_path)])
    printed = capsys.readouterr()
    assert json.loads(printed.out) == figures
    assert [figure["met"] for figure in figures] == [True, False]
    assert printed.err.count("met") == 1 and printed.err.count("NOT MET") == 1
    assert (tmp_path / "latency" / "bench.html").is_file()


def test_speed_asks_for_what_bench_measures(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import speed

    names = ("what", "model", "num_segments", "batch_size")
    rest = {"precision": "float32,bfloat16", "device": "cpu", "size": 0, "videos": None, "num_segments": "8"}
    for name, arguments in speed.RUNS.items():
        asked = {key: value for key, value in arguments.items() if key in names}
        there = {(case.what, case.model, case.precision) for case in choose_cases(**rest | asked)}
        wanted = {
            (target.what, target.model, target.precision) for target in speed.TARGETS if target.run == name
        }
        assert wanted and wanted <= there
    assert {target.figure for target in speed.TARGETS} == set(speed.FIGURES)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


def test_gpu_says_that_there_is_none(gpu, monkeypatch):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA GPU"):
        gpu.main([])


def test_gpu_holds_training_against_targets(gpu, monkeypatch, tmp_path):
    row = {"over_tsn": 1.05, "ratio": 0.5, "plain_seconds": 2.0, "peak_memory": 1, "plain_peak_memory": 2}
    monkeypatch.setattr(gpu, "bench", lambda **settings: {"results": [row]})
    monkeypatch.setattr(gpu, "with_data", lambda options: 48.0)
    figures = gpu.training(gpu.parse(["--batch-size", "32", "--out", str(tmp_path)]))
    assert [(found["value"], found["met"]) for found in figures] == [
        (1.05, True),
        (2.0, False),
        (0.5, True),
        (3.0, True),
    ]


def test_gpu_adds_modules_up_by_their_bytes(gpu, monkeypatch):
    monkeypatch.setattr(gpu.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(gpu, "frames_of", lambda *args: args[0])
    monkeypatch.setattr(gpu, "share_of_copy", lambda module, place, rounds: 0.8 if place.height > 7 else 0.4)
    figures = gpu.bandwidths("float32", gpu.parse([]))
    together = [found for found in figures if "all modules" in found["name"]]
    assert len(together) == 2 and all(0.4 < found["value"] < 0.8 for found in together)
