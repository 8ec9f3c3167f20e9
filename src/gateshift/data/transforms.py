"""From decoded frames to what a network sees.

A clip is uint8 (T, 3, H, W), a view of the decoder's (T, H, W, 3) array: torch resizes bytes that lie so
several times faster than any other way, and within one grey level of Pillow. Clips stay bytes until
``normalize``, on the device.

Other modalities read several frames a segment, and flow has 2 planes for 3: (T * frames_read, planes, H, W)
until ``stack_frames``, which comes after all that treats frames alike.

Letters: T frames, H W pixels, S side of the crop.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gateshift.data.augment import Augment, ColorJitter, RandomErasing
from gateshift.data.rand_augment import RandAugment
from gateshift.errors import ConfigError
from gateshift.spec import InputSpec, ModalityName

SCALES = (1.0, 0.875, 0.75, 0.66)  # of the short side, as in the released code
MOTION_SCALES = SCALES[:3]  # of flow and differences, likewise
OFFSETS = (  # of the 13 places a crop is taken from, in quarters of the free space: (x, y)
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)
NUM_CROPS = (1, 3, 5, 10)
MIRRORED = "mirrored"  # the note of a clip that is


class ClipTransform(Protocol):
    """A step of training's augmentation: one draw for a whole clip, and the label goes along."""

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Return the changed clip, uint8 (T, 3, H', W'), and its label; add to ``notes`` what was drawn."""


class Chain:
    """Steps one after the other."""

    def __init__(self, *steps: ClipTransform) -> None:
        self.steps = steps

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Apply the steps in order."""
        for step in self.steps:
            clip, label = step(clip, label, rng, notes)
        return clip, label


