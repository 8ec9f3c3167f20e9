"""`gateshift prepare DATA`: frames, small copies and shards of any dataset, with lists that stay valid."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gateshift
from coded_videos import Coding, encode, number_of
from gateshift import cli, cli_tables
from gateshift.data import conversion
from gateshift.data.annotations import Annotations, VideoRecord, read_annotations, write_annotations
from gateshift.data.dataset import EvalViews, action_span
from gateshift.data.frame_writer import FRAME_TEMPLATE
from gateshift.data.opening import open_record
from gateshift.data.prepared_log import LOG
from gateshift.data.reader import VideoFile
from gateshift.data.shard_writer import PLAN
from gateshift.data.worker_pool import run_tasks
from gateshift.errors import ConfigError, DataError
from gateshift.spec import InputSpec
from videos import frame_number, write_frames, write_video

SPEC = InputSpec(size=16, resize=24, mean=(0, 0, 0), std=(1, 1, 1))
CLASSES = ("turn left", "turn right")
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Decode without starting processes; what these do is tested with them."""
    monkeypatch.setattr(conversion, "run_tasks", lambda tasks, workers, lost: run_tasks(tasks, 0, lost))


@pytest.fixture
def data(tmp_path):
    """Class folders with a validation split: files of three kinds."""
    for split, count in (("train", 3), ("val", 1)):
        for name in CLASSES:
            for i in range(count):
                suffix = ("mp4", "avi", "mkv")[i]
                write_numbered(tmp_path / "data" / split / name / f"{i} b.{suffix}", 8 + i)
    return tmp_path / "data"


@pytest.fixture
def lists(tmp_path):
    """Lists of two long videos, with parts in frames and in seconds."""
    root = tmp_path / "root"
    for name in ("one.mp4", "sub/two.avi"):
        write_numbered(root / name, 40)
    train = (
        VideoRecord("one.mp4", 0, None, 5, 20),
        VideoRecord("one.mp4", 1, 40, 20, None),
        VideoRecord("sub/two.avi", 1, None),
        VideoRecord("one.mp4", 0, start_seconds=0.4, end_seconds=0.8),
    )
    val = (VideoRecord("sub/two.avi", 0, None, 0, 10),)
    annotations = Annotations(
        root, CLASSES, (CLASSES,), None, "own", {"train": train, "val": val}, flow=("flow_x", "flow_y")
    )
    return write_annotations(annotations, tmp_path / "lists")


