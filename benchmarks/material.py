"""What the benchmarks read: frames in the usual sizes, and videos; drawn here, or cut from videos at hand."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image

from gateshift.data.reader import VIDEO_EXTENSIONS, VideoFile
from gateshift.data.records import Annotations, VideoRecord
from gateshift.errors import VideoError

NUM_FRAMES = 32  # of each video that is drawn, and of each folder of frames
TEMPLATE = "{:05d}.jpg"


def find_videos(folder: Path, most: int) -> list[Path]:
    """Return at most ``most`` videos below ``folder`` that can be read, spread evenly over their names."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_EXTENSIONS)
    readable = (path for path in paths[:: max(1, len(paths) // most)] if _num_frames(path) >= NUM_FRAMES)
    return list(islice(readable, most))


def _num_frames(path: Path) -> int:
    try:
        return VideoFile(path).num_frames
    except VideoError:
        return 0


def draw_videos(folder: Path, count: int, size: tuple[int, int] = (320, 240)) -> list[Path]:
    """Write H.264 videos of a textured scene that moves under a little noise, as cameras see it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "fast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for pixels in _scene(np.random.default_rng(number), size):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    return paths


def _scene(rng: np.random.Generator, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield frames (H, W, 3): blobs at three scales that pass by, with a noise of 3 grey levels."""
    width, height = size
    wide = np.zeros((height, 2 * width, 3))
    for cells, weight in ((4, 0.5), (16, 0.3), (64, 0.2)):
        coarse = rng.integers(256, size=(cells, 2 * cells, 3), dtype=np.uint8)
        wide += weight * np.asarray(
            Image.fromarray(coarse).resize((2 * width, height), Image.Resampling.BICUBIC)
        )
    for i in range(NUM_FRAMES):
        left = i * width // NUM_FRAMES
        noisy = wide[:, left : left + width] + rng.normal(scale=3, size=(height, width, 3))
        yield noisy.clip(0, 255).astype(np.uint8)


def write_frames(
    videos: list[Path], folder: Path, size: tuple[int, int], quality: int, subsampling: str
) -> Annotations:
    """Write the first frames of each video as JPEG files of one size; return them as a dataset."""
    for number, video in enumerate(videos):
        (folder / f"{number:03d}").mkdir(parents=True)
        for i, pixels in enumerate(VideoFile(video).read(range(NUM_FRAMES)), start=1):
            image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
            path = folder / f"{number:03d}" / TEMPLATE.format(i)
            image.save(path, quality=quality, subsampling=subsampling)
    return as_dataset(folder, [f"{number:03d}" for number in range(len(videos))], TEMPLATE, NUM_FRAMES)


def as_dataset(root: Path, names: list[str], template: str | None, num_frames: int | None) -> Annotations:
    """Return videos or frame folders as the training split of a dataset with one class."""
    records = tuple(VideoRecord(name, 0, num_frames) for name in names)
    return Annotations(root, ("any",), (), template, "benchmark", {"train": records})
