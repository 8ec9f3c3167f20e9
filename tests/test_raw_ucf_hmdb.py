"""UCF101 and HMDB51 as they are downloaded: three official splits."""

import pytest

from conftest import shared
from gateshift.apps.prepare import prepare
from gateshift.data.annotations import read_annotations
from gateshift.data.raw.records import Choices
from gateshift.data.raw.ucf_hmdb import read_hmdb51, read_ucf101
from gateshift.errors import ConfigError, DataError
from videos import touch

UCF_CLASSES = ["ApplyEyeMakeup", "HandstandPushups", *(f"Class{i:03d}" for i in range(3, 102))]
UCF_TRAIN = """ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
HandstandPushups/v_HandStandPushups_g08_c01.avi 2
Class101/v_Class101_g08_c02.avi 101
"""
UCF_TEST = """ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
HandstandPushups/v_HandStandPushups_g01_c01.avi
"""
UCF_VIDEOS = [line.split()[0].removesuffix(".avi") for line in (UCF_TRAIN + UCF_TEST).splitlines()]
HMDB = {
    "cartwheel": "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi 1 \n#1_&_[two];_cartwheel_0.avi 2 \n",
    "shoot_ball": "10YearOld_shoot_ball_f_cm_np1_ba_med_3.avi 1 \nunused_shoot_ball_0.avi 0 \n",
}


def ucf(root, train=UCF_TRAIN, test=UCF_TEST, end="\r\n", number=1):
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True, exist_ok=True)
    classes = "".join(f"{i} {name}\n" for i, name in enumerate(UCF_CLASSES, start=1))
    for name, text in (("classInd", classes), (f"trainlist0{number}", train), (f"testlist0{number}", test)):
        (folder / f"{name}.txt").write_bytes(text.replace("\n", end).encode())
    return root


def hmdb(root, number=1, **changes):
    folder = root / "testTrainMulti_7030_splits"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (HMDB | changes).items():
        (folder / f"{name}_test_split{number}.txt").write_text(text)
    return root


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ucf101_is_read_with_either_line_end(tmp_path, end):
    raw = read_ucf101(ucf(tmp_path, end=end), Choices())
    assert raw.name == "ucf101-split1"
    assert raw.classes == tuple(UCF_CLASSES)
    assert [(video.video, video.label) for video in raw.splits["train"]] == [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "ApplyEyeMakeup"),
        ("HandstandPushups/v_HandStandPushups_g08_c01", "HandstandPushups"),
        ("Class101/v_Class101_g08_c02", "Class101"),
    ]
    assert len(raw.splits["val"]) == 2
    assert raw.published == {"train": 9537, "val": 3783}
    assert any("optimistic" in note for note in raw.notes)
    assert any("Windows line ends" in note for note in raw.notes) == (end == "\r\n")


def test_lists_of_ucf101(tmp_path):
    root = ucf(tmp_path / "in")
    touch(*(root / "UCF-101" / f"{name}.avi" for name in UCF_VIDEOS))
    answer = prepare("ucf101", root, out=tmp_path / "out")
    assert answer["missing"] == []
    assert answer["splits"]["train"] == {"annotated": 3, "published": 9537, "found": 3, "missing": 0}
    assert answer["complete"] is False  # three rows are not the published list
    assert answer["problem_counts"]["too-few-rows"] == 2
    annotations = read_annotations(tmp_path / "out")
    assert [record.label for record in annotations.split("train")] == [0, 1, 100]
    assert annotations.split("val")[1].video == "HandstandPushups/v_HandStandPushups_g01_c01.avi"


def test_handstand_pushups_are_found_however_they_are_spelled(tmp_path):
    root = ucf(tmp_path / "in")
    touch(*(root / "UCF-101" / f"{name.replace('HandStand', 'Handstand')}.avi" for name in UCF_VIDEOS))
    assert prepare("ucf101", root, out=tmp_path / "out")["missing"] == []


def test_a_missing_video_of_ucf101_is_named(tmp_path):
    root = ucf(tmp_path / "in")
    touch(*(root / f"{name}.avi" for name in UCF_VIDEOS[1:]))
    answer = prepare("ucf101", root, out=tmp_path / "out")
    assert answer["missing"] == [UCF_VIDEOS[0]]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (UCF_TRAIN[:-2], "trainlist01.txt:3: 'Class101' has the number 101 in classInd.txt, and 10 here"),
        (UCF_TRAIN[:-5], "trainlist01.txt:3 is 'Class101/v_Class101_g08_c02.avi'. Expected"),
        (UCF_TRAIN[:-12], "trainlist01.txt:3 is 'Class101/v_Class101_g08_'. Expected"),
        (UCF_TRAIN.replace("Class101/", "Class102/"), "trainlist01.txt:3: there is no class 'Class102'"),
        (
            UCF_TRAIN + "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1\n",
            "is at .*trainlist01.txt:4, to train on, and at .*testlist01.txt:1, to test on",
        ),
    ],
)
def test_rows_of_ucf101_that_cannot_be_right_are_refused_by_line(tmp_path, train, message):
    with pytest.raises(DataError, match=message):
        read_ucf101(ucf(tmp_path, train=train), Choices())


