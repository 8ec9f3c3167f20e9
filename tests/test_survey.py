"""What a survey says of lists, labels and classes, beside the planted defects of test_defects.py."""

import json

import pytest

from conftest import shared
from gateshift.data.annotations import VideoRecord, read_annotations
from gateshift.data.check.labels import span_findings
from gateshift.data.check.probe import Probe
from gateshift.data.check.survey import survey
from gateshift.errors import DataError
from videos import touch


def write_lists(folder, classes=("a", "b"), **splits):
    """Write lists from rows as text: video,label and more."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        (folder / f"{split}.csv").write_text("\n".join(["video,label", *rows]) + "\n")
    if classes:
        (folder / "dataset.json").write_text(json.dumps({"classes": classes}))
    return folder


def rows(label, count, start=0):
    return [f"{label}/{i}.mp4,{label}" for i in range(start, start + count)]


def kinds(data):
    return [(finding.video, finding.kind) for finding in survey(data).findings]


def details(data):
    return "\n".join(f"{finding.detail} {finding.fix}" for finding in survey(data).findings)


@pytest.mark.parametrize("splits", [("train", "val"), ("train",), ("test",), ("train", "test")])
def test_a_dataset_without_faults_is_read_as_training_reads_it(tmp_path, splits):
    listed = write_lists(
        tmp_path / "lists",
        **{split: rows("a", 6, 10 * i) + rows("b", 6, 10 * i) for i, split in enumerate(splits)},
    )
    touch(
        *(
            tmp_path / "folders" / split / name / f"{i}_{j}.mp4"
            for i, split in enumerate(splits)
            for name in ("turn left", "turn right")
            for j in range(6)
        )
    )
    for data in (listed, tmp_path / "folders"):
        surveyed, annotations = survey(data), read_annotations(data)
        assert surveyed.findings == ()
        assert surveyed.annotations == annotations
        assert dict(surveyed.splits) == dict(annotations.splits)
        assert list(surveyed.splits) == list(annotations.splits)
        assert (surveyed.root, surveyed.classes) == (annotations.root, annotations.classes)
        assert surveyed.label_swaps == annotations.label_swaps


def test_class_folders_without_splits_are_split_alike(tmp_path):
    touch(*(tmp_path / name / f"cam{i}_{j}.mp4" for name in "ab" for i in range(5) for j in range(3)))
    surveyed = survey(tmp_path)
    assert surveyed.findings == ()
    assert surveyed.splits == read_annotations(tmp_path).splits
    assert set(surveyed.splits) == {"train", "val"}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no folder '.*none'"):
        survey(tmp_path / "none")


def test_all_rows_that_cannot_be_used_are_named_at_once(tmp_path):
    bad = ["x.mp4", "y.mp4,c", ",a", "z.mp4,7", "z.mp4,"]
    data = write_lists(
        tmp_path, train=[*rows("a", 4), *bad, *rows("b", 4)], val=[*rows("a", 2, 5), *rows("b", 2, 5)]
    )
    expected = {("train.csv:6", "bad-row"), ("train.csv:8", "bad-row"), ("train.csv:10", "bad-row")}
    expected |= {("train.csv:7", "label-range"), ("train.csv:9", "label-range")}
    assert set(kinds(data)) == expected
    surveyed = survey(data)
    assert surveyed.annotations is None
    assert len(surveyed.splits["train"]) == 8
    assert str(tmp_path) not in details(data)
    assert "train.csv:9: label 7 is outside 0..1 (2 classes). Correct it, or the classes." in details(data)


def test_a_list_that_is_none_leaves_the_others(tmp_path):
    data = write_lists(tmp_path, train=rows("a", 4) + rows("b", 4))
    (data / "val.csv").write_text("path;class\na;b\n")
    assert kinds(data) == [("", "unusable")]
    assert "'val.csv' begins with 'path;class'" in details(data)
    assert set(survey(data).splits) == {"train", "val"}


def test_labels_that_start_at_1_are_read_as_they_are_meant(tmp_path):
    listed = {split: [f"{split}{i}.mp4,{1 + i % 3}" for i in range(12)] for split in ("train", "val")}
    surveyed = survey(write_lists(tmp_path / "named", ("a", "b", "c"), **listed))
    assert [finding.kind for finding in surveyed.findings] == ["labels-from-1"] * 2
    assert [record.label for record in surveyed.splits["train"]] == [0, 1, 2] * 4
    surveyed = survey(write_lists(tmp_path / "nameless", None, **listed))
    assert [finding.kind for finding in surveyed.findings] == ["labels-from-1"] * 2
    assert surveyed.classes == ("1", "2", "3")
    assert [record.label for record in surveyed.splits["val"]] == [0, 1, 2] * 4
    assert survey(write_lists(tmp_path / "so named", ("1", "2", "3"), **listed)).findings == ()


def test_a_name_that_is_a_number_is_a_name(tmp_path):
    data = write_lists(
        tmp_path, None, train=rows("1", 4) + rows("jump", 4), val=rows("1", 2, 5) + rows("jump", 2, 5)
    )
    assert kinds(data) == []
    assert survey(data).classes == ("1", "jump")


def test_released_lists_whose_labels_start_at_1(tmp_path):
    for split in ("train", "val"):
        (tmp_path / f"{split}_videofolder.txt").write_text(
            "".join(f"{split}/{i} 40 {1 + i % 4}\n" for i in range(16))
        )
    assert kinds(tmp_path) == [
        ("train_videofolder.txt", "labels-from-1"),
        ("val_videofolder.txt", "labels-from-1"),
    ]


def test_class_folders_that_training_refuses_are_surveyed(tmp_path):
    touch(*(tmp_path / "train" / name / f"{i}.mp4" for name in "ab" for i in range(3)))
    touch(*(tmp_path / "val" / name / f"{i}.mp4" for name in "abc" for i in range(3)))
    (tmp_path / "train" / "d").mkdir()
    found = kinds(tmp_path)
    assert set(found) == {("", "val-only-class"), ("", "empty-class"), ("", "unusable")}
    assert survey(tmp_path).classes == ("a", "b", "c", "d")


def test_two_folders_for_one_split_are_one_finding(tmp_path):
    touch(*(tmp_path / split / name / "1.mp4" for split in ("train", "val", "validation") for name in "ab"))
    assert kinds(tmp_path) == [("", "unusable")]
    assert survey(tmp_path).splits == {}


def test_a_description_that_names_other_classes_than_the_folders(tmp_path):
    touch(*(tmp_path / name / f"{i}.mp4" for name in "ab" for i in range(5)))
    (tmp_path / "dataset.json").write_text('{"classes": ["b", "c"]}')
    assert set(kinds(tmp_path)) == {("", "empty-class"), ("", "unusable")}
    assert survey(tmp_path).classes == ("b", "c", "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "'dataset.json' is not JSON"),
        ("[]", "'dataset.json' holds no object"),
        ('{"root": "gone"}', "gone', which 'root' in dataset.json names"),
        ('{"frame_template": "x.jpg"}', "does not number the frames"),
        ('{"classes": "ab"}', "'classes' in 'dataset.json' is \"ab\""),
    ],
)
def test_faults_of_a_description(tmp_path, text, said):
    data = write_lists(tmp_path, None, train=rows("a", 4) + rows("b", 4))
    (data / "dataset.json").write_text(text)
    assert kinds(data) == [("", "bad-description")]
    assert said in details(data)


def test_every_fault_of_a_description_is_named(tmp_path):
    data = write_lists(tmp_path, train=rows("a", 4) + rows("b", 4))
    (data / "dataset.json").write_text('{"classes": 3, "rooot": ".", "flow": ["x"]}')
    assert kinds(data) == [("", "bad-description")] * 3


@pytest.mark.parametrize(("count", "found"), [(19, []), (20, [("", "imbalance")])])
def test_ten_times_the_videos_are_imbalance(tmp_path, count, found):
    assert kinds(write_lists(tmp_path, train=rows("a", 2) + rows("b", count), val=rows("a", 1, 90))) == found


def test_names_in_two_spellings(tmp_path):
    data = write_lists(
        tmp_path, None, train=[f"{name}{i}.mp4,{name}" for i in range(3) for name in ("Jump ", "jump", "run")]
    )
    assert kinds(data) == [("", "case-names")]
    assert "the classes 'Jump ', 'jump' differ" in details(data)


def test_actions_of_one_video(tmp_path):
    data = write_lists(tmp_path, train=rows("a", 4) + rows("b", 4), val=rows("a", 2, 5) + rows("b", 2, 5))
    text = "video,label,start_frame,end_frame\n"
    for name, label, start, end in [
        *(
            ("a", "a", 0, 10),
            ("b", "b", 0, 10),
            ("long", "a", 0, 10),
            ("long", "b", 5, 15),
            ("long", "a", 20, 30),
        ),
        *(("long", "b", 20, 30), ("./long", "b", 5, 15), ("shared", "a", 0, 50), ("apart", "a", 0, 50)),
    ]:
        text += f"{name}.mp4,{label},{start},{end}\n"
    (data / "train.csv").write_text(text)
    text = "video,label,start_frame,end_frame\nshared.mp4,b,40,60\napart.mp4,b,50,60\n"
    (data / "val.csv").write_text(
        text + "\n".join(f"{row},0,9" for row in rows("a", 2, 5) + rows("b", 2, 5)) + "\n"
    )
    found = {(finding.video, finding.kind): finding.detail for finding in survey(data).findings}
    assert set(found) == {
        ("long.mp4", "two-labels"),
        ("train.csv:8", "listed-twice"),
        ("train.csv:9", "duplicate"),
        ("apart.mp4", "same-scene"),
    }
    assert found["long.mp4", "two-labels"] == (
        "'long.mp4' has 2 labels: 'a' in train.csv:6 and 'b' in train.csv:7."
    )


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (VideoRecord("v.mp4", 0), None),
        (VideoRecord("v.mp4", 0, num_frames=99), None),  # reading counts the frames of a file itself
        (VideoRecord("v.mp4", 0, start_frame=2, end_frame=20), None),
        (VideoRecord("v.mp4", 0, start_frame=2, end_frame=21), "bad-span"),
        (VideoRecord("v.mp4", 0, start_frame=20), "bad-span"),
        (VideoRecord("v.mp4", 0, start_seconds=0.1, end_seconds=1.5), None),
        (VideoRecord("v.mp4", 0, start_seconds=0.1, end_seconds=2.5), "bad-span"),
        (VideoRecord("v.mp4", 0, start_seconds=0.9), "bad-span"),
        (VideoRecord("folder", 0, num_frames=20), None),
        (VideoRecord("folder", 0, num_frames=21), "bad-span"),
        (VideoRecord("folder", 0, num_frames=19), "frame-count"),
        (VideoRecord("folder", 0, start_seconds=0.0), "bad-span"),
        (VideoRecord("unreadable.mp4", 0, end_frame=99), None),
        (VideoRecord("unknown.mp4", 0, end_frame=99), None),
    ],
)
def test_spans_against_what_the_videos_hold(record, kind):
    probes = {
        "v.mp4": Probe("v.mp4", 1, 1, container="mov", num_frames=20, duration=0.8),
        "folder": Probe("folder", 1, 1, num_frames=20),
        "unreadable.mp4": Probe("unreadable.mp4", 1, 1, container="mov"),
    }
    assert [finding.kind for finding in span_findings({"train": [record]}, probes)] == [kind] * bool(kind)


@pytest.mark.parametrize("name", ["arid6", "fights"])
def test_real_class_folders_have_no_fault(name):
    assert survey(shared(f"data/{name}")).findings == ()
