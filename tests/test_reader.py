import pickle
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from conftest import shared
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.reader import FewerFrames, open_video
from gateshift.errors import DataError, VideoError
from tricky import Probed, tricky_videos
from videos import frame_number, write_frames, write_video

UNREADABLE = {
    "Zulko+moviepy__media_doc_medias_result.webm": "cannot be opened",
    "dmlc+decord__tests_test_data_corrupted.mp4": "28 of 50 frames can be decoded",
    "mozilla+mp4parse-rust__mp4parse_capi_tests_bipbop_nonfragment_header.mp4": "0 of the 297 frames",
    "mozilla+mp4parse-rust__mp4parse_capi_tests_no_timescale.mp4": "0 frames can be decoded",
    "mozilla+mp4parse-rust__mp4parse_tests_invalid_userdata.mp4": "0 of the 5544 frames",
    "mozilla+nestegg__test_media_bug1480003.webm": "without frames",
    "mozilla+nestegg__test_media_bug2020502.webm": "0 frames can be decoded",
    "mozilla+nestegg__test_media_issue76.webm": "without frames",
    "mozilla+nestegg__test_media_seek_encrypted.webm": "is encrypted",
}


def spread(num_frames: int) -> np.ndarray:
    return np.linspace(0, num_frames - 1, 8).astype(int)


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "mp4"), ("mpeg4", "avi"), ("libx264", "mkv")])
def test_reads_the_frames_asked_for(tmp_path, codec, suffix):
    video = open_video(write_video(tmp_path / f"a b é [1].{suffix}", codec=codec))
    assert video.num_frames == 12
    frames = video.read([7, 0, 11, 0])
    assert frames.dtype == np.uint8
    assert frames.shape == (4, 48, 64, 3)
    assert [frame_number(pixels) for pixels in frames] == [7, 0, 11, 0]


@pytest.mark.parametrize("name", ["-dash.mp4", "http:x.mp4", "50%.mp4", "a?b=c&d#.mp4", "wrong.avi"])
def test_any_file_name_will_do(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "video.mp4").rename(tmp_path / name)
    with open_video(name) as video:
        assert frame_number(video.read([3])[0]) == 3


def test_a_size_that_only_damage_can_have_is_refused(tmp_path):
    path = tmp_path / "huge.gif"
    Image.new("P", (64, 48)).save(path)
    content = bytearray(path.read_bytes())
    content[6:10] = struct.pack("<HH", 15000, 15000)
    path.write_bytes(content)
    with pytest.raises(VideoError, match="15000 x 15000 pixels, more than 8K"):
        open_video(path).read([0])


def test_no_file_stays_open(tmp_path):
    video = open_video(write_video(tmp_path / "a.mp4"))
    again = pickle.loads(pickle.dumps(video))
    assert again.num_frames == video.num_frames == 12
    for _ in range(3):
        video.read([0])
    opened = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert video.path not in opened


def test_frame_beyond_the_end(tmp_path):
    video = open_video(write_video(tmp_path / "a.mp4"))
    with pytest.raises(FewerFrames, match=r"frame 12 of .*a\.mp4.* has 12 frames"):
        video.read([0, 12])


def test_refuses_missing_and_unreadable_files(tmp_path):
    with pytest.raises(VideoError, match="there is no video"):
        open_video(tmp_path / "none.mp4")
    for name, content in {"empty.mp4": b"", "text.mp4": b"hello" * 100}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=f"{name}.* cannot be opened") as raised:
            open_video(tmp_path / name).read([0])
        assert isinstance(raised.value.__cause__, av.FFmpegError)


def test_refuses_sound_without_pictures(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="no video stream"):
        _ = open_video(tmp_path / "a.wav").num_frames


def remux(source: Path, target: Path, options: dict[str, str], skip: int = 0) -> Path:
    """Copy a video's packets; ``skip`` frames at the start stay there and are hidden, as after trimming."""
    with av.open(str(source)) as original, av.open(str(target), "w", options=options) as copy:
        stream = copy.add_stream_from_template(original.streams.video[0])
        for packet in original.demux(video=0):
            if packet.dts is not None:
                packet.pts -= skip * packet.duration
                packet.dts -= skip * packet.duration
                packet.stream = stream
                copy.mux(packet)
    return target


