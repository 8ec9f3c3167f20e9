"""Which videos are called one: the same file, a copy, the same scene; and which are not."""

import numpy as np
import pytest
from PIL import Image

import clean_twin
from conftest import shared
from gateshift.data.check import nearest as nearest_module
from gateshift.data.check.alignment import TRIMS, is_copy, mirror, small_frames
from gateshift.data.check.nearest import nearest
from gateshift.data.check.probe import Probe, probe_video
from gateshift.data.check.scan import scan_videos
from gateshift.data.check.similar import find_pairs
from gateshift.data.check.survey import survey
from gateshift.data.reader import open_video
from gateshift.data.shapes import generate


def thumbnails(rng, count):
    """Smooth random pictures, three a video: bytes."""
    small = rng.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    return [video.repeat(4, 1).repeat(4, 2).tobytes() for video in small]


def correlations(a, b, mirrored=False):
    """The same from `np.corrcoef`, pair by pair: by equal times, and of any two frames."""
    a = np.frombuffer(a, np.uint8).reshape(3, 16, 16)
    b = np.frombuffer(b, np.uint8).reshape(3, 16, 16)
    a = a[..., ::-1] if mirrored else a
    every = np.array([[np.corrcoef(x.ravel(), y.ravel())[0, 1] for y in b] for x in a])
    return every.diagonal().mean(), every.mean()


def test_the_nearest_are_those_of_each_pair_compared_alone(monkeypatch):
    monkeypatch.setattr(nearest_module, "BLOCK", 3)
    rng = np.random.default_rng(0)
    a, b = thumbnails(rng, 11), thumbnails(rng, 7)
    found = nearest(a, b, -1, -1)
    copies, scenes = {}, {}
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            plain, scenes[i, j] = correlations(first, second)
            turned, _ = correlations(first, second, mirrored=True)
            copies[i, j] = max(plain, turned), turned > plain
    for expected, pairs in (
        (copies, found.copies),
        ({k: (v, False) for k, v in scenes.items()}, found.scenes),
    ):
        best = {max(((i, j) for j in range(7)), key=lambda pair: expected[pair]) for i in range(11)}
        best |= {max(((i, j) for i in range(11)), key=lambda pair: expected[pair]) for j in range(7)}
        assert {(pair.a, pair.b) for pair in pairs} == best
        for pair in pairs:
            similarity, mirrored = expected[pair.a, pair.b]
            assert pair.similarity == pytest.approx(similarity, abs=1e-5)
            assert pair.mirrored == mirrored
        assert [pair.similarity for pair in pairs] == sorted((p.similarity for p in pairs), reverse=True)


def test_pictures_that_show_nothing_are_like_no_other():
    black, grey = bytes(768), bytes([30]) * 768
    found = nearest([black, grey], [black, grey], 0.01, 0.01)
    assert found == ([], [])


def test_black_bars_do_not_make_pictures_alike():
    rng = np.random.default_rng(0)
    videos = []
    for _ in range(40):
        small = Image.fromarray(rng.integers(160, 240, (5, 5), dtype=np.uint8))
        picture = np.array(small.resize((16, 16), Image.Resampling.BICUBIC))
        picture[:, :4] = picture[:, 12:] = 16
        videos.append(np.stack([picture] * 3).tobytes())
    found = nearest(videos[:20], videos[20:] + videos[:1], 0.75, 0.93)
    assert [(pair.a, pair.b) for pair in found.scenes] == [(0, 20)]


@pytest.fixture
def moving(tmp_path):
    return small_frames(clean_twin.encode(tmp_path / "a.mp4", clean_twin.scene(1, num_frames=60)))


def test_copies_cut_at_either_end_are_copies(moving):
    most = int(TRIMS[-1] * 60)
    for first, last in [
        (0, 60),
        (1, 60),
        (3, 57),
        (most, 60),
        (0, 60 - most),
        (most, 60 - most),
        (4, 60 - most),
    ]:
        assert is_copy(moving[first:last], moving)
        assert is_copy(moving, moving[first:last])
    assert is_copy(moving[::2], moving)
    assert not is_copy(moving[:25], moving[35:])


def test_a_mirror_image_is_a_copy_of_the_mirror_image(moving):
    assert not is_copy(mirror(moving), moving)
    assert is_copy(mirror(mirror(moving)), moving)


def test_time_reversed_is_no_copy(moving):
    assert not is_copy(moving[::-1], moving)


def test_another_take_of_a_scene_is_no_copy(tmp_path):
    takes = [
        small_frames(clean_twin.encode(tmp_path / f"{i}.mp4", clean_twin.scene(1, actor=i, num_frames=60)))
        for i in range(6)
    ]
    assert not any(is_copy(a, b) for i, a in enumerate(takes) for b in takes[:i])


def test_pictures_without_motion_are_copies_where_they_are_equal(moving):
    still = np.repeat(moving[:1], 30, axis=0)
    assert is_copy(still, still)
    assert not is_copy(still, moving)
    assert not is_copy(still, np.repeat(moving[20:21] * 0.5 + moving[:1][:, ::-1], 30, axis=0))


