"""Shards: the clips that files give, the same bytes after a kill, tar files that others read and write."""

import gc
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import webdataset
from torch.utils.data import DataLoader

import gateshift
from file_server import serving_files
from gateshift.data import remote
from gateshift.data.annotations import Annotations, VideoRecord, read_annotations, write_annotations
from gateshift.data.check.scan import scan_videos
from gateshift.data.dataset import EvalViews, TrainClips
from gateshift.data.opening import open_record
from gateshift.data.records import Part, Place, Shards
from gateshift.data.shard_writer import count_samples, write_shards
from gateshift.data.shards import open_sample, read_index
from gateshift.data.transforms import train_transform
from gateshift.engine.inference import Inference
from gateshift.engine.trial import Trial
from gateshift.errors import ConfigError, DataError, VideoError
from gateshift.spec import InputSpec
from small_model import save_small_model, small_model
from videos import frame_number, write_frames, write_video

SPEC = InputSpec(size=32, resize=40, mean=(0, 0, 0), std=(1, 1, 1))
CLASSES = ("turn left", "turn right")
SMALL = 20_000  # bytes of a shard, so that there are several


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSES", (0.0,))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Annotations:
    """A dataset of video files and frame folders, two of them with several actions."""
    root = tmp_path_factory.mktemp("source")
    for i in range(4):
        write_video(root / f"clips/é {i}.b.MP4", 6 + 3 * i)
    write_frames(root / "frames" / "v1.2", 20, "{:05d}.jpg", first=1)
    write_frames(root / "frames" / "v3", 9, "{:05d}.jpg", first=0)
    train = [VideoRecord(f"clips/é {i}.b.MP4", i % 2) for i in range(4)]
    train += [
        VideoRecord("frames/v1.2", 0, 20, 2, 9),
        VideoRecord("frames/v1.2", 1, None, 11),
        VideoRecord("clips/é 3.b.MP4", 0, None, 4, 9),
    ]
    val = [VideoRecord("clips/é 3.b.MP4", 1, None, 2, 12), VideoRecord("frames/v3", 0, 7)]
    return Annotations(
        root,
        CLASSES,
        (CLASSES,),
        "{:05d}.jpg",
        "a test",
        {"train": tuple(train), "val": tuple(val)},
        recipe="finetune",
    )


