"""Small videos and frame folders for the tests of the data path."""

from pathlib import Path

import av
import numpy as np
from PIL import Image


def frame(i: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame whose grey level tells its number, with a white block in the top left corner: (H, W, 3)."""
    pixels = np.full((height, width, 3), 10 + 4 * i, dtype=np.uint8)
    pixels[: height // 3, : width // 3] = 255
    return pixels


def frame_number(pixels: np.ndarray) -> int:
    """Read a frame's number back from its lower right corner."""
    return round((float(pixels[-8:, -8:].mean()) - 10) / 4)


def write_video(
    path: Path, num_frames: int = 12, codec: str = "mpeg4", size: tuple[int, int] = (64, 48)
) -> Path:
    """Encode numbered frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(i, *size), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_frames(folder: Path, num_frames: int = 12, template: str = "{:05d}.jpg", first: int = 1) -> Path:
    """Write numbered frames as images."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(num_frames):
        Image.fromarray(frame(i)).save(folder / template.format(first + i), quality=95)
    return folder


def touch(*paths: Path) -> None:
    """Make empty files, with the folders they lie in."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
