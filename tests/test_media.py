"""What lies in a download: frames counted by name, videos found at any depth, names matched to them."""

import os
from pathlib import Path
from time import sleep

import pytest

from gateshift.data.raw.frame_count import count_frames
from gateshift.data.raw.matching import match_videos
from gateshift.data.raw.media import FoundVideo, scan_media
from gateshift.errors import DataError
from videos import touch

JPG = "{:05d}.jpg"


def names(*numbers):
    return [JPG.format(number) for number in numbers]


@pytest.mark.parametrize(
    ("files", "first", "num_frames", "gaps", "stray"),
    [
        (names(1, 2, 3), 1, 3, (), ()),
        (names(0, 1, 2), 0, 3, (), ()),  # the reader starts at 0 as well
        (names(2, 3), 1, 2, (("00001.jpg", "00001.jpg"),), ()),
        (names(1, 2, 5, 7), 1, 4, (("00003.jpg", "00004.jpg"), ("00006.jpg", "00006.jpg")), ()),
        ([*names(1, 2), "Thumbs.db", "2.jpg", "00003.JPG"], 1, 2, (), ("00003.JPG", "2.jpg", "Thumbs.db")),
    ],
)
def test_frames_are_counted_by_their_template(files, first, num_frames, gaps, stray):
    count = count_frames(files, JPG, 1)
    assert (count.template, count.first, count.num_frames, count.gaps) == (JPG, first, num_frames, gaps)
    assert count.stray == stray


def test_other_names_tell_the_template_themselves():
    files = ["img_001.png", "img_002.png", "img_004.png", "flow_1.png", "notes.txt"]
    count = count_frames(files, JPG, 1)
    assert (count.template, count.first, count.num_frames) == ("img_{:03d}.png", 1, 3)
    assert count.gaps == (("img_003.png", "img_003.png"),)
    assert count.stray == ("flow_1.png", "notes.txt")


def test_flow_beside_the_images_is_not_taken_for_them():
    files = [f"{kind}_{number:05d}.jpg" for kind in ("flow_x", "flow_y", "img") for number in (1, 2, 3)]
    count = count_frames(files)
    assert (count.template, count.num_frames, len(count.stray)) == ("img_{:05d}.jpg", 3, 6)
    assert count_frames(files[:3]).template == "flow_x_{:05d}.jpg"  # alone it is what there is


@pytest.mark.parametrize("files", [[], ["notes.txt"], ["cover.jpg"], ["._00001.jpg"]])
def test_without_numbered_images_there_are_no_frames(files):
    assert count_frames(files) is None


@pytest.fixture
def root(tmp_path):
    frames = tmp_path / "20bn" / "12"
    touch(*(frames / name for name in names(1, 2, 3)))
    (frames / "00002.jpg").write_bytes(b"x")
    (tmp_path / "20bn" / "13").mkdir()
    videos = tmp_path / "videos" / "Jump"
    touch(videos / "a b.avi", videos / "-x.MP4", videos / "poster1.jpg", videos / "list.txt")
    (videos / "-x.MP4").write_bytes(b"x")
    touch(tmp_path / "flow_x" / "12" / "00001.jpg", tmp_path / ".hidden" / "9" / "00001.jpg")
    touch(tmp_path / "20bn-something-something-v1-00", tmp_path / "rest.tar.gz", tmp_path / "train.csv")
    touch(tmp_path / "lists" / "dataset.json", tmp_path / "lists" / "train.csv")
    touch(tmp_path / "lists" / "frames" / "12" / "00001.jpg", tmp_path / "out" / "12" / "00001.jpg")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 4])
