"""Videos that cannot be read, in training: left out and listed, or the end; never replaced."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine import loop as training
from gateshift.engine.bad_videos import settle_window
from gateshift.engine.config import TrainConfig
from gateshift.engine.inference import Unreadable
from gateshift.engine.learner import build_learner, forward_backward
from gateshift.engine.loading import epoch_batches, load_batches
from gateshift.engine.run import Position, open_run
from gateshift.errors import ConfigError, DataError, VideoError
from gateshift.evidence.scores import Scores

TINY = {
    "model": "tsn_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 2,
    "batch_size": 3,
    "accumulate": 2,
    "workers": 0,
    "device": "cpu",
    "on_bad_video": "skip",
}


def break_off(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:200])
    return "/".join(path.parts[-3:])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


@pytest.fixture(scope="module")
def bad(data):
    """Two training videos and one of validation that are broken off, by name."""
    train, val = (sorted((data / split).rglob("*.mp4")) for split in ("train", "val"))
    return {"train": {break_off(train[2]), break_off(train[7])}, "val": {break_off(val[4])}}


@pytest.fixture(scope="module")
def unbroken(data, bad, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    return out, gateshift.train(data, out=out, **TINY)


def rows_of(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def weights_of(run):
    return load_file(run / "weights.safetensors")


def assert_same_run(one, other):
    assert rows_of(one / "bad_videos.csv") == rows_of(other / "bad_videos.csv")
    left, right = weights_of(one), weights_of(other)
    assert all(torch.equal(left[name], right[name]) for name in left)
    times = {"seconds", "clips_per_second", "data_wait"}
    for left, right in zip(rows_of(one / "log.csv"), rows_of(other / "log.csv"), strict=True):
        assert {name: left[name] for name in left if name not in times} == {
            name: right[name] for name in right if name not in times
        }


def test_bad_videos_are_left_out_counted_and_listed(unbroken, bad):
    out, answer = unbroken
    rows = rows_of(out / "bad_videos.csv")
    assert {row["video"] for row in rows if row["split"] == "train"} == bad["train"]
    assert {row["video"] for row in rows if row["split"] == "val"} == bad["val"]
    assert {row["epoch"] for row in rows} == {"1"}
    assert all(row["video"].split("/")[-1] in row["reason"] for row in rows)
    assert answer["bad_videos"] == 3
    assert [row["left_out"] for row in rows_of(out / "log.csv")] == ["3", "3"]
    scores = Scores.load(out / "val_scores.npz")
    assert len(scores.videos) == 11
    assert not bad["val"] & set(scores.videos)
    page = (out / "report.html").read_text()
    assert "Videos that could not be read" in page
    assert all(row["video"] in page for row in rows)


def test_the_accuracy_is_of_the_clips_that_were_there(unbroken):
    for row in rows_of(unbroken[0] / "log.csv"):
        assert float(row["train_top1"]) * 10 == pytest.approx(round(float(row["train_top1"]) * 10))
        assert 0 <= float(row["data_wait"]) <= 1


def test_workers_change_nothing(unbroken, data, tmp_path):
    gateshift.train(data, out=tmp_path / "run", **TINY | {"workers": 2})
    assert_same_run(unbroken[0], tmp_path / "run")


def test_a_stopped_run_leaves_out_the_same(unbroken, data, tmp_path, monkeypatch):
    steps = []

    def stop_in_the_second_epoch(*given):
        steps.append(0)
        if len(steps) == 4:
            raise KeyboardInterrupt
        step(*given)

    step = training.step_optimizer
    with monkeypatch.context() as patched:
        patched.setattr(training, "SAVE_SECONDS", -1.0)  # after every step
        patched.setattr(training, "step_optimizer", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            gateshift.train(data, out=tmp_path / "run", **TINY)
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert_same_run(unbroken[0], tmp_path / "run")


def test_too_many_end_training_with_the_list_and_a_higher_limit_goes_on(unbroken, data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(DataError, match=r"2 videos cannot be read, and --max-bad-videos is 1; .*bad_videos"):
        gateshift.train(data, out=out, **TINY, max_bad_videos=1)
    assert len(rows_of(out / "bad_videos.csv")) == 2
    gateshift.train(data, out=out, **TINY, max_bad_videos=3)
    assert json.loads((out / "config.json").read_text())["max_bad_videos"] == 3
    assert_same_run(unbroken[0], out)


def test_a_run_that_met_a_bad_video_goes_on_without_it(unbroken, data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(VideoError, match="--on-bad-video skip"):
        gateshift.train(data, out=out, **TINY | {"on_bad_video": "error"})
    gateshift.train(data, out=out, **TINY)
    assert_same_run(unbroken[0], out)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_readable_video_is_refused(tmp_path, split):
    data = generate(tmp_path / "data", train_per_class=1, val_per_class=1, test_per_class=1, size=40)
    for path in (data / split).rglob("*.mp4"):
        break_off(path)
    with pytest.raises(DataError, match=rf"none of the {split} videos can be read"):
        gateshift.train(data, out=tmp_path / "run", **TINY)
    assert len(rows_of(tmp_path / "run" / "bad_videos.csv")) == 12


def test_unknown_policies_are_refused():
    with pytest.raises(ConfigError, match="max_bad_videos is -1"):
        TrainConfig(max_bad_videos=-1)
    with pytest.raises(gateshift.errors.UnknownName, match="Did you mean skip"):
        TrainConfig(on_bad_video="skipp")


def build(data, out, accelerator=None, **changes):
    config = TrainConfig(
        model="tsn_resnet18",
        pretrained=False,
        num_segments=2,
        size=32,
        dropout=0.0,
        on_bad_video="skip",
        **changes,
    )
    accelerator = accelerator or Accelerator(cpu=True)
    with accelerator.main_process_first():
        run = open_run(out, config, data, main=accelerator.is_main_process)
    return build_learner(run, accelerator, workers=0)


def some_clips(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 2, 3, 32, 32), dtype=torch.uint8, generator=generator)


def gradients_of(learner):
    return [parameter.grad.clone() for parameter in learner.model.parameters()]


def assert_close(one, other):
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_gradients_are_a_mean_over_the_clips_that_were_there(data, bad, tmp_path):
    learner = build(data, tmp_path / "run")
    learner.model.eval()  # batch-norm sees its own batch in training
    clips, labels = some_clips(4), torch.arange(4)
    forward_backward(learner, clips, labels, num_clips=4)
    expected = gradients_of(learner)
    learner.optimizer.zero_grad()
    forward_backward(learner, clips, labels, num_clips=6)
    position = Position()
    assert settle_window(learner, position, [Unreadable(2, "gone"), Unreadable(7, "gone too")], num_clips=6)
    assert_close(gradients_of(learner), expected)
    assert [row["reason"] for row in position.bad_videos] == ["gone", "gone too"]
    assert not settle_window(learner, position, [Unreadable(2, "gone"), Unreadable(3, "gone")], num_clips=2)
    assert len(position.bad_videos) == 3
    assert position.left_out == 4


def test_a_batch_lacks_the_clips_of_bad_videos_and_no_others(data, bad, tmp_path):
    learner = build(data, tmp_path / "run", batch_size=1)
    batches = epoch_batches(learner.train_clips.labels, learner.config, 0)
    videos = [learner.train_clips.records[int(batch[0])] for batch in batches]
    for video, batch in zip(videos, load_batches(learner, batches, 0), strict=True):
        assert (batch.clips is None) == (video.video in bad["train"]) == bool(batch.bad)
        assert batch.labels.tolist() == ([] if batch.bad else batch.labels.tolist())


@pytest.mark.slow
def test_two_processes_agree_on_what_was_there(data, bad, tmp_path):
    script = Path(__file__).with_name("two_learners.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*command, str(script), str(data), str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    learner = build(data, tmp_path / "one")
    learner.model.eval()
    forward_backward(learner, some_clips(4)[:3], torch.arange(3), num_clips=3)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"gradients{rank}.pt", weights_only=True)
        assert_close(found["gradients"], gradients_of(learner))
        assert found["bad"] == [
            {"video": found["bad"][0]["video"], "split": "train", "epoch": 1, "reason": "gone"}
        ]


@pytest.mark.slow
def test_two_processes_train_to_the_end_where_one_has_no_clip(data, bad, tmp_path):
    """Batches of 2 over 2 processes: where a video is bad, a process has nothing to do but keep pace."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "gateshift", "train", str(data), "--no-pretrained"]
    for name, value in (TINY | {"batch_size": 2}).items():
        command += [] if name == "pretrained" else [f"--{name.replace('_', '-')}", str(value)]
    for out in ("one", "two"):
        subprocess.run(
            [*command, "--out", str(tmp_path / out)],
            check=True,
            capture_output=True,
            timeout=300,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    rows = rows_of(tmp_path / "one" / "bad_videos.csv")
    assert {row["video"] for row in rows} == bad["train"] | bad["val"]
    assert_same_run(tmp_path / "one", tmp_path / "two")
