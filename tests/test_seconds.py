"""Actions by time inside long videos: exact timestamps, lists that say seconds, and refusals."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from coded_videos import Coding, encode, number_of
from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.dataset import action_span, read_frames
from gateshift.data.reader import VideoFile, open_video
from gateshift.data.records import VideoRecord
from gateshift.engine.trial import record_name
from gateshift.errors import DataError, VideoError
from videos import touch, write_frames


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (0, None, (0, 40)),
        (0, 1.6, (0, 40)),
        (0.4, 0.8, (10, 20)),
        (0.41, 0.81, (11, 21)),
        (0.4004, 0.7996, (10, 20)),  # to the millisecond
        (0.41, 0.42, (10, 11)),  # no frame begins then; this one is shown
        (1.59, 1.6, (39, 40)),
        (1.0, 2.5, (25, 40)),  # annotated ends lie a little late
    ],
)
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "avi"), ("libvpx", "webm")])
def test_seconds_are_told_by_the_timestamps(codec, suffix, start, end, span, tmp_path):
    path = encode(Coding(codec, suffix, b_frames=0 if codec == "libvpx" else 2), tmp_path)
    assert VideoFile(path).frames_between(start, end) == span


def test_uneven_frames_are_found_by_their_own_times(tmp_path):
    """Frames that stay for 1, 2 and 3 times 1/24 of a second."""
    path = encode(Coding("libx264", "mkv", rate=Fraction(24), uneven=True, b_frames=2), tmp_path)
    begins, ticks = [], 0
    for number in range(40):
        begins.append(ticks / 24)
        ticks += 1 + number % 3
    video = VideoFile(path)
    for number in (0, 1, 7, 23, 38):
        assert video.frames_between(begins[number], begins[number + 1]) == (number, number + 1)
    assert number_of(video.read([video.frames_between(1.0)[0]])[0]) == next(
        number for number, begin in enumerate(begins) if begin >= 0.999
    )


@pytest.mark.parametrize(
    ("start", "end"), [(1.7, None), (1.7, 1.8), (0.5, 0.5), (0.5, 0.4), (-1, 1), (0, 2.7)]
)
def test_seconds_that_are_not_there_are_refused(start, end, tmp_path):
    video = VideoFile(encode(Coding("libx264", "mp4"), tmp_path))
    with pytest.raises(VideoError, match=r"seconds .* were asked for, and it ends at 1\.600"):
        video.frames_between(start, end)


def test_lists_may_give_seconds(tmp_path):
    for name in ("a", "b"):
        encode(Coding("libx264", "mp4"), tmp_path).rename(tmp_path / f"{name}.mp4")
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text(
            "video,label,start_seconds,end_seconds\na.mp4,open,0.4,0.8\na.mp4,close,1,\nb.mp4,open,,0.5\nb.mp4,close,,\n"
        )
    annotations = read_annotations(tmp_path)
    records = annotations.splits["train"]
    spans = [action_span(open_video(annotations.path(record)), record) for record in records]
    assert spans == [(10, 20), (25, 40), (0, 13), (0, 40)]
    assert [record_name(record) for record in records] == [
        "a.mp4[0.4s:0.8s]",
        "a.mp4[1.0s:]",
        "b.mp4[0.0s:0.5s]",
        "b.mp4",
    ]
    again = read_annotations(write_annotations(replace(annotations, source="again"), tmp_path / "again"))
    assert again.splits["train"] == records
    video = open_video(annotations.path(records[0]))
    frames, positions = read_frames(video, lambda num_frames: torch.arange(num_frames).numpy(), records[0])
    assert [number_of(frames[i]) for i in positions] == list(range(10, 20))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4,open,2,1,", r"train\.csv:2 ends at 1\.0 seconds and begins at 2\.0"),
        ("a.mp4,open,0,0,", "ends at 0"),
        ("a.mp4,open,-1,,", "start_seconds is '-1'"),
        ("a.mp4,open,,inf,", "end_seconds is 'inf'"),
        ("a.mp4,open,1,2,5", "in frames and in seconds"),
    ],
)
def test_rows_that_say_no_time_are_refused(row, message, tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "train.csv").write_text(f"video,label,start_seconds,end_seconds,end_frame\n{row}\n")
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path)


def test_frames_have_no_seconds(tmp_path):
    folder = open_video(write_frames(tmp_path / "a"))
    with pytest.raises(VideoError, match="is given in seconds"):
        action_span(folder, VideoRecord("a", 0, start_seconds=1.0))
