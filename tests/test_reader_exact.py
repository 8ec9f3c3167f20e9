"""The n-th frame is the n-th shown: 200 ways of encoding, files cut and edited, and the tricky ones."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from coded_videos import Coding, codings, encode, number_of
from gateshift.data import decoding, reader
from gateshift.data.decoding import OpenVideo
from gateshift.data.pixels import QUICK, TRUE_COLOURS
from gateshift.data.reader import FewerFrames, VideoFile
from gateshift.errors import VideoError
from tricky import Probed, tricky_videos

CODINGS = codings()
READABLE = [probed for probed in tricky_videos() if not probed.fails]
SMALL = [probed for probed in READABLE if probed.num_pixels < 15_000_000]


def shown_by_ffmpeg(path: Path) -> Iterator[np.ndarray]:
    """Every frame of a plain sequential decode that knows nothing of our reader: turned, not scaled."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            how = Interpolation.BILINEAR if frame.format.name in QUICK else TRUE_COLOURS
            pixels = frame.reformat(format="rgb24", interpolation=how).to_ndarray()
            yield pixels if abs(frame.rotation) > 360 else np.rot90(pixels, round(frame.rotation / 90) % 4)


def digest(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(pixels).tobytes()).digest()


def numbers(frames: Sequence[np.ndarray] | np.ndarray) -> list[int]:
    return [number_of(pixels) for pixels in frames]


def check_every_index(coding: Coding, folder: Path) -> None:
    """Read a video of a coding in order, one by one and many at a time; each frame is the one asked for."""
    path = encode(coding, folder)
    in_order = list(VideoFile(path).frames())
    assert numbers(in_order) == list(range(coding.num_frames))
    assert coding.mirrored or all(map(np.array_equal, in_order, shown_by_ffmpeg(path)))
    order = list(range(coding.num_frames))
    random.Random(str(coding)).shuffle(order)
    for some in [[i] for i in order] + [order[i : i + 5] for i in range(0, len(order), 5)] + [order]:
        read = VideoFile(path).read(some)
        assert numbers(read) == some
        assert all(np.array_equal(pixels, in_order[i]) for i, pixels in zip(some, read, strict=True))


@pytest.mark.parametrize("coding", CODINGS[::9], ids=str)
def test_every_frame_of_a_coding(coding, tmp_path):
    check_every_index(coding, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_every_frame_of_200_codings(coding, tmp_path):
    assert len(CODINGS) == len(set(map(str, CODINGS))) == 200
    check_every_index(coding, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_every_frame_of_videos_that_do_not_fit_in_memory(coding, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "KEPT_BYTES", 0)
    check_every_index(coding, tmp_path)


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9", "mpeg4"])
def test_large_videos_are_read_by_seeking_in_the_file(codec, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "KEPT_BYTES", 0)
    check_every_index(Coding(codec, "mkv", gop=5, b_frames=0 if "vp9" in codec else 2), tmp_path)


def test_a_process_counts_the_packets_of_a_long_video_once(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "KEPT_BYTES", 0)
    monkeypatch.setattr(reader, "KEPT_BYTES", 0)
    path = encode(Coding("libx264", "mp4", gop=10), tmp_path)
    first, again = VideoFile(path), VideoFile(path)
    assert numbers(first.read([17])) == numbers(again.read([17])) == [17]
    assert again._index is first._index
    encode(Coding("libx264", "mp4", gop=10, num_frames=30), tmp_path / "..").replace(path)
    assert VideoFile(path).num_frames == 30


def packets_decoded(monkeypatch: pytest.MonkeyPatch, path: Path, wanted: Sequence[int]) -> list[int]:
    """Read frames, and return the packets at which decoding began."""
    begun: list[int] = []
    plain = OpenVideo.frames_from
    monkeypatch.setattr(
        OpenVideo, "frames_from", lambda video, first: begun.append(first) or plain(video, first)
    )
    VideoFile(path).read(wanted)
    return begun


def test_decoding_leaps_to_keyframes_where_that_spares_packets(tmp_path, monkeypatch):
    regular = {"x264-params": "scenecut=0:min-keyint=10"}
    path = encode(Coding("libx264", "mp4", gop=10, options=regular), tmp_path)
    assert packets_decoded(monkeypatch, path, [3, 7, 9]) == [0]
    assert packets_decoded(monkeypatch, path, [25, 26, 38]) == [20, 30]
    assert packets_decoded(monkeypatch, path, list(range(40))) == [0]


def test_seeking_never_begins_at_a_picture_that_needs_others(tmp_path, monkeypatch):
    """A file whose every frame is marked as a keyframe, wrongly."""
    path = encode(Coding("mpeg4", "mp4", gop=12, options={"sc_threshold": "1000000000"}), tmp_path)
    path.write_bytes(
        path.read_bytes().replace(b"stss", b"free")
    )  # the list of keyframes: without it, all are
    with av.open(str(path)) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
    assert numbers(VideoFile(path).read([17, 30, 5])) == [17, 30, 5]
    assert packets_decoded(monkeypatch, path, [30]) == [24]


def remux(source: Path, target: Path, *, first: int = 0, shift: int = 0, drop: Sequence[int] = ()) -> Path:
    """Copy packets from number ``first`` on, earlier by ``shift`` frames; without those to drop."""
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as original, av.open(str(target), "w", options=options) as copy:
        stream = copy.add_stream_from_template(original.streams.video[0])
        packets = [packet for packet in original.demux(video=0) if packet.size]
        frame = packets[0].duration
        for i, packet in enumerate(packets):
            if i >= first and i not in drop:
                packet.pts -= shift * frame
                packet.dts -= shift * frame
                packet.stream = stream
                copy.mux(packet)
    return target


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_before_the_beginning_are_hidden_or_shown_as_the_container_does(suffix, b_frames, tmp_path):
    """mp4 hides them by an edit list; Matroska shows frames of negative time."""
    whole = encode(Coding("libx264", "mp4", gop=12, b_frames=b_frames), tmp_path)
    path = remux(whole, tmp_path / f"shifted.{suffix}", shift=7)
    shown = [number_of(pixels) for pixels in shown_by_ffmpeg(path)]
    video = VideoFile(path)
    assert video.num_frames == len(shown)
    assert numbers(list(video.frames())) == shown
    for i in reversed(range(len(shown))):
        assert numbers(video.read([i])) == [shown[i]]


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_files_that_begin_in_the_middle(codec, after, tmp_path):
    """Cut at an open keyframe, or at no keyframe at all: what FFmpeg shows is what there is, or a refusal."""
    options = {"x264-params": "open-gop=1"} if codec == "libx264" else {}
    whole = encode(Coding(codec, "mkv", gop=12, b_frames=2, options=options), tmp_path)
    with av.open(str(whole)) as container:
        marked = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    path = remux(whole, tmp_path / "cut.mkv", first=marked.index(True, 1) + after)
    shown = [number_of(pixels) for pixels in shown_by_ffmpeg(path)]
    num_read = 0
    for i in reversed(range(len(shown))):
        try:
            assert numbers(VideoFile(path).read([i])) == [shown[i]]
            num_read += 1
        except VideoError as error:
            assert "damaged" in str(error)
    assert after or num_read > len(shown) // 2


def test_a_missing_frame_is_refused_and_no_other_shown(tmp_path):
    """The packet of a reference frame holds nothing that can be decoded; those around it are read."""
    path = encode(Coding("libx264", "mkv", gop=10), tmp_path)
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0) if packet.size][23]
    path.write_bytes(path.read_bytes().replace(packet, packet[:4] + b"\x0c" + b"\xff" * (len(packet) - 5)))
    assert numbers(VideoFile(path).read([22, 35, 5])) == [22, 35, 5]
    with pytest.raises(VideoError, match=r"frame 23 of .*cannot be decoded|damaged: 23 frames"):
        VideoFile(path).read([23])
    with pytest.raises(VideoError, match=r"frame 23 of .*cannot be decoded|damaged: 23 frames"):
        list(VideoFile(path).frames())


