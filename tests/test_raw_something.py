"""Something-Something V1 and V2 and Jester: their own files, read or refused by file and line."""

import json

import pytest

from conftest import shared
from gateshift.data.catalog import DATASETS
from gateshift.data.raw.records import Choices
from gateshift.data.raw.something import read_jester, read_something_v1, read_something_v2
from gateshift.errors import ConfigError, DataError
from something_root import LABELS, STEM, small_root

NONE = Choices()


def indices(raw):
    return tuple(tuple(raw.classes.index(name) for name in pair) for pair in raw.label_swaps)


def test_something_v1_reads_rows_in_order_and_sorts_classes(tmp_path):
    raw = read_something_v1(small_root(tmp_path), NONE)
    assert raw.classes == tuple(sorted(LABELS))
    assert [video.video for video in raw.splits["train"]] == ["12", "7", "100"]
    assert raw.splits["val"][1].label == "Holding something behind something"
    assert raw.splits["val"][1].where == f"{tmp_path / STEM}-validation.csv:2"
    assert [video.video for video in raw.unlabelled["test"]] == ["900"]
    assert raw.published == DATASETS["something-v1"].num_videos
    assert raw.label_swaps == (
        ("Pushing something from left to right", "Pushing something from right to left"),
    )
    assert (raw.frame_template, raw.first_frame, raw.notes) == ("{:05d}.jpg", 1, ())


def test_annotations_may_lie_deeper_and_only_once(tmp_path):
    root = small_root(tmp_path)
    labels = f"{STEM}-labels.csv"
    deeper = root / "a" / "b" / "c"
    deeper.mkdir(parents=True)
    (root / labels).rename(deeper / labels)
    assert read_something_v1(root, NONE).files[0] == deeper / labels
    (root / labels).write_bytes((deeper / labels).read_bytes())
    with pytest.raises(DataError, match="both lie in"):
        read_something_v1(root, NONE)
    (root / labels).unlink()
    (deeper / "d").mkdir()
    (deeper / labels).rename(deeper / "d" / labels)
    with pytest.raises(DataError, match=f"holds no '{labels}'"):
        read_something_v1(root, NONE)


@pytest.mark.parametrize(("folder", "count"), [("", 1001), ("a", 101)])
def test_folders_full_of_videos_are_not_searched_for_annotations(tmp_path, folder, count):
    root = small_root(tmp_path)
    for i in range(count):
        (root / folder / f"video{i}").mkdir(parents=True)
    labels = f"{STEM}-labels.csv"
    (root / folder / "video7" / labels).write_bytes((root / labels).read_bytes())
    assert read_something_v1(root, NONE).files[0] == root / labels


def test_windows_line_ends_are_read_and_remarked_on(tmp_path):
    small_root(tmp_path)
    file = tmp_path / f"{STEM}-train.csv"
    plain = read_something_v1(tmp_path, NONE)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    raw = read_something_v1(tmp_path, NONE)
    assert raw.splits == plain.splits
    assert raw.notes == (f"{STEM}-train.csv has Windows line ends (CRLF); they were read all the same.",)


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (b"Doing the th", "there is no class 'Doing the'"),
        (b";Doing the thing called 3", "cut off in the middle of this row"),
    ],
)
def test_a_list_that_is_cut_off_is_refused_by_line(tmp_path, cut, says):
    file = small_root(tmp_path) / f"{STEM}-train.csv"
    content = file.read_bytes()
    start = content.rindex(cut)
    file.write_bytes(content[: start + (9 if says.startswith("there") else 0)])
    with pytest.raises(DataError, match=f"train.csv:3.*{says}") as refusal:
        read_something_v1(tmp_path, NONE)
    assert "cut off in the middle of this row" in str(refusal.value)


