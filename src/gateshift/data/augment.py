"""Augmentation beyond crops and flips, as one text: ``rand-m9-mstd0.5,jitter=0.4,erase=0.25,mixup=0.2``.

``rand`` is RandAugment on whole frames, before crop and flip; ``jitter`` changes brightness, contrast and
colour of the crop by up to that share; ``erase`` is the probability that a rectangle of it is blanked. Each
is drawn once for all frames of a clip. ``mixup`` and ``cutmix`` are the parameters of the Beta distribution
that a clip's share is drawn from when it is mixed with another of its batch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gateshift.data.rand_augment import MEAN_COLOUR, Drawn, RandPolicy, change_frames, parse_policy
from gateshift.errors import ConfigError, lookup
from gateshift.spec import FLOW_AT_REST, ModalityName

ERASED_AREA = (0.02, 1 / 3)  # of the crop: Zhong et al., 2017, https://arxiv.org/abs/1708.04896, as in timm
ERASED_STRETCH = math.log(1 / 0.3)  # of its sides' ratio
TRIES = 10


@dataclass(frozen=True)
class Augment:
    """What augments training clips beyond crops and flips; nothing by default.

    Attributes:
        rand: what RandAugment draws; None for none.
        jitter: largest change of brightness, contrast and colour, 1.0 being down to nothing or doubled.
        erase: probability that a rectangle is blanked.
        mixup: parameter of the shares in MixUp; 0 for none.
        cutmix: parameter of the areas in CutMix; 0 for none.
    """

    rand: RandPolicy | None = None
    jitter: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def require_modality(self, modality: ModalityName) -> None:
        """Refuse what would make flow into something else than flow.

        Raises:
            ConfigError: colours, or directions that turn with the frame, of optical flow are asked for.
        """
        if modality == "flow" and (self.rand or self.jitter):
            name = "rand" if self.rand else "jitter"
            raise ConfigError(
                f"{name} in --augment changes colours or turns frames, and optical flow has motion in place "
                "of colours. Leave it out; erase, mixup and cutmix are right for flow."
            )


def parse_augment(text: str) -> Augment:
    """Return what a text such as that of ``--augment`` stands for; "" and "none" stand for nothing.

    >>> parse_augment("erase=0.25, mixup=0.2")
    Augment(rand=None, jitter=0.0, erase=0.25, mixup=0.2, cutmix=0.0)

    Raises:
        ConfigError: a part is no augmentation, or comes twice, or its value is out of its range.
        UnknownName: there is no such augmentation.
    """
    chosen: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(",") if text != "none")):
        name = part.split("-" if part.startswith("rand") else "=")[0].strip()
        largest = lookup("augmentation", name, LARGEST)
        if name in chosen:
            raise ConfigError(f"{name} comes twice in the augmentation {text!r}. Give it once.")
        chosen[name] = parse_policy(part) if name == "rand" else _amount(part, name, largest)
    return Augment(**chosen)


LARGEST: Mapping[str, float] = {"rand": 0.0, "jitter": 1.0, "erase": 1.0, "mixup": 100.0, "cutmix": 100.0}


def _amount(part: str, name: str, largest: float) -> float:
    try:
        amount = float(part.partition("=")[2])
    except ValueError:
        amount = math.nan
    if not 0 < amount <= largest:
        raise ConfigError(
            f"{part!r} is no augmentation. Expected {name}= and a number above 0, up to {largest:g}; leave "
            f"{name} out for none."
        )
    return amount


class ColorJitter:
    """Brightness, contrast and colour by factors from 1 - ``strength`` to 1 + ``strength``, in any order."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Change all frames alike."""
        names = rng.permutation(("brightness", "contrast", "color"))
        factors = rng.uniform(1 - self.strength, 1 + self.strength, 3)
        drawn = [Drawn(str(name), float(factor)) for name, factor in zip(names, factors, strict=True)]
        if notes is not None:
            notes += map(str, drawn)
        return change_frames(clip, drawn), label


class RandomErasing:
    """Blank a rectangle of 2 to 33 % of the frame, at the same place in all frames.

    It takes the mean colour of ImageNet; flow is at rest there.
    """

    def __init__(self, probability: float, modality: ModalityName = "rgb") -> None:
        self.probability = probability
        self.colour = (FLOW_AT_REST, FLOW_AT_REST) if modality == "flow" else MEAN_COLOUR

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Blank the rectangle, or none."""
        if rng.random() >= self.probability:
            return clip, label
        height, width = self.draw_size(clip.shape[-2], clip.shape[-1], rng)
        if not height * width:
            return clip, label
        top = rng.integers(clip.shape[-2] - height + 1)
        left = rng.integers(clip.shape[-1] - width + 1)
        if notes is not None:
            notes.append(f"erased {width} x {height} at {left}, {top}")
        clip = clip.clone()
        colour = torch.tensor(self.colour, dtype=clip.dtype).view(-1, 1, 1)
        clip[..., top : top + height, left : left + width] = colour
        return clip, label

    def draw_size(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """Return height and width of a rectangle that fits in the frame; (0, 0) where none was found."""
        for _ in range(TRIES):
            area = rng.uniform(*ERASED_AREA) * height * width
            aspect = math.exp(rng.uniform(-ERASED_STRETCH, ERASED_STRETCH))
            size = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if size[0] < height and size[1] < width:
                return size
        return 0, 0
