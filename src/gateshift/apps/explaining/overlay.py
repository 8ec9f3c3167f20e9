"""Maps laid over the frames that they belong to: as a video, and as numbers for a page that draws them.

Letters: T frames, S pixels a side, h w of a map.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from gateshift.apps.explaining.gate_picture import INK, PAPER, tint, write_text
from gateshift.engine.pages import data_uri
from gateshift.writing import write_atomically

CELL = 256  # pixels a side of each picture in the video
HEAD = 28
SHOWN = 0.5  # seconds of each frame
RATE = 10  # frames a second: some players stop at fewer
LARGEST = 56  # cells a side of a map in a page
STEPS = 127  # of a map's numbers in a page, on either side of 0


@dataclass(frozen=True)
class Layer:
    """One map over time, (T, h, w), of any size and sign, and what it is."""

    name: str
    group: str
    values: np.ndarray

    @property
    def largest(self) -> float:
        """The largest size of its numbers."""
        return float(np.abs(self.values).max())

    def strength(self) -> np.ndarray:
        """Return the map in -1..1."""
        return self.values / max(self.largest, np.finfo(np.float32).tiny)


def packed(layer: Layer) -> dict[str, object]:
    """Return a layer as a page takes it: numbers from -127 to 127 in base64, frame by frame."""
    values = torch.from_numpy(layer.strength().astype(np.float32))[:, None]
    height, width = (min(side, LARGEST) for side in values.shape[-2:])
    values = F.adaptive_avg_pool2d(values, (height, width))
    whole = (values[:, 0] * STEPS).round().to(torch.int8).numpy()
    return {
        "name": layer.name,
        "group": layer.group,
        "largest": layer.largest,
        "height": whole.shape[1],
        "width": whole.shape[2],
        "values": base64.b64encode(whole.tobytes()).decode("ascii"),
    }


def write_overlay(path: Path, frames: np.ndarray, layers: Sequence[Layer], captions: Sequence[str]) -> None:
    """Write a video that a browser plays: the frames (T, S, S, 3), and beside them each layer over them.

    Args:
        path: an ``.mp4`` file, written whole or not at all.
        frames: uint8.
        layers: what is laid over them.
        captions: one line for each picture, the plain frames first.
    """
    write_atomically(path, lambda partial: _encode(partial, frames, layers, captions))


def _encode(path: Path, frames: np.ndarray, layers: Sequence[Layer], captions: Sequence[str]) -> None:
    width, height = CELL * (1 + len(layers)), CELL + HEAD
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE), options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(frames):
            picture = Image.fromarray(frame).resize((CELL, CELL), Image.Resampling.BICUBIC)
            pictures = [picture, *(tint(picture, layer.strength()[number]) for layer in layers)]
            sheet = Image.new("RGB", (width, height), PAPER)
            for place, (part, caption) in enumerate(zip(pictures, captions, strict=True)):
                sheet.paste(part, (place * CELL, HEAD))
                write_text(sheet, (place * CELL + 6, 6), caption, INK, width=CELL - 12)
            for _ in range(round(SHOWN * RATE)):
                container.mux(stream.encode(av.VideoFrame.from_image(sheet)))
        container.mux(stream.encode())


def frame_uri(frame: np.ndarray) -> str:
    """Return a frame (S, S, 3) uint8 as a link that carries it."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=88)
    return data_uri(buffer.getvalue(), "image/jpeg")
