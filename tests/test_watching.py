"""A run as it is seen from outside: its page while it trains, its gates, the numbers that trackers get."""

import json
import re
import sys
from dataclasses import replace

import pytest
import torch

import gateshift
from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.shapes import generate
from gateshift.engine import watching
from gateshift.engine.curves import read_rows
from gateshift.engine.gate_statistics import GateClips, measure_gates
from gateshift.errors import ConfigError, GateshiftError, UnknownName
from gateshift.spec import InputSpec

TINY = dict(
    model="gsm_mobilenet_v2",
    pretrained=False,
    num_segments=4,
    size=32,
    epochs=3,
    batch_size=4,
    accumulate=2,
    workers=0,
    device="cpu",
    lr=1e-3,
    ema=0.9,
    optimizer="sgd",  # its state is written sooner
)
BATCHES = 3  # of an epoch
MODULES = 10
STANDS_IN = '''
import json, os, pathlib
FILE = pathlib.Path(os.environ["STAND_IN"])

class Run:
    """What a program was told, one line each."""
    def __init__(self, id):
        self.id = self.info = self.run_id = id
    @property
    def info(self): return self
    @info.setter
    def info(self, value): pass
    def log(self, values, step=None):
        if os.environ.get("STAND_IN_FAILS") and step > 0:
            raise ConnectionError("no network")
        with FILE.open("a") as file:
            file.write(json.dumps([self.id, step, values]) + "\\n")
    def finish(self): pass
    def update(self, values, allow_val_change): self.log(values, step=-1)

def init(project, id, name, resume, dir):
    global config
    if os.environ.get("STAND_IN_REFUSES"):
        raise RuntimeError("api_key not configured.")
    config = Run(id)
    return config
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("tiny") / "data",
        train_per_class=1,
        val_per_class=1,
        test_per_class=1,
        size=40,
    )


@pytest.fixture(autouse=True)
def no_patience(monkeypatch, tmp_path):
    """Fetch the totals at every window, and have a stand-in for W&B that writes what it is told to a file."""
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(watching, "POINT_SECONDS", 0.0)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text(STANDS_IN)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("STAND_IN", str(tmp_path / "told.jsonl"))
    yield
    sys.modules.pop("wandb", None)


class Killed(BaseException):
    """As SIGKILL: nobody catches it."""


def train(data, out, monkeypatch=None, stop_at=None, how=Killed, **changes):
    """Train; with ``stop_at`` be ended at that (epoch, batch), before its state is saved."""
    if stop_at is None:
        return gateshift.train(data, out=out, **{**TINY, **changes})

    class Ending(watching.Watch):
        def window(self, position, step, *args):
            super().window(position, step, *args)
            if (position.epoch, step) == stop_at:
                raise how("ended")

    with monkeypatch.context() as patch, pytest.raises(how):
        patch.setattr(watching, "Watch", Ending)
        gateshift.train(data, out=out, **{**TINY, **changes})
    return None


def scalars(run):
    """Return tag -> [(step, value)] as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return {
        tag: [(event.step, round(event.value, 5)) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not re.search("seconds|clips_per_second|data_wait", tag)
    }


def told(tmp_path):
    lines = (tmp_path / "told.jsonl").read_text().splitlines()
    return [(name, step, values) for name, step, values in map(json.loads, lines)]


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "LOOK_SECONDS", 0.0)
        patch.setattr(watching, "POINT_SECONDS", 0.0)
        gateshift.train(data, out=out, **TINY, track="tensorboard")
    return out


def test_each_epoch_and_gate_is_in_the_file_the_page_and_the_tracker(unbroken):
    rows = read_rows(unbroken / "gates.csv")
    assert [row["epoch"] for row in rows] == [epoch for epoch in "123" for _ in range(2 * MODULES)]
    assert [row["direction"] for row in rows] == ["earlier", "later"] * MODULES * 3
    first, last = rows[0]["module"], rows[-1]["module"]
    assert (first, last) == ("features.3.conv.2", "features.16.conv.2")
    page = (unbroken / "report.html").read_text(encoding="utf-8")
    assert "Gates that move later: how open" in page
    assert f"{float(rows[-1]['sign']):+.2f}" in page
    assert 'http-equiv="refresh"' not in page
    assert "Confusion matrix" in page
    seen = scalars(unbroken)
    steps = [BATCHES * epoch for epoch in (1, 2, 3)]
    log = read_rows(unbroken / "log.csv")
    assert seen["epoch/val_loss"] == [
        (step, pytest.approx(float(row["val_loss"]), rel=1e-5)) for step, row in zip(steps, log, strict=True)
    ]
    opened = [float(row["open"]) for row in rows if row["module"] == last][1::2]
    assert seen[f"gates/{last}/later_open"] == [
        (step, pytest.approx(value, abs=1e-5)) for step, value in zip(steps, opened, strict=True)
    ]
    assert [step for step, _ in seen["step/loss"]] == [2, 3, 5, 6, 8, 9]


def test_gates_are_those_of_the_average_that_is_kept(unbroken, data):
    network = gateshift.load(unbroken)
    best = max(
        read_rows(unbroken / "log.csv"), key=lambda row: (float(row["val_top1"]), -float(row["val_loss"]))
    )
    views = EvalViews(read_annotations(unbroken / "data"), "val", 4, network.input_spec)
    measured = measure_gates(network, GateClips(views, 12).read(), torch.float32, int(best["epoch"]))
    rows = [row for row in read_rows(unbroken / "gates.csv") if row["epoch"] == best["epoch"]]
    assert [float(row["open"]) for row in rows] == pytest.approx([row["open"] for row in measured], abs=1e-5)


def test_a_run_that_was_killed_and_stopped_tells_the_same_and_nothing_twice(
    unbroken, data, tmp_path, monkeypatch
):
    out, both = tmp_path / "run", "tensorboard,wandb"
    train(data, out, monkeypatch, stop_at=(1, 2), track=both)
    train(data, out, monkeypatch, stop_at=(2, 3), how=KeyboardInterrupt, track=both)
    train(data, out, track=both)
    assert (out / "gates.csv").read_text() == (unbroken / "gates.csv").read_text()
    assert scalars(out) == scalars(unbroken)
    lines = told(tmp_path)
    assert len({name for name, _, _ in lines}) == 1  # one run of W&B
    settings = [values for _, step, values in lines if step == -1]
    assert [each["lr"] for each in settings] == [1e-3]
    assert settings[0]["command"].startswith("gateshift train")
    points = [step for _, step, values in lines if "step/loss" in values]
    assert points == [2, 3, 5, 6, 8, 9]
    assert [step for _, step, _ in lines] == sorted(step for _, step, _ in lines)
    train(data, out, track=both)  # finished: there is nothing to tell
    assert told(tmp_path) == lines


def test_what_was_written_after_the_last_note_of_it_is_struck_out(unbroken, data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    train(data, out, monkeypatch, stop_at=(2, 2), track="tensorboard")
    memory = json.loads((out / "tracking.json").read_text())
    assert memory["tensorboard"] == {"id": "", "epoch": 2, "step": 2 * BATCHES}
    memory["tensorboard"] |= {"epoch": 1, "step": BATCHES}  # as if it was killed before the note
    (out / "tracking.json").write_text(json.dumps(memory))
    train(data, out, track="tensorboard")
    seen, whole = scalars(out), scalars(unbroken)
    assert seen["epoch/val_loss"] == whole["epoch/val_loss"]
    assert [step for step, _ in seen["step/loss"]] == [2, 3, 8, 9]


def test_a_tracker_that_fails_is_named_and_gets_its_epochs_later(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setenv("STAND_IN_FAILS", "1")
        assert train(data, out, track="wandb", epochs=2)["epochs"] == 2
    assert capsys.readouterr().err.count("tracker wandb failed") == 1
    train(data, out, track="wandb", epochs=2)
    assert [values["epoch/epoch"] for _, step, values in told(tmp_path) if step > 0] == [1, 2]


def test_trackers_that_cannot_be_had_are_refused_before_anything_is_written(data, tmp_path, monkeypatch):
    with pytest.raises(UnknownName, match=r"unknown tracker 'tensorbord'. Did you mean tensorboard"):
        train(data, tmp_path / "run", track="wandb,tensorbord")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--track mlflow needs .*pip install 'gateshift\[mlflow\]'"):
        train(data, tmp_path / "run", track="mlflow")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_does_not_open_is_refused_with_advice(data, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_REFUSES", "1")
    with pytest.raises(GateshiftError, match=r"--track wandb cannot be opened: api_key.*WANDB_MODE=offline"):
        train(data, tmp_path / "run", track="wandb")


def test_the_page_reads_itself_anew_until_training_ends(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    pages = []
    write = watching.write_running_page

    def keep(*args):
        pages.append(write(*args).read_text(encoding="utf-8"))

    with monkeypatch.context() as patch:
        patch.setattr(watching, "write_running_page", keep)
        train(data, out, monkeypatch, stop_at=(1, 2), how=KeyboardInterrupt)
    assert all('http-equiv="refresh"' in page for page in pages[:-1])
    assert "The curves begin with the end of the first epoch" in pages[0]
    assert "<b>1 of 3</b>" in pages[1]
    assert re.search("Training, about .* left", pages[1])
    assert "Gates that move earlier" in pages[1]
    assert "Training was stopped." in pages[-1]
    assert "The same command resumes after epoch 1:" in pages[-1]
    assert f"--out {out}" in pages[-1]
    assert 'http-equiv="refresh"' not in pages[-1]


def test_a_page_of_a_run_that_failed_says_why(data, tmp_path, monkeypatch):
    train(data, tmp_path / "run", monkeypatch, stop_at=(0, 2), how=GateshiftError)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Training ended before its time: ended" in page


def test_a_page_that_cannot_be_drawn_ends_nothing(data, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise RuntimeError("no ink")

    monkeypatch.setattr(watching, "write_running_page", fail)
    monkeypatch.setattr(watching, "write_report", fail)
    assert train(data, tmp_path / "run", epochs=1, warmup_epochs=0)["epochs"] == 1
    said = capsys.readouterr().err
    assert said.count("report.html cannot be drawn: no ink. Training goes on.") == 1
    assert said.count("report.html cannot be drawn") == 2  # and at the end


def eval_views(data):
    spec = InputSpec(size=32, resize=32, mean=(0, 0, 0), std=(1, 1, 1))
    return EvalViews(read_annotations(data), "val", 4, spec)


def test_gates_are_measured_on_few_clips_spread_over_the_list(data):
    views = eval_views(data)
    assert [len(GateClips(views, num_train).read()) for num_train in (10, 60, 10_000)] == [1, 3, 8]
    clips = GateClips(views, 10_000).read()
    assert torch.equal(clips[0], views[0][0])
    assert torch.equal(clips[-1], views[len(views) - 1][0])


def test_a_video_that_cannot_be_read_is_not_measured(data):
    views = eval_views(data)
    views.records = (replace(views.records[0], video="gone.mp4"), *views.records[1:])
    assert len(GateClips(views, 10_000).read()) == 7