def test_refuses_a_file_cut_short(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 40, "libx264")
    cut = remux(whole, tmp_path / "cut.mp4", {"movflags": "faststart"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 7 // 10])
    with pytest.raises(VideoError, match=r"cut\.mp4.*40 frames") as raised:
        video = open_video(cut)
        video.read(spread(video.num_frames))
    assert not isinstance(raised.value, FewerFrames)


def test_frames_that_an_edit_hides_are_not_there(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 40, "libx264")
    video = open_video(remux(whole, tmp_path / "trimmed.mp4", {"avoid_negative_ts": "disabled"}, skip=10))
    assert video.num_frames == 30
    assert [frame_number(pixels) for pixels in video.read([0, 29])] == [10, 39]


@pytest.mark.parametrize(
    ("angle", "shape"), [(90, (568, 320, 3)), (180, (320, 568, 3)), (270, (568, 320, 3))]
)
def test_rotated_phone_videos_stand_upright(angle, shape):
    path = shared(f"data/tricky_videos/dmlc+decord__tests_test_data_video_{angle}.mov")
    assert open_video(path).read([0])[0].shape == shape


@pytest.mark.parametrize("probed", tricky_videos(), ids=str)
def test_every_tricky_video_is_read_or_refused_with_a_reason(probed: Probed):
    path = probed.path
    if path.name in UNREADABLE:
        with pytest.raises(VideoError, match=UNREADABLE[path.name]) as raised:
            video = open_video(path)
            video.read(spread(video.num_frames))
        assert path.name in str(raised.value)
    else:
        assert not probed.fails
        video = open_video(path)
        assert video.num_frames == probed.decoded
        assert video.read(spread(probed.decoded)).shape[0] == 8


@pytest.mark.parametrize(
    ("template", "first"),
    [
        ("{:05d}.jpg", 1),
        ("frame_{:010d}.jpg", 0),
        ("img_{:05d}.png", 1),
        ("{:d}.jpg", 1),
        ("v_{{2}}_{:03d}.JPEG", 95),
        ("frame_{:06d}_720p.jpg", 1),
        ("cam2_{:d}_320x240.jpg", 7),
    ],
)
def test_frame_folder_finds_its_template(tmp_path, template, first):
    folder = write_frames(tmp_path / "video 1", 12, template, first)
    (folder / "notes.txt").touch()
    (folder / ".hidden_001.jpg").touch()
    for video in (open_video(folder), open_video(folder, template)):
        assert isinstance(video, FrameFolder)
        assert video.num_frames == 12
        assert [frame_number(pixels) for pixels in video.read([11, 0, 5, 5])] == [11, 0, 5, 5]


def test_frame_folder_names_what_is_missing(tmp_path):
    folder = write_frames(tmp_path / "a")
    with pytest.raises(VideoError, match=r"frame 12 of .*00013\.jpg"):
        open_video(folder).read([0, 12])
    (folder / "00004.jpg").unlink()
    with pytest.raises(VideoError, match=r"'00004\.jpg' of .* is missing"):
        _ = open_video(folder).num_frames
    with pytest.raises(VideoError, match=r"frame 3 of .* is missing"):
        open_video(folder, "{:05d}.jpg").read([2, 3])


def test_frame_folder_refuses_what_it_cannot_tell(tmp_path):
    write_frames(tmp_path / "flow", 3, "img_{:05d}.jpg")
    write_frames(tmp_path / "flow", 3, "flow_x_{:05d}.jpg")
    with pytest.raises(VideoError, match="2 templates: flow_x_"):
        _ = open_video(tmp_path / "flow").num_frames
    assert open_video(tmp_path / "flow", "img_{:05d}.jpg").num_frames == 3
    with pytest.raises(VideoError, match="is named like 'x"):
        open_video(tmp_path / "flow", "x{:05d}.jpg").read([0])
    (tmp_path / "none").mkdir()
    with pytest.raises(VideoError, match="no numbered images"):
        _ = open_video(tmp_path / "none").num_frames
    for template in ("%05d.jpg", "{}_{}.jpg", "{name}.jpg", "{:05d", "{:q}.jpg"):
        with pytest.raises(DataError, match="does not number the frames"):
            open_video(tmp_path / "flow", template)


def test_frame_folder_refuses_damaged_and_odd_frames(tmp_path):
    folder = write_frames(tmp_path / "a")
    (folder / "00002.jpg").write_bytes((folder / "00002.jpg").read_bytes()[:200])
    with pytest.raises(VideoError, match=r"frame 1, .*00002\.jpg.* cannot be read"):
        open_video(folder).read([0, 1])
    Image.new("L", (10, 10)).save(folder / "00002.jpg")
    with pytest.raises(VideoError, match="frame 1 of .* another size"):
        open_video(folder).read([0, 1])
    assert open_video(folder).read([1]).shape == (1, 10, 10, 3)  # grey images become RGB
