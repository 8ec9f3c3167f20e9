"""The doctor's look at one video: real oddities as they were probed by hand, and one planted file a kind."""

import json
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from PIL import Image

from conftest import shared
from gateshift.data.check.findings import KINDS, Finding
from gateshift.data.check.fingerprint import digest, stamp
from gateshift.data.check.probe import Probe, probe_video
from gateshift.data.check.stream_findings import suffixes
from gateshift.data.reader import VIDEO_EXTENSIONS, VideoFile
from gateshift.errors import UnknownName
from videos import frame, write_frames, write_video

FAILING = {
    "Zulko+moviepy__media_doc_medias_result.webm": ("empty-file", "0 bytes"),
    "dmlc+decord__tests_test_data_corrupted.mp4": ("broken-off", "28 of 50 frames.*Invalid data found"),
    "mozilla+mp4parse-rust__mp4parse_capi_tests_bipbop_nonfragment_header.mp4": ("cut-short", "0 of the 297"),
    "mozilla+mp4parse-rust__mp4parse_capi_tests_no_timescale.mp4": (
        "broken-off",
        "8 .*frames.*Invalid data found",
    ),
    "mozilla+mp4parse-rust__mp4parse_tests_invalid_userdata.mp4": ("cut-short", "0 of the 5544"),
    "mozilla+nestegg__test_media_bug1480003.webm": ("no-frames", "without frames"),
    "mozilla+nestegg__test_media_bug2020502.webm": ("no-frames", "0 .*frames.*Invalid data found"),
    "mozilla+nestegg__test_media_issue76.webm": ("no-frames", "without frames"),
    "mozilla+nestegg__test_media_seek_encrypted.webm": ("encrypted", "encrypted"),
}


class Row(NamedTuple):
    """A line of PROBE.txt."""

    name: str
    num_bytes: int
    container: str = ""
    codec: str = ""
    size: str = "None"
    pixel_format: str = "None"
    rate: str = "None"
    declared: int = 0
    decoded: int = 0
    variable_rate: bool = False
    audio: bool = False


def read_rows() -> list[Row]:
    rows = []
    for line in (shared("data/tricky_videos") / "PROBE.txt").read_text().splitlines():
        match = re.fullmatch(
            r"(\S+) (\d+) (\S+) (\S+) (None|\(\d+, \d+\)) (\S+) fps (\S+) "
            r"declared (\d+) decoded (\d+) (vfr|cfr) (audio)? ?.*",
            line,
        )
        if match:
            *texts, declared, decoded, rate, audio = match.groups()
            rows.append(
                Row(
                    texts[0],
                    int(texts[1]),
                    *texts[2:],
                    int(declared),
                    int(decoded),
                    rate == "vfr",
                    bool(audio),
                )
            )
        else:
            name, num_bytes, *rest = line.split(" ")
            assert rest[:2] == ["OPEN", "FAIL"], line
            rows.append(Row(name, int(num_bytes)))
    return rows


@pytest.fixture(scope="module")
def tricky() -> list[tuple[Row, Probe]]:
    """Each line of PROBE.txt, and a full probe of its file."""
    folder = shared("data/tricky_videos")
    rows = read_rows()
    assert {row.name for row in rows} == {path.name for path in folder.iterdir()} - {"PROBE.txt"}
    return [(row, probe_video(folder / row.name, video=row.name)) for row in rows]


def kinds(probe: Probe) -> list[str]:
    return [finding.kind for finding in probe.findings]


def errors(probe: Probe) -> list[str]:
    return [finding.kind for finding in probe.findings if finding.severity == "error"]


def test_tricky_videos_are_what_they_were_probed_to_be(tricky):
    for row, probe in tricky:
        assert (probe.num_bytes, probe.container, probe.codec) == (row.num_bytes, row.container, row.codec), (
            row
        )
        assert (probe.declared_frames, probe.decoded) == (row.declared, row.decoded), row
        assert probe.variable_rate == row.variable_rate == ("variable-rate" in kinds(probe)), row
        if row.size != "None":
            facts = VideoFile(shared("data/tricky_videos") / row.name).facts
            assert str((facts.width, facts.height)) == row.size, row
            assert probe.pixel_format == row.pixel_format, row
            assert (str(facts.rate), facts.has_audio) == (row.rate, row.audio), row


def test_tricky_videos_that_fail_do_so_with_the_reason(tricky):
    for row, probe in tricky:
        if row.name not in FAILING:
            assert errors(probe) == [], row
            assert probe.num_frames == probe.decoded == row.decoded
            assert len(probe.thumbnails) == 768
            assert probe.width and probe.height and probe.seconds > 0
            continue
        kind, reason = FAILING[row.name]
        assert errors(probe) == [kind], row
        [finding] = [finding for finding in probe.findings if finding.kind == kind]
        assert re.search(reason, finding.detail), finding
        assert finding.video == row.name and finding.fix
        assert probe.thumbnails == b""