def test_a_class_list_cut_short_is_refused(tmp_path):
    path = ucf(tmp_path) / "ucfTrainTestlist" / "classInd.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="classInd.txt' holds 100 classes; UCF101 has 101"):
        read_ucf101(tmp_path, Choices())
    path.write_text("0 ApplyEyeMakeup\n")
    with pytest.raises(DataError, match="classInd.txt:1 is '0 ApplyEyeMakeup'. Expected '1 ClassName'"):
        read_ucf101(tmp_path, Choices())


@pytest.mark.parametrize(
    ("reader", "dataset", "make"), [(read_ucf101, "ucf101", ucf), (read_hmdb51, "hmdb51", hmdb)]
)
def test_the_split_is_chosen_and_named(tmp_path, reader, dataset, make):
    make(tmp_path, number=3)
    assert reader(tmp_path, Choices(split=3)).name == f"{dataset}-split3"
    with pytest.raises(DataError, match="split1|trainlist01"):
        reader(tmp_path, Choices())
    with pytest.raises(ConfigError, match="split is 4"):
        reader(tmp_path, Choices(split=4))
    with pytest.raises(ConfigError, match="no choice of task"):
        reader(tmp_path, Choices(task="verb"))


def test_hmdb51_is_read_with_its_file_names(tmp_path):
    raw = read_hmdb51(hmdb(tmp_path), Choices())
    assert raw.classes == ("cartwheel", "shoot_ball")
    assert [video.video for video in raw.splits["train"]] == [
        "cartwheel/(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0",
        "shoot_ball/10YearOld_shoot_ball_f_cm_np1_ba_med_3",
    ]
    assert [video.video for video in raw.splits["val"]] == ["cartwheel/#1_&_[two];_cartwheel_0"]
    assert [video.video for video in raw.unlabelled["unused"]] == ["shoot_ball/unused_shoot_ball_0"]
    assert "1 videos have no part in split 1: they are marked 0, for neither list." in raw.notes


def test_lists_of_hmdb51(tmp_path):
    root = hmdb(tmp_path / "in")
    raw = read_hmdb51(root, Choices())
    names = [video.video for videos in raw.splits.values() for video in videos]
    touch(*(root / "hmdb51_org" / f"{name}.avi" for name in (*names, "shoot_ball/unused_shoot_ball_0")))
    answer = prepare("hmdb51", root, out=tmp_path / "out")
    assert answer["missing"] == []
    assert answer["splits"]["val"] == {"annotated": 1, "published": 1530, "found": 1, "missing": 0}
    assert "stray-file" not in answer["problem_counts"]
    assert read_annotations(tmp_path / "out").split("val")[0].video == "cartwheel/#1_&_[two];_cartwheel_0.avi"
    (root / "hmdb51_org" / f"{names[0]}.avi").unlink()
    assert prepare("hmdb51", root, out=tmp_path / "out")["missing"] == [names[0]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("turnles!!_cartwheel_6.avi", "cartwheel_test_split1.txt:1 is 'turnles!!_cartwheel_6.avi'. Expected"),
        ("turnles!!_cartwheel_6.avi 3 ", "Expected 'name.avi 1', with 0, 1 or 2"),
        ("turnles!!_cartw", "the file may be cut short"),
        ("a.avi 1\na.avi 2", "cartwheel/a' is at .*:1, to train on, and at .*:2, to test on"),
    ],
)
def test_rows_of_hmdb51_that_cannot_be_right_are_refused_by_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read_hmdb51(hmdb(tmp_path, cartwheel=row), Choices())


def test_the_other_split_into_the_same_folder_is_refused(tmp_path):
    root = hmdb(hmdb(tmp_path / "in"), number=2)
    prepare("hmdb51", root, out=tmp_path / "out")
    with pytest.raises(DataError, match="holds the lists of hmdb51-split1, and hmdb51-split2"):
        prepare("hmdb51", root, out=tmp_path / "out", split=2)


def test_published_lists():
    folder = shared("data/annotations/ucf101")
    for split, count in ((1, 3783), (2, 3734), (3, 3696)):
        raw = read_ucf101(folder, Choices(split=split))
        assert len(raw.splits["val"]) == raw.published["val"] == count
    assert raw.classes[0] == "ApplyEyeMakeup"
    raw = read_hmdb51(shared("data/annotations/hmdb51"), Choices())
    assert {split: len(videos) for split, videos in raw.splits.items()} == {"train": 350, "val": 150}
