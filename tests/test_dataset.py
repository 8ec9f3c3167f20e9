from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gateshift.data.annotations import Annotations, VideoRecord, read_annotations
from gateshift.data.dataset import EvalViews, TrainClips, read_frames, read_views
from gateshift.data.reader import FewerFrames, open_video
from gateshift.data.sampling import segment_centres
from gateshift.data.transforms import EvalTransform, train_transform
from gateshift.errors import DataError, VideoError
from gateshift.spec import InputSpec
from videos import frame_number, write_frames, write_video

SPEC = InputSpec(size=32, resize=40, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Annotations:
    root = tmp_path_factory.mktemp("videos")
    for name in ("turn left", "turn right"):
        for i in range(4):
            write_video(root / name / f"{i}.mp4", 5 + 4 * i)
    return read_annotations(root, val_fraction=0.5)


def train_clips(annotations: Annotations, seed: int = 0) -> TrainClips:
    return TrainClips(annotations, "train", 4, train_transform(SPEC, annotations.swap_indices), seed)


def same(a, b) -> bool:
    return all(torch.equal(x[0], y[0]) and x[1:] == y[1:] for x, y in zip(a, b, strict=True))


def test_item_depends_on_seed_epoch_and_index_alone(annotations):
    clips = train_clips(annotations)
    first = [clips[i] for i in range(len(clips))]
    assert first[0][0].shape == (1, 4, 3, 32, 32)
    assert first[0][0].dtype == torch.uint8
    assert {item[2] for item in first} <= {False, True}  # whether it is mirrored
    torch.manual_seed(7)
    np.random.seed(7)
    again = train_clips(annotations)
    assert same(first, [again[i] for i in reversed(range(4))][::-1])
    assert not same(first, [train_clips(annotations, seed=1)[i] for i in range(4)])
    again.set_epoch(1)
    assert not same(first, [again[i] for i in range(4)])
    again.set_epoch(0)
    assert same(first, [again[i] for i in range(4)])


def test_labels_swap_with_the_mirror_image(annotations):
    clips = train_clips(annotations)
    for epoch in range(8):
        clips.set_epoch(epoch)
        for i, record in enumerate(clips.records):
            frames, label, _ = clips[i]
            columns = frames[0, 0, 0].float().mean(0)
            if columns[:4].mean() > columns[-4:].mean() + 20:  # the white block is still at the left
                assert label == record.label
            elif columns[-4:].mean() > columns[:4].mean() + 20:
                assert label == 1 - record.label


def test_workers_that_live_on_see_the_epoch(annotations):
    clips = train_clips(annotations)
    loader = DataLoader(
        clips, batch_size=2, num_workers=1, persistent_workers=True, multiprocessing_context="spawn"
    )
    for epoch in (0, 3):
        clips.set_epoch(epoch)
        found = torch.cat([batch[0] for batch in loader])
        assert torch.equal(found, torch.stack([clips[i][0] for i in range(4)]))


def test_views_are_those_of_the_transform(annotations):
    views = EvalViews(annotations, "val", 4, SPEC, num_clips=2, num_crops=10)
    assert views.flipped == ((False,) * 5 + (True,) * 5) * 2
    item, label, index = views[1]
    assert item.shape == (20, 4, 3, 32, 32)
    assert (label, index) == (views.records[1].label, 1)
    assert torch.equal(item, views[1][0])
    path = annotations.path(views.records[1])
    assert torch.equal(item, read_views(path, 4, SPEC, 2, 10))
    # the second clip of two is the one clip of one; its fifth crop the one crop of one
    assert torch.equal(item[14], read_views(path, 4, SPEC)[0])
    video = open_video(path)
    frames = torch.from_numpy(video.read(segment_centres(video.num_frames, 4))).permute(0, 3, 1, 2)
    assert torch.equal(item[14:15], EvalTransform(SPEC)(frames))


def test_views_of_given_records(annotations):
    records = annotations.splits["val"][:1]
    views = EvalViews(annotations, records, 4, SPEC)
    assert (len(views), views.records) == (1, records)
    with pytest.raises(DataError, match="no split 'test'"):
        EvalViews(annotations, "test", 4, SPEC)


def read_numbers(path: Path, record: VideoRecord | None, indices: list[int]) -> list[int]:
    frames, positions = read_frames(
        open_video(path), lambda num_frames: np.array(indices) % num_frames, record
    )
    return [frame_number(frames[i]) for i in positions]


@pytest.mark.parametrize("kind", ["video", "frames"])
def test_only_the_action_is_read(tmp_path, kind):
    path = write_video(tmp_path / "a.mp4") if kind == "video" else write_frames(tmp_path / "a")
    assert read_numbers(path, None, [0, 11, 12, 0]) == [0, 11, 0, 0]
    assert read_numbers(path, VideoRecord("a", 0), [0, -1]) == [0, 11]
    assert read_numbers(path, VideoRecord("a", 0, start_frame=3, end_frame=8), [0, 4, -1]) == [3, 7, 7]
    assert read_numbers(path, VideoRecord("a", 0, start_frame=3), [0, -1]) == [3, 11]
    with pytest.raises(VideoError, match="a"):
        read_numbers(path, VideoRecord("a", 0, start_frame=3, end_frame=14), [0, -1])
    with pytest.raises(VideoError, match="frames 20 to 12 of"):
        read_numbers(path, VideoRecord("a", 0, start_frame=20), [0, -1])


def test_list_may_use_fewer_frames_than_a_folder_has_and_not_more(tmp_path):
    path = write_frames(tmp_path / "a")
    assert read_numbers(path, VideoRecord("a", 0, num_frames=10), [-1]) == [9]
    with pytest.raises(VideoError, match=r"frame 12 of .*00013\.jpg"):
        read_numbers(path, VideoRecord("a", 0, num_frames=13), [0, -1])


def test_frames_that_packets_promise_in_vain(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    video = open_video(path)
    video.num_frames = 14  # as if two packets showed nothing
    frames, positions = read_frames(video, lambda num_frames: np.array([0, num_frames - 1]))
    assert [frame_number(frame) for frame in frames] == [0, 11]
    assert positions.tolist() == [0, 1]
    with pytest.raises(FewerFrames, match="frame 20 of"):
        read_frames(open_video(path), lambda num_frames: np.array([20]))


def test_short_videos_repeat_frames(tmp_path):
    path = write_video(tmp_path / "one.mp4", 1)
    views = read_views(path, 8, SPEC, num_clips=3, num_crops=3)
    assert views.shape == (9, 8, 3, 32, 32)
    assert torch.equal(views[0, 0], views[0, 7])


def test_unreadable_video_is_named(annotations, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"x" * 100)
    bad = Annotations(
        root=tmp_path,
        classes=("a", "b"),
        label_swaps=(),
        frame_template=None,
        source="",
        splits={"train": (VideoRecord("bad.mp4", 0), VideoRecord("missing.mp4", 1))},
    )
    for item, message in ((0, "bad.mp4"), (1, "missing.mp4")):
        with pytest.raises(VideoError, match=message):
            train_clips(bad)[item]
        with pytest.raises(VideoError, match=message):
            EvalViews(bad, "train", 4, SPEC)[item]