def test_tricky_videos_have_the_notes_that_they_deserve(tricky):
    for row, probe in tricky:
        expected = {"pixel-format"} if row.pixel_format not in ("None", "yuv420p") else set()
        expected |= {"variable-rate"} if row.variable_rate else set()
        expected |= {"few-frames"} if row.name not in FAILING and row.decoded < 8 else set()
        expected |= {"rotated"} if re.search(r"_(90|180|270)\.", row.name) else set()
        assert {finding.kind for finding in probe.findings if finding.severity != "error"} == expected, row


def test_a_fast_probe_of_tricky_videos_comes_to_the_same(tricky):
    for row, full in tricky:
        fast = probe_video(shared("data/tricky_videos") / row.name, video=row.name, fast=True)
        assert bool(errors(fast)) == bool(errors(full)), row
        assert (fast.num_frames, fast.thumbnails) == (full.num_frames, full.thumbnails), row


def change(path: Path, mark: bytes, offset: int, new: bytes) -> Path:
    """Overwrite what stands at ``offset`` bytes after a mark."""
    content = bytearray(path.read_bytes())
    place = content.index(mark) + offset
    content[place : place + len(new)] = new
    path.write_bytes(content)
    return path


def empty(folder: Path) -> Path:
    path = folder / "a.mp4"
    path.touch()
    return path


def noise(folder: Path) -> Path:
    path = folder / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    return path


def sound(folder: Path) -> Path:
    path = folder / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return path


def cut(folder: Path) -> Path:
    """An MP4 whose index comes first, without its last third."""
    path = folder / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        encode(container, range(12))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def broken(folder: Path) -> Path:
    """A video whose decoder gives up half-way."""
    path = folder / "a.avi"
    with av.open(str(path), "w") as container:
        encode(container, range(12), codec="libx264", options={"bf": "0"})
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for place, size in places[6:]:
        content[place + 8 : place + 8 + size] = bytes(size)
    path.write_bytes(content)
    return path


def miscounted(folder: Path) -> Path:
    """An AVI whose header counts 20 of its 12 frames."""
    return change(write_video(folder / "a.avi"), b"strh", 40, struct.pack("<I", 20))


def uneven(folder: Path) -> Path:
    path = folder / "a.mkv"
    with av.open(str(path), "w") as container:
        encode(container, [0, 1, 2, 5, 6, 7, 11, 12, 13, 14, 19, 20])
    return path


def turned(folder: Path) -> Path:
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    return change(write_video(folder / "a.mp4"), b"tkhd", 44, matrix)


def full_colour(folder: Path) -> Path:
    path = folder / "a.mp4"
    with av.open(str(path), "w") as container:
        encode(container, range(12), codec="libx264", pixel_format="yuv444p")
    return path


def encode(container, times, codec: str = "mpeg4", pixel_format: str = "yuv420p", options=None) -> None:
    stream = container.add_stream(codec, rate=25, options=options)
    stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
    stream.codec_context.time_base = Fraction(1, 25)
    for i, time in enumerate(times):
        shown = av.VideoFrame.from_ndarray(frame(i), format="rgb24")
        shown.pts, shown.time_base = time, Fraction(1, 25)
        container.mux(stream.encode(shown))
    container.mux(stream.encode())


def gap(folder: Path) -> Path:
    path = write_frames(folder / "a")
    (path / "00005.jpg").unlink()
    return path


def torn(folder: Path) -> Path:
    path = write_frames(folder / "a")
    (path / "00005.jpg").write_bytes((path / "00005.jpg").read_bytes()[:300])
    return path


def resized(folder: Path) -> Path:
    path = write_frames(folder / "a")
    Image.new("RGB", (20, 20)).save(path / "00007.jpg")
    return path


def two_templates(folder: Path) -> Path:
    path = write_frames(folder / "a")
    return write_frames(path, 3, "img_{:05d}.jpg")


