"""`show`: the clips that training makes, drawn for people to look at."""

import numpy as np
import pytest
from PIL import Image

import gateshift
from gateshift.apps.clip_sheet import TEXT_WIDTH, draw_strip, wrap
from gateshift.apps.show import input_spec
from gateshift.apps.shown_clips import shown_clips
from gateshift.data.annotations import read_annotations
from gateshift.data.augment import parse_augment
from gateshift.data.dataset import TrainClips
from gateshift.data.shapes import generate
from gateshift.data.transforms import train_transform
from gateshift.engine.config import TrainConfig
from gateshift.errors import ConfigError, DataError, UnknownName
from videos import write_video


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("show") / "data",
        train_per_class=2,
        val_per_class=1,
        test_per_class=1,
        size=40,
    )


def test_a_sheet_and_a_page_are_written(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = gateshift.show(data, augment="rand-m9-n3-p1,erase=1,mixup=0.4,cutmix=1", num_segments=4)
    assert (answer["sheet"], answer["page"]) == ("shown/data/sheet.png", "shown/data/index.html")
    assert (answer["recipe"], answer["size"], answer["num_segments"], answer["seed"]) == ("shapes", 48, 4, 0)
    assert len(answer["clips"]) == 6
    assert len({clip["class"] for clip in answer["clips"]}) == 6
    page = (tmp_path / answer["page"]).read_text(encoding="utf-8")
    for clip in answer["clips"]:
        assert clip["video"] in page and clip["learnt_as"] in page
        assert all(word in page for word in clip["drawn"])
        assert sum(label["share"] for label in clip["labels"]) == pytest.approx(1)
        assert len(clip["drawn"]) >= 3 + 1 + 1 + 1  # operations, crop, erased, mixed
    with Image.open(answer["sheet"]) as sheet:
        assert sheet.format == "PNG" and sheet.width > TEXT_WIDTH + 4 * 112 and sheet.height > 6 * 2 * 112
    assert not list(tmp_path.rglob("*.partial"))


def test_clips_are_the_very_ones_of_training(data):
    annotations = read_annotations(data)
    config = TrainConfig(augment="rand-m9-mstd0.5,jitter=0.4,erase=0.5", size=32, num_segments=4, seed=3)
    spec = input_spec(config)
    transform = train_transform(spec, annotations.swap_indices, augment=parse_augment(config.augment))
    clips = TrainClips(annotations, "train", 4, transform, seed=3)
    clips.set_epoch(1)
    seen = {
        annotations.split("train")[i].video: (clip[0].permute(0, 2, 3, 1).numpy(), annotations.classes[label])
        for i, (clip, label, _) in enumerate(clips[i] for i in range(len(clips)))
    }
    mirrored = 0
    for shown in shown_clips(annotations, config, spec, num_clips=12, epoch=2):
        frames, name = seen[shown.video]
        assert np.array_equal(shown.after, frames)
        assert shown.labels == ((name, 1.0),)
        assert shown.before.shape == (4, 40, 40, 3)
        mirrored += shown.class_name != name
    assert mirrored  # and so are their labels


def test_mixed_clips_show_what_their_shares_say(data):
    annotations = read_annotations(data)
    config = TrainConfig(augment="cutmix=1", size=32, num_segments=2)
    plain = shown_clips(annotations, TrainConfig(size=32, num_segments=2), input_spec(config), 4, 1)
    mixed = shown_clips(annotations, config, input_spec(config), 4, 1)
    for i, clip in enumerate(mixed):
        foreign = (clip.after != plain[i].after).any(axis=(0, 3))
        neighbour = plain[i - 1]
        assert (clip.after[:, foreign] == neighbour.after[:, foreign]).all()
        assert clip.drawn[-1].startswith("box of ")
        assert dict(clip.labels)[plain[i].labels[0][0]] <= 1 - foreign.mean() + 1e-6


def test_frames_of_every_shape_are_drawn(tmp_path):
    for label, size in (("wide", (160, 32)), ("tall", (32, 96))):
        for i in range(3):
            write_video(tmp_path / "data" / label / f"{i}.mp4", num_frames=4, size=size)
    answer = gateshift.show(tmp_path / "data", num_clips=9, num_segments=10, size=32, out=tmp_path / "out")
    assert 2 <= len(answer["clips"]) <= 5  # no more than there are to train on
    assert answer["augment"] == ""
    annotations = read_annotations(tmp_path / "data")
    config = TrainConfig(size=32, num_segments=10)
    for clip in shown_clips(annotations, config, input_spec(config), 9, 1):
        strip = draw_strip(clip)
        assert strip.height == 2 * 84 + 4


def test_long_words_are_cut_into_lines():
    assert wrap("") == [""]
    assert wrap("pushing something") == ["pushing something"]
    lines = wrap("folder/" + "a" * 120 + ".mp4 and more")
    assert "".join(lines).replace(" ", "") == "folder/" + "a" * 120 + ".mp4andmore"
    assert len(lines) > 2


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"num_clips": 0}, ConfigError, "num_clips is 0"),
        ({"augment": "mixup=much"}, ConfigError, "mixup=much"),
        ({"model": "gsm_resent50"}, UnknownName, "Did you mean"),
    ],
)
def test_refusals_leave_nothing_behind(data, tmp_path, asked, error, says):
    with pytest.raises(error, match=says):
        gateshift.show(data, out=tmp_path / "out", **asked)
    with pytest.raises(DataError):
        gateshift.show(tmp_path / "nothing", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
