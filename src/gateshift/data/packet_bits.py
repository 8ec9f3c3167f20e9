"""What the first bits of a packet say: whether it shows a frame, and whether decoding can begin with it.

Containers mark keyframes, and some mark pictures that need frames before them. A reader that begins at such a
picture would show a broken frame without knowing it, so the mark is believed only where the packet agrees.
"""

from collections.abc import Callable, Iterator

START_CODE = b"\0\0\1"
# NAL units of H.264: a slice of a picture that needs no other, and supplemental information.
H264_IDR, H264_SEI, RECOVERY_POINT = 5, 6, 6
HEVC_IRAP = range(16, 24)  # NAL units of HEVC pictures that decoding can begin at
VP9_SUPERFRAME = 0b110


def shows_frame(codec: str, data: memoryview) -> bool:
    """Tell whether a packet shows a frame: VP8 and VP9 have frames that others only refer to.

    >>> shows_frame("vp8", memoryview(b"\\x10\\x02\\x00")), shows_frame("vp8", memoryview(b"\\x00\\x02\\x00"))
    (True, False)
    """
    if codec == "vp8":
        return bool(data[0] >> 4 & 1)
    if codec == "vp9" and data[-1] >> 5 != VP9_SUPERFRAME:  # a superframe ends with a frame that is shown
        bits = data[0] << 8 | (data[1] if len(data) > 1 else 0)
        if bits >> 14 != 2:
            return True
        shift = 10 if bits >> 12 & 3 == 3 else 11  # profile 3 has one more bit
        existing, shown = bits >> shift & 1, bits >> shift - 2 & 1
        return bool(existing or shown)
    return True


def begins_decoding(codec: str, data: memoryview, nal_length: int) -> bool:
    """Tell whether a packet that is marked as a keyframe holds a picture that needs none before it.

    Args:
        codec: name of the decoder.
        data: the packet.
        nal_length: bytes that say how long each NAL unit is, or 0 where start codes part them.
    """
    if codec in ("h264", "hevc"):
        units = _nal_units(bytes(data), nal_length)
        return any(map(_is_h264_start if codec == "h264" else _is_hevc_start, units))
    check = _CHECKS.get(codec)
    return check is None or check(bytes(data))


def nal_length_size(codec: str, extradata: bytes | None) -> int:
    """Return the bytes of a NAL unit's length in a stream's packets, or 0 where they have start codes."""
    if not extradata or extradata[0] != 1 or extradata.startswith(START_CODE):
        return 0
    place = {"h264": 4, "hevc": 21}.get(codec, len(extradata))
    return (extradata[place] & 3) + 1 if len(extradata) > place else 0


def _nal_units(data: bytes, length_size: int) -> Iterator[bytes]:
    if length_size == 0:
        yield from data.split(START_CODE)[1:]
        return
    at = 0
    while at + length_size < len(data):
        size = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        yield data[at : at + size]
        at += size


def _is_h264_start(unit: bytes) -> bool:
    kind = unit[0] & 31 if unit else 0
    if kind != H264_SEI:
        return kind == H264_IDR
    return _is_clean_recovery_point(unit[1:].replace(b"\0\0\3", b"\0\0"))


def _is_clean_recovery_point(messages: bytes) -> bool:
    """Tell whether one of the messages says: from here on all pictures are exact, without a wait."""
    at = 0
    while at + 2 < len(messages):
        kind, at = _summed(messages, at)
        size, at = _summed(messages, at)
        if kind == RECOVERY_POINT and at < len(messages):
            return messages[at] >> 6 == 0b11  # a count of 0 frames to wait for, and an exact match
        at += size
    return False


def _summed(messages: bytes, at: int) -> tuple[int, int]:
    """Read a number written as bytes to be added, all but the last 255; return it and where it ends."""
    total = 0
    while at < len(messages):
        total += messages[at]
        at += 1
        if messages[at - 1] != 255:
            break
    return total, at


def _is_hevc_start(unit: bytes) -> bool:
    return bool(unit) and unit[0] >> 1 & 63 in HEVC_IRAP


def _is_mpeg4_intra(data: bytes) -> bool:
    at = data.find(START_CODE + b"\xb6")
    return 0 <= at < len(data) - 4 and data[at + 4] >> 6 == 0


def _is_mpeg12_intra(data: bytes) -> bool:
    at = data.find(START_CODE + b"\0")
    return 0 <= at < len(data) - 5 and data[at + 5] >> 3 & 7 == 1


def _is_vp9_key(data: bytes) -> bool:
    shift = 2 if data[0] >> 4 & 3 != 3 else 1
    return data[0] >> 6 == 2 and data[0] >> shift & 3 == 0  # no repeated frame, and a key frame


_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "vp8": lambda data: not data[0] & 1,
    "vp9": _is_vp9_key,
    "mpeg4": _is_mpeg4_intra,
    "mpeg1video": _is_mpeg12_intra,
    "mpeg2video": _is_mpeg12_intra,
}
