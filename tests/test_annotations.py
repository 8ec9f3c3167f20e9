import json
from dataclasses import replace

import pytest

from conftest import shared
from gateshift.data.annotations import Annotations, VideoRecord, read_annotations, write_annotations
from gateshift.errors import DataError
from videos import touch


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        name = name.replace("_json", ".json").replace("_csv", ".csv").replace("_txt", ".txt")
        (folder / name).write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
    return folder


def class_folders(root, *names, count=10):
    touch(*(root / name / f"{i:03d}.mp4" for name in names for i in range(count)))
    return root


def test_class_folders_are_split(tmp_path):
    data = class_folders(tmp_path, "turn left", "turn right")
    found = read_annotations(data, seed=3)
    assert found.classes == ("turn left", "turn right")
    assert found.label_swaps == (("turn left", "turn right"),)
    assert found.swap_indices == {0: 1, 1: 0}
    assert {split: len(records) for split, records in found.splits.items()} == {"train": 16, "val": 4}
    assert found.path(found.splits["val"][0]).is_file()
    assert found.notes == ("Split by seed 3: 16 videos to train on, 4 to validate.",)
    assert read_annotations(data, seed=3) == found
    assert read_annotations(data, seed=4).splits != found.splits
    assert len(read_annotations(data, val_fraction=0.5).splits["val"]) == 10


def test_split_folders_are_kept(tmp_path):
    class_folders(tmp_path / "train", "a", "b")
    class_folders(tmp_path / "validation", "a", "b", count=3)
    found = read_annotations(tmp_path)
    assert {split: len(records) for split, records in found.splits.items()} == {"train": 20, "val": 6}
    assert found.splits["val"][3] == VideoRecord("validation/b/000.mp4", 1)
    assert found.split("val") == found.splits["val"]
    with pytest.raises(DataError, match="no split 'test'.*It has: train, val"):
        found.split("test")


def test_train_and_test_folders_give_a_validation_split(tmp_path):
    class_folders(tmp_path / "train", "a", "b")
    class_folders(tmp_path / "test", "a", "b", count=3)
    (tmp_path / "val").mkdir()
    found = read_annotations(tmp_path)
    assert {split: len(records) for split, records in found.splits.items()} == {
        "train": 16,
        "val": 4,
        "test": 6,
    }


def test_few_videos_and_one_recording_are_told(tmp_path):
    touch(
        *(tmp_path / "a" / f"cam1_{i}.mp4" for i in range(8)),
        *(tmp_path / "b" / f"{i}.mp4" for i in range(3)),
    )
    touch(tmp_path / "c" / "1.mp4", tmp_path / "a" / "notes.txt")
    notes = "\n".join(read_annotations(tmp_path).notes)
    assert "Ignored 1 file that is no video" in notes
    assert "Class 'b' has only 2 training videos." in notes
    assert "Class 'c' has only 1 training video." in notes
    assert "All videos of 'a' seem cut from one recording" in notes


def test_description_goes_before_what_is_found(tmp_path):
    class_folders(tmp_path, "a left", "b", "a right")
    write(tmp_path, dataset_json={"label_swaps": [], "classes": ["b", "a right", "a left"], "source": "mine"})
    found = read_annotations(tmp_path)
    assert found.classes == ("b", "a right", "a left")
    assert found.label_swaps == ()
    assert found.source == "mine"
    assert {r.video.split("/")[0] for r in found.splits["train"] if r.label == 2} == {"a left"}


def test_lists_with_names_and_indices(tmp_path):
    write(
        tmp_path,
        dataset_json={"root": "videos", "classes": ["run", "jump, high"], "frame_template": "{:05d}.jpg"},
        train_csv="video,label,num_frames,start_frame,end_frame\n"
        'a b.mp4,run,40,,\n"c,d.mp4","jump, high",,5,9\n\n',
        val_csv="\ufefflabel,video\r\n1,é.mp4\r\nrun ,e.mp4\r\n",
    )
    (tmp_path / "videos").mkdir()
    found = read_annotations(tmp_path)
    assert found.splits["train"] == (
        VideoRecord("a b.mp4", 0, num_frames=40),
        VideoRecord("c,d.mp4", 1, start_frame=5, end_frame=9),
    )
    assert found.splits["val"] == (VideoRecord("é.mp4", 1), VideoRecord("e.mp4", 0))
    assert found.root == tmp_path / "videos"
    assert found.frame_template == "{:05d}.jpg"


