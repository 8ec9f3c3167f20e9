"""What training does where the machine fails it: says the cause and what to do, and loses nothing."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

import gateshift
from gateshift import writing
from gateshift.data.shapes import generate
from gateshift.engine import batch_fit, faults, loop
from gateshift.engine.checkpoint import load_state, save_state
from gateshift.engine.lost_workers import fate_of
from gateshift.engine.run import open_run, recorded_config
from gateshift.errors import ConfigError, DataError, FaultError, GateshiftError, WriteError
from torture import differences

TINY = {
    "model": "gsm_mobilenet_v2",  # its states are small
    "pretrained": False,
    "num_segments": 4,
    "size": 32,
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 2,
    "accumulate": 2,
    "workers": 0,
    "device": "cpu",
    "lr": 1e-3,
}
STATE = {"model": {"weight": torch.arange(5000.0)}, "position": {"epoch": 1, "step": 0}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40, num_frames=12)


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    gateshift.train(data, out=out, **TINY)
    return out


def test_the_state_and_the_one_before_it_are_kept(tmp_path):
    for epoch in (1, 2, 3):
        save_state(tmp_path, {**STATE, "position": {"epoch": epoch, "step": 0}})
    assert load_state(tmp_path)["position"]["epoch"] == 3
    assert {file.name for file in tmp_path.iterdir()} == {"state.pt", "previous.pt"}
    (tmp_path / "state.pt").unlink()  # as a kill between two renames leaves it
    assert load_state(tmp_path)["position"]["epoch"] == 2


@pytest.mark.parametrize("place", [0, 1, 3000, 20_000, -1, None])
def test_a_damaged_state_gives_way_to_the_one_before_it(tmp_path, capsys, place):
    save_state(tmp_path, STATE)
    save_state(tmp_path, {**STATE, "position": {"epoch": 2, "step": 0}})
    file = tmp_path / "state.pt"
    content = bytearray(file.read_bytes())
    if place is None:
        del content[9000:]
    else:
        content[place] ^= 1  # one bit, anywhere: torch itself would not see it among the weights
    file.write_bytes(content)
    assert load_state(tmp_path)["position"]["epoch"] == 1
    assert file.exists()
    assert load_state(tmp_path, main=True)["position"]["epoch"] == 1
    assert "is damaged" in " ".join(capsys.readouterr().err.split())
    save_state(tmp_path, {**STATE, "position": {"epoch": 3, "step": 0}})
    file.unlink()
    assert load_state(tmp_path)["position"]["epoch"] == 1  # the damaged one did not take its place


def test_a_state_of_an_earlier_version_has_no_checksum(tmp_path):
    torch.save(STATE, tmp_path / "state.pt")
    assert torch.equal(load_state(tmp_path)["model"]["weight"], STATE["model"]["weight"])


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES]
)
def test_a_file_that_cannot_be_written_is_named_with_the_cause(tmp_path, monkeypatch, number):
    file = tmp_path / "a.txt"
    writing.write_text(file, "before")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    cause, advice = writing.CAUSES[number]
    with pytest.raises(WriteError) as refusal:
        writing.write_text(file, "after" * 100_000)
    for part in (str(file), cause, "It takes 0.5 MB", "are free", advice, "same command again"):
        assert part in str(refusal.value)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


LIMITED = """
import resource, sys, torch, numpy as np
from pathlib import Path
from gateshift.engine.checkpoint import save_state
from gateshift.evidence.scores import Scores
from gateshift.errors import WriteError
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights

place = Path(sys.argv[1])
model = create_model("tsn_resnet18", 2, 2)
classes = tuple(map(str, range(5000)))
scores = Scores(classes[:9], np.zeros(9, int), np.random.rand(9, 5000), classes)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for write in (
    lambda: save_state(place, {"model": model.state_dict()}),
    lambda: save_weights(model, place / "weights.safetensors"),
    lambda: scores.save(place / "scores.npz"),
):
    try:
        write()
    except WriteError as error:
        assert "the system allows no file of that size" in str(error), error
    else:
        raise SystemExit("written")
