"""Training as a whole on tiny generated videos: what it writes, what it refuses, how it resumes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine.checkpoint import load_state
from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import build_learner, forward_backward
from gateshift.engine.run import open_run
from gateshift.errors import ConfigError, DataError, GateshiftError, WeightsError
from gateshift.evidence.calibration import fit_temperature
from gateshift.evidence.scores import Scores

TINY = {
    "model": "gsm_resnet18",
    "pretrained": False,
    "num_segments": 4,
    "size": 32,
    "epochs": 3,
    "batch_size": 4,
    "accumulate": 2,
    "workers": 0,
    "device": "cpu",
    "lr": 1e-3,
}
TIMES = {"seconds", "clips_per_second", "data_wait"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("tiny") / "data",
        train_per_class=1,
        val_per_class=1,
        test_per_class=1,
        size=40,
    )


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    return out, gateshift.train(data, out=out, **TINY)


def log_of(run):
    rows = csv.DictReader((run / "log.csv").read_text().splitlines())
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def assert_same_run(one, other):
    assert log_of(one) == log_of(other)
    for left, right in zip(load_state(one / "last").items(), load_state(other / "last").items(), strict=True):
        if left[0] == "model":
            assert all(torch.equal(left[1][name], right[1][name]) for name in left[1])
    left, right = (load_file(run / "weights.safetensors") for run in (one, other))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def command(data, out, **changes):
    words = [sys.executable, "-m", "gateshift", "train", str(data), "--out", str(out)]
    for name, value in {**TINY, **changes}.items():
        flag = name.replace("_", "-")
        words += (
            [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        )
    return words


def test_a_run_has_all_its_files_and_answers_with_the_keys(unbroken):
    out, answer = unbroken
    assert set(answer) == {
        *("run", "weights", "epochs", "stopped_early", "top1", "best_top1"),
        *("seconds", "clips_per_second", "data_wait", "bad_videos"),
    }
    assert answer["epochs"] == 3
    for name in ("config.json", "weights.safetensors", "last", "log.csv", "val_scores.npz", "report.html"):
        assert (out / name).exists(), name
    assert len(log_of(out)) == 3
    assert json.loads((out / "config.json").read_text())["classes"] == list(gateshift.load(out).classes)
    assert not list(out.rglob("*.partial"))


def test_the_kept_weights_have_the_accuracy_that_was_logged(unbroken, data):
    out, answer = unbroken
    tested = gateshift.test(out, data, split="val", workers=0, device="cpu")
    assert tested["top1"] == answer["best_top1"] == max(float(row["val_top1"]) for row in log_of(out))


def test_the_kept_weights_know_the_temperature_of_their_confidence(unbroken, data):
    out, _ = unbroken
    found = gateshift.test(out, data, split="val", workers=0, device="cpu")["calibration"]
    assert found["temperature"] == pytest.approx(fit_temperature(Scores.load(out / "val_scores.npz")))
    assert 0 <= found["ece_calibrated"] <= 1


def test_training_again_is_the_same_to_the_last_bit_with_any_number_of_workers(unbroken, data, tmp_path):
    gateshift.train(data, out=tmp_path / "run", **{**TINY, "workers": 2})
    assert_same_run(unbroken[0], tmp_path / "run")


def test_blocks_that_run_again_change_nothing(unbroken, data, tmp_path):
    gateshift.train(data, out=tmp_path / "run", **TINY, checkpoint_activations=True)
    assert_same_run(unbroken[0], tmp_path / "run")


def test_a_finished_run_is_not_trained_again(unbroken, data):
    out, answer = unbroken
    before = (out / "last" / "state.pt").stat().st_mtime_ns
    assert gateshift.train(data, out=out, **TINY) == answer
    assert (out / "last" / "state.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGTERM, signal.SIGKILL))],
)
def test_a_stopped_run_resumes_to_the_same_end(unbroken, data, tmp_path, number):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(data, out, workers=1),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        log = out / "log.csv"
        if log.exists() and len(log.read_text().splitlines()) > 1:  # the first epoch is in the log
            break
        time.sleep(0.01)
    os.killpg(process.pid, number)  # a terminal and a cluster's scheduler send it to the workers as well
    said = process.communicate(timeout=120)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "The same command resumes" in said
    assert len(log_of(out)) < 3
    gateshift.train(data, out=out, **TINY)
    assert_same_run(unbroken[0], out)


def test_an_accumulated_window_has_the_gradient_of_one_batch(data, tmp_path):
    config = TrainConfig(model="tsn_resnet18", pretrained=False, num_segments=4, size=32, dropout=0.0)
    learner = build_learner(open_run(tmp_path / "run", config, data), Accelerator(cpu=True), workers=0)
    learner.model.eval()  # batch-norm sees its own batch in training, which no accumulation can mend
    clips = torch.randint(
        256, (6, 4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.arange(6)
    gradients = []
    for parts in ([6], [4, 2]):
        for some_clips, some_labels in zip(clips.split(parts), labels.split(parts), strict=True):
            forward_backward(learner, some_clips, some_labels, num_clips=6)
        gradients.append([parameter.grad.clone() for parameter in learner.model.parameters()])
        learner.optimizer.zero_grad()
    for whole, windowed in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, windowed, rtol=1e-4, atol=1e-6)


def test_other_settings_in_the_same_folder_are_refused(unbroken, data):
    with pytest.raises(ConfigError, match=r"lr 0.001 -> 0.5"):
        gateshift.train(data, out=unbroken[0], **{**TINY, "lr": 0.5})


def test_a_folder_that_is_no_run_is_refused(data, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(GateshiftError, match="is not a run"):
        gateshift.train(data, out=tmp_path, **TINY)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_crop_that_the_network_cannot_take_is_refused_before_anything_is_written(data, tmp_path):
    with pytest.raises(ConfigError, match="gsm_inceptionv3 cannot take crops of 64 pixels"):
        gateshift.train(data, out=tmp_path / "run", **{**TINY, "model": "gsm_inceptionv3", "size": 64})
    assert not (tmp_path / "run").exists()


def test_a_state_of_another_wiring_is_refused(data, tmp_path):
    gateshift.train(data, out=tmp_path / "run", **{**TINY, "epochs": 2})
    file = tmp_path / "run/last/state.pt"
    state = torch.load(file, weights_only=True)
    state["model"].pop("head.bias")
    torch.save(state, file)
    with pytest.raises(WeightsError, match=r"does not fit the .* of this version: .*head.bias"):
        gateshift.train(data, out=tmp_path / "run", **{**TINY, "epochs": 2})


def test_changed_data_is_refused(data, tmp_path):
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", data, copy], check=True)
    out = tmp_path / "run"
    gateshift.train(copy, out=out, **{**TINY, "epochs": 2})
    next(iter(sorted((copy / "train").rglob("*.mp4")))).unlink()
    with pytest.raises((DataError, ConfigError), match="changed|no video"):
        gateshift.train(copy, out=out, **{**TINY, "epochs": 2})


def test_states_that_are_all_damaged_are_named(data, tmp_path):
    out = tmp_path / "run"
    gateshift.train(data, out=out, **{**TINY, "epochs": 2})
    for name in ("state.pt", "previous.pt"):
        (out / "last" / name).write_bytes(b"not a state")
    with pytest.raises(GateshiftError, match=r"state\.pt .*previous\.pt .*delete"):
        gateshift.train(data, out=out, **{**TINY, "epochs": 2})


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_video_is_named_without_a_traceback(data, tmp_path, workers):
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", data, copy], check=True)
    broken = min((copy / "train").rglob("*.mp4"))
    broken.write_bytes(broken.read_bytes()[:200])
    answer = subprocess.run(
        command(copy, tmp_path / "run", workers=workers), capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 2
    assert broken.name in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_loss_that_is_no_number_keeps_the_state_before_it(data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(GateshiftError, match="is nan or infinite in epoch 1, batch .*lower --lr"):
        gateshift.train(
            data, out=out, **{**TINY, "lr": 1e30}, optimizer="sgd", clip_grad=0.0, warmup_epochs=0
        )
    kept = load_state(out / "last")
    assert kept["position"]["epoch"] == 0
    assert all(tensor.isfinite().all() for tensor in kept["model"].values())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_and_keeps_float32_weights(data, tmp_path, precision):
    out = tmp_path / "run"
    answer = gateshift.train(data, out=out, **{**TINY, "epochs": 2}, precision=precision, partial_bn=True)
    assert answer["epochs"] == 2
    assert all(
        tensor.dtype in (torch.float32, torch.int64)
        for tensor in load_file(out / "weights.safetensors").values()
    )
