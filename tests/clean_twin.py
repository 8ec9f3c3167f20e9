"""A small dataset without a fault, for the tests of `gateshift check`: lists beside videos, a scene each."""

import csv
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

CLASSES = ("jump", "swipe left", "swipe right")
PER_CLASS = {"train": 6, "val": 3}
SIZE = (64, 48)  # width, height
NUM_FRAMES = 20
QUALITY = {"crf": "20", "preset": "ultrafast"}


def scene(seed: int, *, actor: int | None = None, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """A background of its own, and a patch that moves over it: uint8 (num_frames, H, W, 3)."""
    width, height = SIZE
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    background = np.asarray(Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC))
    rng = np.random.default_rng((seed, seed if actor is None else actor))
    patch = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
    ends = rng.integers(0, (height - 10, width - 10), (4, 2))
    frames = np.stack([background] * num_frames)
    for i, t in enumerate(np.linspace(0, 3, num_frames)):
        a = min(int(t), 2)
        top, left = (ends[a] + (t - a) * (ends[a + 1] - ends[a])).round().astype(int)
        frames[i, top : top + 10, left : left + 10] = patch
    return frames


def encode(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: Mapping[str, str] = QUALITY,
    container: Mapping[str, str] | None = None,
    format: str | None = None,
    rotation: int = 0,
    times: Callable[[int], int] = int,
) -> Path:
    """Write frames as a video of 25 frames a second; ``times`` says when each is shown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format, options=dict(container or {})) as file:
        stream = file.add_stream(codec, rate=25, options=dict(options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for i, pixels_rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels_rgb), format="rgb24")
            frame.pts, frame.time_base = times(i), Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_clean_twin(root: Path, seed: int = 0) -> Path:
    """Write the dataset without a fault."""
    number = 0
    for split, count in PER_CLASS.items():
        rows = []
        for name in CLASSES:
            for i in range(count):
                video = f"videos/{name.replace(' ', '_')}_{split}{chr(97 + i)}.mp4"
                encode(root / video, scene(1000 * seed + number))
                rows.append({"video": video, "label": name})
                number += 1
        write_rows(root, split, rows)
    write_description(root, classes=list(CLASSES))
    return root


def read_rows(root: Path, split: str) -> list[dict[str, str]]:
    with (root / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(root: Path, split: str, rows: list[dict[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (root / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_description(root: Path, **values: object) -> None:
    file = root / "dataset.json"
    before = json.loads(file.read_text()) if file.is_file() else {"root": "."}
    file.write_text(json.dumps(before | values))


def add(root: Path, name: str, split: str = "train", label: str = "jump", **more: str) -> tuple[Path, str]:
    """Append a row for a video that a planter writes; return its file, and its name in the list."""
    video = f"videos/{name}"
    write_rows(root, split, [*read_rows(root, split), {"video": video, "label": label, **more}])
    return root / video, video


def line_of(root: Path, split: str, number: int) -> str:
    """Return what a check calls row ``number``, from 0 or from the end."""
    total = len(read_rows(root, split))
    return f"{split}.csv:{number % total + 2}"