def test_scan_finds_what_there_is(root, workers):
    steps = []
    media = scan_media(root, JPG, 1, skip=(root / "out",), workers=workers, advance=steps.append)
    assert {video.path: video.empty for video in media.videos} == {
        "20bn/12": ("00001.jpg", "00003.jpg"),
        "videos/Jump/-x.MP4": (),
        "videos/Jump/a b.avi": ("a b.avi",),
    }
    assert [video.frames.num_frames for video in media.videos if video.frames] == [3]
    assert media.flow == ("flow_x",)
    assert media.archives == ("20bn-something-something-v1-00", "rest.tar.gz")
    assert media.bare_folders == ("20bn/13",)
    assert media.other_files == ("train.csv", "videos/Jump/list.txt", "videos/Jump/poster1.jpg")
    assert sum(steps) == 3


def test_a_link_to_a_folder_above_ends(tmp_path):
    touch(tmp_path / "a" / "1" / "00001.jpg", tmp_path / "elsewhere" / "2" / "00001.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = [video.path for video in scan_media(tmp_path / "a", JPG, 1).videos]
    assert found == ["1", "linked/2"]


def test_frames_with_a_stray_video_among_them_are_frames(tmp_path):
    touch(tmp_path / "12" / "00001.jpg", tmp_path / "12" / "12.mp4")
    assert [video.frames.stray for video in scan_media(tmp_path, JPG, 1).videos] == [("12.mp4",)]
    assert [video.path for video in scan_media(tmp_path).videos] == ["12/12.mp4"]


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot be listed \(Permission denied\)"):
        scan_media(tmp_path)


def test_an_interrupted_scan_does_not_wait_for_the_rest(tmp_path, monkeypatch):
    for i in range(500):
        (tmp_path / str(i)).mkdir()
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (looked.append(path), sleep(0.002), scandir(path))[-1])

    def interrupt(videos):
        if len(looked) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_media(tmp_path, workers=2, advance=interrupt)
    assert len(looked) < 400


def file(path):
    return FoundVideo(path, None, ())


def frames(path):
    return FoundVideo(path, count_frames(names(1)), ())


def test_names_match_the_last_parts_of_a_path_exactly():
    videos = [
        file("UCF-101/Jump/v_1.avi"),
        file("UCF-101/Run/v_1.avi"),
        frames("rgb/112"),
        frames("rgb/12.5"),
    ]
    found = match_videos(["Jump/v_1", "12", "112", "12.5", "v_1", "p/v_1"], videos, "files")
    assert found["Jump/v_1"].video is videos[0]
    assert found["112"].video is videos[2]
    assert found["12.5"].video is videos[3]
    assert found["12"].video is None and not found["12"].candidates
    assert found["v_1"].video is None and found["v_1"].candidates == (videos[0], videos[1])
    assert found["p/v_1"].video is None


def test_case_may_differ_where_that_leaves_one():
    videos = [file("HandstandPushups/v_HandStandPushups_g01.avi"), file("a/Clip.avi"), file("b/clip.AVI")]
    found = match_videos(
        ["HandstandPushups/v_HandstandPushups_g01", "CLIP", "clip", "a/clip"], videos, "files"
    )
    first = found["HandstandPushups/v_HandstandPushups_g01"]
    assert first.video is videos[0] and first.differs_in_case
    assert found["CLIP"].candidates == (videos[1], videos[2])
    assert found["clip"].video is videos[2] and not found["clip"].differs_in_case
    assert found["a/clip"].video is videos[1]


@pytest.mark.parametrize(("prefer", "taken"), [("frames", 1), ("files", 0)])
def test_frames_and_file_of_one_video(prefer, taken):
    videos = [file("videos/7.webm"), frames("frames/7")]
    match = match_videos(["7"], videos, prefer)["7"]
    assert match.video is videos[taken]
    assert match.passed_over is videos[1 - taken]


def test_two_files_of_one_name_are_not_chosen_between():
    videos = [file("videos/7.webm"), file("videos/7.mp4"), frames("frames/7")]
    match = match_videos(["7"], videos, "frames")["7"]
    assert match.video is None and len(match.candidates) == 3


def test_a_name_of_bytes_that_are_no_text_is_found(tmp_path):
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))).touch()
    except OSError:
        pytest.skip("this file system takes text only")
    assert len(scan_media(tmp_path).videos) == 1