@pytest.fixture(scope="module")
def shards(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "out"
    write_shards(source, out, shard_bytes=SMALL)
    return out


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def items(annotations: Annotations, workers: int = 0) -> list:
    clips = TrainClips(annotations, "train", 4, train_transform(SPEC, annotations.swap_indices), seed=3)
    views = EvalViews(annotations, "val", 4, SPEC, num_clips=2, num_crops=3)
    loaders = (DataLoader(part, batch_size=None, num_workers=workers) for part in (clips, views))
    return [item for loader in loaders for item in loader]


def same(a, b) -> bool:
    return all(torch.equal(x[0], y[0]) and x[1:] == y[1:] for x, y in zip(a, b, strict=True))


def in_memory(folder: Path, name: str) -> str:
    system = fsspec.filesystem("memory")
    for file in folder.rglob("*"):
        if file.is_file():
            system.pipe_file(f"/{name}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return f"memory://{name}"


def write_tar(path: Path, members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def video_bytes(folder: Path, num_frames: int) -> bytes:
    return write_video(folder / "one.mp4", num_frames).read_bytes()


# What is written


def test_lists_say_what_those_of_the_source_say(source, shards):
    found = read_annotations(shards)
    assert found.splits == source.splits
    assert (found.classes, found.label_swaps, found.recipe) == (
        source.classes,
        source.label_swaps,
        "finetune",
    )
    described = json.loads((shards / "dataset.json").read_text())
    assert (described["root"], described["shards"]) == (".", ".")


def test_clips_and_views_are_those_of_the_files(source, shards):
    assert same(items(source), items(read_annotations(shards)))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_video_comes_once_whatever_the_number_of_workers(source, shards, workers):
    assert same(items(source), items(read_annotations(shards), workers))


def test_shards_may_be_moved(source, shards, tmp_path):
    (tmp_path / "else").mkdir()
    for name in digests(shards):
        (tmp_path / "else" / name).write_bytes((shards / name).read_bytes())
    assert same(items(source), items(read_annotations(tmp_path / "else")))


def test_lists_of_a_run_lead_to_the_same_shards(source, shards, tmp_path):
    write_annotations(read_annotations(shards), tmp_path / "run" / "data")
    assert same(items(source), items(read_annotations(tmp_path / "run" / "data")))


def test_a_video_file_with_several_actions_is_stored_once_a_split(source, shards):
    places = read_index(shards / "shards.csv")
    assert Part("clips/é 3.b.MP4") in places
    assert {part for part in places if part.video == "frames/v1.2"} == {
        Part("frames/v1.2", 2, 9),
        Part("frames/v1.2", 11, None),
    }
    assert len(places) == 7  # one of them in train and in val
    assert count_samples(source) == 8


def test_every_sample_is_exactly_its_bytes(shards):
    for part, place in read_index(shards / "shards.csv").items():
        content = (shards / place.shard).read_bytes()[place.offset : place.offset + place.size]
        with tarfile.open(fileobj=io.BytesIO(content + bytes(1024))) as tar:
            about = json.load(
                tar.extractfile(next(name for name in tar.getnames() if name.endswith(".json")))
            )
        assert about["video"] == part.video


def test_nothing_in_a_shard_depends_on_the_machine_or_the_day(source, shards, tmp_path):
    write_shards(source, tmp_path / "again", shard_bytes=SMALL)
    assert digests(tmp_path / "again") == digests(shards)
    for shard in shards.glob("*.tar"):
        with tarfile.open(shard) as tar:
            assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar} == {(0, 0, 0, "", 0o644)}
        assert shard.stat().st_size % 512 == 0


def test_shards_have_the_size_that_was_asked_for(source, shards, tmp_path):
    assert len(list(shards.glob("train-*.tar"))) > 1
    places = read_index(shards / "shards.csv").values()
    assert max(place.size for place in places) < SMALL
    assert all(shard.stat().st_size <= SMALL + 1024 for shard in shards.glob("*.tar"))
    write_shards(source, tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "one").glob("*.tar")) == [
        "train-000000.tar",
        "val-000000.tar",
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_every_sample(source, shards):
    urls = sorted(map(str, shards.glob("train-*.tar")))
    found = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    gc.collect()  # it leaves its files to the garbage collector, which warns
    assert len(found) == len({sample["__key__"] for sample in found}) == 6
    for sample in found:
        about = json.loads(sample["json"])
        if "mp4" in sample:
            assert sample["mp4"] == (source.root / about["video"]).read_bytes()
        else:
            names = sorted(name for name in sample if name.endswith(".jpg"))
            assert names[0] == f"{about['start_frame']:05d}.jpg"
            file = source.root / about["video"] / f"{about['start_frame'] + 1:05d}.jpg"
            assert sample[names[0]] == file.read_bytes()
        if "actions" in about:  # one file with two labels
            assert "cls" not in sample
            assert [action["label"] for action in about["actions"]] == [1, 0]
        else:
            assert int(sample["cls"]) == about["label"] == CLASSES.index(about["class"])


# Killed, and changed


KILLED = """
import os, signal, sys
from gateshift.data import shard_writer
from gateshift.data.annotations import read_annotations

copied = 0

def copy(member, file, copy=shard_writer._copy):
    global copied
    copied += 1
    if copied == int(sys.argv[3]):
        file.write(b"half of it")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    copy(member, file)

shard_writer._copy = copy
shard_writer.write_shards(read_annotations(sys.argv[1]), sys.argv[2], shard_bytes=20_000)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_killed_again_and_again_it_ends_with_the_same_bytes(source, shards, tmp_path):
    lists, out = write_annotations(source, tmp_path / "lists"), tmp_path / "out"
    for member in (2, 12):
        done = subprocess.run([sys.executable, "-c", KILLED, lists, out, str(member)])
        assert done.returncode == -signal.SIGKILL
        assert list(out.glob("*.partial"))
        assert not (out / "dataset.json").exists()
    advanced = []
    kept = [path for path in out.glob("*.tar")]
    assert kept
    times = {path: path.stat().st_mtime_ns for path in kept}
    write_shards(source, out, shard_bytes=SMALL, advance=advanced.append)
    assert sum(advanced) == count_samples(source)
    assert digests(out) == digests(shards)
    assert {path: path.stat().st_mtime_ns for path in kept} == times


def test_only_what_changed_is_written_again(source, tmp_path):
    root = tmp_path / "videos"
    for split in ("train", "val"):
        for i in range(4):
            write_video(root / split / CLASSES[i % 2] / f"{i}.mp4", 6)
    data, out = read_annotations(root), tmp_path / "out"
    write_shards(data, out, shard_bytes=1)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(before) == 8
    write_video(root / "val" / CLASSES[0] / "2.mp4", 9)
    (out / "train-000002.tar").write_bytes(b"cut short")
    write_shards(data, out, shard_bytes=1)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    changed = {name for name in after if after[name] != before.get(name)}
    place = read_index(out / "shards.csv")[Part(f"val/{CLASSES[0]}/2.mp4")]
    assert changed == {"train-000002.tar", place.shard}
    write_shards(data, out)
    assert {path.name for path in out.glob("*.tar")} == {"train-000000.tar", "val-000000.tar"}
    assert same(items(data), items(read_annotations(out)))


def test_a_source_that_changes_on_the_way_is_refused(tmp_path):
    root = tmp_path / "videos"
    for i in range(4):
        write_video(root / CLASSES[i % 2] / f"{i}.mp4", 6)
    data = read_annotations(root)

    def grow(samples):
        for file in root.rglob("*.mp4"):
            file.write_bytes(file.read_bytes() + b"more")

    with pytest.raises(DataError, match=r"\.mp4' changed while it was read"):
        write_shards(data, tmp_path / "out", advance=grow)
    assert not list((tmp_path / "out").glob("*.tar"))


def test_what_cannot_be_sharded_is_refused(source, shards, tmp_path):
    with pytest.raises(ConfigError, match="shard_bytes is 0"):
        write_shards(source, tmp_path / "out", shard_bytes=0)
    with pytest.raises(DataError, match="is in shards already"):
        write_shards(read_annotations(shards), tmp_path / "out")
    lost = replace(source, splits={"train": (VideoRecord("clips/none.mp4", 0),)})
    with pytest.raises(DataError, match="clips/none.mp4' cannot be read or written"):
        write_shards(lost, tmp_path / "out")
    gap = replace(source, splits={"train": (VideoRecord("frames/v3", 0, 12),)})
    with pytest.raises(DataError, match="00009.jpg' cannot be read or written"):
        write_shards(gap, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.txt").touch()
    with pytest.raises(DataError, match="'.*full' holds 'holiday.txt'"):
        write_shards(source, tmp_path / "full")


# What is read


def test_frames_keep_their_numbers(source, shards):
    annotations = read_annotations(shards)
    record = next(record for record in annotations.splits["train"] if record.start_frame == 11)
    video = open_record(annotations, record, "rgb")
    assert video.num_frames == 20
    assert [frame_number(frame) for frame in video.read([11, 19, 11])] == [11, 19, 11]
    for i in (10, 20):
        with pytest.raises(
            VideoError, match=rf"frame {i} of '.*v1.2' is not in its shard, which holds 11 to 19"
        ):
            video.read([i])


def test_no_video_is_passed_off_as_another(source, shards):
    annotations = read_annotations(shards)
    places = dict(annotations.shards.places)
    one, other = Part("clips/é 0.b.MP4"), Part("clips/é 1.b.MP4")
    crossed = Shards(str(shards), places | {one: places[other]})
    with pytest.raises(VideoError, match="it is 'clips/é 1.b.MP4' that lies there"):
        open_sample(crossed, VideoRecord(one.video, 0))
    for place in (
        places[one]._replace(offset=places[one].offset + 512),
        places[one]._replace(size=places[one].size - 512),
        Place(places[one].shard, 0, os.path.getsize(shards / places[one].shard)),
        places[one]._replace(size=1 << 30),
        Place("train-999999.tar", 0, 512),
    ):
        with pytest.raises(VideoError, match="cannot be read from '.*Write the shards again"):
            open_sample(Shards(str(shards), {one: place}), VideoRecord(one.video, 0))
    with pytest.raises(VideoError, match="'clips/none.mp4' is in none of the shards"):
        open_sample(annotations.shards, VideoRecord("clips/none.mp4", 0))


def test_a_damaged_video_in_a_shard_is_named_with_its_shard(shards, tmp_path):
    place = read_index(shards / "shards.csv")[Part("clips/é 0.b.MP4")]
    content = bytearray((shards / place.shard).read_bytes())
    content[place.offset + 2560 : place.offset + place.size] = bytes(place.size - 2560)
    (tmp_path / place.shard).write_bytes(content)
    video = Shards(str(tmp_path), {Part("clips/é 0.b.MP4"): place})
    with pytest.raises(VideoError, match=f"{place.shard}/clips/é 0.b.MP4"):
        open_sample(video, VideoRecord("clips/é 0.b.MP4", 0)).read([0])


def test_lists_and_index_that_do_not_agree_are_refused(shards, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in digests(shards):
        (copy / name).write_bytes((shards / name).read_bytes())
    index = (copy / "shards.csv").read_text()
    (copy / "shards.csv").write_text("\n".join(index.splitlines()[:2]) + "\n")
    with pytest.raises(DataError, match="is in none of the shards"):
        read_annotations(copy)
    (copy / "shards.csv").write_text(index + "a,b,c\n")
    with pytest.raises(DataError, match=r"shards.csv:\d+ is 'a,b,c'"):
        read_annotations(copy)
    (copy / "shards.csv").write_text("video,label\n")
    with pytest.raises(DataError, match="does not begin with 'video,start_frame"):
        read_annotations(copy)
    (copy / "shards.csv").unlink()
    with pytest.raises(DataError, match="there is no 'shards.csv' at"):
        read_annotations(copy)


# From a URL


def test_a_url_gives_the_same_clips(source, shards):
    with serving_files(shards.parent) as site:
        url = f"{site.url}/{shards.name}"
        assert same(items(source), items(read_annotations(url)))
        asked = [path for path, part in site.asked if part]
        assert len(asked) == 9  # one range a video
        site.asked.clear()
        site.faults += [503]  # of one request, in passing
        assert same(items(source), items(read_annotations(f"{url}/"), workers=2))
        assert all(part for path, part in site.asked if path.endswith(".tar"))
    assert same(items(source), items(read_annotations(in_memory(shards, "url-test/deep"))))


def test_a_url_without_a_dataset_is_refused(shards, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "dataset.json").write_text("{}")
    (tmp_path / "lists" / "train.csv").write_text("video,label\na.mp4,b\n")
    with serving_files(tmp_path) as site:
        with pytest.raises(DataError, match="a web server does not say which shards it has"):
            read_annotations(site.url)
        with pytest.raises(DataError, match="names no shards below it"):
            read_annotations(f"{site.url}/lists")
    with pytest.raises(DataError, match="neither 'dataset.json' nor a tar file at 'memory://nothing'"):
        read_annotations("memory://nothing")


def test_a_shard_that_goes_away_is_an_error_of_its_videos(shards):
    with serving_files(shards) as site:
        annotations = read_annotations(site.url)
    record = annotations.splits["train"][0]
    with pytest.raises(VideoError, match="train-.*cannot be read from 'http.*after 2 attempts"):
        open_record(annotations, record, "rgb")


# Shards of others


def test_shards_without_an_index_are_gone_through_once(tmp_path):
    out = tmp_path / "others"
    mp4 = [video_bytes(tmp_path, 5 + i) for i in range(4)]
    write_tar(
        out / "train-00.tar", {"a/0.mp4": mp4[0], "a/0.cls": b"0\n", "a/1.cls": b"2", "a/1.mp4": mp4[1]}
    )
    write_tar(out / "train-01.tar", {"0.json": b'{"label": 1, "fps": 3}', "0.avi": mp4[2]})
    frame = (write_frames(tmp_path / "f", 3) / "00001.jpg").read_bytes()
    write_tar(
        out / "val-00.tar",
        {"v.0.jpg": frame, "v.1.jpg": frame, "v.cls": b"2", "readme": b"", "w.txt": b"no video"},
    )
    found = read_annotations(out)
    assert found.classes == ("0", "1", "2")
    assert found.splits == {
        "train": (VideoRecord("a/0.mp4", 0), VideoRecord("a/1.mp4", 2), VideoRecord("0.avi", 1)),
        "val": (VideoRecord("v", 2),),
    }
    assert [open_record(found, record, "rgb").num_frames for record in found.splits["train"]] == [5, 6, 7]
    assert open_record(found, found.splits["val"][0], "rgb").num_frames == 2
    url = in_memory(out, "others-test/set")
    assert read_annotations(url).splits == found.splits
    again = read_annotations(out)
    assert (again.root, again.splits) == (found.root, found.splits)
    write_tar(out / "val-00.tar", {"w.mp4": mp4[3], "w.cls": b"1"})
    assert read_annotations(out).splits["val"] == (VideoRecord("w.mp4", 1),)


def test_classes_go_by_name(tmp_path):
    mp4 = video_bytes(tmp_path, 5)
    members = {}
    for i in range(6):
        members |= {f"{i}.mp4": mp4, f"{i}.cls": (b"turn right", b"turn left")[i % 2]}
    write_tar(tmp_path / "set" / "shard.tar", members)
    found = read_annotations(tmp_path / "set")
    assert (found.classes, found.label_swaps) == (CLASSES, (CLASSES,))
    assert {record.video: record.label for records in found.splits.values() for record in records} == {
        f"{i}.mp4": 1 - i % 2 for i in range(6)
    }
    assert sorted(found.splits) == ["train", "val"]  # split here, as nobody else has
    (tmp_path / "set" / "dataset.json").write_text('{"classes": ["turn right", "turn left", "turn"]}')
    assert read_annotations(tmp_path / "set").classes == ("turn right", "turn left", "turn")
    (tmp_path / "set" / "dataset.json").write_text('{"classes": ["turn right", "turn"]}')
    with pytest.raises(DataError, match="'1.mp4' in the shards at .* label 'turn left', .* none of the 2"):
        read_annotations(tmp_path / "set")


def test_our_own_shards_are_understood_without_lists_and_index(source, shards, tmp_path):
    out = tmp_path / "bare"
    out.mkdir()
    for shard in shards.glob("*.tar"):
        (out / shard.name).write_bytes(shard.read_bytes())
    found = read_annotations(out)
    assert found.classes == source.classes
    for split in ("train", "val"):
        assert sorted(map(repr, found.splits[split])) == sorted(map(repr, source.splits[split]))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("key", ["7", "é" * 20, "long/" * 18 + "key", "long/" * 60 + "key"])
def test_every_kind_of_tar_is_read(tmp_path, form, key):
    if len(key) > 256 and form == tarfile.USTAR_FORMAT:
        pytest.skip("cannot hold such a name")
    mp4 = video_bytes(tmp_path, 5)
    frame = (write_frames(tmp_path / "f", 1) / "00001.jpg").read_bytes()
    members = {f"{key}.mp4": mp4, f"{key}.cls": b"0", f"{key}b.jpg": frame, f"{key}b.cls": b"1"}
    write_tar(tmp_path / "set" / "train-0.tar", members, form)
    write_tar(tmp_path / "set" / "val-0.tar", members, form)
    found = read_annotations(tmp_path / "set")
    assert [record.video for record in found.splits["val"]] == [f"{key}.mp4", f"{key}b"]
    video, image = (open_record(found, record, "rgb") for record in found.splits["val"])
    assert video.num_frames == 5
    assert image.read([0]).shape == (1, 48, 64, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no tar at all" * 100, "is no tar file, or is cut short"),
        (b"", "is no tar file, or is cut short"),
        (None, "the sample '0' of .* has no label"),
    ],
)
def test_shards_that_are_no_dataset_are_refused(tmp_path, content, message):
    path = write_tar(tmp_path / "set" / "train.tar", {"0.mp4": b"x" * 1000, "1.mp4": b"y"})
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_annotations(path.parent)


def test_a_shard_damaged_in_the_middle_is_refused(tmp_path):
    path = write_tar(tmp_path / "set" / "train.tar", {"0.mp4": b"x" * 512, "0.cls": b"1", "1.mp4": b"y"})
    content = bytearray(path.read_bytes())
    content[2048:2560] = b"?" * 512  # a header
    path.write_bytes(content)
    with pytest.raises(DataError, match="there is no header at byte 2048"):
        read_annotations(path.parent)


def test_a_tar_beside_class_folders_is_no_dataset(tmp_path):
    for i in range(4):
        write_video(tmp_path / "set" / CLASSES[i % 2] / f"{i}.mp4", 5)
    write_tar(tmp_path / "set" / "backup.tar", {"0.txt": b""})
    assert read_annotations(tmp_path / "set").shards is None


# The commands


def test_a_scan_says_of_shards_what_it_says_of_files(source, shards, tmp_path):
    annotations = read_annotations(shards)
    videos = sorted({record.video for records in source.splits.values() for record in records})
    wanted = [video for video in videos if video != "frames/v1.2"]  # only parts of it are there
    of_files = scan_videos(source.root, wanted, workers=0, log=tmp_path / "files.jsonl")
    log, done = tmp_path / "shards.jsonl", []
    how = {"workers": 0, "log": log, "shards": annotations.shards}
    found = scan_videos(annotations.root, videos, advance=done.append, **how)
    for video in wanted:
        left = {"num_bytes": 0, "modified_ns": 0, "seconds": 0.0, "digest": ""}
        if video == "frames/v3":  # 7 of its 9 frames are listed
            left |= {"num_frames": 0, "decoded": 0, "thumbnails": b"", "findings": ()}
        assert replace(found[video], **left) == replace(of_files[video], **left)
    assert found["frames/v1.2"].decoded == 16
    assert sum(done) == len(videos)
    before = log.read_text()
    assert scan_videos(annotations.root, videos, **how) == found
    assert log.read_text().rstrip("\n") == before.rstrip("\n")  # nothing was probed again


def test_a_scan_names_what_cannot_be_read_from_a_shard(shards, tmp_path):
    video = "clips/é 0.b.MP4"
    place = read_index(shards / "shards.csv")[Part(video)]
    cut = Shards(str(shards), {Part(video): place._replace(offset=place.offset + 1)})
    found = scan_videos(tmp_path, [video, "none.mp4"], workers=0, log=tmp_path / "log.jsonl", shards=cut)
    assert [finding.kind for probe in found.values() for finding in probe.findings] == [
        "unreadable",
        "missing-file",
    ]


def trial_of(annotations: Annotations, weights: Path, workers: int = 0) -> Trial:
    model = small_model(CLASSES)
    views = EvalViews(annotations, "val", 4, model.input_spec, 2, 3)
    how = Inference(torch.device("cpu"), batch_size=4, workers=workers, progress=False)
    return Trial(weights, model, views, annotations.swap_indices, how)


def test_scores_are_those_of_the_files(source, shards, tmp_path):
    weights = save_small_model(tmp_path / "run", CLASSES) / "weights.safetensors"
    expected = trial_of(source, weights).run()
    for workers in (0, 2):
        found = trial_of(read_annotations(shards), weights, workers).run()
        assert found.videos == expected.videos
        assert np.array_equal(found.logits, expected.logits)


def test_kept_answers_are_of_these_shards(source, shards, tmp_path):
    weights = save_small_model(tmp_path / "run", CLASSES) / "weights.safetensors"
    keys = trial_of(read_annotations(shards), weights).keys
    assert len(set(keys)) == len(keys) == 2
    assert trial_of(read_annotations(shards), weights).keys == keys
    write_shards(source, tmp_path / "out")
    other = read_annotations(tmp_path / "out")
    before = trial_of(other, weights).keys
    assert not set(keys) & set(before)
    os.utime(tmp_path / "out" / "val-000000.tar", ns=(1, 1))
    assert not set(trial_of(other, weights).keys) & set(before)
    url = in_memory(shards, "keys-test/set")
    keys = trial_of(read_annotations(url), weights).keys
    assert len(set(keys)) == 2
    os.chdir(tmp_path)
    assert trial_of(read_annotations(url), weights).keys == keys


def test_train_and_test_take_a_url(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = dict(
        model="tsn_resnet18",
        pretrained=False,
        num_segments=2,
        size=32,
        epochs=1,
        device="cpu",
        warmup_epochs=0,
    )
    scores = []
    with serving_files(shards.parent) as site:
        for data in (shards, f"{site.url}/{shards.name}"):
            run = tmp_path / f"run-{len(scores)}"
            answer = gateshift.train(data, out=run, workers=0, batch_size=4, **settings)
            assert answer["epochs"] == 1
            assert gateshift.test(run, data, workers=0, device="cpu")["videos"] == 2
            scores.append(np.load(run / "val_scores.npz")["logits"])
            assert "data:image/jpeg" in (run / "report.html").read_text()
    assert np.array_equal(*scores)


def test_check_looks_into_shards(source, shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving_files(shards.parent) as site:
        answer = gateshift.check(f"{site.url}/{shards.name}", speed=False, workers=0, fast=True)
    kinds = {(problem["video"], problem["kind"]) for problem in answer["problems"]}
    assert answer["videos"] == 6
    assert not {kind for _, kind in kinds} & {"missing-file", "unreadable", "unusable", "bad-description"}
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in digests(shards):
        (broken / name).write_bytes((shards / name).read_bytes())
    lines = (broken / "shards.csv").read_text().splitlines(keepends=True)
    (broken / "shards.csv").write_text("".join(line for line in lines if "é 0" not in line))
    answer = gateshift.check(broken, speed=False, workers=0, fast=True)
    found = {problem["video"] for problem in answer["problems"] if problem["kind"] == "missing-file"}
    assert found == {"clips/é 0.b.MP4"}