def test_class_named_by_a_number_goes_before_an_index(tmp_path):
    write(
        tmp_path,
        dataset_json={"classes": ["1", "0"]},
        train_csv="video,label\na,0\nb,1\n",
        val_csv="video,label\nc,1\n",
    )
    assert [record.label for record in read_annotations(tmp_path).splits["train"]] == [1, 0]


def test_names_are_the_classes_where_nothing_else_is(tmp_path):
    write(tmp_path, train_csv="video,label\na,z\nb,x\n", val_csv="video,label\nc,y\n")
    found = read_annotations(tmp_path)
    assert found.classes == ("x", "y", "z")
    assert "Class 'y' has no training video" in "\n".join(found.notes)


def test_released_lists(tmp_path):
    write(tmp_path, train_videofolder_txt="100218 42 2\na b/c d 57 0\n\n", val_videofolder_txt="85 46 1")
    found = read_annotations(tmp_path)
    assert found.splits["train"] == (VideoRecord("100218", 2, 42), VideoRecord("a b/c d", 0, 57))
    assert found.splits["val"] == (VideoRecord("85", 1, 46),)
    assert found.classes == ("0", "1", "2")
    assert "classes have no names" in found.notes[0]


def test_released_something_lists(tmp_path):
    folder = shared("data/annotations/something-v1")
    labels = sorted((folder / "something-something-v1-labels.csv").read_text().splitlines())
    for split in ("train", "val"):
        text = (folder / f"expected_{split}_videofolder.txt").read_text()
        write(tmp_path, **{f"{split}_videofolder_txt": text}, dataset_json={"classes": labels})
    found = read_annotations(tmp_path)
    assert len(found.splits["train"]) == 8000
    assert VideoRecord("100218", 134, 42) in found.splits["train"]
    assert found.swap_indices == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}


def test_what_is_written_is_read_back(tmp_path):
    annotations = Annotations(
        root=class_folders(tmp_path / "data", "x"),
        classes=("é, left", "é, right", ' "quoted" '),
        label_swaps=(("é, left", "é, right"),),
        frame_template="img_{:05d}.jpg",
        source="somewhere",
        splits={
            "train": (VideoRecord("a,b/c d.mp4", 0, 10, 2, 5), VideoRecord("e", 2)),
            "val": (VideoRecord("f", 1), VideoRecord("g", 0, 7)),
        },
    )
    written = write_annotations(annotations, tmp_path / "run" / "data")
    assert replace(read_annotations(written), notes=()) == annotations
    assert (written / "val.csv").read_text().splitlines()[0] == "video,label,num_frames"
    assert sorted(path.name for path in written.iterdir()) == ["dataset.json", "train.csv", "val.csv"]