def test_pictures_that_are_not_coded_are_counted_as_ffmpeg_shows_them(tmp_path):
    """MPEG-4 has packets that say "as before"; FFmpeg shows nothing for most of them."""
    whole = encode(Coding("mpeg4", "avi", gop=12), tmp_path)
    path = tmp_path / "dropped.avi"
    with av.open(str(whole)) as original, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(original.streams.video[0])
        for i, packet in enumerate(packet for packet in original.demux(video=0) if packet.size):
            same = av.Packet(b"\0\0\1\xb6\x50\x40\0" if i in (17, 18, 30) else bytes(packet))
            same.pts, same.dts, same.time_base, same.stream = packet.pts, packet.dts, packet.time_base, stream
            same.is_keyframe = packet.is_keyframe
            copy.mux(same)
    shown = [number_of(pixels) for pixels in shown_by_ffmpeg(path)]
    assert len(shown) == 37
    video = VideoFile(path)
    assert numbers(video.read([16, 17, 36])) == [shown[i] for i in (16, 17, 36)]
    with pytest.raises(FewerFrames, match="has 37 frames"):
        video.read([37])
    assert video.num_frames == 37
    assert numbers(list(video.frames())) == shown


@pytest.mark.parametrize("probed", SMALL, ids=str)
def test_tricky_videos_are_those_of_a_sequential_decode(probed: Probed):
    check_against_ffmpeg(probed)


@pytest.mark.slow
@pytest.mark.parametrize("probed", READABLE, ids=str)
def test_all_tricky_videos_are_those_of_a_sequential_decode(probed: Probed):
    check_against_ffmpeg(probed)


def check_against_ffmpeg(probed: Probed) -> None:
    """Compare every frame with a sequential decode, and some read in disorder."""
    facts = VideoFile(probed.path).facts
    plain = facts.sample_aspect_ratio == 1 and facts.codec != "gif"
    shown = [digest(pixels) for pixels in shown_by_ffmpeg(probed.path)] if plain else []
    in_order = [digest(pixels) for pixels in VideoFile(probed.path).frames()]
    assert len(in_order) == probed.decoded
    assert in_order == (shown or in_order)
    order = list(range(probed.decoded))
    random.Random(0).shuffle(order)
    for some in filter(None, (order[:1], order[1:2], order[2:10])):
        assert [digest(pixels) for pixels in VideoFile(probed.path).read(some)] == [in_order[i] for i in some]


@pytest.mark.slow
@pytest.mark.parametrize("probed", READABLE, ids=str)
def test_every_frame_of_tricky_videos_by_itself(probed: Probed):
    in_order = [digest(pixels) for pixels in VideoFile(probed.path).frames()]
    order = list(range(probed.decoded))
    random.Random(1).shuffle(order)
    with VideoFile(probed.path) as video:
        for i in order:
            assert digest(video.read([i])[0]) == in_order[i]


@pytest.mark.parametrize("probed", SMALL, ids=str)
def test_bytes_in_memory_are_read_as_the_file_is(probed: Probed, tmp_path):
    content = probed.path.read_bytes()
    video, file = VideoFile(tmp_path / probed.path.name, content), VideoFile(probed.path)
    assert video.num_frames == file.num_frames
    assert video.facts == file.facts
    last = file.num_frames - 1
    assert np.array_equal(video.read([last]), file.read([last]))