def write_numbered(path: Path, num_frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(Coding("libx264", path.suffix[1:], num_frames=num_frames), path.parent).rename(path)


def prepare(data: Path, **options):
    return gateshift.prepare(str(data), out=data.parent / "out", workers=1, **options)


def files(folder: Path, *but: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


def rows(folder: Path, split: str = "train"):
    records = read_annotations(folder).splits[split]
    return [(r.video, r.label, r.num_frames, r.start_frame, r.end_frame) for r in records]


def numbers(
    data: Path, split: str = "train", read: Callable[[np.ndarray], int] = number_of
) -> list[list[int]]:
    """Return which frames each action has, by what they show."""
    annotations = read_annotations(data)
    found = []
    for record in annotations.splits[split]:
        video = open_record(annotations, record, "rgb")
        start, end = action_span(video, record)
        found.append([read(pixels) for pixels in video.read(range(start, end))])
    return found


def test_small_copies_are_the_same_dataset(data):
    before = files(data)
    answer = prepare(data, proxy=48)
    out = data.parent / "out"
    assert files(data) == before
    assert answer["ok"] and answer["complete"] and answer["missing"] == answer["problems"] == []
    assert answer["splits"]["train"] == {"annotated": 6, "published": None, "found": 6, "missing": 0}
    assert answer["notes"][-1].startswith("8 of 8 videos are larger than 48 pixels on their short side")
    old, new = read_annotations(data), read_annotations(out)
    assert (new.classes, new.label_swaps, new.source) == (old.classes, old.label_swaps, old.source)
    assert new.root == out / "videos"
    for split, records in old.splits.items():
        assert [record.label for record in new.splits[split]] == [record.label for record in records]
        for a, b in zip(records, new.splits[split], strict=True):
            assert b.video == a.video.rpartition(".")[0] + ".mp4"
            assert VideoFile(new.path(b)).num_frames == VideoFile(old.path(a)).num_frames == b.num_frames
        views = [EvalViews(annotations, split, 4, SPEC) for annotations in (old, new)]
        assert len(views[0]) == len(views[1])
        difference = [
            np.abs(a[0].numpy().astype(int) - b[0].numpy()).mean() for a, b in zip(*views, strict=True)
        ]
        assert max(difference) < 3
    moved = out.rename(out.parent / "moved")  # lists and copies go together
    assert numbers(moved) == numbers(data)


def test_an_interrupt_says_what_is_kept(data, monkeypatch):
    def interrupted(tasks, workers, lost):
        yield next(iter(run_tasks(tasks, 0, lost)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "run_tasks", interrupted)
        with pytest.raises(KeyboardInterrupt, match="is kept in .*out'. The same command goes on"):
            prepare(data, proxy=48)
    kept = [path for path in (data.parent / "out" / "videos").rglob("*.mp4")]
    assert len(kept) == 1
    prepare(data, proxy=48)
    assert kept[0].exists()


def test_the_same_command_again_changes_nothing(data):
    first = prepare(data, proxy=48)
    before = files(data.parent / "out")
    assert prepare(data, proxy=48) == first
    assert files(data.parent / "out") == before
    with pytest.raises(ConfigError, match="made with --proxy 48, and 32 is asked for"):
        prepare(data, proxy=32)


def test_frames_of_any_dataset(data):
    answer = prepare(data, extract=True, short_side=48)
    out = data.parent / "out"
    annotations = read_annotations(out)
    assert (annotations.frame_template, annotations.root) == (FRAME_TEMPLATE, out / "frames")
    assert rows(out)[0] == ("train/turn left/0 b", 0, 8, 0, None)
    assert (out / "train_videofolder.txt").read_text().splitlines()[0] == "train/turn left/0 b 8 0"
    assert numbers(out) == numbers(data)
    cli_tables.show("prepare", answer)


@pytest.mark.parametrize("options", [{"extract": True}, {"proxy": 48}])
def test_parts_stay_where_they_are(lists, options):
    shown = numbers(lists)
    assert shown[3] == list(range(10, 20))
    prepare(lists, **options)
    out = lists.parent / "out"
    name = "one" if "extract" in options else "one.mp4"
    assert rows(out)[:2] == [(name, 0, 40, 5, 20), (name, 1, 40, 20, None)]
    assert rows(out)[3] == (name, 0, 40, 10, 20)
    assert numbers(out) == shown
    assert numbers(out, "val") == numbers(lists, "val")
    flow = read_annotations(out).flow
    assert flow == (str(lists.parent / "root" / "flow_x"), str(lists.parent / "root" / "flow_y"))


def test_parts_of_files_that_are_taken_stay_as_they_are_written(lists):
    prepare(lists, proxy=64)
    out = lists.parent / "out"
    assert (out / "train.csv").read_text() == (lists / "train.csv").read_text()
    assert os.path.samefile(out / "videos" / "one.mp4", lists.parent / "root" / "one.mp4")


def test_what_cannot_be_converted_is_named_and_left_out(lists):
    (lists / "val.csv").write_text("video,label,start_frame,end_frame\none.mp4,turn left,30,60\n")
    (lists.parent / "root" / "sub" / "two.avi").write_bytes(b"no video")
    answer = prepare(lists, proxy=48)
    assert not answer["ok"]
    assert answer["problem_counts"] == {"missing-frame": 1, "unreadable-video": 1}
    assert answer["missing"] == ["sub/two.avi", "one.mp4"]
    assert "frames 30 to 60 of" in str(answer["problems"])
    out = lists.parent / "out"
    assert (out / "train.csv").read_text().count("one.mp4") == 3 and not (out / "val.csv").exists()
    assert (out / "missing.txt").read_text() == "sub/two.avi\none.mp4\n"
    assert "cannot be opened as a video" in (out / "problems.csv").read_text()
    cli_tables.show("prepare", answer)


def test_flow_that_new_names_do_not_lead_to_is_left_out(lists):
    write_numbered(lists.parent / "root" / "one.avi", 40)
    text = (lists / "train.csv").read_text()
    (lists / "train.csv").write_text(text + "one.avi,turn left,,,,,\n")
    answer = prepare(lists, proxy=48)
    assert "Optical flow was left out: that of 'one.mp4'" in answer["notes"][-1]
    assert read_annotations(lists.parent / "out").flow is None


def test_folders_of_frames(tmp_path):
    for name, first in (("left/a", 1), ("left/b", 1), ("right/a", 1), ("right/b", 1)):
        write_frames(tmp_path / "data" / name, 6, "img_{:04d}.png", first)
    prepare(tmp_path / "data", proxy=24)
    annotations = read_annotations(tmp_path / "out")
    assert numbers(tmp_path / "out", read=frame_number) == numbers(tmp_path / "data", read=frame_number)
    with Image.open(annotations.root / "left" / "a" / "img_0001.jpg") as image:
        assert image.size == (32, 24)
    with pytest.raises(ConfigError, match="nothing to extract: 4 of 4 videos are frames already"):
        gateshift.prepare(str(tmp_path / "data"), out=tmp_path / "more", extract=True)
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize(
    ("options", "where"), [({}, "out"), ({"proxy": 48}, "out/shards"), ({"extract": True}, "out/shards")]
)
def test_shards_of_what_was_written(data, options, where):
    answer = prepare(data, shards=True, shard_bytes=20_000, **options)
    assert answer["shards"] == str(data.parent / where)
    shards = read_annotations(data.parent / where)
    assert shards.shards
    assert numbers(data.parent / where) == numbers(data)
    names = [record.video for record in shards.splits["train"]]
    source = data.parent / "out" if options else data
    assert names == [record.video for record in read_annotations(source).splits["train"]]
    assert "train.csv" in os.listdir(data.parent / "out")
    with pytest.raises(DataError, match="is in shards"):
        gateshift.prepare(str(data.parent / where), out=data.parent / "more", proxy=8)
    cli_tables.show("prepare", answer)


def test_a_download_becomes_small_copies_and_shards(tmp_path):
    for name in ("run/a b.avi", "sit/long.avi"):
        write_numbered(tmp_path / "root" / "videos" / name, 30)
    write_video(tmp_path / "root" / "videos" / "run" / "small.mp4", 8, size=(32, 24))
    (tmp_path / "own.csv").write_text(
        "video,label,split,start_frame,end_frame\nrun/a b.avi,run,train,,\nsit/long.avi,sit,train,10,28\n"
        "run/small.mp4,run,val,,\n"
    )
    out = tmp_path / "out"
    answer = gateshift.prepare(
        str(tmp_path / "own.csv"), tmp_path / "root", out=out, proxy=48, shards=True, workers=1
    )
    assert answer["complete"] and answer["shards"] == str(out / "shards")
    assert "2 of 3 videos are larger than 48 pixels" in str(answer["notes"])
    assert [row[0] for row in rows(out)] == ["run/a b.mp4", "sit/long.mp4"]
    assert rows(out)[1][3:] == (10, 28)
    assert read_annotations(out).root == out / "videos" / "videos"
    assert numbers(out)[1] == list(range(10, 28)) == numbers(out / "shards")[1]
    small = out / "videos" / "videos" / "run" / "small.mp4"
    assert os.path.samefile(small, tmp_path / "root" / "videos" / "run" / "small.mp4")


def test_frames_of_a_download_become_smaller(tmp_path):
    for name in ("a", "b"):
        write_frames(tmp_path / "root" / "frames" / name, 6, "{:06d}.png", first=0)
    (tmp_path / "own.csv").write_text("video,label,split\na,x,train\nb,y,val\n")
    out = tmp_path / "out"
    answer = gateshift.prepare(str(tmp_path / "own.csv"), tmp_path / "root", out=out, proxy=24, workers=1)
    assert answer["complete"] and rows(out) == [("a", 0, 6, 0, None)]
    assert read_annotations(out).frame_template == "{:06d}.jpg"
    assert numbers(out, read=frame_number) == [list(range(6))]
    assert (out / "val_videofolder.txt").read_text() == "b 6 1\n"


def test_places_that_hold_something_else_are_refused(data):
    with pytest.raises(ConfigError, match="is the dataset itself"):
        gateshift.prepare(str(data), out=data, proxy=48)
    with pytest.raises(ConfigError, match="would be taken for a class"):
        gateshift.prepare(str(data), out=data / "small", proxy=48)
    out = data.parent / "out"
    write_annotations(read_annotations(data), out)
    with pytest.raises(DataError, match=r"holds 'train.csv', which was not prepared here"):
        prepare(data, proxy=48)
    shutil.rmtree(out)
    prepare(data, proxy=48)
    described = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(described | {"dataset": "jester"}))
    with pytest.raises(DataError, match="holds the lists of jester"):
        prepare(data, proxy=48)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "Add --extract, --proxy or --shards"),
        ({"extract": True, "proxy": 48}, "Give one"),
        ({"short_side": 24}, "Add --extract, or give --proxy"),
        ({"short_side": 24, "proxy": 48}, "Add --extract, or give --proxy"),
        ({"quality": 80}, "Add --extract or --proxy"),
        ({"quality": 80, "shards": True}, "Add --extract or --proxy"),
        ({"proxy": -1}, "proxy is -1"),
        ({"proxy": 48, "split": 1}, "has no choice of split"),
        ({"shards": True, "shard_bytes": -1}, "shard_bytes is -1"),
    ],
)
def test_settings_at_odds_are_refused(data, options, says):
    with pytest.raises(ConfigError, match=says):
        prepare(data, **options)
    assert not (data.parent / "out").exists()


