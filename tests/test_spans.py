"""Parts of long videos: by time in a file, by number among frames, and never beyond what is there."""

import pytest

import gateshift
from gateshift.data.annotations import read_annotations
from gateshift.data.prepare import RAW
from gateshift.data.raw.records import RawDataset, RawVideo
from gateshift.data.raw.spans import Span, Timing, in_frames, read_timing, within
from gateshift.errors import VideoError
from videos import touch, write_video


@pytest.mark.parametrize(
    ("start", "end", "num_frames", "span"),
    [
        (0, None, 10, Span(0, None, None)),
        (3, 10, 10, Span(3, 10, 10)),
        (3, 12, 10, Span(3, 10, 12)),
        (3, 70, 10, Span(3, 10, 70)),
        (3, 70, None, Span(3, 70, 70)),
    ],
)
def test_a_part_ends_where_the_video_does(start, end, num_frames, span):
    assert within(start, end, num_frames, 60) == span


@pytest.mark.parametrize(("start", "end"), [(3, 71), (10, 11), (10, None)])
def test_a_part_that_is_not_there_is_refused(start, end):
    with pytest.raises(VideoError, match="there are 10"):
        within(start, end, 10, 60)


def test_times_become_frames_by_the_rate():
    video = RawVideo("P01", "open", "a.csv:2", 90, 180, start_seconds=1.5, end_seconds=3.0)
    assert in_frames(video, Timing(25.0, 100)) == Span(38, 75, 75)
    short = RawVideo("P01", "open", "a.csv:2", start_seconds=1.0, end_seconds=1.001)
    assert in_frames(short, Timing(25.0, 100)) == Span(25, 26, 26)


def test_timing_of_a_file(tmp_path):
    assert read_timing(write_video(tmp_path / "-a.mp4", 12)) == Timing(25.0, 12)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="b.mp4' cannot be opened"):
        read_timing(tmp_path / "b.mp4")


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepare three parts of P01 and one of P02, by number (60 a second) and by time."""

    def part(number, name, start, end):
        return RawVideo(name, "open", f"list.csv:{number}", start, end, start / 60, end / 60)

    train = part(2, "P01", 0, 60), part(3, "P01", 60, 126), part(4, "P01", 600, 660)
    splits = {"train": train, "val": (part(5, "P02", 0, 6),)}
    raw = RawDataset(
        "kitchen", ("close", "open"), (), splits, {}, {}, (), frame_template="{:010d}.jpg", first_frame=1
    )
    monkeypatch.setitem(RAW, "kitchen", lambda root, choices: raw)
    return lambda: gateshift.prepare("kitchen", tmp_path, out=tmp_path / "out")


def listed(tmp_path, split):
    records = read_annotations(tmp_path / "out").splits[split]
    return [(record.video, record.num_frames, record.start_frame, record.end_frame) for record in records]


def test_parts_of_a_file_are_found_by_time(tmp_path, prepare):
    write_video(tmp_path / "P01.mp4", 50)  # two seconds
    write_video(tmp_path / "P02.mp4", 5)
    answer = prepare()
    assert listed(tmp_path, "train") == [("P01.mp4", None, 0, 25), ("P01.mp4", None, 25, 50)]
    assert listed(tmp_path, "val") == [("P02.mp4", None, 0, 2)]
    details = {problem["kind"]: (problem["where"], problem["detail"]) for problem in answer["problems"]}
    assert details == {
        "missing-frame": ("list.csv:4", "of 'P01', frames 250 to 274 are annotated, and there are 50"),
        "late-end": ("list.csv:3", "'P01' ends at frame 50, and 52 is annotated"),
    }
    assert answer["splits"]["train"] == {"annotated": 3, "published": None, "found": 2, "missing": 1}


def test_parts_of_a_frame_folder_are_found_by_number(tmp_path, prepare):
    for name, length in (("P01", 120), ("P02", 6)):
        touch(*(tmp_path / "frames" / name / f"{i:010d}.jpg" for i in range(1, length + 1)))
    prepare()
    assert listed(tmp_path, "train") == [("P01", 120, 0, 60), ("P01", 120, 60, 120)]
    assert listed(tmp_path, "val") == [("P02", 6, 0, None)]  # all of it
    assert not (tmp_path / "out" / "train_videofolder.txt").exists()
    assert (tmp_path / "out" / "val_videofolder.txt").read_text() == "P02 6 1\n"


def test_a_file_that_cannot_be_opened_is_named(tmp_path, prepare):
    write_video(tmp_path / "P01.mp4", 50)
    touch(tmp_path / "P02.mp4")
    answer = prepare()
    assert ["unreadable-video", str(tmp_path / "P02.mp4")] in [
        [p["kind"], p["where"]] for p in answer["problems"]
    ]
    assert answer["splits"]["val"]["missing"] == 1