PLANTED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty-file": (empty, "0 bytes"),
    "not-a-video": (noise, "cannot be opened"),
    "no-video-stream": (sound, "no video stream"),
    "cut-short": (cut, "of the 12 frames"),
    "broken-off": (broken, r"\d of 12 frames can be decoded"),
    "frame-count": (miscounted, "counts 20 frames, and there are 12"),
    "variable-rate": (uneven, "unevenly"),
    "rotated": (turned, "90 degrees"),
    "pixel-format": (full_colour, "yuv444p"),
    "wrong-extension": (
        lambda folder: write_video(folder / "a.mp4").rename(folder / "a.avi"),
        "mov,mp4.*'.avi'",
    ),
    "few-frames": (lambda folder: write_video(folder / "a.mp4", 5), "5 frames, fewer than 8"),
    "missing-file": (lambda folder: folder / "a.mp4", "there is no"),
    "missing-frame": (gap, "00005.jpg"),
    "frame-file": (torn, "frame 4"),
    "frame-size": (resized, "frame 6"),
    "frame-names": (two_templates, "2 templates"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(tmp_path, kind):
    plant, reason = PLANTED[kind]
    path = plant(tmp_path)
    probe = probe_video(path, video=f"some/{path.name}")
    assert kinds(probe) == [kind], probe.findings
    assert re.search(reason, probe.findings[0].detail)
    assert str(tmp_path) not in probe.findings[0].detail or kind == "missing-file" or path.is_dir()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_a_sound_video_has_no_findings(tmp_path, fast, codec):
    probe = probe_video(write_video(tmp_path / "a.mp4", 12, codec), fast=fast)
    assert probe.findings == ()
    assert (probe.width, probe.height, probe.num_frames) == (64, 48, 12)
    assert probe.decoded == (3 if fast else 12)
    assert probe.declared_frames == 12


@pytest.mark.parametrize("fast", [False, True])
def test_sound_frames_have_no_findings(tmp_path, fast):
    probe = probe_video(write_frames(tmp_path / "a"), fast=fast)
    assert probe.findings == ()
    assert (probe.container, probe.codec, probe.num_frames) == ("", "", 12)
    assert probe.decoded == (3 if fast else 12)


def test_a_fast_probe_does_not_see_what_it_does_not_read(tmp_path):
    assert kinds(probe_video(torn(tmp_path), fast=True)) == []


def test_thumbnails_are_grey_frames_of_three_places(tmp_path):
    path = write_frames(tmp_path / "a")
    for fast in (False, True):
        thumbnails = np.frombuffer(probe_video(path, fast=fast).thumbnails, np.uint8).reshape(3, 16, 16)
        assert np.abs(thumbnails[:, -4:, -4:].mean((1, 2)) - [10 + 4 * i for i in (2, 6, 10)]).max() < 1
        assert thumbnails[:, :4, :4].min() > 250


def test_a_reader_that_shows_another_frame_is_found_out(tmp_path, monkeypatch):
    read = VideoFile.read
    monkeypatch.setattr(
        VideoFile, "read", lambda video, indices: read(video, [(i + 1) % 12 for i in indices])
    )
    probe = probe_video(write_video(tmp_path / "a.mp4"))
    assert kinds(probe) == ["damaged-frame"]
    assert "comes out otherwise" in probe.findings[0].detail


def test_a_probe_survives_its_json(tmp_path):
    probe = probe_video(turned(tmp_path), num_segments=20)
    assert kinds(probe) == ["rotated", "few-frames"]
    assert Probe.from_json(json.loads(json.dumps(probe.to_json()))) == probe


def test_a_digest_is_of_the_content(tmp_path):
    a, b = (tmp_path / name for name in ("a.mp4", "b.mp4"))
    for path in (a, b):
        path.write_bytes(bytes(300_000))
    for fast in (False, True):
        assert digest(a, fast) == digest(b, fast)
    assert stamp(a).num_bytes == 300_000
    b.write_bytes(bytes(150_000) + b"x" + bytes(149_999))
    assert digest(a) != digest(b)
    assert digest(a, fast=True) == digest(b, fast=True)  # it looks at the ends only
    b.write_bytes(bytes(299_999) + b"x")
    assert digest(a, fast=True) != digest(b, fast=True)


def test_a_digest_of_frames_sees_every_frame(tmp_path):
    a, b = write_frames(tmp_path / "a"), write_frames(tmp_path / "b")
    assert digest(a) == digest(b)
    assert stamp(a).num_bytes == sum(file.stat().st_size for file in a.iterdir())
    Image.new("RGB", (64, 48)).save(b / "00006.jpg")
    assert digest(a) != digest(b)
    assert digest(a, fast=True) == digest(b, fast=True)


def test_every_extension_of_a_video_belongs_to_a_format():
    assert suffixes() == VIDEO_EXTENSIONS


def test_a_finding_is_of_a_known_kind():
    assert Finding("a.mp4", "rotated", "").severity == "note"
    with pytest.raises(UnknownName, match="broken-off"):
        Finding("a.mp4", "broken-of", "")
    assert all(kind.severity in ("error", "warning", "note") and kind.title for kind in KINDS.values())
