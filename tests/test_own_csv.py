"""A list of the user's own: delimiters, headers, labels, splits and times as people write them."""

import pytest

from gateshift.apps.prepare import prepare
from gateshift.data.annotations import read_annotations
from gateshift.data.raw.own_csv import read_own
from gateshift.data.raw.records import Choices
from gateshift.errors import ConfigError, DataError
from videos import touch, write_frames, write_video


def read(folder, text, name="mine.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(text.encode())
    return read_own(file, folder, Choices())


def rows(raw, split="train"):
    return [(video.video, video.label) for video in raw.splits[split]]


@pytest.mark.parametrize("sign", [",", ";", "\t", " ", ", "])
@pytest.mark.parametrize(
    ("video", "label"), [("path", "label"), ("Video", "Class"), ("file name", "category")]
)
def test_delimiter_and_header_are_found_out(tmp_path, sign, video, label):
    if sign == " ":
        video = video.replace(" ", "_")
    text = f"{video}{sign}{label}\na/one.mp4{sign}jump\nb/two.avi{sign}run\n"
    assert rows(read(tmp_path, text)) == [("a/one", "jump"), ("b/two", "run")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_are_quoted_where_they_hold_the_separator(tmp_path, end):
    text = f'id,video,label{end}1,"one, two.mp4",jump{end}2,three,"run, fast"{end}'
    raw = read(tmp_path, text)
    assert rows(raw) == [("one, two", "jump"), ("three", "run, fast")]
    assert raw.classes == ("jump", "run, fast")
    assert any("Windows line ends" in note for note in raw.notes) == (end == "\r\n")


def test_a_list_without_header_is_path_and_label(tmp_path):
    raw = read(tmp_path, "clips/my first clip.mp4 0\nclips/other.mp4 1\n", "train.txt")
    assert rows(raw) == [("clips/my first clip", "0"), ("clips/other", "1")]
    assert any("The classes have no names" in note for note in raw.notes)


def test_a_list_without_header_of_frame_folders_has_their_lengths(tmp_path):
    raw = read(tmp_path, "some folder/a 30 1\nb 25 0\n", "list.txt")
    assert [(video.video, video.end_frame, video.label) for video in raw.splits["train"]] == [
        ("some folder/a", 30, "1"),
        ("b", 25, "0"),
    ]


def test_splits_are_recognised(tmp_path):
    raw = read(tmp_path, "video,label,subset\na,x,Training\nb,y,validation\nc,x,test\nd,y,train\n")
    assert {split: len(videos) for split, videos in raw.splits.items()} == {"train": 2, "val": 1, "test": 1}
    with pytest.raises(DataError, match=r"mine.csv:2: split is 'tarin'. Expected train, val or test"):
        read(tmp_path, "video,label,split\na,x,tarin\n")


def test_times_and_frames_are_told_apart_by_their_header(tmp_path):
    raw = read(tmp_path, "video,label,start_time,end_time\na,x,0:01.5,12\nb,y,00:01:00,1:01:00.25\n")
    assert [(video.start_seconds, video.end_seconds) for video in raw.splits["train"]] == [
        (1.5, 12.0),
        (60.0, 3660.25),
    ]
    raw = read(tmp_path, "video,label,start_frame,end_frame\na,x,5,12\nb,y,,\n")
    assert [(video.start_frame, video.end_frame) for video in raw.splits["train"]] == [(5, 12), (0, None)]
    assert raw.splits["train"][0].start_seconds is None


def test_a_bare_start_is_a_time_only_where_it_is_written_as_one(tmp_path):
    raw = read(tmp_path, "video,label,start,end\na,x,1.5,3\nb,y,2,4.0\n")
    assert [(video.start_seconds, video.end_seconds) for video in raw.splits["train"]] == [(1.5, 3), (2, 4)]
    with pytest.raises(
        DataError, match="'start' may hold frames or seconds. Name it start_frame or start_sec"
    ):
        read(tmp_path, "video,label,start,end\na,x,1,3\nb,y,2,4\n")


@pytest.mark.parametrize("labels", [("jump", "run"), ("0", "1")])
def test_indices_get_their_names_from_a_file(tmp_path, labels):
    (tmp_path / "classes.txt").write_text("run\njump\n" if labels[0] == "jump" else "jump\nrun\n")
    raw = read(tmp_path, f"path,label\na.mp4,{labels[0]}\nb.mp4,{labels[1]}\n")
    assert rows(raw) == [("a", "jump"), ("b", "run")]
    assert raw.classes == (("run", "jump") if labels[0] == "jump" else ("jump", "run"))
    assert raw.notes == ()


@pytest.mark.parametrize("named", [True, False])
def test_labels_that_start_at_1_are_noticed(tmp_path, named):
    if named:
        (tmp_path / "classes.txt").write_text("jump\nrun\nfall\n")
    with pytest.raises(DataError, match=r"mine.csv:2: labels here start at 1, and go to 3. Subtract 1"):
        read(tmp_path, "path,label\na,1\nb,2\nc,3\n")


def test_a_label_that_no_row_has_is_remarked_on(tmp_path):
    raw = read(tmp_path, "path,label\na,0\nb,3\n")
    assert raw.classes == ("0", "1", "2", "3")
    assert "No row has the label 1 (2 such labels)." in raw.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,x,extra\nb,y,extra\n",
            "mine.csv' begins with 'a, x, extra'. Expected a header with a column for",
        ),
        ("sequence,gesture\na1.mp4,x\nb1.mp4,y\n", "begins with 'sequence, gesture'. Expected a header"),
        ("file_id,outcome\na,0\nb,1\n", "begins with 'file_id, outcome'. Expected a header"),
        ("label,youtube_id,start\nx,a,1\n", "has the header 'label, youtube_id, start', without the video"),
        ("path,file,label\na,b,x\n", "names two columns for the video: 'path, file, label'"),
        ("path,label\n", "holds a header and no rows"),
        ("", "mine.csv' is empty"),
        ("path,label\na,x\nb,y,z\n", "mine.csv:3 has 3 columns, where 2 are expected: 'b, y, z'"),
        ("path,label\na,x\nb\n", "mine.csv:3 has 1 columns"),
        ("path,label\na,x\nb,\n", "mine.csv:3 has no label"),
        ('path,label\na,x\n"b,y\n', "mine.csv:3 is no whole row"),
        ("path,label\na,x\na,y\n", "mine.csv:3: 'a' has the label 'y', and 'x' at .*mine.csv:2"),
        ("path,label,num_frames\na,x,0\n", "mine.csv:2 leaves no frames of 'a'"),
        ("path,label,start_frame\na,x,soon\n", "mine.csv:2: start_frame is 'soon'"),
        ("path,label,start_time\na,x,soon\n", "mine.csv:2: start_seconds is 'soon'. Expected seconds"),
        ("path,label,start_s,end_s\na,x,4,3\n", "mine.csv:2 leaves no frames of 'a'"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_labels_that_classes_txt_does_not_name_are_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("jump\nrun\n")
    with pytest.raises(DataError, match=r"mine.csv:3: there is no class 'fall' in 'classes.txt'"):
        read(tmp_path, "path,label\na,jump\nb,fall\n")
    with pytest.raises(DataError, match=r"mine.csv:2: label 2 is outside 0..1 \(2 classes\)"):
        read(tmp_path, "path,label\na,2\nb,0\n")
    (tmp_path / "classes.txt").write_text("jump\njump\n")
    with pytest.raises(DataError, match="names the class 'jump' twice"):
        read(tmp_path, "path,label\na,0\n")


def test_paths_may_start_outside_of_the_root(tmp_path):
    root = tmp_path / "videos"
    for prefix in (f"{root}/", "videos/", "./"):
        assert rows(read_in(tmp_path, root, prefix)) == [("a", "x"), ("sub/b", "y")]
    with pytest.raises(DataError, match="mine.csv:2: '/elsewhere/a.mp4' does not lie in"):
        read_in(tmp_path, root, "/elsewhere/")


def read_in(folder, root, prefix):
    root.mkdir(exist_ok=True)
    (folder / "mine.csv").write_text(f"path,label\n{prefix}a.mp4,x\n{prefix}sub/b.mp4,y\n")
    return read_own(folder / "mine.csv", root, Choices())


def test_lists_of_the_users_own_videos(tmp_path):
    root = tmp_path / "videos"
    touch(root / "one.mp4", root / "deep" / "two.MKV", root / "stray.mp4")
    (tmp_path / "mine.csv").write_text("file,action,set\none.mp4,jump,train\ntwo,run,val\nthree,run,train\n")
    answer = prepare(str(tmp_path / "mine.csv"), root, out=tmp_path / "out")
    assert answer["dataset"] == "mine"
    assert (answer["complete"], answer["missing"]) == (False, ["three"])
    annotations = read_annotations(tmp_path / "out")
    records = [record for split in annotations.splits.values() for record in split]
    assert {record.video for record in records} == {"one.mp4", "deep/two.MKV"}
    assert annotations.classes == ("jump", "run")


def test_parts_of_own_videos_and_of_frame_folders(tmp_path):
    root = tmp_path / "videos"
    write_video(root / "a.mp4", 20)
    write_frames(root / "b", 20)
    (tmp_path / "mine.csv").write_text(
        "name,label,split,start_frame,end_frame\na.mp4,x,train,2,8\na.mp4,y,train,8,20\nb,x,val,5,10\nb,y,val,9,90\n"
    )
    answer = prepare(str(tmp_path / "mine.csv"), root, out=tmp_path / "out")
    annotations = read_annotations(tmp_path / "out")
    spans = [(r.start_frame, r.end_frame) for split in ("train", "val") for r in annotations.split(split)]
    assert spans == [(2, 8), (8, 20), (5, 10)]
    assert answer["complete"] is False
    assert answer["problems"][0]["where"].endswith("mine.csv:5")
    assert "frames 9 to 89 are annotated, and there are 20" in answer["problems"][0]["detail"]


def test_a_list_that_is_not_there_and_choices_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no list '.*mine.csv'"):
        prepare(str(tmp_path / "mine.csv"), tmp_path, out=tmp_path / "out")
    (tmp_path / "mine.csv").write_text("path,label\na,x\n")
    with pytest.raises(ConfigError, match="no choice of split, and 2 was given"):
        prepare(str(tmp_path / "mine.csv"), tmp_path, out=tmp_path / "out", split=2)


def test_a_video_with_one_timed_row_of_several_is_listed_whole_and_in_part(tmp_path):
    write_video(tmp_path / "in" / "a.mp4", 50)
    (tmp_path / "my.csv").write_text(
        "path,label,split,start_seconds,end_seconds\na.mp4,x,train,,\na.mp4,y,val,0,1\n"
    )
    answer = prepare(str(tmp_path / "my.csv"), tmp_path / "in", out=tmp_path / "out")
    assert answer["missing"] == []
    assert [split["found"] for split in answer["splits"].values()] == [1, 1]