assert not list(place.iterdir()), list(place.iterdir())
"""


def test_torch_safetensors_and_numpy_do_not_hide_the_cause(tmp_path):
    subprocess.run([sys.executable, "-c", LIMITED, tmp_path], check=True, timeout=120)


def test_what_killed_processes_left_half_written_is_removed(data, tmp_path, unbroken):
    subprocess.run(["cp", "-r", unbroken, tmp_path / "run"], check=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [
        tmp_path / "run" / name
        for name in (f".log.csv.{dead.pid}.partial", f"last/.state.pt.{dead.pid}.partial")
    ]
    alive = tmp_path / f"run/data/.train.csv.{os.getppid()}.partial"
    for file in (*left, alive):
        file.touch()
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert not any(file.exists() for file in left)
    assert alive.exists()


def test_what_a_kill_after_the_last_state_left_unwritten_is_made_up_for(data, tmp_path, unbroken):
    subprocess.run(["cp", "-r", unbroken, tmp_path / "run"], check=True)
    (tmp_path / "run" / "log.csv").write_text("epoch\n1\n")
    (tmp_path / "run" / "report.html").unlink()
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert (tmp_path / "run" / "log.csv").read_bytes() == (unbroken / "log.csv").read_bytes()
    assert not differences(unbroken, tmp_path / "run")


def test_a_full_disk_ends_training_and_the_same_command_resumes(data, tmp_path, unbroken, monkeypatch):
    saves, torch_save = iter(range(100)), torch.save

    def full(state, file):
        if next(saves) == 1:
            file.write(b"a part of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        torch_save(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        WriteError, match=r"state\.pt cannot be written: the disk is full\. It takes \d+\.\d MB"
    ):
        gateshift.train(data, out=tmp_path / "run", **TINY)
    assert not list(tmp_path.rglob("*.partial"))
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert not differences(unbroken, tmp_path / "run")


def test_a_killed_worker_is_named_and_nothing_before_it_is_lost(data, tmp_path, unbroken, monkeypatch):
    learn, calls = loop.learn, iter(range(1, 100))

    def kill_after_two(*args):
        answer = learn(*args)
        if next(calls) == 4:  # the end of the second window; the worker has one more batch or two in store
            for worker in active_children():
                os.kill(worker.pid, signal.SIGKILL)
        return answer

    monkeypatch.setattr(loop, "learn", kill_after_two)
    with pytest.raises(
        FaultError, match="was killed, as the system does where memory runs out. Give fewer --workers"
    ):
        gateshift.train(data, out=tmp_path / "run", **{**TINY, "workers": 1})
    assert load_state(tmp_path / "run/last")["position"]["step"] in (4, 6)
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert not differences(unbroken, tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "code", "fate"),
    [
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), -9, "was killed"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), -7, "shared memory"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), -11, "crashed"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), 3, "status 3"),
        (
            RuntimeError("Caught RuntimeError in DataLoader worker process 0: shared memory(shm)"),
            None,
            "/dev/shm",
        ),
        (MemoryError("Caught MemoryError in DataLoader worker process 1."), None, "found no memory"),
        (OSError(errno.EMFILE, "Too many open files"), None, "ulimit -n"),
        (RuntimeError("shapes differ"), None, None),
        (RuntimeError("Caught RuntimeError in DataLoader worker process 0: shapes differ"), None, None),
    ],
)
def test_how_a_worker_ended_is_said(error, code, fate):
    class Worker:
        exitcode, sentinel = code, os.open(os.devnull, os.O_RDONLY)

    said = fate_of(error, [Worker()])
    assert said is None if fate is None else fate in " ".join(said)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_planted_nan_is_named_before_it_spoils_the_weights(data, tmp_path, unbroken, monkeypatch, what):
    learn, calls = loop.learn, iter(range(1, 100))

    def spoilt(learner, *args):
        loss, right = learn(learner, *args)
        if next(calls) == 3:
            learner.model.head.weight.grad[0, 0] = torch.nan
            loss = loss * torch.nan if what == "loss" else loss
        return loss, right

    with monkeypatch.context() as planted, pytest.raises(FaultError) as refusal:
        planted.setattr(loop, "learn", spoilt)
        planted.setattr(loop, "SAVE_SECONDS", 0.0)
        gateshift.train(data, out=tmp_path / "run", **TINY)
    where = "batch 3. " if what == "loss" else "batch 3 to 4. "
    expected = "the training loss" if what == "loss" else "the gradient of head.weight"
    assert f"{expected} is nan or infinite in epoch 1, {where}The videos there: " in str(refusal.value)
    assert str(refusal.value).count(".mp4") == (2 if what == "loss" else 4)
    kept = load_state(tmp_path / "run/last")
    assert kept["position"]["step"] == 2
    assert all(tensor.isfinite().all() for tensor in kept["model"].values())
    if what == "loss":
        return
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert not differences(unbroken, tmp_path / "run")


def test_a_gpu_is_asked_at_the_end_only(data, tmp_path, monkeypatch):
    checks, learn = [], loop.learn

    class Later(loop.FiniteCheck):
        def __init__(self, *args):
            super().__init__(*args)
            self.at_once = False
            checks.append(self)

    def spoilt(learner, *args):
        loss, right = learn(learner, *args)
        return loss * torch.nan if checks[-1].step == 1 else loss, right

    monkeypatch.setattr(loop, "FiniteCheck", Later)
    monkeypatch.setattr(loop, "learn", spoilt)
    with pytest.raises(FaultError, match="the training loss is nan or infinite in epoch 1, batch 3"):
        gateshift.train(data, out=tmp_path / "run", **TINY)
    assert checks[-1].step == 5  # the epoch went on


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True),
        (MemoryError(), True),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_what_says_that_memory_is_full(error, full):
    assert faults.out_of_memory(error) == full


def test_out_of_memory_names_the_batch_that_fits(data, tmp_path, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loop, "rehearse", fail)
    monkeypatch.setattr(batch_fit, "measured_peaks", lambda *_: {1: 50 * 10**6, 2: 100 * 10**6})
    monkeypatch.setattr(batch_fit, "available_memory", lambda: 280 * 10**6)
    settings = {**TINY, "batch_size": 8, "accumulate": 1}
    with pytest.raises(FaultError) as refusal:
        gateshift.train(data, out=tmp_path / "run", **settings)
    said = str(refusal.value)
    assert "a step of 8 clips (CUDA out of memory)" in said
    assert "--batch-size 4 --accumulate 2, which keep the effective batch of 8 clips." in said
    assert "--checkpoint-activations" in said
    recorded = recorded_config(tmp_path / "run")  # it has learnt nothing: these settings may change
    config = replace(recorded, batch_size=4, accumulate=2)
    assert open_run(tmp_path / "run", config, data).config == config
    assert recorded_config(tmp_path / "run") == config


def test_where_nothing_can_be_tried_the_next_smaller_batch_is_named(monkeypatch):
    config = loop.TrainConfig(**{name: TINY[name] for name in ("model", "pretrained")}, batch_size=12)

    def fail(*_):
        raise GateshiftError("no process can be started")

    monkeypatch.setattr(batch_fit, "measured_peaks", fail)
    assert faults.fitting_batch(config, Path(), "cpu", False) == 6


@pytest.mark.parametrize(
    ("text", "lost"),
    [("[pair.cc:534] Connection closed by peer [127.0.0.1]:1234", True), ("shapes differ", False)],
)
def test_another_process_that_ended_is_said(monkeypatch, text, lost):
    monkeypatch.setattr(faults.dist, "is_initialized", lambda: True)

    @faults.naming_faults
    def train(config, data):
        raise RuntimeError(text)

    with pytest.raises(FaultError if lost else RuntimeError, match="another process" if lost else text):
        train(None, None)


def edited(data, tmp_path, edit):
    """Return a copy of the dataset whose dataset.json is edited."""
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", data, copy], check=True)
    file = copy / "dataset.json"
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))
    return copy


def test_other_label_swaps_are_refused(data, tmp_path, unbroken):
    copy = edited(data, tmp_path, lambda values: values["label_swaps"].pop())
    with pytest.raises(DataError, match="the label_swaps changed since .* began, such as of .* and "):
        gateshift.train(copy, out=unbroken, **TINY)


def test_another_order_of_the_classes_is_refused(data, tmp_path, unbroken):
    copy = edited(data, tmp_path, lambda values: values["classes"].reverse())
    with pytest.raises(DataError, match="the classes changed since .* began: their order"):
        gateshift.train(copy, out=unbroken, **TINY)


def test_another_label_of_a_video_is_refused(data, tmp_path, unbroken):
    copy = edited(data, tmp_path, lambda values: None)
    one, other = sorted((copy / "train").iterdir())[:2]
    (one / "00000.mp4").rename(other / "00001.mp4")
    (other / "00000.mp4").rename(one / "00000.mp4")
    with pytest.raises(DataError, match="the train videos changed since"):
        gateshift.train(copy, out=unbroken, **TINY)


def test_a_run_that_has_learnt_nothing_takes_other_settings(data, tmp_path, unbroken, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(loop, "train_one_epoch", stop)
        gateshift.train(data, out=tmp_path / "run", **{**TINY, "seed": 3, "lr": 0.5})
    gateshift.train(data, out=tmp_path / "run", **TINY)
    assert not differences(unbroken, tmp_path / "run")
    with pytest.raises(ConfigError, match="lr 0.001 -> 0.5"):
        gateshift.train(data, out=tmp_path / "run", **{**TINY, "lr": 0.5})


SMALL_DISK = """
set -u
mount -t tmpfs -o size=20m tmpfs "$1" || exit 77
{command}
test $? = 2 || exit 1
test -z "$(find "$1" -name '*.partial')" || exit 3
mount -o remount,size=200m "$1"
{command} || exit 4
cp -r "$1/run" "$2"
"""


@pytest.mark.slow
def test_a_small_disk_that_fills_in_the_middle_of_a_checkpoint(data, tmp_path):
    tiny = {**TINY, "linear_probe": True, "optimizer": "sgd"}
    words = [
        f"--{name.replace('_', '-')} {value}" for name, value in tiny.items() if not isinstance(value, bool)
    ]
    train = f"{sys.executable} -m gateshift train {data} {' '.join(words)} --no-pretrained --linear-probe"
    script = SMALL_DISK.format(command=f'{train} --out "$1/run"')
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path / "disk", tmp_path / "run"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, done.stderr
    assert "cannot be written: the disk is full. It takes" in done.stderr
    gateshift.train(data, out=tmp_path / "unbroken", **tiny)
    assert not differences(tmp_path / "unbroken", tmp_path / "run")


@pytest.mark.slow
def test_runs_that_are_killed_at_random_end_as_the_unbroken_one():
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("torture.py"), "--runs", "4", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, done.stderr + done.stdout