def test_a_last_label_that_could_be_longer_is_remarked_on(tmp_path):
    file = small_root(tmp_path) / f"{STEM}-validation.csv"
    file.write_text("33;Holding something")
    assert "that label was longer" in read_something_v1(tmp_path, NONE).notes[0]
    file.write_text("33;Holding something behind something")
    assert read_something_v1(tmp_path, NONE).notes == ()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("12;Holding something\n13\n", "train.csv:2 is '13'. Expected 'id;label'"),
        (
            "12;Holding somethin\n13;Holding something\n",
            "there is no class 'Holding somethin'.*'Holding something'",
        ),
        ("12;Holding something\n12;Doing the thing called 1\n", "train.csv:2: '12' has the label"),
        ("5;Holding something\n", "validation.csv:1: '5' has the label"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(tmp_path, rows, says):
    file = small_root(tmp_path) / f"{STEM}-train.csv"
    file.write_text(rows)
    with pytest.raises(DataError, match=says):
        read_something_v1(tmp_path, NONE)


def test_a_row_listed_again_is_taken_once(tmp_path):
    file = small_root(tmp_path) / f"{STEM}-train.csv"
    file.write_text("12;Holding something\n" * 2)
    raw = read_something_v1(tmp_path, NONE)
    assert len(raw.splits["train"]) == 1
    assert "train.csv:2: '12' is listed again" in raw.notes[0]


@pytest.mark.parametrize("labels", [LABELS[:-1], (*LABELS[:-1], LABELS[0])])
def test_labels_must_be_all_and_different(tmp_path, labels):
    file = small_root(tmp_path) / f"{STEM}-labels.csv"
    file.write_text("\n".join(labels))
    with pytest.raises(DataError, match="labels.csv' lists"):
        read_something_v1(tmp_path, NONE)


def test_text_that_is_not_utf8_is_refused_by_line(tmp_path):
    file = small_root(tmp_path) / f"{STEM}-train.csv"
    file.write_bytes(file.read_bytes() + b"8;caf\xe9\n")
    with pytest.raises(DataError, match="train.csv:4 is not UTF-8"):
        read_something_v1(tmp_path, NONE)


@pytest.mark.parametrize("choices", [Choices(split=1), Choices(labels="v2"), Choices(task="verb")])
def test_choices_of_other_datasets_are_refused(tmp_path, choices):
    for read in (read_something_v1, read_something_v2, read_jester):
        with pytest.raises(ConfigError, match="Leave out --"):
            read(tmp_path, choices)


def write_v2(root, prefix="something-something-v2-"):
    labels = {name: str(i) for i, name in enumerate(sorted(LABELS))}
    entry = {
        "id": "78687",
        "label": "holding a jar",
        "template": "Holding [something]",
        "placeholders": ["a jar"],
    }
    values = {
        "labels": labels,
        "train": [entry, entry | {"id": "3", "template": "Holding [something] behind [something]"}],
        "validation": [entry | {"id": "4"}],
        "test": [{"id": "1420"}],
    }
    for name, value in values.items():
        (root / f"{prefix}{name}.json").write_text(json.dumps(value))
    return root


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
def test_something_v2_takes_the_template_less_brackets(tmp_path, prefix):
    raw = read_something_v2(write_v2(tmp_path, prefix), NONE)
    assert [(video.video, video.label) for video in raw.splits["train"]] == [
        ("78687", "Holding something"),
        ("3", "Holding something behind something"),
    ]
    assert [video.label for video in raw.unlabelled["test"]] == [None]
    assert raw.classes == tuple(sorted(LABELS))
    assert raw.frame_template is None
    assert raw.published["val"] == 24777


def test_something_v2_without_labels_is_refused(tmp_path):
    (write_v2(tmp_path) / "something-something-v2-labels.json").unlink()
    with pytest.raises(DataError, match="holds no 'something-something-v2-labels.json'"):
        read_something_v2(tmp_path, NONE)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("train", '[{"id": "3", "template": "Hold', "train.json:1 is cut off"),
        ("train", '[{"id": "3",\n "template": "Holding [something]"},\n', "train.json:3 is cut off"),
        ("train", "[1 2]", "is not JSON"),
        ("train", "{}", "no list of videos"),
        ("train", '[{"id": "3"}]', "entry 1 has no 'template'"),
        ("train", '[{"id": "3", "template": "Eating [something]"}]', "entry 1: there is no class 'Eating"),
        ("labels", "[]", "no object of labels"),
    ],
)
def test_something_v2_that_cannot_be_right_is_refused(tmp_path, name, text, says):
    (write_v2(tmp_path) / f"something-something-v2-{name}.json").write_text(text)
    with pytest.raises(DataError, match=says):
        read_something_v2(tmp_path, NONE)


