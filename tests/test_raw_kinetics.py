"""Kinetics as it is published: CSV lists of clips, under any name and in any layout."""

import pytest

from conftest import shared
from gateshift.apps.prepare import prepare
from gateshift.data.annotations import read_annotations
from gateshift.data.raw.kinetics import kinetics_reader
from gateshift.data.raw.records import Choices
from gateshift.errors import ConfigError, DataError
from videos import touch

read_kinetics_400 = kinetics_reader("kinetics-400")
TRAIN = """label,youtube_id,time_start,time_end,split
testifying,---QUuC4vJs,84,94,train
"air drumming",_dbcJuKJQNs,40.0,50.0,train
"massaging person's head",03SCqxmGqVU,8,18,train
"""
VAL = """label,youtube_id,time_start,time_end,split,is_cc
"air drumming",3caPS4FHFF8,0,10,validate,0
testifying,-xy0CzRfMoA,123,133,val,1
"""
TEST = """youtube_id,time_start,time_end,split
--0l35AkU68,65,75,test
"""
NAMES = ("---QUuC4vJs_000084_000094", "_dbcJuKJQNs_000040_000050", "03SCqxmGqVU_000008_000018")


def write(root, train=TRAIN, val=VAL, test=None):
    (root / "kinetics400").mkdir(parents=True, exist_ok=True)
    for name, text in (("train.csv", train), ("validate.csv", val), ("test.csv", test)):
        if text:
            (root / "kinetics400" / name).write_text(text, newline="")
    return root


def read(root):
    return read_kinetics_400(root, Choices())


def test_lists_under_any_name_become_clips(tmp_path):
    raw = read(write(tmp_path, test=TEST))
    assert raw.name == "kinetics-400"
    assert raw.classes == ("air drumming", "massaging person's head", "testifying")
    assert tuple(video.video for video in raw.splits["train"]) == NAMES
    assert [video.video for video in raw.splits["val"]] == [
        "3caPS4FHFF8_000000_000010",
        "-xy0CzRfMoA_000123_000133",
    ]
    assert [(video.video, video.label) for video in raw.unlabelled["test"]] == [
        ("--0l35AkU68_000065_000075", None)
    ]


@pytest.mark.parametrize(
    "layout",
    [
        "{split}/{label}/{name}.mp4",
        "{split}/{underscored}/{name}.mp4",
        "{label}/{name}.mkv",
        "{name}.webm",
        "videos/compressed/{split}_256/{name}.mp4",
    ],
)
def test_clips_are_found_in_any_layout(tmp_path, layout):
    root = write(tmp_path / "in")
    raw = read(root)
    for split, videos in raw.splits.items():
        for video in videos:
            label = str(video.label)
            underscored = label.replace(" ", "_").replace("'", "")
            touch(root / layout.format(split=split, label=label, underscored=underscored, name=video.video))
    answer = prepare("kinetics-400", root, out=tmp_path / "out")
    assert answer["missing"] == []
    assert {split: counts["found"] for split, counts in answer["splits"].items()} == {"train": 3, "val": 2}
    records = read_annotations(tmp_path / "out").split("train")
    assert [record.label for record in records] == [2, 0, 1]
    assert "---QUuC4vJs_000084_000094" in records[0].video


def test_a_clip_that_is_not_there_is_named(tmp_path):
    root = write(tmp_path / "in")
    touch(*(root / "train" / f"{name}.mp4" for name in NAMES[:2]))
    answer = prepare("kinetics-400", root, out=tmp_path / "out")
    assert answer["complete"] is False
    assert answer["missing"] == [NAMES[2], "3caPS4FHFF8_000000_000010", "-xy0CzRfMoA_000123_000133"]