def test_a_name_without_its_download_says_what_is_missing(tmp_path):
    for name in ("something-v1", "my.csv"):
        with pytest.raises(ConfigError, match=rf"gateshift prepare {name} ROOT"):
            gateshift.prepare(name)
    with pytest.raises(DataError, match="there is no folder"):
        gateshift.prepare(str(tmp_path / "nowhere"), proxy=48)


def test_without_out_each_lies_beside_the_others(data, monkeypatch, capsys):
    monkeypatch.chdir(data.parent)
    assert cli.run("prepare", ["data", "--proxy", "48", "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == "prepared/data-proxy48"
    assert gateshift.prepare("data", extract=True, workers=1)["out"] == "prepared/data-frames"
    assert gateshift.prepare("data", shards=True)["shards"] == "prepared/data-shards"
    again = gateshift.prepare("prepared/data-proxy48", proxy=24, workers=1)
    assert again["out"] == "prepared/data-proxy48-proxy24"
    monkeypatch.chdir(data)
    with pytest.raises(ConfigError, match="would be taken for a class"):
        gateshift.prepare(".", proxy=48)


@pytest.mark.parametrize("kills", [3, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "options", [{"extract": True}, {"proxy": 48}, {"proxy": 40, "shards": True}, {"shards": True}], ids=str
)
def test_killed_at_any_step_it_ends_with_the_same_bytes(data, options, kills):
    for video in (*data.rglob("1 b.avi"), *data.rglob("2 b.mkv")):
        video.unlink()
    if "extract" not in options:
        write_frames(data / "train" / CLASSES[0] / "frames", 2)
    write_video(data / "val" / CLASSES[0] / "small.mp4", 5, size=(40, 32))
    command = [sys.executable, str(HERE / "killed.py"), str(data), str(data.parent), json.dumps(options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(kills)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = list(map(int, done.stdout.split()))
    assert 3 <= len(steps) <= kills
    whole = files(data.parent / "whole", PLAN)  # of which times of files are part
    assert any(name.endswith((LOG, ".tar")) for name in whole)
    for step in steps:
        assert files(data.parent / f"killed{step}", PLAN) == whole, step
    assert files(data.parent / "chain", PLAN) == whole
