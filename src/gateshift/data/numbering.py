"""Which frame is the n-th: decoded frames with their numbers, all in order or only those that are wanted."""

from collections.abc import Generator, Iterator, Sequence

import av

from gateshift.data.decoding import OpenVideo
from gateshift.data.stream_index import OddStream

Numbered = tuple[int, av.VideoFrame]


def frames_in_order(video: OpenVideo) -> Generator[Numbered, None, None]:
    """Decode a video from its first packet on: each frame with its number, in the decoder's order.

    Raises:
        OddStream: the decoder shows a frame at a time that the index, which is exact, does not have.
        FFmpegError: a packet cannot be decoded.
    """
    for count, (_, frame) in enumerate(video.frames_from(0)):
        number = count
        if video.index.exact:
            number = _number(video, frame)
        yield number, frame


def wanted_frames(video: OpenVideo, wanted: Sequence[int]) -> Iterator[Numbered]:
    """Decode as few packets of an exactly indexed video as show the frames at ``wanted``, which ascend.

    The decoder goes on from frame to frame, and leaps to a keyframe where that spares packets.

    Raises:
        OddStream: frames came out otherwise than the index says: missing, twice, damaged or in disorder.
        FFmpegError: a packet cannot be decoded.
    """
    run: Iterator[tuple[int, int, av.VideoFrame]] = iter(())
    following = -1  # the packet to be decoded next; none has been
    for number in wanted:
        start = video.index.start_of(number)
        if start > following:
            run = _run(video, start)
        for upcoming, found, frame in run:
            following = upcoming
            if found == number:
                yield number, frame
                break
            if found >= number:
                raise OddStream
        else:
            raise OddStream


def _run(video: OpenVideo, start: int) -> Iterator[tuple[int, int, av.VideoFrame]]:
    """Decode from a packet on: the packet that follows, the frame's number, and the frame."""
    first = expected = video.index.first_whole(start)
    for following, frame in video.frames_from(start):
        number = _number(video, frame)
        if number < first:
            continue  # needs frames from before the keyframe, which were not decoded
        if number != expected or frame.is_corrupt:  # those that follow are built on it
            raise OddStream
        expected += 1
        yield following, number, frame


def _number(video: OpenVideo, frame: av.VideoFrame) -> int:
    number = None if frame.pts is None else video.index.number_at(frame.pts)
    if number is None:
        raise OddStream
    return number
