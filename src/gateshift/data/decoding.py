"""One open video: its packets, and the frames that come out of them from any packet on.

The packets of a video are small beside its frames, and stay in memory while it is open: to begin in the
middle is then to decode another packet next, and no seeking in the file can go wrong. Decoders are told to
report damage: left to themselves, some fill it with parts of other frames.
"""

import io
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from gateshift.data.stream_index import NEVER, OddStream, StreamIndex, index_stream
from gateshift.errors import VideoError

MOST_PIXELS = 2**25  # of a frame, as 8K has; a damaged header may say so many that one takes a minute
KEPT_BYTES = 8 * 2**20  # of packets; those of a larger video are read again from where decoding begins
OVERLAP = 8  # edits may hand out the bytes of a file again; damage would do so without an end


class OpenVideo:
    """An open file, or bytes in memory, with a video stream that is decoded on one thread.

    Args:
        path: the file, or what to call the bytes.
        content: the bytes.
        index: of this video, where it was open before.

    Attributes:
        index: its packets, which are counted when it is opened.

    Raises:
        VideoError: it cannot be opened, has no video stream, or its packets cannot be read.
    """

    def __init__(self, path: Path, content: bytes | None = None, index: StreamIndex | None = None) -> None:
        self._path, self._content = path, content
        self._container = self._open()
        self._kept: list[Packet[VideoStream]] | None = []
        self._fresh = True  # nothing has been decoded
        try:
            self.index = index or index_stream(self._container, self._packets())
            if index is not None:
                self._keep_again(index)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._kept = None
        self._container.close()

    def frames_from(self, first: int) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Decode the packets from number ``first`` on: yield which is next, and the frame that came out.

        Raises:
            OddStream: seeking did not lead to that packet.
            FFmpegError: a packet cannot be decoded.
        """
        if first == 0 and not self._fresh:
            self._reopen()
        packets = self._packets_from(first)
        codec = self._container.streams.video[0].codec_context
        if not self._fresh:
            codec.flush_buffers()
        self._fresh = False
        following = first
        for following, packet in enumerate(packets, start=first + 1):
            for frame in codec.decode(packet):
                yield following, frame
        for frame in codec.decode(None):
            yield following, frame

    def _open(self) -> InputContainer:
        """Open the container and check that it has a video; say what FFmpeg said where it cannot be used."""
        source = f"file:{self._path}" if self._content is None else io.BytesIO(self._content)
        try:
            container = av.open(source, "r", metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"'{self._path}' cannot be opened as a video ({error.strerror}). "
                "Fetch or encode it again, or leave it out.",
                "not-a-video",
            ) from error
        if not container.streams.video:
            container.close()
            raise VideoError(
                f"'{self._path}' has no video stream. Give a video, or leave it out.", "no-video-stream"
            )
        codec = container.streams.video[0].codec_context
        if codec is None:
            container.close()
            raise VideoError(
                f"'{self._path}' has a video stream that FFmpeg has no decoder for. "
                "Fetch or encode it again, or leave it out.",
                "not-a-video",
            )
        if codec.width * codec.height > MOST_PIXELS:
            container.close()
            raise VideoError(
                f"'{self._path}' is damaged: its header says {codec.width} x {codec.height} pixels, more "
                "than 8K. Fetch or encode it again, or leave it out.",
                "not-a-video",
            )
        codec.thread_type, codec.thread_count = "NONE", 1
        codec.options = {"err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
        return container

    def _reopen(self) -> None:
        """Begin anew with a decoder that knows nothing of what it decoded before."""
        self.close()
        self._container, self._kept, self._fresh = self._open(), [], True
        self._keep_again(self.index)

    def _keep_again(self, index: StreamIndex) -> None:
        if index.num_bytes > KEPT_BYTES:
            self._kept = None
            return
        if sum(1 for _ in self._packets()) != len(index.sizes):
            raise VideoError(f"'{self._path}' was changed while it was read. Read it again.")

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Yield the packets with data, and keep them where they are few."""
        num_bytes = num_packets = 0
        most = OVERLAP * (self._path.stat().st_size if self._content is None else len(self._content))
        try:
            for packet in self._demuxed():
                num_packets += 1
                num_bytes += packet.size
                if num_bytes > most:
                    raise VideoError(
                        f"'{self._path}' is damaged: its packets hold more than {OVERLAP} times its bytes. "
                        "Fetch or encode it again, or leave it out."
                    )
                if num_bytes > KEPT_BYTES:
                    self._kept = None
                if self._kept is not None:
                    self._kept.append(packet)
                yield packet
        except av.FFmpegError as error:
            raise VideoError(
                f"'{self._path}' is damaged: after {num_packets} packets FFmpeg says '{error.strerror}'. "
                "Fetch or encode it again, or leave it out.",
                "broken-off" if num_packets else "no-frames",
            ) from error

    def _demuxed(self) -> "Iterator[Packet[VideoStream]]":
        """Yield the packets with data from where the container stands."""
        # Behind the last packet PyAV stumbles over streams that begin in the middle of a transport stream.
        with suppress(IndexError):
            yield from (packet for packet in self._container.demux(video=0) if packet.size)

    def _packets_from(self, first: int) -> "Iterator[Packet[VideoStream]]":
        if self._kept is not None:
            return iter(self._kept[first:])
        if first:
            return self._sought(first)
        self._container.close()
        self._container = self._open()
        return self._demuxed()

    def _sought(self, first: int) -> "Iterator[Packet[VideoStream]]":
        """Seek in the file, and yield its packets from number ``first`` on, each compared with the index."""
        index = self.index
        listed = zip(index.pts[first:].tolist(), index.sizes[first:].tolist(), strict=True)
        target = int(index.pts[first]), int(index.sizes[first])
        time = index.dts[first] if index.dts[first] != NEVER else index.pts[first]
        self._container.seek(int(time), stream=self._container.streams.video[0])
        found, num_skipped = False, 0
        for packet in self._demuxed():
            seen = packet.pts, packet.size
            found = found or seen == target
            if found:
                if seen != next(listed, None):
                    raise OddStream
                yield packet
            elif (num_skipped := num_skipped + 1) > first:
                raise OddStream
        if not found:
            raise OddStream
