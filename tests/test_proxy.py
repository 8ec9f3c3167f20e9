"""Small copies of videos: every displayed frame once, as good as said, the same bytes every time."""

import errno
import os
import resource
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from coded_videos import Coding, encode, number_of, numbered_frame
from conftest import shared
from gateshift.data import proxy
from gateshift.data.annotations import read_annotations
from gateshift.data.conversion import convert_videos
from gateshift.data.dataset import EvalViews
from gateshift.data.frame_writer import shrink
from gateshift.data.prepared_log import LOG
from gateshift.data.proxy import Proxying, ProxySettings
from gateshift.data.proxy_writer import write_proxy
from gateshift.data.reader import VideoFile, open_video
from gateshift.engine.inference import Inference
from gateshift.engine.trial import score
from gateshift.errors import ConfigError, DataError, VideoError
from test_prepare_extract import fitted_model
from test_reader import UNREADABLE
from tricky import tricky_videos
from videos import frame, frame_number, write_frames, write_video

CODINGS = [
    Coding("libx264", "mp4", b_frames=3),
    Coding("libx264", "mov", b_frames=2, rotation=90),
    Coding("libx264", "mp4", rotation=270, mirrored=True),
    Coding("libvpx-vp9", "webm", uneven=True),
    Coding("mpeg4", "avi", b_frames=2),
    Coding("libx264", "mkv", rate=Fraction(500000, 20833), pixels="yuv420p10le"),
    Coding("gif", "gif", pixels="rgb8"),
]


@pytest.fixture
def root(tmp_path):
    """Two videos of different lengths, 64 x 48."""
    write_video(tmp_path / "root" / "a.mp4", 12)
    write_video(tmp_path / "root" / "b" / "c.avi", 7)
    return tmp_path / "root"


def run(root: Path, side: int = 24, template: str | None = None, out: Path | None = None, **options):
    videos = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return convert_videos(
        root,
        videos,
        out or root.parent / "out",
        Proxying(ProxySettings(side), template),
        workers=0,
        **options,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("side", [0, 48])
@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_every_displayed_frame_is_there_once(tmp_path, coding, side):
    source = encode(coding, tmp_path)
    (made,) = convert_videos(
        tmp_path, [source.name], tmp_path / "out", Proxying(ProxySettings(side)), workers=0
    ).values()
    assert (made.error, made.taken, made.num_frames) == (None, False, coding.num_frames)
    small = open_video(tmp_path / "out" / made.path)
    assert small.num_frames == coding.num_frames
    frames = small.read(range(coding.num_frames))
    assert frames.shape[1:3] == ((64, 96) if side == 0 else (48, 72))
    assert [number_of(pixels) for pixels in frames] == list(range(coding.num_frames))
    assert frames[:, 2, 2].min() > 200  # the corner that tells turns and mirrors


def test_a_copy_is_made_to_be_read_fast(root):
    with av.open(str(root / "a.mkv"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        stream = container.add_stream("libx264", rate=Fraction(30000, 1001), options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(i), format="rgb24")))
        container.mux(stream.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    assert VideoFile(root / "a.mkv").facts.has_audio
    copy = root.parent / "out" / run(root)["a.mkv"].path
    facts = VideoFile(copy).facts
    assert (facts.container, facts.codec) == ("mov,mp4,m4a,3gp,3g2,mj2", "h264")
    assert (facts.num_packets, facts.num_keyframes, facts.declared_frames) == (20, 3, 20)
    assert facts.rate == Fraction(30000, 1001)
    assert not (facts.has_audio or facts.variable_rate or facts.rotation)
    with av.open(str(copy)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets]
    assert copy.read_bytes()[:64].find(b"moov") > 0  # the index comes first


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1), (3, 2), (480, 20)])
def test_any_size_keeps_its_pixels(tmp_path, size):
    noise = np.random.default_rng(0).integers(0, 256, (size[0] // 4 + 1, size[1] // 4 + 1, 3), np.uint8)
    still = noise.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]]
    frames = [np.roll(still, i, axis=1) for i in range(18)]
    for name in ("one.mp4", "two.mp4"):
        assert write_proxy(frames, tmp_path / name, None) == 18
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    video = VideoFile(tmp_path / "one.mp4")
    difference = np.abs(video.read(range(18)).astype(int) - np.stack(frames))
    assert video.facts.rate == 25
    assert difference.mean() < 1 and difference.max() <= 18  # the most that real videos had


def test_colours_survive(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 30, 90)]
    frames = [np.full((32, 48, 3), colour, np.uint8) for colour in colours]
    write_proxy(frames, tmp_path / "a.mp4", Fraction(2))
    assert np.abs(VideoFile(tmp_path / "a.mp4").read(range(6)).astype(int) - np.stack(frames)).max() <= 2


