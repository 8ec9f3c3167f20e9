"""The benchmark of few videos: its splits, its reversed copies, and what it makes of finished trainings."""

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gateshift.data.annotations import read_annotations
from gateshift.data.sampling import segment_centres
from videos import frame_number, write_video

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RECORDINGS = """https://a
fi001: 0.1 - 0.2
nofi001: 0.3 - 0.4
https://b
fi002: 0.1 - 0.2
"""


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import small_data

    return small_data


@pytest.fixture
def trainings(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import trainings

    return trainings


@pytest.fixture
def fights(tmp_path):
    folder = tmp_path / "fights"
    for number in range(62, 78):
        write_video(folder / "noFight" / f"nofi{number:03d}.mp4", 3)
    lines = []
    for number in range(1, 17):
        write_video(folder / "fight" / f"fi{number:03d}.mp4", 3)
        lines += [f"https://video/{number // 2}", f"fi{number:03d}: 0.1 - 0.2"]
    (folder / "videos.txt").write_text("\n".join(lines))
    return folder


def test_clips_of_one_address_are_of_one_recording_and_named_sources_too(benchmark):
    groups = benchmark.read_recordings(RECORDINGS)
    assert groups["fi001"] == groups["nofi001"] == "https://a"
    assert groups["fi002"] == "https://b"
    assert groups["nofi062"] == groups["nofi075"] != groups["nofi076"] == groups["nofi091"]


@pytest.mark.parametrize("seed", range(4))
def test_a_quarter_is_held_out_by_recording_with_both_classes_alike(benchmark, seed):
    groups = [f"recording {number // 3}" for number in range(120)]
    labels = [number // 3 % 2 for number in range(120)]
    held_out = benchmark.choose_recordings(groups, labels, seed)
    of = [label for group, label in zip(groups, labels, strict=True) if group in held_out]
    assert 30 <= len(of) <= 36
    assert 0.4 <= sum(of) / len(of) <= 0.6
    assert held_out == benchmark.choose_recordings(groups, labels, seed)
    assert held_out != benchmark.choose_recordings(groups, labels, seed + 10)


def test_no_recording_of_the_fights_is_on_both_sides(benchmark, fights, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "MOST_UNEVEN", 0.5)  # two recordings have all of the one class here
    monkeypatch.setattr(
        benchmark, "choose_recordings", lambda groups, labels, seed: {"CamNet", "https://video/3"}
    )
    annotations = read_annotations(benchmark.split_fights(fights, tmp_path / "data", seed=0))
    sides = {name: {Path(record.video).stem for record in side} for name, side in annotations.splits.items()}
    assert sides["val"] == {*(f"nofi{number:03d}" for number in range(62, 76)), "fi006", "fi007"}
    assert len(sides["train"]) + len(sides["val"]) == 32
    assert not sides["train"] & sides["val"]


@pytest.mark.parametrize("count", [8, 23, 24, 39, 40, 60, 105, 301])
def test_frames_are_sampled_symmetrically(benchmark, count):
    kept = benchmark.symmetric(count)
    assert count - 16 < kept <= count
    centres = segment_centres(kept, benchmark.SEGMENTS)
    assert (centres[::-1] == kept - 1 - centres).all()


def test_a_video_of_fewer_frames_than_segments_is_refused(benchmark):
    with pytest.raises(ValueError, match="a video of 7 frames"):
        benchmark.symmetric(7)


def test_both_ways_have_the_same_frames_in_opposite_order(benchmark, tmp_path):
    videos = tmp_path / "videos"
    for split in ("train", "val"):
        for label in ("Run", "Jump"):  # with videos of the same name
            write_video(videos / split / label / "one.mp4", 30)
    left_over = tmp_path / "data/direction.partial/train/forward/Run-one"
    left_over.mkdir(parents=True)
    folder = benchmark.both_ways(videos, tmp_path / "data", seed=0)
    annotations = read_annotations(folder)
    assert annotations.classes == ("backward", "forward")
    assert annotations.label_swaps == ()  # a mirror image goes the same way in time
    assert [len(annotations.splits[split]) for split in ("train", "val")] == [4, 4]
    files = {way: sorted((folder / "val" / way / "Run-one").iterdir()) for way in ("forward", "backward")}
    assert len(files["forward"]) == 24
    for forward, backward in zip(files["forward"], reversed(files["backward"]), strict=True):
        assert forward.samefile(backward)
    with Image.open(files["forward"][0]) as first, Image.open(files["forward"][-1]) as last:
        assert (frame_number(np.asarray(first)), frame_number(np.asarray(last))) == (3, 26)
    assert not list(tmp_path.rglob("*partial*"))
    assert benchmark.both_ways(videos, tmp_path / "data", seed=1) == folder


def test_without_videos_in_splits_there_is_nothing_to_reverse(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="give --videos such a folder"):
        benchmark.both_ways(tmp_path, tmp_path / "data", seed=0)


def pretend(accuracy):
    """Return what stands in for ``run_all``: the accuracy at the end follows from the settings."""

    def run(all_of_them, jobs):
        for training in all_of_them:
            training.out.mkdir(parents=True)
            with (training.out / "log.csv").open("w", newline="") as file:
                table = csv.DictWriter(file, ("epoch", "val_top1", "train_top1", "seconds", "left_out"))
                table.writeheader()
                for epoch, top1 in enumerate((0.9, accuracy(training.settings)), start=1):
                    table.writerow({"epoch": epoch, "val_top1": top1, "train_top1": 1.0, "seconds": 2})

    return run


def test_the_table_has_mean_and_spread_of_the_last_epoch(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        benchmark, "run_all", pretend(lambda of: 0.5 + 0.1 * of["seed"] * of["model"].startswith("gsm"))
    )
    words = [
        "--only",
        "arid6",
        "--videos",
        str(tmp_path),
        "--out",
        str(tmp_path / "runs"),
        "--models",
        "tsn,gsm",
    ]
    answer = benchmark.main(words)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == answer
    assert len(answer["results"]) == 2 * 2 * 3
    row = answer["results"][1]
    assert (row["recipe"], row["temporal"], row["seed"], row["last_top1"], row["best_top1"]) == (
        *("finetune", "gsm", 0),
        *(0.5, 0.9),
    )
    assert row["seconds"] == 4 and row["command"].startswith("-m gateshift train")
    assert "60.0 ± 10.0" in printed.err and "50.0 ± 0.0" in printed.err


def test_a_training_is_the_command_of_its_settings(trainings, tmp_path):
    training = trainings.Training(tmp_path / "run", tmp_path, {"batch_size": 4, "flip": False, "ema": 0.9})
    assert training.command()[1:] == [
        *("-m", "gateshift", "train", str(tmp_path), "--out", str(tmp_path / "run")),
        *("--batch-size", "4", "--no-flip", "--ema", "0.9"),
    ]


def test_after_a_training_that_fails_no_other_begins(trainings, tmp_path, monkeypatch):
    begun = []

    def fail(command, **_):
        begun.append(command)
        time.sleep(0.02)
        return trainings.subprocess.CompletedProcess(command, 2, "", "no such folder")

    monkeypatch.setattr(trainings.subprocess, "run", fail)
    waiting = [trainings.Training(tmp_path / str(number), tmp_path) for number in range(50)]
    with pytest.raises(RuntimeError, match="no such folder"):
        trainings.run_all(waiting, 1)
    assert len(begun) < 50
