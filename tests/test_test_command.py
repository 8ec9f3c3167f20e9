"""Testing: the same scores however they are computed, and the right videos, classes and views."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.dataset import EvalViews
from gateshift.data.transforms import normalize
from gateshift.engine import test as testing
from gateshift.engine.inference import Inference
from gateshift.errors import ConfigError, DataError, UnknownName, VideoError, WeightsError
from gateshift.evidence.scores import Scores
from gateshift.models.weights import save_weights
from small_model import save_small_model, small_model
from videos import write_frames, write_video

CLASSES = ("drop", "move left", "move right")
CPU = torch.device("cpu")


def write_dataset(root: Path, classes=CLASSES, videos=4) -> Path:
    """Write a folder of class folders; each video has a length and a size of its own."""
    for label, name in enumerate(classes):
        for index in range(videos):
            size = (48 + 16 * index, 64 - 16 * (label % 2))
            write_video(root / name / f"v{index} a.mp4", num_frames=5 + 3 * index + label, size=size)
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "flat")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("run"), CLASSES)


def how(**changes):
    return Inference(**({"device": CPU, "workers": 0, "progress": False} | changes))


def score(data, *, batch_size=8, workers=0, clips=1, crops=1):
    annotations = read_annotations(data)
    records = [record for split in annotations.splits.values() for record in split]
    model = small_model(CLASSES)
    views = EvalViews(annotations, records, model.num_segments, model.input_spec, clips, crops)
    settings = how(batch_size=batch_size, workers=workers)
    return testing.score(model, views, settings, label_swaps=annotations.swap_indices)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (5, 2), (100, 1)])
@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (2, 3)])
def test_batch_size_and_workers_change_nothing(data, batch_size, workers, clips, crops):
    expected = score(data, clips=clips, crops=crops)
    found = score(data, batch_size=batch_size, workers=workers, clips=clips, crops=crops)
    assert found.videos == expected.videos
    assert np.array_equal(found.labels, expected.labels)
    tolerance = 1e-5 * np.abs(expected.logits).max()
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=tolerance)
    assert np.array_equal(found.logits.argmax(1), expected.logits.argmax(1))
    assert found.logits.std(axis=0).min() > 1000 * tolerance  # the videos do differ


@pytest.mark.parametrize(("average", "kind"), [("logits", "logits"), ("softmax", "probabilities")])
def test_views_are_averaged_and_mirrored_ones_exchange_sides(data, average, kind):
    annotations, model = read_annotations(data), small_model(CLASSES)
    views = EvalViews(annotations, "val", model.num_segments, model.input_spec, 1, 10)
    assert sum(views.flipped) == 5
    model.head.weight.data.mul_(0.02)  # logits of some units, so that no probability is 1
    with torch.inference_mode():
        logits = model(normalize(views[0][0], model.input_spec)).numpy()  # (V, K)
    if average == "softmax":  # of each view, before the mean
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    exchanged = [row[[0, 2, 1]] if mirror else row for row, mirror in zip(logits, views.flipped, strict=True)]
    settings = how(batch_size=4, average=average)
    found = testing.score(model, views, settings, label_swaps=annotations.swap_indices)
    assert found.kind == kind
    np.testing.assert_allclose(found.logits[0], np.mean(exchanged, axis=0), rtol=1e-4, atol=1e-4)
    assert not np.allclose(found.logits[0], logits.mean(axis=0), atol=1e-3)
    if average == "softmax":
        assert found.logits.max() < 0.99
        np.testing.assert_allclose(found.logits.sum(axis=1), 1, rtol=1e-5)


def test_scoring_leaves_the_generator_of_training_alone(data):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model, annotations = small_model(CLASSES), read_annotations(data)
    torch.set_rng_state(before)
    views = EvalViews(annotations, "val", model.num_segments, model.input_spec)
    testing.score(model, views, how(batch_size=2, workers=1), label_swaps={})
    assert torch.equal(torch.get_rng_state(), before)


def test_two_processes_give_the_scores_of_one(data, run, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "gateshift", "test", str(run), str(data), "--device", "cpu", "--workers", "0"]
    command += ["--save-scores", str(tmp_path / "two.npz")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    testing.test(run, data, device="cpu", workers=0, save_scores=tmp_path / "one.npz")
    two, one = Scores.load(tmp_path / "two.npz"), Scores.load(tmp_path / "one.npz")
    assert two.videos == one.videos
    assert np.array_equal(two.labels, one.labels)
    np.testing.assert_allclose(two.logits, one.logits, rtol=0, atol=1e-5 * np.abs(one.logits).max())


def test_answer_is_what_the_interface_says(data, run, tmp_path):
    answer = testing.test(
        run, data, clips=2, crops=3, device="cpu", workers=0, save_scores=tmp_path / "s.npz"
    )
    keys = {"top1", "top5", "mean_class_accuracy", "videos", "views", "per_class", "confusion"}
    sure = {f"{name}_interval" for name in ("top1", "top5", "mean_class_accuracy")}
    assert keys | sure | {"recordings", "calibration", "coverage"} == set(answer)
    assert (answer["videos"], answer["views"]) == (12, 6)  # no split and no run that knows one: all videos
    assert np.sum(answer["confusion"]) == 12
    json.dumps(answer, allow_nan=False)
    scores = Scores.load(tmp_path / "s.npz")
    assert answer["top1"] == np.mean(scores.logits.argmax(1) == scores.labels)


def test_a_run_is_tested_on_what_it_held_out(data, tmp_path):
    run = save_small_model(tmp_path / "run", CLASSES)
    annotations = read_annotations(data, seed=11, val_fraction=0.3)
    write_annotations(annotations, run / "data")
    testing.test(run, data, device="cpu", workers=0, save_scores=tmp_path / "s.npz")
    held_out = {record.video for record in annotations.splits["val"]}
    assert set(Scores.load(tmp_path / "s.npz").videos) == held_out
    assert testing.test(run, data, split="train", device="cpu", workers=0)["videos"] == 12 - len(held_out)


def test_a_run_whose_videos_have_moved_still_tests_on_others(data, tmp_path):
    run = save_small_model(tmp_path / "run", CLASSES)
    write_annotations(replace(read_annotations(data), root=tmp_path / "gone"), run / "data")
    assert testing.test(run, data, device="cpu", workers=0)["videos"] == 12


@pytest.mark.parametrize(("asked", "expected"), [(None, 1), ("val", 2), ("train", 3)])
def test_splits_of_the_data(run, tmp_path, asked, expected):
    for split, videos in {"test": 1, "val": 2, "train": 3}.items():
        write_dataset(tmp_path / split, videos=videos)
    assert testing.test(run, tmp_path, split=asked, device="cpu", workers=0)["videos"] == 3 * expected


def test_classes_are_matched_by_name(data, run, tmp_path):
    annotations = read_annotations(data)
    order = [2, 0, 1]  # index in the other order -> index in the data
    other = replace(
        annotations,
        classes=tuple(CLASSES[label] for label in order),
        splits={
            "test": tuple(
                replace(record, label=order.index(record.label))
                for split in annotations.splits.values()
                for record in split
            )
        },
    )
    write_annotations(other, tmp_path / "lists")
    one = testing.test(run, data, device="cpu", workers=0)
    assert testing.test(run, tmp_path / "lists", device="cpu", workers=0) == one


def test_data_may_hold_some_of_the_classes(run, tmp_path):
    write_dataset(tmp_path / "test", classes=("move left", "drop"), videos=1)
    answer = testing.test(run, tmp_path, device="cpu", workers=0)
    assert [(row["class"], row["videos"]) for row in answer["per_class"]] == list(
        zip(CLASSES, (1, 1, 0), strict=True)
    )


def test_swaps_of_classes_that_the_data_lacks_are_known(tmp_path):
    write_dataset(tmp_path / "test", classes=("move left", "drop"), videos=1)
    annotations = read_annotations(tmp_path)
    model = small_model(CLASSES)
    model.label_swaps = (("move left", "move right"),)
    known, _ = testing.with_classes_of(model, annotations, annotations.split("test"))
    assert known.swap_indices == {1: 2, 2: 1}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("drop", "move left", "move rihgt"), "does not know 1 of .* 'move rihgt'.* has 'move right' where"),
        (("drop", "move left", "move right", "throw"), "does not know 1 of the data's 4 classes: 'throw'"),
    ],
)
def test_unknown_classes_are_refused(run, tmp_path, classes, message):
    write_dataset(tmp_path / "test", classes=classes, videos=1)
    with pytest.raises(DataError, match=message):
        testing.test(run, tmp_path, device="cpu", workers=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_video_stops_with_its_name_and_no_traceback(run, tmp_path, workers):
    write_dataset(tmp_path / "test", videos=2)
    (tmp_path / "test" / "drop" / "v1 a.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(VideoError, match="v1 a.mp4") as caught:
        testing.test(run, tmp_path, device="cpu", workers=workers)
    assert "Traceback" not in str(caught.value)


def test_weights_that_diverged_are_refused(data, tmp_path):
    model = small_model(CLASSES)
    torch.nn.init.constant_(model.head.bias, float("nan"))
    save_weights(model, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="not finite for 12 of 12"):
        testing.test(tmp_path, data, device="cpu", workers=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "cdua"}, ConfigError, "unknown device 'cdua'"),
        ({"device": "meta"}, ConfigError, "not supported"),
        ({"precision": "bf32"}, UnknownName, "Did you mean"),
        ({"clips": 0}, ConfigError, "clips is 0"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0"),
        ({"workers": -1}, ConfigError, "workers is -1"),
        ({"split": "test"}, DataError, "without a split 'test'"),
        ({"average": "sofmax"}, UnknownName, "Did you mean softmax"),
        (
            {"full_resolution": True, "crops": 10},
            ConfigError,
            "10 crops at full resolution .* --crops 1 or 3",
        ),
        ({"size": -8}, ConfigError, "cannot take crops of -8 pixels"),
    ],
)
def test_bad_settings_are_refused(data, run, options, error, message):
    with pytest.raises(error, match=message):
        testing.test(run, data, **({"device": "cpu", "workers": 0} | options))


def test_missing_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="'cuda:1' is not there"):
        testing.pick_device("cuda:1")


@pytest.mark.parametrize("precision", ["bf16", "float16"])
def test_half_precision_is_close(data, run, tmp_path, precision):
    for name in ("float32", precision):
        testing.test(run, data, device="cpu", workers=0, precision=name, save_scores=tmp_path / f"{name}.npz")
    exact, half = (Scores.load(tmp_path / f"{name}.npz").logits for name in ("float32", precision))
    assert exact.dtype == half.dtype == np.float32
    assert 0 < np.abs(exact - half).max() < 0.1 * np.abs(exact).max()


def test_parts_of_a_video_and_frame_folders(run, tmp_path):
    write_frames(tmp_path / "frames" / "a,b", num_frames=12)
    (tmp_path / "test.csv").write_text(
        "video,label,num_frames,start_frame,end_frame\n"
        '"frames/a,b",drop,12,0,6\n"frames/a,b",move left,12,6,12\n"frames/a,b",move right,12,,\n'
    )
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": CLASSES}))
    testing.test(run, tmp_path, device="cpu", workers=0, save_scores=tmp_path / "s.npz")
    scores = Scores.load(tmp_path / "s.npz")
    assert scores.videos == ("frames/a,b[0:6]", "frames/a,b[6:12]", "frames/a,b")
    assert len(np.unique(scores.logits[:, 0])) == 3