def test_frames_are_shrunk_as_extracted_ones_are(root):
    run(root)
    original = VideoFile(root / "a.mp4").read(range(12))
    wanted = np.stack([np.asarray(shrink(pixels, 24)) for pixels in original])
    small = VideoFile(root.parent / "out" / "a.mp4").read(range(12))
    assert small.shape == (12, 24, 32, 3)
    assert np.abs(small.astype(int) - wanted).mean() < 1


def test_what_is_small_is_the_file_itself(root, monkeypatch):
    write_video(root / "d.mkv", 5, "libx264", size=(96, 50))
    made = run(root, side=48)
    assert {video: (one.path, one.taken) for video, one in made.items()} == {
        "a.mp4": ("a.mp4", True),
        "b/c.avi": ("b/c.avi", True),
        "d.mkv": ("d.mp4", False),
    }
    out = root.parent / "out"
    assert os.path.samefile(out / "b/c.avi", root / "b/c.avi")
    assert Proxying(ProxySettings(48)).remarks(made) == (
        "1 of 3 videos are larger than 48 pixels on their short side and became smaller; "
        "2 are the files themselves.",
    )
    (root / "link.avi").symlink_to(root / "b" / "c.avi")

    def another_disk(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", another_disk)
    run(root, side=48, out=root.parent / "copies")
    copies, links = files(root.parent / "copies"), files(out)
    assert copies.pop("link.avi") == copies["b/c.avi"]
    assert not (root.parent / "copies" / "link.avi").is_symlink()
    del copies[LOG], links[LOG]
    assert copies == links


def test_names_never_collide(tmp_path):
    for name in ("a.avi", "a.mp4", "A.mkv"):
        write_video(tmp_path / "root" / name, 3)
    made = run(tmp_path / "root")
    assert len({one.path.lower() for one in made.values()}) == 3
    assert all(one.path.endswith(".mp4") for one in made.values())
    made = run(tmp_path / "root", side=100, out=tmp_path / "as_they_are")
    assert len({one.path.lower() for one in made.values()}) == 3
    assert sorted(Path(one.path).suffix for one in made.values()) == [".avi", ".mkv", ".mp4"]


@pytest.mark.parametrize(
    ("template", "name", "first"),
    [(None, "img_{:d}.png", 0), ("{:03d}.JPG", "{:03d}.JPG", 7), (None, "{:05d}.jpg", 1)],
)
def test_folders_of_frames_become_folders_of_smaller_jpegs(tmp_path, template, name, first):
    write_frames(tmp_path / "root" / "large.v2", 40, name, first)
    (tmp_path / "root" / "small").mkdir()
    for i in range(3):
        Image.fromarray(frame(i, 32, 24)).save(tmp_path / "root" / "small" / name.format(first + i))
    (tmp_path / "root" / "small" / "notes.txt").write_text("not a frame")
    conversion = Proxying(ProxySettings(24), template)
    out = tmp_path / "out"
    made = convert_videos(tmp_path / "root", ["large.v2", "small"], out, conversion, workers=0)
    assert {video: (one.path, one.num_frames, one.taken) for video, one in made.items()} == {
        "large.v2": ("large.v2", 40, False),
        "small": ("small", 3, True),
    }
    before = template or name
    both = conversion.frame_template(before, made)
    assert both == (None if name.endswith("png") else before)
    large, small = open_video(out / "large.v2", both), open_video(out / "small", both)
    frames = large.read(range(40))
    assert frames.shape == (40, 24, 32, 3)
    assert [frame_number(pixels[-4:, -4:]) for pixels in frames] == list(range(40))
    assert large.file(0).name.lower() == f"{Path(name.format(first)).stem}.jpg".lower()
    assert sorted(path.name for path in small.path.iterdir()) == [name.format(first + i) for i in range(3)]
    assert os.path.samefile(small.file(2), tmp_path / "root" / "small" / name.format(first + 2))


def test_a_folder_of_unequal_frames_or_with_a_gap_is_refused(tmp_path):
    folder = write_frames(tmp_path / "root" / "a", 20)
    Image.fromarray(frame(18, 60, 48)).save(folder / "00019.jpg")
    write_frames(tmp_path / "root" / "b", 5)
    (tmp_path / "root" / "b" / "00003.jpg").unlink()
    made = convert_videos(
        tmp_path / "root", ["a", "b"], tmp_path / "out", Proxying(ProxySettings(24)), workers=0
    )
    assert "frame 18 of" in made["a"].error and "another size" in made["a"].error
    assert "is missing" in made["b"].error
    assert list(files(tmp_path / "out")) == [LOG]


def test_any_number_of_workers_writes_the_same(root):
    write_frames(root.parent / "root" / "d", 4)
    written = {}
    for workers in (0, 2):
        out = root.parent / f"out{workers}"
        answer = convert_videos(
            root, ["a.mp4", "b/c.avi", "d", "no.mp4"], out, Proxying(ProxySettings(24)), workers=workers
        )
        assert "there is no video" in answer["no.mp4"].error
        written[workers] = sorted(answer.items()), files(out)
    assert written[0] == written[2]
    assert len(written[0][1]) == 7


def test_a_second_run_does_only_what_is_missing(root):
    out = root.parent / "out"
    first = run(root)
    before = files(out)
    inode = (out / "a.mp4").stat().st_ino
    (out / "b" / "c.mp4").write_bytes(b"short")
    assert run(root) == first
    assert files(out) == before
    assert (out / "a.mp4").stat().st_ino == inode

    write_video(root / "b" / "c.avi", 9, size=(32, 24))  # another file, and small
    assert run(root)["b/c.avi"].path == "b/c.avi"
    assert sorted(files(out)) == [LOG, "a.mp4", "b/c.avi"]
    (root / "a.mp4").write_bytes(b"no video")
    assert "cannot be opened" in run(root)["a.mp4"].error


def test_other_settings_over_existing_copies_are_refused(root):
    run(root)
    with pytest.raises(ConfigError, match="made with --proxy 24, and 32 is asked for"):
        run(root, side=32)
    with pytest.raises(ConfigError, match="proxy is -1"):
        ProxySettings(-1)
    with pytest.raises(ConfigError, match="quality is 0"):
        ProxySettings(24, 0)


def test_frames_too_large_for_the_encoder_are_refused(tmp_path):
    with pytest.raises(VideoError, match="20000x16 pixels cannot be encoded"):
        write_proxy([np.zeros((16, 20000, 3), np.uint8)] * 2, tmp_path / "a.mp4", None)


def test_a_full_disk_is_named_and_leaves_nothing_half_written(root):
    write_video(root / "large.avi", 20, size=(320, 240))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written \(File too large\).* goes on where it ended"):
            run(root, side=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    out = root.parent / "out"
    assert "large.mp4" not in files(out) and not (out / ".partial").exists()
    assert all(one.error is None for one in run(root, side=0).values())
    whole = files(out)
    shutil.rmtree(out)
    run(root, side=0)
    assert files(out) == whole


def test_tricky_videos_become_copies_or_are_refused_as_the_reader_does(tmp_path):
    folder = shared("data/tricky_videos")
    small = [probed for probed in tricky_videos() if probed.num_pixels < 2_000_000]
    conversion = Proxying(ProxySettings(64))
    made = convert_videos(
        folder, [probed.path.name for probed in small], tmp_path / "out", conversion, workers=0
    )
    assert len(made) > 15
    for probed in small:
        one = made[probed.path.name]
        if probed.path.name in UNREADABLE:
            assert UNREADABLE[probed.path.name] in one.error
            continue
        assert (one.error, one.num_frames) == (None, probed.decoded), probed
        copy, original = VideoFile(tmp_path / "out" / one.path), VideoFile(probed.path)
        assert copy.num_frames == probed.decoded
        indices = [0, probed.decoded // 2, probed.decoded - 1]
        for ours, theirs in zip(copy.read(indices), original.read(indices), strict=True):
            wanted = np.asarray(shrink(theirs, 64))
            assert ours.shape == wanted.shape
            assert np.abs(ours.astype(int) - wanted).mean() < 2, probed


def test_numbered_frames_are_told_apart():
    assert [number_of(numbered_frame(i, (72, 48))) for i in range(40)] == list(range(40))


def test_take_replaces_nothing(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with pytest.raises(shutil.SameFileError):
        proxy.take(tmp_path / "a", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "a"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("arid6", 96), ("fights", 300)])
def test_real_videos_are_judged_alike_by_their_copies(tmp_path, name, count):
    annotations = read_annotations(shared(f"data/{name}"))
    splits = annotations.splits
    videos = splits["val"] if name == "arid6" else (*splits["train"], *splits["val"])
    assert len(videos) == count
    made = convert_videos(
        annotations.root,
        [record.video for record in videos],
        tmp_path / "out",
        Proxying(ProxySettings(0)),
        workers=2,
    )
    model = fitted_model(annotations, videos)
    how = Inference(torch.device("cpu"), workers=0, progress=False)
    copies = [replace(record, video=made[record.video].path) for record in videos]
    direct, small = (
        score(model, EvalViews(route, records, model.num_segments, model.input_spec), how, label_swaps={})
        for route, records in ((annotations, videos), (replace(annotations, root=tmp_path / "out"), copies))
    )
    assert np.array_equal(direct.logits.argmax(axis=1), small.logits.argmax(axis=1))
