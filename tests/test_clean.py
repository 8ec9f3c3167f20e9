"""Clean lists: what is left out, and why."""

import csv
from pathlib import Path

import pytest

from gateshift.data.annotations import read_annotations
from gateshift.data.check.clean import clean_annotations, write_clean
from gateshift.data.check.findings import Finding
from gateshift.data.records import Annotations, VideoRecord
from gateshift.errors import DataError

CLASSES = ("down", "left", "right", "up")


def annotations(root: Path, **splits: list[tuple[str, int]]) -> Annotations:
    return Annotations(
        root=root,
        classes=CLASSES,
        label_swaps=(("left", "right"),),
        frame_template=None,
        source="a test",
        splits={split: tuple(VideoRecord(*row) for row in rows) for split, rows in splits.items()},
    )


def finding(video: str, kind: str = "broken-off") -> Finding:
    return Finding(video, kind, f"'{video}' is at fault.", "Leave it out.")


def everything(root: Path) -> Annotations:
    train = [(f"{name}/{i}.mp4", label) for label, name in enumerate(CLASSES) for i in range(3)]
    val = [(f"{name}/9.mp4", label) for label, name in enumerate(CLASSES)]
    return annotations(root, train=train, val=val)


def test_nothing_found_leaves_everything(tmp_path):
    before = everything(tmp_path)
    assert clean_annotations(before, []) == (before, [])


def test_videos_with_errors_and_leaks_go_and_other_warnings_stay(tmp_path):
    found = [
        finding("up/0.mp4"),
        finding("left/9.mp4", "not-a-video"),
        finding("down/1.mp4", "near-duplicate"),
        finding("down/2.mp4", "same-scene"),
        finding("right/0.mp4", "few-frames"),
        finding("", "imbalance"),
        finding("train.csv:7", "label-range"),
    ]
    clean, left_out = clean_annotations(everything(tmp_path), found)
    assert [(left.split, left.video, left.label, left.kind) for left in left_out] == [
        ("val", "left/9.mp4", "left", "not-a-video"),
        ("train", "down/1.mp4", "down", "near-duplicate"),
        ("train", "up/0.mp4", "up", "broken-off"),
        ("", "train.csv:7", "", "label-range"),
    ]
    assert len(clean.splits["train"]) == 10 and len(clean.splits["val"]) == 3
    assert list(clean.splits) == ["train", "val"]


def test_a_video_that_is_listed_twice_stays_once_where_it_is_evaluated(tmp_path):
    before = annotations(tmp_path, train=[("a", 0), ("b", 1), ("b", 1), ("c", 1)], val=[("c", 1), ("d", 0)])
    clean, left_out = clean_annotations(before, [])
    assert [record.video for record in clean.splits["train"]] == ["a", "b"]
    assert [record.video for record in clean.splits["val"]] == ["c", "d"]
    assert {(left.split, left.video, left.kind) for left in left_out} == {
        ("train", "b", "listed-twice"),
        ("train", "c", "listed-twice"),
    }


def test_parts_of_one_video_are_not_the_same_twice(tmp_path):
    parts = tuple(VideoRecord("long", i % 2, None, 10 * i, 10 * i + 10) for i in range(4))
    before = annotations(tmp_path, train=[], val=[])
    before = Annotations(
        **vars(before) | {"classes": ("a", "b"), "label_swaps": (), "splits": {"train": parts}}
    )
    assert clean_annotations(before, [])[0].splits["train"] == parts


def test_classes_that_training_no_longer_sees_go(tmp_path):
    found = [finding(f"left/{i}.mp4") for i in range(3)]
    clean, left_out = clean_annotations(everything(tmp_path), found)
    assert clean.classes == ("down", "right", "up")
    assert clean.label_swaps == ()
    assert {record.video.split("/")[0]: record.label for record in clean.splits["train"]} == {
        "down": 0,
        "right": 1,
        "up": 2,
    }
    assert ("val", "left/9.mp4", "val-only-class") in {(x.split, x.video, x.kind) for x in left_out}


def test_too_little_left_is_refused_and_nothing_is_written(tmp_path):
    found = [finding(record.video) for record in everything(tmp_path).splits["train"]]
    with pytest.raises(DataError, match="with training videos is 0"):
        write_clean(everything(tmp_path), found, tmp_path / "clean")
    assert not (tmp_path / "clean").exists()


def test_written_lists_are_read_back_and_written_again(tmp_path):
    before, out = everything(tmp_path), tmp_path / "clean"
    assert write_clean(before, [finding("up/0.mp4")], out) == (15, 1)
    assert write_clean(before, [finding("up/0.mp4"), finding("up/1.mp4")], out) == (14, 2)
    again = read_annotations(out)
    assert (again.root.resolve(), again.classes, again.label_swaps) == (
        tmp_path.resolve(),
        CLASSES,
        before.label_swaps,
    )
    assert len(again.splits["train"]) == 10
    rows = list(csv.DictReader((out / "left_out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["video"] for row in rows] == ["up/0.mp4", "up/1.mp4"]
    assert rows[0]["kind"] == "broken-off" and rows[0]["detail"] == "'up/0.mp4' is at fault."


def test_other_folders_are_not_written_over(tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.csv").write_text("video,label\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds something else"):
        write_clean(everything(tmp_path), [], lists)
    assert (lists / "train.csv").read_text(encoding="utf-8") == "video,label\n"
