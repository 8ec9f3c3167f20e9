"""Diving48 as it is downloaded: two editions of labels that must never be mixed."""

import json

import pytest

from conftest import shared
from gateshift.apps.prepare import prepare
from gateshift.data.annotations import read_annotations
from gateshift.data.raw.diving48 import read_diving48
from gateshift.data.raw.records import Choices
from gateshift.errors import ConfigError, DataError
from videos import touch, write_frames, write_video

VOCABULARY = [["Back", f"{i:02d}som", "NoTwis", "PIKE"] for i in range(48)]
TRAIN = ("_aQmGaXfeGI_00001", "-4sSQfPbJHM_00002", "dTh8kkTLcLQ_00005")
TEST = ("zBXtMcI41z8_00083",)
V1 = {"train": "Diving48_train.json", "test": "Diving48_test.json"}
V2 = {"train": "Diving48_V2_train.json", "test": "Diving48_V2_test.json"}


def entries(names, first_label=0, **changes):
    """Rows as the dataset writes them, labelled one after the other."""
    rows = (
        {"vid_name": name, "end_frame": 6, "label": first_label + i, "start_frame": 0}
        for i, name in enumerate(names)
    )
    return [row | changes for row in rows]


def write(root, name, rows):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(rows))


def edition(root, names=V1, first_label=0):
    write(root, "Diving48_vocab.json", VOCABULARY)
    write(root, names["train"], entries(TRAIN, first_label))
    write(root, names["test"], entries(TEST, first_label + 10))
    return root


def videos(root):
    touch(*(root / "rgb" / f"{name}.mp4" for name in TRAIN + TEST))
    return root


@pytest.mark.parametrize(("names", "name"), [(V1, "diving48-v1"), (V2, "diving48-v2")])
def test_an_edition_is_told_by_its_files_and_named(tmp_path, names, name):
    raw = read_diving48(edition(tmp_path, names), Choices())
    assert raw.name == name
    assert raw.classes[1] == "Back+01som+NoTwis+PIKE"
    assert len(raw.classes) == 48
    assert [video.video for video in raw.splits["train"]] == list(TRAIN)
    assert [video.label for video in raw.splits["val"]] == ["Back+10som+NoTwis+PIKE"]
    assert (raw.splits["val"][0].start_frame, raw.splits["val"][0].end_frame) == (0, 6)
    assert any("official test list is the split 'val'" in note for note in raw.notes)


def test_lists_of_a_whole_copy(tmp_path):
    answer = prepare("diving48", videos(edition(tmp_path / "in")), out=tmp_path / "out")
    assert answer["dataset"] == "diving48-v1"
    assert answer["complete"] is True
    assert answer["splits"]["train"] == {"annotated": 3, "published": None, "found": 3, "missing": 0}
    annotations = read_annotations(tmp_path / "out")
    assert annotations.dataset == "diving48-v1"
    assert [record.video for record in annotations.split("train")] == [f"{name}.mp4" for name in TRAIN]
    assert [record.label for record in annotations.split("val")] == [10]


def test_a_missing_video_is_named(tmp_path):
    root = videos(edition(tmp_path / "in"))
    (root / "rgb" / f"{TRAIN[1]}.mp4").unlink()
    answer = prepare("diving48", root, out=tmp_path / "out")
    assert (answer["complete"], answer["missing"]) == (False, [TRAIN[1]])


@pytest.mark.parametrize(("there", "complete", "end"), [(6, True, None), (5, True, None), (7, True, 6)])
def test_the_annotated_end_is_held_against_the_video_file(tmp_path, there, complete, end):
    root = edition(tmp_path / "in")
    for name in TRAIN + TEST:
        write_video(root / "rgb" / f"{name}.mp4", there)
    answer = prepare("diving48", root, out=tmp_path / "out")
    assert answer["complete"] is complete
    assert {record.end_frame for record in read_annotations(tmp_path / "out").split("train")} == {end}
    assert answer["problem_counts"] == ({"late-end": 4} if there == 5 else {})