HEADER = "video,label\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train_csv": HEADER + "a,1\nb,2\nc,3\n"},
            r"csv:4: label 3 is outside 0\.\.2 .*Labels here start at 1",
        ),
        (
            {"train_csv": HEADER + "a,0\nb,7\n"},
            r"train\.csv:3: label 7 is outside 0\.\.2 \(3 classes\)\. Correct",
        ),
        ({"train_csv": HEADER + "a,-1\n"}, r"train\.csv:2: there is no class '-1'"),
        ({"train_csv": HEADER + "a,Run\n"}, r"train\.csv:2: there is no class 'Run'"),
        ({"train_csv": HEADER + "a,\n"}, r"train\.csv:2 has no label"),
        ({"train_csv": HEADER + ",run\n"}, r"train\.csv:2 has no video"),
        ({"train_csv": HEADER + "a,b,run\n"}, r"train\.csv:2 does not have 2 columns"),
        ({"train_csv": HEADER + "a\n"}, r"train\.csv:2 does not have 2 columns"),
        ({"train_csv": HEADER}, "lists no videos"),
        ({"train_csv": ""}, "Expected a header"),
        (
            {"train_csv": "label,youtube_id,split\nx,y,train\n"},
            "begins with 'label,youtube_id,split'.*prepare",
        ),
        ({"train_csv": "video,label,num_frames\na,run,many\n"}, r"train\.csv:2: num_frames is 'many'"),
        (
            {"train_csv": "video,label,start_frame,end_frame\na,run,9,9\n"},
            r"train\.csv:2 leaves no frames of 'a'",
        ),
        ({"val_txt": "a 5\n"}, r"val\.txt:1 is 'a 5'\. Expected 'path num_frames class_index'"),
        ({"val_txt": "a 5 run\n"}, r"val\.txt:1 is 'a 5 run'"),
        ({"val_txt": "a 5 1\na 5 3\n"}, r"val\.txt:2: label 3 is outside"),
    ],
)
def test_refuses_unusable_lists(tmp_path, files, message):
    write(tmp_path, dataset_json={"classes": ["run", "jump", "sit"]}, **files)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("{", "is not JSON"),
        ([], "holds no object"),
        ({"label_swap": []}, "holds the key 'label_swap'"),
        ({"classes": "run"}, "'classes' in .* Expected a list of different names"),
        ({"classes": ["a", "a"]}, "'classes' in"),
        ({"classes": []}, "'classes' in"),
        ({"classes": [1, 2]}, "'classes' in"),
        ({"classes": ["a", "c"]}, "disagree about 'b'"),
        ({"label_swaps": [["a"]]}, "'label_swaps' in .* Expected pairs"),
        ({"label_swaps": [["a", "a"]]}, "'label_swaps' in"),
        ({"label_swaps": [["a", "x"]]}, "names 'x', which is no class"),
        ({"frame_template": "%05d.jpg"}, "does not number the frames"),
        ({"frame_template": 5}, "'frame_template' in"),
        ({"root": "none"}, "there is no folder"),
    ],
)
def test_refuses_an_unusable_description(tmp_path, description, message):
    class_folders(tmp_path, "a", "b")
    write(tmp_path, dataset_json=description)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path)


def test_refuses_what_is_no_dataset(tmp_path):
    for data, message in (
        (tmp_path / "none", "there is no folder"),
        (tmp_path, "holds no videos in class sub-folders"),
    ):
        with pytest.raises(DataError, match=message):
            read_annotations(data)
    write(tmp_path / "lists", train_csv=HEADER + "a,run\n")
    with pytest.raises(DataError, match="one class only, 'run'"):
        read_annotations(tmp_path / "lists")
    write(tmp_path / "away", dataset_json={"root": "none"}, train_csv=HEADER + "a,run\nb,sit\n")
    with pytest.raises(DataError, match="the root of the lists"):
        read_annotations(tmp_path / "away")
    with pytest.raises(DataError, match="2 videos, too few"):
        read_annotations(class_folders(tmp_path / "few", "a", "b", count=1))


def test_real_folders():
    fights = read_annotations(shared("data/fights"))
    assert {split: len(records) for split, records in fights.splits.items()} == {"train": 240, "val": 60}
    arid = read_annotations(shared("data/arid6"))
    assert {split: len(records) for split, records in arid.splits.items()} == {"train": 150, "val": 96}
    assert arid.label_swaps == ()


def test_a_root_inside_the_folder_moves_with_it(tmp_path):
    class_folders(tmp_path / "lists" / "frames", "a", "b")
    found = read_annotations(tmp_path / "lists" / "frames")
    write_annotations(found, tmp_path / "lists")
    assert json.loads((tmp_path / "lists" / "dataset.json").read_text())["root"] == "frames"
    moved = (tmp_path / "lists").rename(tmp_path / "moved")
    again = read_annotations(moved)
    assert all(again.path(record).is_file() for record in again.splits["train"])
    write_annotations(again, tmp_path / "elsewhere")
    assert json.loads((tmp_path / "elsewhere" / "dataset.json").read_text())["root"] == str(moved / "frames")
