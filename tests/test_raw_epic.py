"""EPIC-KITCHENS as it is downloaded: segments of long videos, by frames or by times."""

import numpy as np
import pytest

from conftest import shared
from gateshift.apps.prepare import prepare
from gateshift.data.annotations import read_annotations
from gateshift.data.dataset import action_span, read_frames
from gateshift.data.raw.epic_kitchens import read_epic_kitchens_55, read_epic_kitchens_100
from gateshift.data.raw.records import Choices
from gateshift.data.reader import open_video
from gateshift.data.splitting import grouped_split
from gateshift.engine.test import record_name
from gateshift.errors import ConfigError, DataError
from videos import frame_number, write_frames, write_video

HEADER_55 = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
TRAIN_55 = (
    HEADER_55
    + """0,P01,P01_01,open door,00:00:00.14,00:00:00.40,8,12,open,2,door,8,['door'],[8]
1,P01,P01_01,take pan,00:00:00.40,00:00:00.60,13,16,take,0,pan,1,"['pan', 'lid']","[1, 9]"
2,P26,P26_02,take door,00:00:00.00,00:00:00.32,1,8,grab,0,door,8,['door'],[8]
"""
)
TEST_55 = (
    "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
    "1924,P01,P01_11,00:00:00.00,00:00:01.89,1,113\n"
)
HEADER_100 = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,"
    "stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
TRAIN_100 = (
    HEADER_100
    + "P01_01_0,P01,P01_01,00:00:00.56,00:00:00.00,00:00:00.5,1,10,take plate,take,0,plate,2,['plate'],[2]\n"
)
VAL_100 = (
    HEADER_100
    + "P37_101_0,P37,P37_101,00:00:00.1,00:00:00.1,00:00:00.5,2,10,cut,cut,5,plate,2,['plate'],[2]\n"
)
FILES_55 = {"EPIC_train_action_labels.csv": TRAIN_55, "EPIC_test_s1_timestamps.csv": TEST_55}
FILES_100 = {"EPIC_100_train.csv": TRAIN_100, "EPIC_100_validation.csv": VAL_100}


def classes(header, kind, count, end="\r\n"):
    """A class file as published: Windows line ends, quoted lists, and no end of the last line."""
    key = header.split(",")[1]
    rows = [f"{i},{kind}:{i},\"['{kind}:{i}', 'other']\"" for i in range(count)]
    return end.join([header, *(row + ",group" if key == "key" else row for row in rows)])


CLASSES_55 = {
    "EPIC_verb_classes.csv": classes("verb_id,class_key,verbs", "verb", 125),
    "EPIC_noun_classes.csv": classes("noun_id,class_key,nouns", "noun", 352) + "\r\n",
}
CLASSES_100 = {
    "EPIC_100_verb_classes.csv": classes("id,key,instances,category", "verb", 97),
    "EPIC_100_noun_classes.csv": classes("id,key,instances,category", "noun", 300),
}


def write(root, files):
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return root


def epic_55(root, **changes):
    return write(root, CLASSES_55 | FILES_55 | {f"{name}.csv": text for name, text in changes.items()})


def test_frames_become_0_based_with_an_exclusive_end_and_times_seconds(tmp_path):
    raw = read_epic_kitchens_55(epic_55(tmp_path), Choices())
    door, pan = raw.splits["train"]
    assert (door.video, door.start_frame, door.end_frame) == ("P01_01", 7, 12)
    assert (door.start_seconds, door.end_seconds) == (0.14, 0.4)
    assert (pan.start_frame, pan.end_frame) == (12, 16)
    assert raw.frame_template == "frame_{:010d}.jpg"


def test_classes_keep_the_order_of_their_ids(tmp_path):
    raw = read_epic_kitchens_55(epic_55(tmp_path), Choices())
    assert raw.name == "epic-kitchens-55-verb"
    assert raw.classes == tuple(f"verb:{i}" for i in range(125))
    assert [video.label for video in raw.splits["train"]] == ["verb:2", "verb:0"]
    raw = read_epic_kitchens_55(tmp_path, Choices(task="noun"))
    assert (raw.name, len(raw.classes)) == ("epic-kitchens-55-noun", 352)
    assert [video.label for video in raw.splits["train"]] == ["noun:8", "noun:1"]


def test_actions_are_the_pairs_that_occur(tmp_path):
    raw = read_epic_kitchens_55(epic_55(tmp_path), Choices(task="action"))
    assert raw.classes == ("verb:0 noun:1", "verb:0 noun:8", "verb:2 noun:8")
    assert raw.name == "epic-kitchens-55-action"


