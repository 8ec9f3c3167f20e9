import pytest

from conftest import shared
from gateshift.data.folders import find_videos, scan_classes
from gateshift.errors import DataError
from videos import touch, write_frames


def test_class_folders(tmp_path):
    touch(
        tmp_path / "b" / "2.mp4",
        tmp_path / "b" / "10.MKV",
        tmp_path / "B" / "x.gif",
        tmp_path / "a c" / "-1.avi",
    )
    found = scan_classes(tmp_path)
    assert found.classes == ("B", "a c", "b")
    assert found.videos == {None: {"B": ("B/x.gif",), "a c": ("a c/-1.avi",), "b": ("b/10.MKV", "b/2.mp4")}}
    assert found.notes == ()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path, val):
    touch(*(tmp_path / split / name / "1.mp4" for split in ("train", val, "test") for name in ("a", "b")))
    (tmp_path / "extras").mkdir()
    found = scan_classes(tmp_path)
    assert list(found.videos) == ["train", "val", "test"]
    assert found.videos["val"]["a"] == (f"{val}/a/1.mp4",)
    assert "'extras'" in found.notes[0]


def test_class_may_be_called_train(tmp_path):
    touch(tmp_path / "bus" / "1.mp4", tmp_path / "train" / "1.mp4")
    write_frames(tmp_path / "test" / "video", 2)
    assert scan_classes(tmp_path).classes == ("bus", "test", "train")


def test_stray_video_makes_no_class_of_a_split(tmp_path):
    touch(*(tmp_path / "train" / name for name in ("a/1.mp4", "b/1.mp4", "stray.mp4")))
    found = scan_classes(tmp_path)
    assert found.classes == ("a", "b")
    assert "'stray.mp4'" in found.notes[0]


def test_frame_folders_are_videos(tmp_path):
    write_frames(tmp_path / "a" / "video 1", 2)
    write_frames(tmp_path / "a" / "video 2", 2)
    touch(tmp_path / "b" / "1.mp4")
    assert scan_classes(tmp_path).videos[None]["a"] == ("a/video 1", "a/video 2")


def test_stray_files_are_ignored_and_told(tmp_path):
    touch(*(tmp_path / name / "1.mp4" for name in ("a", "b", ".git")))
    touch(
        tmp_path / "README.md",
        tmp_path / "dataset.json",
        tmp_path / "a" / "thumbs.db",
        tmp_path / "a" / ".DS_Store",
    )
    found = scan_classes(tmp_path)
    assert found.classes == ("a", "b")
    assert len(found.notes) == 1
    assert found.notes[0].startswith("Ignored 2 files that are no videos")
    assert "'a/thumbs.db'" in found.notes[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no videos in class sub-folders"),
        (["1.mp4"], "holds no videos in class sub-folders"),
        (["a/1.mp4"], "one class only, 'a'"),
        (["a/1.mp4", "b/readme.txt"], "class 'b' has no videos"),
        (["train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4", "val/B/1.mp4"], "class 'B' has no folder under"),
        (
            ["train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4", "val/b/x.txt"],
            "class 'b' has no videos in .*val",
        ),
        (["val/a/1.mp4", "valid/a/1.mp4"], "two folders for 'val'"),
        (["a/1.jpg", "a/2.jpg", "b/1.jpg"], "holds no videos"),
    ],
)
def test_refuses_unusable_folders(tmp_path, files, message):
    touch(*(tmp_path / file for file in files))
    with pytest.raises(DataError, match=message):
        scan_classes(tmp_path)


def test_refuses_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        scan_classes(tmp_path / "none")


def test_find_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(
        *(
            tmp_path / name
            for name in ("x/1.mp4", "x/deep/2.avi", "x/notes.txt", "-a.mp4", "odd[1].mp4", "data.bin")
        )
    )
    write_frames(tmp_path / "x" / "frames", 2)

    def names(*paths: str) -> list[str]:
        return [path.as_posix() for path in find_videos(paths)]

    touch(tmp_path / "x" / "poster.jpg")  # a picture beside videos makes no frame folder
    assert names("x") == ["x/1.mp4", "x/deep/2.avi", "x/frames"]
    assert names("x/frames") == ["x/frames"]
    assert names("x/*.mp4", "-a.mp4", "x/1.mp4") == ["x/1.mp4", "-a.mp4"]
    assert names("**/*.avi") == ["x/deep/2.avi"]
    assert names("x/*") == ["x/1.mp4", "x/deep/2.avi", "x/frames"]
    assert names("odd[1].mp4") == ["odd[1].mp4"]
    assert names("data.bin", "missing.mp4") == ["data.bin", "missing.mp4"]  # to read them says what is wrong
    for nothing in ("*.mov", "x/deep/*.mp4"):
        with pytest.raises(DataError, match="holds no videos"):
            find_videos([nothing])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="'empty' holds no videos"):
        find_videos(["empty"])


def test_real_folders():
    fights = scan_classes(shared("data/fights"))
    assert {name: len(videos) for name, videos in fights.videos[None].items()} == {
        "fight": 150,
        "noFight": 150,
    }
    assert fights.notes[0].startswith("Ignored 3 files")
    arid = scan_classes(shared("data/arid6"))
    assert {split: sum(map(len, found.values())) for split, found in arid.videos.items()} == {
        "train": 150,
        "val": 96,
    }
    assert arid.classes == ("Jump", "Run", "Sit", "Stand", "Turn", "Walk")
