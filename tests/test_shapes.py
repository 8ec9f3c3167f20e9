import json
from collections import Counter

import numpy as np
import pytest

from gateshift.data.annotations import read_annotations
from gateshift.data.label_swaps import find_label_swaps
from gateshift.data.reader import open_video
from gateshift.data.sampling import segment_centres
from gateshift.data.shape_scenes import TEST_BACKGROUNDS, TEST_SHAPES, TRAIN_BACKGROUNDS, TRAIN_SHAPES
from gateshift.data.shapes import CLASSES, LABEL_SWAPS, PAIRS, generate, render
from gateshift.errors import ConfigError, UnknownName

SMALL = {"train_per_class": 2, "val_per_class": 1, "test_per_class": 1, "size": 48}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("shapes") / "data", **SMALL)


def rng(*seed):
    return np.random.default_rng(seed)


def moved_from_to(masks):
    """Centres (x, y) and areas of the moving thing in the first and the last frame that show it."""
    shown = [mask for mask in masks if mask.any()]
    first, last = (np.argwhere(mask).mean(axis=0)[::-1] for mask in (shown[0], shown[-1]))
    return first, last, shown[0].sum(), shown[-1].sum()


def test_twelve_classes_in_six_pairs():
    assert len(CLASSES) == 12 and len(PAIRS) == 6
    assert sorted(CLASSES) == list(CLASSES) == sorted(name for pair in PAIRS for name in pair)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0])
def test_partner_is_the_exact_reversal(pair):
    for seed in range(3):
        forward, forward_masks = render(pair[0], rng(seed), size=48)
        backward, backward_masks = render(pair[1], rng(seed), size=48)
        assert np.array_equal(forward, backward[::-1])
        assert np.array_equal(forward_masks, backward_masks[::-1])


@pytest.mark.parametrize("name", CLASSES)
def test_render_gives_frames_and_masks(name):
    frames, masks = render(name, rng(1), size=64, num_frames=24, unseen=True)
    assert frames.shape == (24, 64, 64, 3) and frames.dtype == np.uint8
    assert masks.shape == (24, 64, 64) and masks.dtype == bool
    assert masks.any(axis=(1, 2)).mean() > 0.5 and masks.mean() < 0.6
    assert np.array_equal(frames, render(name, rng(1), size=64, num_frames=24, unseen=True)[0])


@pytest.mark.parametrize("name", CLASSES)
def test_every_sampled_frame_moves(name):
    for seed in range(5):
        frames, _ = render(name, rng(seed), size=64)
        sampled = frames[segment_centres(24, 8)].astype(int)
        changed = (np.abs(np.diff(sampled, axis=0)).max(axis=-1) > 30).sum(axis=(1, 2))
        assert changed.min() >= 2, changed


def test_motions_go_where_their_names_say():
    for seed in range(5):
        first, last, _, _ = moved_from_to(render("pushing something from left to right", rng(seed))[1])
        assert last[0] > first[0] + 20
        first, last, _, _ = moved_from_to(render("lifting something up", rng(seed))[1])
        assert last[1] < first[1] - 20
        _, _, before, after = moved_from_to(render("approaching the camera with something", rng(seed))[1])
        assert after > 3 * before
        _, masks = render("something vanishing behind something", rng(seed))
        assert masks[-1].sum() < 0.3 * masks[0].sum()
        _, masks = render("taking one of many similar things away", rng(seed))
        assert masks[-1].sum() < 0.6 * masks[0].sum()


def test_clockwise_is_clockwise_on_the_screen():
    from gateshift.data.shape_scenes import ANGLES, Thing, _paint

    thing = Thing(shape=np.where(np.abs(ANGLES) < 0.3, 1.0, 0.1), colour=np.zeros(3), cap=np.zeros(3))
    tips = []
    for angle in (-np.pi / 2, 0.0):  # from noon to three o'clock
        seen = _paint(np.zeros((64, 64, 3)), thing, np.array([0.5, 0.5]), 0.4, angle, 64)
        tips.append(np.argwhere(seen > 0.5).mean(axis=0)[::-1] - 31.5)
    assert tips[0][1] < -5 and abs(tips[0][0]) < 1
    assert tips[1][0] > 5 and abs(tips[1][1]) < 1


def test_label_swaps_are_what_the_names_say():
    assert {frozenset(pair) for pair in find_label_swaps(CLASSES)} == {
        frozenset(pair) for pair in LABEL_SWAPS
    }


def test_test_split_shows_what_training_never_saw():
    assert not set(TRAIN_SHAPES) & set(TEST_SHAPES)
    assert not set(TRAIN_BACKGROUNDS) & set(TEST_BACKGROUNDS)
    for test_shape in TEST_SHAPES.values():
        assert all(np.abs(test_shape - shape).max() > 0.05 for shape in TRAIN_SHAPES.values())


def test_generated_folder_is_a_dataset(dataset):
    annotations = read_annotations(dataset)
    assert annotations.classes == CLASSES
    assert {split: len(records) for split, records in annotations.splits.items()} == {
        "train": 24,
        "val": 12,
        "test": 12,
    }
    assert set(Counter(record.label for record in annotations.splits["train"]).values()) == {2}
    swaps = annotations.swap_indices
    left, right = map(CLASSES.index, PAIRS[0])
    assert swaps[left] == right and swaps[right] == left and len(swaps) == 4


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_decoded_twins_are_equal_frame_by_frame(dataset, split):
    for forward, backward in PAIRS:
        frames = [
            open_video(dataset / split / name / "00000.mp4").read(np.arange(24))
            for name in (forward, backward)
        ]
        assert np.array_equal(frames[0], frames[1][::-1])


def test_clips_of_twins_hold_the_same_frames():
    chosen = segment_centres(24, 8)
    assert np.array_equal(chosen, np.sort(23 - chosen))


def test_same_arguments_reuse_and_reproduce(dataset, tmp_path):
    video = next((dataset / "test").glob("*/*.mp4"))
    before = video.stat().st_mtime_ns
    assert generate(dataset, **SMALL) == dataset and video.stat().st_mtime_ns == before
    again = generate(tmp_path / "again", **SMALL)
    assert (again / video.relative_to(dataset)).read_bytes() == video.read_bytes()


def test_other_seed_gives_other_videos():
    frames, _ = render(CLASSES[0], rng(0))
    assert not np.array_equal(frames, render(CLASSES[0], rng(1))[0])


def test_a_broken_off_generation_leaves_nothing(tmp_path, monkeypatch):
    def stop(path, frames):
        raise KeyboardInterrupt

    (tmp_path / "data").mkdir()  # an empty folder may be there
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("gateshift.data.shapes.write_video", stop)
        generate(tmp_path / "data", **SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]
    out = generate(tmp_path / "data", **(SMALL | {"train_per_class": 1}))
    assert json.loads((out / "dataset.json").read_text())["classes"] == list(CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_refusals(dataset, tmp_path):
    with pytest.raises(ConfigError, match="something else"):
        generate(dataset, **(SMALL | {"seed": 1}))
    with pytest.raises(ConfigError, match="even size"):
        generate(tmp_path / "odd", size=33)
    with pytest.raises(ConfigError, match="empty"):
        generate(tmp_path / "none", test_per_class=0)
    with pytest.raises(UnknownName, match="pushing"):
        render("pushing something from left to rihgt", rng(0))
