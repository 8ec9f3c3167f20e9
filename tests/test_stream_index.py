"""What packets tell: the facts as PROBE.txt has them, frames that are hidden, where decoding can begin."""

import pytest

from coded_videos import Coding, encode
from gateshift.data.decoding import OpenVideo
from gateshift.data.packet_bits import begins_decoding, shows_frame
from gateshift.data.reader import VideoFile
from tricky import Probed, tricky_videos

OPEN = [probed for probed in tricky_videos() if probed.container]


@pytest.mark.parametrize("probed", OPEN, ids=str)
def test_facts_are_those_of_the_probe(probed: Probed):
    facts = VideoFile(probed.path).facts
    seen = facts.container, facts.codec, facts.declared_frames, facts.rate
    assert seen == (probed.container, probed.codec, probed.declared, probed.rate)
    assert (facts.variable_rate, facts.has_audio) == (probed.variable_rate, probed.has_audio)
    if probed.decoded:  # the probe took the others from frames
        assert (facts.width, facts.height) == probed.size
        assert facts.pixel_format == probed.pixel_format


@pytest.mark.parametrize(
    ("codec", "packet", "shown"),
    [
        ("vp8", b"\x10\0\0", True),
        ("vp8", b"\x01\0\0", False),
        ("vp9", b"\x82\0\0", True),  # a key frame
        ("vp9", b"\x84\0\0", False),  # a frame to refer to
        ("vp9", b"\x84\0\0\xc0", True),  # with a shown one after it
        ("vp9", b"\x88\0", True),  # one that is there already
        ("vp9", b"\xb1\0\0", True),  # profile 3
        ("vp9", b"\xb0\0\0", False),
        ("h264", b"\0", True),
    ],
)
def test_hidden_frames_are_known_by_their_first_bits(codec, packet, shown):
    assert shows_frame(codec, memoryview(packet)) == shown


SEI = b"\x06\x05\x02ab\x06\x01"  # another message, and then a recovery point


@pytest.mark.parametrize(
    ("codec", "nal_length", "packet", "begins"),
    [
        ("h264", 4, b"\0\0\0\2\x65\x88", True),
        ("h264", 4, b"\0\0\0\2\x09\xf0\0\0\0\2\x41\x88", False),
        ("h264", 2, b"\0\2\x09\xf0\0\2\x65\x88", True),
        ("h264", 0, b"\0\0\0\1\x09\xf0\0\0\1\x65\x88", True),
        ("h264", 0, b"\0\0\1" + SEI + b"\xc0\x80\0\0\1\x41\x88", True),
        ("h264", 0, b"\0\0\1" + SEI + b"\x40\x80\0\0\1\x41\x88", False),  # to wait for
        ("h264", 0, b"\0\0\1" + SEI + b"\x80\x80\0\0\1\x41\x88", False),  # not exact
        ("h264", 4, b"", False),
        ("hevc", 4, b"\0\0\0\2\x26\1", True),
        ("hevc", 4, b"\0\0\0\2\x02\1", False),
        ("mpeg4", 0, b"\0\0\1\xb6\x10\0", True),
        ("mpeg4", 0, b"\0\0\1\xb6\x50\0", False),
        ("mpeg2video", 0, b"\0\0\1\0\0\x08\0", True),
        ("mpeg2video", 0, b"\0\0\1\0\0\x10\0", False),
        ("vp8", 0, b"\x10\0", True),
        ("vp8", 0, b"\x11\0", False),
        ("vp9", 0, b"\x82\0", True),
        ("vp9", 0, b"\x86\0", False),
        ("gif", 0, b"\0", True),
    ],
)
def test_decoding_begins_only_where_a_picture_needs_none_before_it(codec, nal_length, packet, begins):
    assert begins_decoding(codec, memoryview(packet), nal_length) == begins


def test_rows_of_an_index(tmp_path):
    path = encode(
        Coding("libx264", "mkv", gop=10, b_frames=2, options={"x264-params": "scenecut=0"}), tmp_path
    )
    index = OpenVideo(path).index
    assert index.exact
    assert index.num_frames == 40
    assert [index.start_of(number) for number in (0, 9, 10, 25, 39)] == [0, 0, 10, 20, 30]
    assert [index.first_whole(packet) for packet in (0, 10, 20)] == [0, 10, 20]