def test_whole_participants_are_held_out_and_test_lists_have_no_labels(tmp_path):
    raw = read_epic_kitchens_55(epic_55(tmp_path), Choices())
    assert [video.video for video in raw.splits["val"]] == ["P26_02"]
    assert [(video.video, video.label) for video in raw.unlabelled["test"]] == [("P01_11", None)]
    assert any("P01 to P25 train" in note for note in raw.notes)
    assert any("EPIC_verb_classes.csv has Windows line ends" in note for note in raw.notes)


def test_edition_100_has_its_own_validation_list(tmp_path):
    raw = read_epic_kitchens_100(write(tmp_path, CLASSES_100 | FILES_100), Choices())
    assert {split: videos[0].video for split, videos in raw.splits.items()} == {
        "train": "P01_01",
        "val": "P37_101",
    }
    assert (raw.name, len(raw.classes)) == ("epic-kitchens-100-verb", 97)
    assert raw.published == {"train": 67217, "val": 9668, "test": 13092}


def test_one_list_of_edition_100_is_enough_to_test_and_not_complete(tmp_path):
    root = write(tmp_path / "in", CLASSES_100 | {"EPIC_100_validation.csv": VAL_100})
    write_frames(root / "rgb" / "P37_101", 10, "frame_{:010d}.jpg")
    answer = prepare("epic-kitchens-100", root, out=tmp_path / "out")
    assert answer["complete"] is False
    assert answer["splits"]["val"]["found"] == 1
    assert any("There is no EPIC_100_train.csv" in note for note in answer["notes"])
    (root / "annotations" / "EPIC_100_validation.csv").unlink()
    with pytest.raises(DataError, match="'EPIC_100_train.csv' or 'EPIC_100_validation.csv'"):
        read_epic_kitchens_100(root, Choices())


def test_segments_of_frame_folders(tmp_path):
    root = epic_55(tmp_path / "in")
    for name in ("P01/P01_01", "P26/P26_02"):
        write_frames(root / "rgb" / "train" / name, 20, "frame_{:010d}.jpg")
    answer = prepare("epic-kitchens-55", root, out=tmp_path / "out")
    assert answer["missing"] == []
    annotations = read_annotations(tmp_path / "out")
    records = annotations.split("train")
    assert [record_name(record).partition("[")[2] for record in records] == ["7:12]", "12:16]"]
    assert {record.video.rpartition("/")[2] for record in records} == {"P01_01"}
    first = read_frames(open_video(annotations.path(records[0])), lambda n: np.arange(n), records[0])[0]
    assert [frame_number(frame) for frame in first] == [7, 8, 9, 10, 11]


def test_segments_of_video_files_go_by_time(tmp_path):
    root = epic_55(tmp_path / "in")
    for name in ("P01/P01_01.MP4", "P26/P26_02.MP4"):
        write_video(root / name, 20)  # 25 frames a second, where the released frames are 60
    answer = prepare("epic-kitchens-55", root, out=tmp_path / "out", task="action")
    assert answer["missing"] == []
    annotations = read_annotations(tmp_path / "out")
    records = annotations.split("train")
    assert [(record.start_frame, record.end_frame) for record in records] == [(4, 10), (10, 15)]
    video = open_video(annotations.path(records[1]))
    assert action_span(video, records[1]) == (10, 15)
    frames = read_frames(video, lambda n: np.arange(n), records[1])[0]
    assert (len(frames), frame_number(frames[0]), frame_number(frames[-1])) == (5, 10, 14)


def test_a_missing_video_and_a_segment_beyond_its_end_are_named(tmp_path):
    root = epic_55(tmp_path / "in")
    write_frames(root / "P01_01", 14, "frame_{:010d}.jpg")
    answer = prepare("epic-kitchens-55", root, out=tmp_path / "out")
    assert answer["complete"] is False
    assert answer["missing"] == ["P26_02"]
    late = next(problem for problem in answer["problems"] if problem["kind"] == "late-end")
    assert late["where"].endswith("EPIC_train_action_labels.csv:3")
    assert "ends at frame 14, and 16 is annotated" in late["detail"]


