"""The plain route from a video to a normalised clip, after the description of the released code.

Pillow opens (or PyAV decodes), crops and resizes each frame, the frames are stacked along their channels, and
a loop over the channels normalises them. Crops, flips and frames are drawn as this project draws them, so
that both routes have the same work and, but for the rounding of Pillow's resizing, the same result.

Letters: T frames of a clip, S side of the crop.
"""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gateshift.data.dataset import TrainClips
from gateshift.data.sampling import random_segments
from gateshift.data.transforms import OFFSETS, MultiScaleCrop
from gateshift.spec import InputSpec


class PlainClips(Dataset[tuple[Tensor, int]]):
    """The clips of ``clips``, read the plain way: float (T * 3, S, S) and the label.

    The records say how many frames there are; nothing is spent on counting them.
    """

    def __init__(self, clips: TrainClips, spec: InputSpec) -> None:
        self.clips = clips
        self.spec = spec

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one clip."""
        record = self.clips.records[index]
        rng = np.random.default_rng((self.clips.seed, 0, index))
        numbers = random_segments(record.num_frames or 0, self.clips.num_segments, rng).tolist()
        path, template = self.clips.annotations.path(record), self.clips.annotations.frame_template
        images = open_frames(path, template, numbers) if template else decode_frames(path, numbers)
        stacked = stack(crop_and_flip(images, self.spec.size, rng), bgr=self.spec.channels == "bgr")
        return normalize(to_tensor(stacked, self.spec.scale), self.spec), record.label


def open_frames(folder: Path, template: str, numbers: Sequence[int]) -> list[Image.Image]:
    """Open files of a frame folder; the first frame, 0, is file 1."""
    return [Image.open(folder / template.format(number + 1)).convert("RGB") for number in numbers]


def decode_frames(path: Path, numbers: Sequence[int]) -> list[Image.Image]:
    """Decode a video up to the last wanted frame on one thread; convert those that are wanted."""
    wanted: dict[int, Image.Image] = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for i, frame in enumerate(container.decode(video=0)):
            if i in numbers:
                wanted[i] = frame.to_image()
            if i == max(numbers):
                break
    return [wanted[number] for number in numbers]


def crop_and_flip(images: list[Image.Image], size: int, rng: np.random.Generator) -> list[Image.Image]:
    """Crop, resize and mirror all frames of a clip alike, one after the other."""
    width, height = images[0].size
    pairs = MultiScaleCrop(size).crop_sizes(width, height)
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    x, y = OFFSETS[rng.integers(len(OFFSETS))]
    left, top = x * ((width - crop_width) // 4), y * ((height - crop_height) // 4)
    box = (left, top, left + crop_width, top + crop_height)
    images = [image.crop(box).resize((size, size), Image.Resampling.BILINEAR) for image in images]
    if rng.random() < 0.5:
        return images
    return [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]


def stack(images: list[Image.Image], *, bgr: bool) -> np.ndarray:
    """Return the frames along their channels, uint8 (S, S, T * 3)."""
    return np.concatenate([np.array(image)[:, :, :: -1 if bgr else 1] for image in images], axis=2)


def to_tensor(stacked: np.ndarray, scale: float) -> Tensor:
    """Return float (T * 3, S, S), from 0 to ``scale``."""
    clip = torch.from_numpy(stacked).permute(2, 0, 1).contiguous().float()
    return clip if scale == 255 else clip.div(255 / scale)


def normalize(clip: Tensor, spec: InputSpec) -> Tensor:
    """Take the mean from every channel and divide by its standard deviation, one at a time."""
    repeats = len(clip) // 3
    for channel, mean, std in zip(clip, spec.mean * repeats, spec.std * repeats, strict=True):
        channel.sub_(mean).div_(std)
    return clip