def test_something_v2_labels_numbered_otherwise_are_refused(tmp_path):
    labels = {name: str(i) for i, name in enumerate(sorted(LABELS, reverse=True))}
    (write_v2(tmp_path) / "something-something-v2-labels.json").write_text(json.dumps(labels))
    with pytest.raises(DataError, match="order of their names"):
        read_something_v2(tmp_path, NONE)


def test_swaps_of_the_real_labels_are_those_of_the_catalog(tmp_path):
    folder = shared("data/annotations")
    v1 = read_something_v1(folder / "something-v1", NONE)
    assert indices(v1) == DATASETS["something-v1"].label_swaps == ((86, 87), (93, 94), (166, 167))
    names = (folder / "something-v2/labels_sorted.txt").read_text().splitlines()
    (write_v2(tmp_path) / "something-something-v2-labels.json").write_text(
        json.dumps({name: str(i) for i, name in enumerate(names)})
    )
    for name in ("train", "validation"):
        (tmp_path / f"something-something-v2-{name}.json").write_text(
            '[{"id": 1, "template": "Holding [something]"}]'
        )
    assert indices(read_something_v2(tmp_path, NONE)) == DATASETS["something-v2"].label_swaps


def test_jester_in_its_own_files_and_as_others_pass_it_on(tmp_path):
    folder = shared("data/annotations/jester")
    names = [line.split(" ", 1)[1] for line in (folder / "classInd.txt").read_text().splitlines()]
    rows = [line.split() for line in (folder / "trainlist.txt").read_text().splitlines()]
    own, other = tmp_path / "own", tmp_path / "other"
    for root in (own, other):
        root.mkdir()
    spoken = [name.replace("_", " ") for name in names]
    (own / "jester-v1-labels.csv").write_text("\n".join(reversed(spoken)) + "\n")
    for split, part in (("train", rows[:1000]), ("validation", rows[1000:])):
        text = "".join(f"{video};{spoken[int(label) - 1]}\n" for video, label in part)
        (own / f"jester-v1-{split}.csv").write_text(text)
    raw = read_jester(own, NONE)
    assert raw.classes == tuple(spoken)
    assert indices(raw) == DATASETS["jester"].label_swaps == ((11, 12), (16, 17), (21, 22))
    assert [video.label for video in raw.splits["val"]] == [
        spoken[int(label) - 1] for _, label in rows[1000:]
    ]

    (other / "classInd.txt").write_bytes((folder / "classInd.txt").read_bytes())
    (other / "trainlist.txt").write_text("".join(f"{video} {label}\n" for video, label in rows[:1000]))
    raw = read_jester(other, NONE)
    assert list(raw.splits) == ["train"]
    assert "There is no vallist.txt, and so no val.csv." in raw.notes
    (other / "vallist.txt").write_text("".join(f"{video} {label}\n" for video, label in rows[1000:]))
    raw = read_jester(other, NONE)
    assert raw.classes == tuple(names)
    assert indices(raw) == DATASETS["jester"].label_swaps
    assert [video.video for video in raw.splits["train"]] == [video for video, _ in rows[:1000]]

    (other / "trainlist.txt").write_text("34870 28\n")
    with pytest.raises(DataError, match=r"trainlist.txt:1: there is no class 28"):
        read_jester(other, NONE)