def test_frame_folders_are_read_too_and_one_cut_short_is_named(tmp_path):
    root = edition(tmp_path / "in")
    write(root, V1["train"], entries(TRAIN, end_frame=30))  # the others are annotated within a frame
    for name in TRAIN + TEST:
        write_frames(root / "rgb" / name, 6, "frames{:05d}.jpg")
    answer = prepare("diving48", root, out=tmp_path / "out")
    assert answer["splits"]["val"]["found"] == 1
    assert answer["splits"]["train"]["missing"] == 3
    assert [problem["kind"] for problem in answer["problems"]] == ["missing-frame"] * 3
    assert "frames 0 to 29 are annotated, and there are 6" in answer["problems"][0]["detail"]


def test_both_editions_need_a_choice(tmp_path):
    edition(edition(tmp_path), V2, first_label=5)
    with pytest.raises(ConfigError, match="--labels v1 or --labels v2"):
        read_diving48(tmp_path, Choices())
    for labels, label in (("v1", 0), ("v2", 5)):
        raw = read_diving48(tmp_path, Choices(labels=labels))
        assert raw.name == f"diving48-{labels}"
        assert raw.splits["train"][0].label == f"Back+{label:02d}som+NoTwis+PIKE"


def test_halves_of_two_editions_are_refused_by_name(tmp_path):
    edition(tmp_path)
    (tmp_path / V1["train"]).unlink()
    write(tmp_path, V2["train"], entries(TRAIN))
    with pytest.raises(DataError, match="Diving48_test.json.*is of Diving48's V1.*Diving48_V2_train.json"):
        read_diving48(tmp_path, Choices())
    with pytest.raises(DataError, match="Diving48_V2_train.json' is there without 'Diving48_V2_test.json'"):
        read_diving48(tmp_path, Choices(labels="v2"))


def test_half_an_edition_is_refused_by_name(tmp_path):
    (edition(tmp_path) / V1["test"]).unlink()
    with pytest.raises(DataError, match="without 'Diving48_test.json', the other half of Diving48's V1"):
        read_diving48(tmp_path, Choices())


def test_the_choice_of_an_edition_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds the labels of V2 alone"):
        read_diving48(edition(tmp_path, V2), Choices(labels="v1"))
    with pytest.raises(ConfigError, match="labels is 'v3'; Diving48 has v1 and v2"):
        read_diving48(tmp_path, Choices(labels="v3"))


def test_a_copy_under_the_other_editions_name_is_noticed(tmp_path):
    edition(edition(tmp_path), V2)
    with pytest.raises(DataError, match=r"give the same label to every video .*\(3\).*one is a copy"):
        read_diving48(tmp_path, Choices(labels="v1"))


def test_a_copy_of_one_half_is_noticed_where_it_is_no_chance(tmp_path):
    edition(edition(tmp_path), V2)
    same = [f"clip_{i:05d}" for i in range(20)]
    for names in (V1, V2):
        write(tmp_path, names["train"], entries(same))
    write(tmp_path, V2["test"], entries(TEST, 30))
    with pytest.raises(DataError, match="Diving48_train.json' and '.*Diving48_V2_train.json'"):
        read_diving48(tmp_path, Choices(labels="v1"))
    for names in (V1, V2):
        write(tmp_path, names["train"], entries(same[:3]))
    assert read_diving48(tmp_path, Choices(labels="v1")).name == "diving48-v1"


def test_v2_under_v1s_name_is_noticed_by_its_number_of_videos(tmp_path):
    edition(tmp_path)
    write(tmp_path, V1["test"], entries([f"v_{i:05d}" for i in range(1970)], 0, label=1))
    with pytest.raises(
        DataError, match="Diving48_test.json' is named as the V1.*lists 1970 videos: that is V2's"
    ):
        read_diving48(tmp_path, Choices())