def test_no_frame_or_one_tells_nothing(moving):
    assert not is_copy(moving[:1], moving[:1])
    assert not is_copy(moving[:0], moving)


def pairs_of(root, videos, digests, labels=None):
    """Return pairs of videos whose content is known by digest alone."""
    for split in ("train", "val", "test"):
        listed = [video for video in videos if video.startswith(split)]
        if listed:
            rows = [f"{video},{(labels or {}).get(video, 'ab'[i % 2])}" for i, video in enumerate(listed)]
            (root / f"{split}.csv").write_text("\n".join(["video,label", *rows]) + "\n")
    (root / "dataset.json").write_text('{"classes": ["a", "b"]}')
    probes = {video: Probe(video, 9, 0, digest=digest) for video, digest in zip(videos, digests, strict=True)}
    return [(pair.kind, pair.video, pair.other) for pair in find_pairs(survey(root), probes)]


def test_of_equal_files_the_one_that_is_evaluated_last_stays(tmp_path):
    videos = ["train/1", "train/2", "train/3", "val/1", "val/2", "test/1", "test/2"]
    labels = dict.fromkeys(videos, "a")
    found = pairs_of(tmp_path, videos, ["x", "y", "x", "x", "y", "x", "z"], labels)
    assert sorted(found) == [
        ("duplicate", "train/1", "test/1"),
        ("duplicate", "train/2", "val/2"),
        ("duplicate", "train/3", "test/1"),
        ("duplicate", "val/1", "test/1"),
    ]


def test_equal_files_within_a_split(tmp_path):
    videos = ["train/1", "train/2", "train/3", "train/4", "val/1", "val/2"]
    labels = {"train/1": "a", "train/2": "a", "train/3": "a", "train/4": "b"}
    found = pairs_of(tmp_path, videos, ["x", "x", "y", "y", "z", "w"], labels)
    assert sorted(found) == [
        ("duplicate", "train/3", "train/4"),
        ("duplicate", "train/4", "train/3"),
        ("repeated", "train/2", "train/1"),
    ]


def test_files_without_a_digest_are_not_equal(tmp_path):
    videos = ["train/1", "train/2", "val/1", "val/2"]
    assert pairs_of(tmp_path, videos, ["", "", "", ""]) == []


def scanned_pairs(root, log):
    surveyed = survey(root)
    videos = [record.video for records in surveyed.splits.values() for record in records]
    probes = scan_videos(surveyed.root, videos, fast=True, workers=0, log=log)
    return find_pairs(surveyed, probes)


def test_nothing_is_alike_in_the_generated_dataset(tmp_path):
    """Its videos come as pairs of time reversals, and its pictures are simple."""
    data = generate(tmp_path / "shapes", seed=3, train_per_class=4, val_per_class=2, test_per_class=2)
    assert scanned_pairs(data, tmp_path / "log") == []


@pytest.mark.slow
def test_nothing_is_alike_in_the_split_of_arid6(tmp_path):
    """Its validation videos show other scenes and people."""
    assert scanned_pairs(shared("data/arid6"), tmp_path / "log") == []


@pytest.mark.slow
def test_cameras_in_both_splits_of_fights(tmp_path):
    """A split by file name shares cameras, as looking at the pairs shows; no video is there twice."""
    pairs = scanned_pairs(shared("data/fights"), tmp_path / "log")
    assert {pair.kind for pair in pairs} == {"same-scene"}
    assert len(pairs) == 12


def changes(frames):
    """Copies of a video as they go about."""
    cut = max(1, len(frames) // 20)
    yield frames[:, :, ::-1], {}
    yield np.stack([frame[::2, ::2] for frame in frames])[:, : frames.shape[1] // 4 * 2], {}
    yield frames[cut:-cut], {}
    yield frames[::2], {}
    yield frames, {"options": {"crf": "33"}}
    yield frames, {"codec": "mpeg4", "options": {}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arid6/train", "fights"])
def test_copies_of_real_videos_are_found(tmp_path, name):
    """At least 9 of 10; what is missed is nearly black, or hardly moves: see LOG.md."""
    folder = shared(f"data/{name}")
    videos = sorted(path for path in folder.rglob("*.mp4"))[::9]
    found = total = 0
    for path in videos:
        frames = open_video(path).read(range(open_video(path).num_frames))
        frames = frames[:, : frames.shape[1] // 4 * 4, : frames.shape[2] // 4 * 4]
        thumbs, original = probe_video(path, fast=True).thumbnails, small_frames(path)
        for changed, how in changes(frames):
            copy = clean_twin.encode(tmp_path / "copy.mp4", changed[:, :, : changed.shape[2] // 2 * 2], **how)
            near = nearest([probe_video(copy, fast=True).thumbnails], [thumbs], 0.75, 2).copies
            small = small_frames(copy)
            found += any(is_copy(mirror(small) if pair.mirrored else small, original) for pair in near)
            total += 1
    assert total >= 90
    assert found >= 0.9 * total, f"{found} of {total}"
