"""Training over several processes: the weights of one, one end for all, and any number to go on with."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gateshift.data.shapes import generate
from gateshift.engine.processes import Agreement, require_shares
from gateshift.errors import ConfigError
from gateshift.evidence.scores import Scores

TESTS = Path(__file__).resolve().parent
SMALL = {"model": "gsm_mobilenet_v2", "pretrained": False, "num_segments": 2, "size": 32, "epochs": 2}
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 videos to train on, and 13 to validate."""
    room = tmp_path_factory.mktemp("tiny")
    data = generate(room / "data", train_per_class=1, val_per_class=1, test_per_class=1, size=40)
    video = min((data / "val").rglob("*.mp4"))
    shutil.copy(video, video.with_name("once_more.mp4"))
    return data


def take_steps(data, room, **asked):
    """Take steps in groups of so many processes; return what each process of each group found."""
    settings = SMALL | {"batch_size": 8, "optimizer": "sgd", "lr": 1e-3, "sync_bn": True} | asked["settings"]
    script = [sys.executable, str(TESTS / "shared_steps.py"), str(data), str(room)]
    done = subprocess.run(
        [*script, json.dumps(asked | {"settings": settings})],
        capture_output=True,
        text=True,
        timeout=1500,
        env=ONE_THREAD,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        world: [torch.load(room / f"{world}-{rank}.pt", weights_only=True) for rank in range(world)]
        for world in asked["worlds"]
    }


def assert_same_weights(found, tolerance):
    """Hold the weights, and their average, of all processes against those of one alone."""
    (one,) = found.pop(1)
    for process in (process for group in found.values() for process in group):
        for kind in ("weights", "kept"):
            for name, value in one[kind].items():
                torch.testing.assert_close(process[kind][name], value, rtol=0, atol=tolerance, msg=name)


def test_two_processes_learn_as_one_over_short_and_lone_clips(data, tmp_path):
    """A window of a batch of 4 and one of a single clip, of which the second process has none."""
    settings = {"model": "gsm_resnet18", "num_segments": 4, "ema": 0.9}
    found = take_steps(
        data, tmp_path, worlds=[1, 2], batches=[4, 1], windows=2, double=True, settings=settings
    )
    assert [process["reductions"] for process in found[2]] == [2, 2]  # once a window, not once a batch
    assert_same_weights(found, 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "batches", "worlds"),
    [
        ({"model": "gsm_resnet18"}, [8], [1, 2, 4]),
        ({"model": "gsf_resnet18", "optimizer": "adamw", "ema": 0.9}, [8], [1, 2]),
        ({"model": "tsn_resnet18"}, [8, 3], [1, 4]),
    ],
)
def test_two_and_four_processes_have_the_weights_of_one_after_50_steps(
    data, settings, batches, worlds, tmp_path
):
    """In float64: in float32, 50 steps make as much of one weight's last digit as of another sharing out."""
    settings = settings | {"num_segments": 4}
    found = take_steps(
        data, tmp_path, worlds=worlds, batches=batches, windows=50, double=True, settings=settings
    )
    assert_same_weights(found, 1e-5)


def test_a_first_step_in_float32_has_the_statistics_of_one_process(data, tmp_path):
    """Sums in float64 make them the same but for the rounding of a few; float32 would differ by 1e-6."""
    settings = {"model": "tsn_resnet18", "num_segments": 4}
    found = take_steps(data, tmp_path, worlds=[1, 2], batches=[4], windows=1, settings=settings)
    assert_same_weights(found, 5e-7)