def test_v1_under_v2s_name_is_noticed_by_its_number_of_videos(tmp_path):
    edition(tmp_path, V2)
    write(tmp_path, V2["test"], entries([f"v_{i:05d}" for i in range(1971)], 0, label=1))
    with pytest.raises(DataError, match="named as the V2 labels are and lists 1971 videos: V2's has 1970"):
        read_diving48(tmp_path, Choices())


def test_a_video_to_train_and_to_test_on_is_noticed(tmp_path):
    edition(tmp_path)
    write(tmp_path, V1["test"], entries(TRAIN[:1]))
    with pytest.raises(
        DataError, match=r"train.json:entry 1 and at .*test.json:entry 1.*the other edition's labels"
    ):
        read_diving48(tmp_path, Choices())


@pytest.mark.parametrize("first", ["v1", "v2"])
def test_prepared_lists_of_one_edition_are_not_overwritten_with_the_other(tmp_path, first):
    second = {"v1": "v2", "v2": "v1"}[first]
    root = videos(edition(edition(tmp_path / "in"), V2, first_label=5))
    prepare("diving48", root, out=tmp_path / "out", labels=first)
    before = (tmp_path / "out" / "train.csv").read_text()
    with pytest.raises(DataError, match=f"holds the lists of diving48-{first}, and diving48-{second}"):
        prepare("diving48", root, out=tmp_path / "out", labels=second)
    assert (tmp_path / "out" / "train.csv").read_text() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 48}, "there is no label 48"),
        ({"label": "3"}, 'label is "3". Expected a whole number'),
        ({"label": True}, "label is true"),
        ({"end_frame": 0}, "leaves no frames: start_frame is 0 and end_frame 0"),
        ({"end_frame": 8.5}, "end_frame is 8.5"),
        ({"start_frame": -1}, "start_frame is -1"),
        ({"vid_name": ""}, "Expected an object with vid_name"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_with_its_place(tmp_path, change, message):
    edition(tmp_path)
    write(tmp_path, V1["train"], [*entries(TRAIN[:1]), *entries(TRAIN[1:2], **change)])
    with pytest.raises(DataError, match=f"(?s)Diving48_train.json:entry 2.*{message}"):
        read_diving48(tmp_path, Choices())


def test_a_missing_key_and_another_label_again_are_refused(tmp_path):
    edition(tmp_path)
    rows = entries(TRAIN[:1])
    write(tmp_path, V1["train"], [{key: value for key, value in rows[0].items() if key != "end_frame"}])
    with pytest.raises(DataError, match="end_frame is missing"):
        read_diving48(tmp_path, Choices())
    write(tmp_path, V1["train"], rows + entries(TRAIN[:1], 7))
    with pytest.raises(DataError, match=r"entry 2: .* has the label 'Back\+07som.*entry 1"):
        read_diving48(tmp_path, Choices())


def test_a_file_cut_short_is_refused_by_name(tmp_path):
    path = edition(tmp_path) / V1["train"]
    path.write_text(path.read_text()[:-30])
    with pytest.raises(DataError, match=r"Diving48_train.json:1 is cut off"):
        read_diving48(tmp_path, Choices())


def test_windows_line_ends_change_nothing(tmp_path):
    path = edition(tmp_path) / V1["train"]
    path.write_bytes(json.dumps(json.loads(path.read_text()), indent=1).replace("\n", "\r\n").encode())
    assert len(read_diving48(tmp_path, Choices()).splits["train"]) == 3


def test_choices_of_other_datasets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="diving48 has no choice of split"):
        read_diving48(edition(tmp_path), Choices(split=2))


def test_the_published_vocabulary(tmp_path):
    edition(tmp_path)
    vocabulary = shared("data/annotations/diving48/Diving48_vocab.json")
    (tmp_path / "Diving48_vocab.json").write_bytes(vocabulary.read_bytes())
    classes = read_diving48(tmp_path, Choices()).classes
    assert (len(classes), classes[0], classes[-1]) == (
        48,
        "Back+15som+05Twis+FREE",
        "Reverse+Dive+NoTwis+TUCK",
    )
