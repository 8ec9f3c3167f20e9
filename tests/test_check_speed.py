"""Speed advice: what is read, what training takes, and what would make it enough."""

from dataclasses import replace

import pytest
import torch

from gateshift.apps import check_speed
from gateshift.apps.check_speed import (
    Advice,
    Reading,
    advise,
    measure_reading,
    measure_speed,
    sentence,
    waiting_share,
)
from gateshift.data.annotations import read_annotations
from gateshift.data.records import VideoRecord
from gateshift.engine.config import TrainConfig
from gateshift.spec import InputSpec
from videos import write_frames, write_video

SPEC = InputSpec(size=224, resize=256, mean=(0.0,) * 3, std=(1.0,) * 3)
TINY = TrainConfig(model="tsn_resnet18", pretrained=False, num_segments=2, size=32, batch_size=2)


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch):
    monkeypatch.setattr(check_speed, "SECONDS", 0.0)  # as few clips and steps as there may be


@pytest.fixture
def dataset(tmp_path):
    for name in ("a", "b"):
        for i in range(3):
            write_video(tmp_path / "videos" / name / f"{i}.mp4")
    return read_annotations(tmp_path / "videos")


@pytest.mark.parametrize(
    ("reading", "needed", "cores", "expected"),
    [
        (Reading(9, 0.01, 0.01, 720), 10.0, 8, Advice(1, None, 0.0, 0.0)),  # one process is plenty
        (Reading(9, 0.09, 0.01, 720), 50.0, 8, Advice(6, None, 0.0, 0.0)),  # 5, and some in reserve
        (Reading(9, 0.19, 0.01, 1080), 50.0, 4, Advice(4, 512, 0.6, 0.0)),  # 720 would take 6
        (Reading(9, 0.19, 0.01, 1080), 400.0, 4, Advice(4, 256, 0.95, 0.0)),
        (Reading(9, 0.19, 0.01, 240), 50.0, 4, Advice(4, None, 0.6, 0.6)),  # no copy would be smaller
    ],
)
def test_advice(reading, needed, cores, expected):
    advice = advise(reading, needed, cores, SPEC)
    if expected.proxy == 256:  # the smallest proxies are not enough, and the best there is
        assert advice.proxy == 256 and 0 < advice.waiting_then < advice.waiting == 0.95
    else:
        assert advice == expected


def test_fewer_workers_are_never_enough():
    reading = Reading(9, 0.09, 0.01, 720)
    advice = advise(reading, 50.0, 8, SPEC)
    assert waiting_share(reading, 50.0, advice.workers) == 0
    assert waiting_share(reading, 50.0, advice.workers - 2) > 0


@pytest.mark.parametrize(
    ("reading", "needed", "says"),
    [
        (Reading(9, 0.01, 0.01, 720), 10.0, "takes 10: train with --workers 1."),
        (Reading(9, 0.19, 0.01, 1080), 50.0, "`gateshift prepare my --proxy 512` and --workers 4 should be"),
        (Reading(9, 0.19, 0.01, 1080), 400.0, "of its time, instead of 95%."),
        (Reading(9, 0.19, 0.01, 240), 50.0, "work for 12 processes, and this machine has 4 cores"),
    ],
)
def test_the_advice_is_one_sentence(reading, needed, says):
    said = sentence(reading, needed, 4, "gsm_resnet18", "cuda:0", "my", advise(reading, needed, 4, SPEC))
    assert says in said
    assert said.startswith("One process reads ") and said.endswith(".")


def test_reading_is_measured_on_training_clips(dataset):
    spec = replace(SPEC, size=32, resize=36)
    reading = measure_reading(dataset, dataset.splits["train"], TINY, spec, in_process=True)
    assert reading.clips == check_speed.FEWEST_CLIPS
    assert reading.short_side == 48
    assert reading.reading > 0 < reading.changing


def test_what_cannot_be_read_is_not_measured(dataset):
    spec = replace(SPEC, size=32, resize=36)
    (dataset.root / "a" / "empty.mp4").touch()
    empty = VideoRecord("a/empty.mp4", 0)
    assert measure_reading(dataset, [empty], TINY, spec, in_process=True) is None
    assert measure_reading(dataset, [empty, *dataset.splits["train"]], TINY, spec, in_process=True).clips
    said = measure_speed(dataset, [empty], TINY, spec, torch.device("cpu"), "my", in_process=True)
    assert said["read_clips_per_second"] is None
    assert "was not measured" in said["advice"]


def test_both_rates_and_the_advice(dataset):
    spec, threads = replace(SPEC, size=32, resize=36), torch.get_num_threads()
    said = measure_speed(
        dataset, dataset.splits["train"], TINY, spec, torch.device("cpu"), "my", in_process=True
    )
    assert said["read_clips_per_second"] > 0 < said["needed_clips_per_second"]
    assert said["workers"] >= 1
    assert said["model"] in said["advice"]
    assert torch.get_num_threads() == threads


def test_frame_folders_are_measured_in_a_process_of_its_own(tmp_path):
    for name in ("a", "b"):
        for i in range(2):
            write_frames(tmp_path / name / str(i), 4)
    annotations = read_annotations(tmp_path)
    spec = replace(SPEC, size=32, resize=36)
    assert measure_reading(annotations, annotations.splits["train"], TINY, spec).short_side == 48