def commands(*asked):
    script = [sys.executable, str(TESTS / "group_commands.py"), json.dumps(asked)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=900, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def training(data, out, **changes):
    words = ["train", str(data), "--out", str(out)]
    settings = SMALL | {"batch_size": 4, "lr": 1e-4, "workers": 0, "device": "cpu"} | changes
    for name, value in settings.items():
        flag = name.replace("_", "-")
        words += (
            [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        )
    return words


def rows_of(run):
    with (run / "log.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_any_number_goes_on(data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    words = training(data, two, sync_bn=True, ema=0.5)
    unbroken, stopped, refused, resumed = commands(
        {"world": 1, "words": training(data, one, sync_bn=True, ema=0.5)},
        {"world": 2, "words": words, "stop": {"rank": 1, "epoch": 1, "step": 1}},
        {"world": 3, "words": words},
        {"world": 4, "words": words},
    )
    assert unbroken["ended"] == [0] and resumed["ended"] == [0] * 4
    assert stopped["ended"] == [130, 130]
    assert stopped["said"].count("everything is saved") == 1
    assert refused["ended"] == [2] * 3
    assert "does not divide over 3 processes. Start 1, 2 or 4 of them" in refused["said"]
    for expected, found in zip(rows_of(one), rows_of(two), strict=True):
        for name in ("lr", "train_loss", "val_loss"):
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-2)
        assert found["train_top1"] == expected["train_top1"]


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 4])
def test_scores_of_any_number_of_processes_are_those_of_one(world, data, tmp_path):
    out, words = tmp_path / "run", ["--workers", "0", "--device", "cpu", "--split", "val", "--save-scores"]
    test = ["test", str(out), str(data), *words]
    batch = {"batch_size": 2 * world, "epochs": 1, "warmup_epochs": 0}
    answers = commands(
        {"world": world, "words": training(data, out, **batch)},
        {"world": 1, "words": [*test, str(tmp_path / "1.npz")]},
        {"world": world, "words": [*test, str(tmp_path / "n.npz")]},
    )
    assert not any(status for answer in answers for status in answer["ended"])
    one, many = Scores.load(tmp_path / "1.npz"), Scores.load(tmp_path / "n.npz")
    validated = Scores.load(out / "val_scores.npz")  # each process had batch statistics of its own before
    assert one.videos == many.videos == validated.videos and len(one.videos) == 13
    for scores in (many, validated):
        np.testing.assert_allclose(scores.logits, one.logits, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_group_that_loses_a_process_starts_again_and_goes_on(data, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "3", "-m", "gateshift"]
    settings = {"epochs": 4, "workers": 1}
    subprocess.run(
        [*command, *training(data, tmp_path / "unbroken", **settings)],
        check=True,
        capture_output=True,
        timeout=600,
        env=ONE_THREAD,
    )
    out = tmp_path / "run"
    launcher = subprocess.Popen(
        [*command, *training(data, out, **settings)], stderr=subprocess.PIPE, text=True, env=ONE_THREAD
    )
    deadline = time.monotonic() + 300
    while launcher.poll() is None and time.monotonic() < deadline:
        if (out / "log.csv").exists() and len(rows_of(out)) == 1:
            break
        time.sleep(0.02)
    os.kill(ranks_of(launcher.pid)[1], signal.SIGKILL)
    said = launcher.communicate(timeout=600)[1]
    assert launcher.returncode == 0, said[-3000:]
    assert "resuming after epoch" in said
    left, right = (load_file(tmp_path / name / "weights.safetensors") for name in ("unbroken", "run"))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert [row["val_loss"] for row in rows_of(out)] == [
        row["val_loss"] for row in rows_of(tmp_path / "unbroken")
    ]


def ranks_of(launcher):
    """Return the processes that a launcher started, by their rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == launcher:
                environment = dict(
                    entry.split("=", 1)
                    for entry in (folder / "environ").read_text().split("\0")
                    if "=" in entry
                )
                found[int(environment["RANK"])] = int(folder.name)
        except (OSError, KeyError):  # it has ended, or is none of the group
            continue
    return found


def test_one_process_decides_at_once_and_asks_nobody():
    agree = Agreement(SimpleNamespace(num_processes=1, device=torch.device("cpu")))
    for wishes in ((False, False), (True, False), (False, True)):
        assert agree(*wishes, False) == wishes


def test_several_processes_ask_each_other_about_once_a_second_and_at_the_end(monkeypatch):
    clock, asked = [0.0], []

    def all_reduce(wishes, op):
        asked.append(wishes.tolist())
        wishes[0] = 1.0  # another process was told to stop

    monkeypatch.setattr("gateshift.engine.processes.dist.all_reduce", all_reduce)
    monkeypatch.setattr("gateshift.engine.processes.time.monotonic", lambda: clock[0])
    agree = Agreement(SimpleNamespace(num_processes=2, device=torch.device("cpu")))
    found = []
    for window in range(12):
        clock[0] += 0.25
        found.append(agree(False, window == 4, window == 10))
    asking = [window for window, answer in enumerate(found) if answer[0]]
    assert asking == [0, 4, 8, 10]  # the first, then each second, then the last of an epoch
    assert [wishes[:2] for wishes in asked] == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert found[4] == (True, True)


def test_a_batch_that_cannot_be_shared_is_refused_with_the_numbers_that_can():
    require_shares(12, 6)
    with pytest.raises(ConfigError, match="over 5 processes. Start 1, 2, 3, 4, 6 or 12 of them"):
        require_shares(12, 5)