def test_a_split_of_segments_keeps_videos_and_participants_together(tmp_path):
    rows = "".join(
        f"{i},P{i % 4 + 1:02d},P{i % 4 + 1:02d}_{i % 8:02d},x,00:00:{i:02d}.00,00:00:{i + 1:02d}.00,"
        f"{3 * i + 1},{3 * i + 3},x,{i % 2},x,0,[],[]\n"
        for i in range(40)
    )
    root = epic_55(tmp_path / "in", EPIC_train_action_labels=HEADER_55 + rows)
    for i in range(8):
        folder = root / f"P{i % 4 + 1:02d}_{i:02d}"
        folder.mkdir()
        for number in range(1, 121):
            (folder / f"frame_{number:010d}.jpg").touch()
    prepare("epic-kitchens-55", root, out=tmp_path / "out")
    records = read_annotations(tmp_path / "out").splits
    assert sum(map(len, records.values())) == 40
    train, val = grouped_split([*records["train"], *records["val"]], 0.5, seed=0)
    assert train
    assert val
    assert not {record.video[:3] for record in train} & {record.video[:3] for record in val}


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (TRAIN_55[:-2], "EPIC_train_action_labels.csv:4: all_noun_classes is '\\[8'"),
        (TRAIN_55[:-30], "EPIC_train_action_labels.csv:4 has 7 columns and the header 14"),
        (TRAIN_55.replace('[1, 9]"', "[1, 9]"), "EPIC_train_action_labels.csv:3 is no whole row"),
        (TRAIN_55.replace("verb_class", "verb_id"), "Expected a header with the column 'verb_class'"),
        (
            TRAIN_55.replace("open,2", "open,125"),
            "labels.csv:2: there is no verb class 125; they go from 0 to 124",
        ),
        (TRAIN_55.replace("door,8", "door,-1"), "labels.csv:2: noun_class is '-1'"),
        (
            TRAIN_55.replace(",8,12,", ",0,12,"),
            "labels.csv:2: start_frame is '0'. Expected a whole number, 1 or",
        ),
        (TRAIN_55.replace(",8,12,", ",12,8,"), "labels.csv:2: the segment of 'P01_01' ends before it begins"),
        (TRAIN_55.replace("00:00:00.14", "0.14"), "labels.csv:2: start_timestamp is '0.14'. Expected a time"),
        (TRAIN_55.replace("P01_01,open", "kitchen,open"), "labels.csv:2: video_id is 'kitchen'"),
    ],
)
def test_rows_that_cannot_be_right_are_refused_by_line(tmp_path, cut, message):
    with pytest.raises(DataError, match=message):
        read_epic_kitchens_55(epic_55(tmp_path, EPIC_train_action_labels=cut), Choices())


def test_two_things_at_once_are_both_kept(tmp_path):
    row = TRAIN_55.splitlines()[1].replace("open,2", "push,3")
    raw = read_epic_kitchens_55(epic_55(tmp_path, EPIC_train_action_labels=f"{TRAIN_55}{row}\n"), Choices())
    assert [video.label for video in raw.splits["train"]] == ["verb:2", "verb:0", "verb:3"]
    assert any("EPIC_train_action_labels.csv:5: the segment has the times of" in note for note in raw.notes)


def test_class_files_of_the_other_edition_or_cut_short_are_refused(tmp_path):
    text = CLASSES_55["EPIC_verb_classes.csv"]
    with pytest.raises(DataError, match="holds 97 verb classes; epic-kitchens-55 has 125"):
        read_epic_kitchens_55(
            epic_55(tmp_path, EPIC_verb_classes="\n".join(text.splitlines()[:98])), Choices()
        )
    with pytest.raises(DataError, match="EPIC_verb_classes.csv:3: verb_id is 2, where 1 comes next"):
        swapped = text.replace("\r\n1,", "\r\n2,", 1)
        read_epic_kitchens_55(epic_55(tmp_path, EPIC_verb_classes=swapped), Choices())


def test_choices_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="task is 'verbs'; epic-kitchens-55 has verb, noun and action"):
        read_epic_kitchens_55(epic_55(tmp_path), Choices(task="verbs"))
    with pytest.raises(ConfigError, match="no choice of split"):
        read_epic_kitchens_55(tmp_path, Choices(split=1))


def test_published_lists():
    raw = read_epic_kitchens_55(shared("data/annotations/epic-55"), Choices(task="noun"))
    assert (len(raw.splits["train"]), len(raw.unlabelled["test"])) == (1500, 300)
    assert (raw.classes[0], raw.classes[1]) == ("Nothing", "pan")
    raw = read_epic_kitchens_100(shared("data/annotations/epic-100"), Choices(task="action"))
    assert raw.splits["val"][0].label == "take plate"
    assert (raw.splits["val"][0].start_frame, raw.splits["val"][0].end_frame) == (0, 113)