class MultiScaleCrop:
    """A crop of random size and shape at one of 13 places, resized to ``size``.

    Width and height are scales of the short side, at most ``max_distort`` steps of ``scales`` apart.
    """

    def __init__(self, size: int, scales: tuple[float, ...] = SCALES, max_distort: int = 1) -> None:
        self.size = size
        self.scales = scales
        self.max_distort = max_distort

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Crop all frames alike."""
        height, width = clip.shape[-2:]
        pairs = self.crop_sizes(width, height)
        crop_width, crop_height = pairs[rng.integers(len(pairs))]
        x, y = OFFSETS[rng.integers(len(OFFSETS))]
        left = x * ((width - crop_width) // 4)
        top = y * ((height - crop_height) // 4)
        if notes is not None:
            notes.append(f"crop {crop_width} x {crop_height} at {left}, {top} of {width} x {height}")
        clip = clip[..., top : top + crop_height, left : left + crop_width]
        return resize(clip, (self.size, self.size)), label

    def crop_sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Return the (width, height) of every crop that may be drawn from a frame."""
        short = min(width, height)
        sides = [max(1, int(short * scale)) for scale in self.scales]
        # A side within 2 pixels of the network's is taken as that, but never beyond the frame.
        sides = [min(self.size, short) if abs(side - self.size) < 3 else side for side in sides]
        return [
            (w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= self.max_distort
        ]


class RandomFlip:
    """Mirror the clip half of the time; classes that name a side swap with it."""

    def __init__(self, label_swaps: Mapping[int, int], modality: ModalityName = "rgb") -> None:
        self.label_swaps = label_swaps
        self.modality = modality

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Mirror all frames, or none."""
        if rng.random() < 0.5:
            return clip, label
        if notes is not None:
            notes.append(MIRRORED)
        return mirror(clip, self.modality), self.label_swaps.get(label, label)


def train_transform(
    spec: InputSpec, label_swaps: Mapping[int, int], *, flip: bool = True, augment: Augment | None = None
) -> ClipTransform:
    """Return the released augmentation: multi-scale crop, then (with ``flip``) a flip that swaps labels.

    Of ``augment``, RandAugment comes before them, as in GSF's code, and jitter and erasing after.
    """
    augment = augment or Augment()
    augment.require_modality(spec.modality)
    steps: list[ClipTransform] = []
    if augment.rand:
        steps.append(RandAugment(augment.rand))
    steps.append(MultiScaleCrop(spec.size, SCALES if spec.modality == "rgb" else MOTION_SCALES))
    if flip:
        steps.append(RandomFlip(label_swaps, spec.modality))
    if augment.jitter:
        steps.append(ColorJitter(augment.jitter))
    if augment.erase:
        steps.append(RandomErasing(augment.erase, spec.modality))
    return steps[0] if len(steps) == 1 else Chain(*steps)


class EvalTransform:
    """The crops that a clip is tested on.

    Args:
        spec: what the network wants; frames are resized to a short side of ``spec.resize``.
        num_crops: 1 centre; 3 along the long side; 5 corners and centre; 10 the five and their mirror images.
            See ``crop_corners``.

    Attributes:
        flipped: for each crop, whether it is a mirror image.
    """

    def __init__(self, spec: InputSpec, num_crops: int = 1) -> None:
        if num_crops not in NUM_CROPS:
            raise ConfigError(f"cannot take {num_crops} crops. Choose from {', '.join(map(str, NUM_CROPS))}.")
        if spec.resize < spec.size:
            raise ConfigError(
                f"frames resized to {spec.resize} pixels have no crop of {spec.size}. "
                "Make resize at least the size."
            )
        self.spec = spec
        self.num_crops = num_crops
        self.flipped = tuple(i >= 5 for i in range(num_crops))

    def __call__(self, clip: Tensor) -> Tensor:
        """Return all crops of a clip: uint8 (num_crops, T, 3, S, S)."""
        return self.crops(self.resize(clip))

    def resize(self, clip: Tensor) -> Tensor:
        """Resize to the short side, keeping proportions."""
        height, width = clip.shape[-2:]
        short, target = min(height, width), self.spec.resize
        return resize(clip, (int(target * height / short), int(target * width / short)))

    def crops(self, clip: Tensor) -> Tensor:
        """Cut the crops of a resized clip: uint8 (num_crops, T, 3, S, S)."""
        size = self.spec.size
        corners = crop_corners(clip.shape[-1], clip.shape[-2], size, self.num_crops)
        crops = torch.stack([clip[..., top : top + size, left : left + size] for left, top in corners])
        return (
            torch.cat([crops, mirror(crops, self.spec.modality)])
            if self.num_crops == 10
            else crops.contiguous()
        )


def crop_corners(width: int, height: int, size: int, num_crops: int) -> list[tuple[int, int]]:
    """Return (left, top) of each crop of a test, less mirror images.

    Several crops lie on whole quarters of the free space, rounded down, as in the released code: up to 3
    pixels at the right and at the bottom are in none of them. A single crop is the exact centre, rounded as
    torchvision does. Three of the released code lie along the width; here along the height of tall frames.

    >>> crop_corners(341, 256, 224, 5)
    [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]
    """
    if num_crops == 1:
        return [(round((width - size) / 2), round((height - size) / 2))]
    x, y = (width - size) // 4, (height - size) // 4
    if num_crops == 3:
        return [(k * x, 2 * y) if width >= height else (2 * x, k * y) for k in (0, 2, 4)]
    return [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]


def mirror(clip: Tensor, modality: ModalityName = "rgb") -> Tensor:
    """Return the mirror image of a clip (..., planes, H, W); in that of flow, x points the other way.

    Grey levels of flow turn over as released: 255 - x, around 127.5.
    """
    mirrored = clip.flip(-1)
    if modality == "flow":
        mirrored[..., 0, :, :] = 255 - mirrored[..., 0, :, :]
    return mirrored


def stack_frames(clip: Tensor, num_segments: int) -> Tensor:
    """Put the frames of each segment on top of each other: (..., T * F, C, H, W) -> (..., T, F * C, H, W)."""
    return clip.unflatten(-4, (num_segments, -1)).flatten(-4, -3)


def resize(clip: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize all frames to (height, width), bilinear with antialiasing, bytes in and out."""
    if tuple(clip.shape[-2:]) == size:
        return clip
    return F.interpolate(clip, size, mode="bilinear", antialias=True, align_corners=False)


def normalize(clips: Tensor, spec: InputSpec) -> Tensor:
    """Return bytes as the float32 that the network wants, on the device they are on.

    (..., frames_read * planes, H, W), colours in RGB -> (..., in_channels, H, W). Differences of frames are
    taken here.
    """
    frames = clips.unflatten(-3, (spec.frames_read, spec.planes))
    if spec.channels == "bgr":
        frames = frames.flip(-3)
    frames = frames.float()
    if spec.scale != 255:
        frames.div_(255 / spec.scale)
    frames.sub_(torch.tensor(spec.mean, device=clips.device).view(-1, 1, 1))
    if any(std != 1 for std in spec.std):
        frames.div_(torch.tensor(spec.std, device=clips.device).view(-1, 1, 1))
    if spec.modality == "rgbdiff":
        frames = frames.diff(dim=-4)
    return frames.flatten(-4, -3)
