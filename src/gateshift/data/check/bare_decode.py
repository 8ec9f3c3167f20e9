"""How far FFmpeg itself gets with a file that the reader refuses: it also hands out damaged frames."""

from contextlib import suppress
from pathlib import Path

import av


def decode_bare(path: Path) -> tuple[int, str]:
    """Decode a file until the decoder refuses to go on; return the frames that came out, and what it said."""
    num_frames = 0
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            codec = container.streams.video[0].codec_context
            with suppress(IndexError):  # PyAV, after the last packet, of a stream that began on the way
                for packet in container.demux(video=0):
                    num_frames += len(codec.decode(packet)) if packet.size else 0
            num_frames += len(codec.decode(None))
    except av.FFmpegError as error:
        return num_frames, error.strerror or str(error)
    return num_frames, ""