def test_fewer_classes_than_published_are_a_problem_and_no_refusal(tmp_path):
    root = write(tmp_path / "in")
    raw = read(root)
    touch(*(root / f"{video.video}.mp4" for videos in raw.splits.values() for video in videos))
    answer = prepare("kinetics-400", root, out=tmp_path / "out")
    assert answer["complete"] is False
    assert answer["problems"][0]["kind"] == "too-few-classes"
    assert "3 of the 400 classes" in answer["problems"][0]["detail"]


def test_windows_line_ends_are_remarked_on(tmp_path):
    raw = read(write(tmp_path, train=TRAIN.replace("\n", "\r\n")))
    assert [video.label for video in raw.splits["train"]][2] == "massaging person's head"
    assert "train.csv has Windows line ends (CRLF); they were read all the same." in raw.notes


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (TRAIN[:-13], "train.csv:4 has 2 columns and the header 5"),
        (TRAIN[:-38], "train.csv:4 is no whole row"),
        (TRAIN[:-3], "train.csv:4: split is 'tra'. Expected one of train, validate"),
    ],
)
def test_a_list_cut_short_is_refused_by_line(tmp_path, cut, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, train=cut))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("testifying,abc,94,84,train", "train.csv:5: the clip goes from second 94 to 84"),
        ("testifying,abc,soon,84,train", "train.csv:5: time_start is 'soon'"),
        ("testifying,,1,2,train", "train.csv:5 has no youtube_id"),
        (",abc,1,2,train", "train.csv:5 has no label"),
        ("yodelling,---QUuC4vJs,84,94,train", "train.csv:5: '---QUuC4vJs_000084_000094' has the label 'yod"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_by_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, train=f"{TRAIN}{row}\n"))


def test_a_label_that_training_does_not_know_is_refused_by_line(tmp_path):
    val = VAL.replace("testifying", "testifyng")
    with pytest.raises(
        DataError, match="validate.csv:3: no row of the training list has the label 'testifyng'"
    ):
        read(write(tmp_path, val=val))


def test_a_clip_that_is_listed_again_is_taken_once(tmp_path):
    raw = read(write(tmp_path, train=TRAIN + TRAIN.splitlines()[1] + "\n"))
    assert len(raw.splits["train"]) == 3
    assert any("train.csv:5: '---QUuC4vJs_000084_000094' is listed again" in note for note in raw.notes)


def test_without_a_column_the_files_name_tells_the_split(tmp_path):
    def without_split(text):
        return "".join(line.rsplit(",", 1)[0] + "\n" for line in text.splitlines())

    (tmp_path / "kinetics_400_train.csv").write_text(without_split(TRAIN))
    assert list(read(tmp_path).splits) == ["train"]
    (tmp_path / "kinetics_400_train.csv").rename(tmp_path / "clips.csv")
    with pytest.raises(DataError, match="clips.csv' has no column 'split'"):
        read(tmp_path)


def test_another_edition_is_told_by_its_name(tmp_path):
    (tmp_path / "kinetics-600_val.csv").write_text(VAL)
    with pytest.raises(DataError, match="is of kinetics-600 by its name, and kinetics-400 was asked for"):
        read(tmp_path)
    write(tmp_path)
    assert {file.parent.name for file in read(tmp_path).files} == {"kinetics400"}


def test_other_csv_files_are_no_clip_lists(tmp_path):
    (tmp_path / "notes.csv").write_text("video,label\na.mp4,b\n")
    with pytest.raises(DataError, match="no CSV file with the header 'label,youtube_id"):
        read(tmp_path)


def test_choices_of_other_datasets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no choice of labels"):
        read_kinetics_400(write(tmp_path), Choices(labels="v1"))


def test_a_published_list(tmp_path):
    folder = shared("data/annotations/kinetics")
    raw = kinetics_reader("kinetics-600")(folder, Choices())
    assert len(raw.splits["val"]) == 1499
    assert raw.splits["val"][0].video == "yq_M1PMw2hY_000038_000048"
    assert raw.classes[0] == "abseiling"
    assert any("There is no training list" in note for note in raw.notes)
