"""Predicting: an answer or a reason for every path, in their order, the same as testing gives."""

import json
import os
import re

import numpy as np
import pytest

from conftest import shared
from gateshift.apps.predict import predict
from gateshift.engine import test as testing
from gateshift.errors import ConfigError, DataError
from gateshift.evidence.scores import Scores
from gateshift.models.weights import save_weights
from small_model import save_small_model, small_model
from videos import write_frames, write_video

CLASSES = ("drop", "move left", "move right")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("run"), CLASSES)


@pytest.fixture
def folder(tmp_path):
    """Three readable videos, one of them a folder of frames, and a damaged one."""
    write_video(tmp_path / "clips" / "a.mp4", num_frames=9)
    write_video(tmp_path / "clips" / "-b [1].mp4", num_frames=20, size=(80, 48))
    write_frames(tmp_path / "clips" / "deep" / "frames", num_frames=3)
    (tmp_path / "clips" / "c.mp4").write_bytes(b"not a video")
    return tmp_path / "clips"


def ask(run, paths, **options):
    return predict(run, paths, **({"device": "cpu", "workers": 0} | options))["predictions"]


def test_every_video_of_a_folder_has_an_answer_or_a_reason(run, folder):
    rows = ask(run, [folder])
    assert [row["video"].removeprefix(f"{folder}{os.sep}") for row in rows] == [
        "-b [1].mp4",
        "a.mp4",
        "c.mp4",
        os.path.join("deep", "frames"),
    ]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False]
    assert "c.mp4" in rows[2]["error"]
    assert "Traceback" not in rows[2]["error"]
    assert rows[2]["labels"] == []
    for row in (rows[0], rows[1], rows[3]):
        probabilities = [label["probability"] for label in row["labels"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)
        assert {label["label"] for label in row["labels"]} == set(CLASSES)
    json.dumps(rows, allow_nan=False)


def test_order_of_the_paths_is_kept_whatever_the_batch(run, folder):
    paths = [
        folder / "c.mp4",
        folder / "deep" / "frames",
        folder / "gone.mp4",
        str(folder / "*.mp4"),
        folder / "a.mp4",
    ]
    rows = ask(run, paths, batch_size=2, workers=2)
    names = [os.path.basename(row["video"]) for row in rows]
    assert names == ["c.mp4", "frames", "gone.mp4", "-b [1].mp4", "a.mp4"]
    alone = {
        name: ask(run, [row["video"]])[0] for name, row in zip(names, rows, strict=True) if not row["error"]
    }
    assert set(alone) == {"frames", "-b [1].mp4", "a.mp4"}
    for name, row in zip(names, rows, strict=True):
        for one, other in zip(row["labels"], alone[name]["labels"] if name in alone else [], strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)


def test_predict_sees_what_test_sees(run, tmp_path):
    for index, name in enumerate(CLASSES):
        write_video(tmp_path / "data" / "test" / name / "v.mp4", num_frames=9 + index)
    testing.test(run, tmp_path / "data", clips=2, crops=10, device="cpu", save_scores=tmp_path / "s.npz")
    rows = ask(run, [tmp_path / "data"], clips=2, crops=10)
    for row, logits in zip(rows, Scores.load(tmp_path / "s.npz").logits, strict=True):
        powers = np.exp(logits - logits.max())
        expected = dict(zip(CLASSES, powers / powers.sum(), strict=True))
        assert {label["label"]: label["probability"] for label in row["labels"]} == pytest.approx(
            expected, abs=1e-5
        )


def test_probabilities_are_those_at_the_temperature_of_the_weights(folder, tmp_path):
    model = small_model(CLASSES)
    save_weights(model, tmp_path / "raw.safetensors")
    model.temperature = 2.5
    save_weights(model, tmp_path / "calibrated.safetensors")
    raw, calibrated = (
        predict(tmp_path / f"{name}.safetensors", str(folder / "a.mp4"), workers=0, device="cpu")
        for name in ("raw", "calibrated")
    )
    assert (raw["temperature"], calibrated["temperature"]) == (None, 2.5)
    before, after = (
        {label["label"]: label["probability"] for label in found["predictions"][0]["labels"]}
        for found in (raw, calibrated)
    )
    powers = {name: share ** (1 / 2.5) for name, share in before.items()}
    assert after == pytest.approx({name: power / sum(powers.values()) for name, power in powers.items()})


def test_top_and_one_path(run, folder):
    assert [len(row["labels"]) for row in ask(run, str(folder / "a.mp4"), top=2)] == [2]


def test_network_without_class_names_answers_with_indices(folder, tmp_path):
    model = small_model(CLASSES)
    model.classes = None
    save_weights(model, tmp_path / "weights.safetensors")
    assert {label["label"] for label in ask(tmp_path, [folder / "a.mp4"])[0]["labels"]} == {"0", "1", "2"}


@pytest.mark.parametrize("names", [["gone.mp4"], ["gone.mp4", "g*.mp4"], ["empty"], []])
def test_nothing_to_predict_is_refused(run, tmp_path, names):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="gone.mp4|empty|no path"):
        ask(run, [tmp_path / name for name in names])


def test_pipe_is_not_waited_for(run, folder):
    os.mkfifo(folder / "pipe.mp4")
    rows = {os.path.basename(row["video"]): row for row in ask(run, [folder])}
    assert "neither a file nor a folder" in rows["pipe.mp4"]["error"]
    assert rows["a.mp4"]["error"] is None


@pytest.mark.parametrize(("option", "value"), [("top", 0), ("clips", 0), ("batch_size", 0), ("workers", -2)])
def test_bad_settings_are_refused(run, folder, option, value):
    with pytest.raises(ConfigError, match=f"{option} is {value}"):
        ask(run, [folder], **{option: value})


def test_tricky_videos(run):
    """Every file that decodes to its end has an answer, and every other one an answer or a reason."""
    folder = shared("data/tricky_videos")
    rows = {os.path.basename(row["video"]): row for row in ask(run, [folder], workers=2)}
    probe = (folder / "PROBE.txt").read_text(encoding="utf-8")
    for line in probe.splitlines():
        name = line.split()[0]
        decoded = re.search(r" decoded (\d+)", line)
        if decoded and int(decoded[1]) > 0 and "Error" not in line:
            assert rows[name]["error"] is None, name
            assert rows[name]["labels"], name
        else:
            assert bool(rows[name]["labels"]) != bool(rows[name]["error"]), name
    assert len(rows) == len(probe.splitlines())
