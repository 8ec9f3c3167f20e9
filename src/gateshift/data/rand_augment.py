"""RandAugment over whole clips: each operation is drawn once and done alike to all frames.

RandAugment, Cubuk et al., 2019, https://arxiv.org/abs/1909.13719, with the operations, strengths and
probabilities of timm's ``rand-m9-mstd0.5``, which GSF was trained with. A magnitude of 10 is full strength.
On the published scales some operations do least at full strength (solarize, posterize), and factors of 0.1
to 1.9 change nothing at half of it; ``inc1`` has those that grow with the magnitude.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from PIL.Image import Image as Picture
from PIL.Image import Resampling, Transform
from torch import Tensor

from gateshift.errors import ConfigError

FULL = 10.0  # magnitude of full strength
MEAN_COLOUR = (124, 116, 104)  # of ImageNet, in RGB: what enters a frame from outside, as in GSF's code
UNIFORM_FROM = 100.0  # a larger mstd stands for magnitudes drawn evenly from 0 to m, as in timm
FILTERS = (Resampling.BILINEAR, Resampling.BICUBIC)


@dataclass(frozen=True)
class Operation:
    """A kind of change of a frame.

    Attributes:
        words: what it does, with a place for its argument.
        change: from a frame, an argument and a filter to the changed frame.
        argument: from a strength (1.0 is full) and a sign to the argument.
    """

    words: str
    change: Callable[[Picture, float, Resampling], Picture]
    argument: Callable[[float, int], float] = lambda strength, sign: 0.0


@dataclass(frozen=True)
class Drawn:
    """An operation with its argument, to be done to all frames of a clip."""

    name: str
    argument: float
    resampling: Resampling = Resampling.BILINEAR

    def change(self, picture: Picture) -> Picture:
        """Return the changed frame."""
        return OPERATIONS[self.name].change(picture, self.argument, self.resampling)

    def __str__(self) -> str:
        return OPERATIONS[self.name].words.format(self.argument)


def change_frames(clip: Tensor, drawn: Sequence[Drawn]) -> Tensor:
    """Do the operations, in order, to every frame of a clip, uint8 (T, 3, H, W)."""
    if not drawn:
        return clip
    frames = clip.permute(0, 2, 3, 1).numpy()  # (T, H, W, 3)
    changed = np.empty_like(frames, order="C")
    for i, frame in enumerate(frames):
        picture = Image.fromarray(frame)
        for one in drawn:
            picture = one.change(picture)
        changed[i] = picture
    return torch.from_numpy(changed).permute(0, 3, 1, 2)


def _move(picture: Picture, matrix: tuple[float, ...], resampling: Resampling) -> Picture:
    """Take each pixel from the place that a 2 x 3 matrix, row by row, says."""
    return picture.transform(
        picture.size, Transform.AFFINE, matrix, resample=resampling, fillcolor=MEAN_COLOUR
    )


def _rotate(picture: Picture, degrees: float, resampling: Resampling) -> Picture:
    return picture.rotate(degrees, resample=resampling, fillcolor=MEAN_COLOUR)


def _add_to_dark(picture: Picture, added: float, _: Resampling) -> Picture:
    table = [min(255, level + int(added)) if level < 128 else level for level in range(256)]
    return picture.point(table * 3)


def _factor(strength: float, sign: int) -> float:
    return strength * 1.8 + 0.1


OPERATIONS: Mapping[str, Operation] = {
    "autocontrast": Operation("auto-contrast", lambda picture, *_: ImageOps.autocontrast(picture)),
    "equalize": Operation("equalized", lambda picture, *_: ImageOps.equalize(picture)),
    "invert": Operation("inverted", lambda picture, *_: ImageOps.invert(picture)),
    "rotate": Operation(
        "rotated left by {:+.0f} degrees", _rotate, lambda strength, sign: strength * 30.0 * sign
    ),
    "posterize": Operation(
        "posterized to {} bits",
        lambda picture, bits, _: ImageOps.posterize(picture, int(bits)),
        lambda strength, sign: max(1, int(strength * 4)),  # 0 would be black, and Pillow 13 refuses it
    ),
    "solarize": Operation(
        "solarized from {}",
        lambda picture, level, _: ImageOps.solarize(picture, int(level)),
        lambda strength, sign: min(256, int(strength * 256)),
    ),
    "solarize_add": Operation(
        "{} added below 128", _add_to_dark, lambda strength, sign: min(128, int(strength * 110))
    ),
    "color": Operation(
        "colour x {:.2f}", lambda picture, factor, _: ImageEnhance.Color(picture).enhance(factor), _factor
    ),
    "contrast": Operation(
        "contrast x {:.2f}",
        lambda picture, factor, _: ImageEnhance.Contrast(picture).enhance(factor),
        _factor,
    ),
    "brightness": Operation(
        "brightness x {:.2f}",
        lambda picture, factor, _: ImageEnhance.Brightness(picture).enhance(factor),
        _factor,
    ),
    "sharpness": Operation(
        "sharpness x {:.2f}",
        lambda picture, factor, _: ImageEnhance.Sharpness(picture).enhance(factor),
        _factor,
    ),
    "shear_x": Operation(
        "sheared in x by {:+.2f}",
        lambda picture, shear, how: _move(picture, (1, shear, 0, 0, 1, 0), how),
        lambda strength, sign: strength * 0.3 * sign,
    ),
    "shear_y": Operation(
        "sheared in y by {:+.2f}",
        lambda picture, shear, how: _move(picture, (1, 0, 0, shear, 1, 0), how),
        lambda strength, sign: strength * 0.3 * sign,
    ),
    "translate_x": Operation(
        "moved left by {:+.0%}",
        lambda picture, share, how: _move(picture, (1, 0, share * picture.width, 0, 1, 0), how),
        lambda strength, sign: strength * 0.45 * sign,
    ),
    "translate_y": Operation(
        "moved up by {:+.0%}",
        lambda picture, share, how: _move(picture, (1, 0, 0, 0, 1, share * picture.height), how),
        lambda strength, sign: strength * 0.45 * sign,
    ),
}


def _growing_factor(strength: float, sign: int) -> float:
    return max(0.1, 1.0 + strength * 0.9 * sign)


GROWING: Mapping[str, Callable[[float, int], float]] = {  # arguments of ``inc1`` where they differ
    "posterize": lambda strength, sign: max(1, 4 - int(strength * 4)),
    "solarize": lambda strength, sign: 256 - min(256, int(strength * 256)),
    **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), _growing_factor),
}


@dataclass(frozen=True)
class RandPolicy:
    """What RandAugment draws; the fields are the parts of ``rand-m9-mstd0.5``.

    Attributes:
        m: magnitude.
        mstd: its spread from draw to draw.
        mmax: what a drawn magnitude is limited to.
        n: operations drawn, with replacement.
        p: probability that one that is drawn is done.
        inc: whether to take the operations that grow with the magnitude.
    """

    m: float = FULL
    mstd: float = 0.0
    mmax: float = FULL
    n: int = 2
    p: float = 0.5
    inc: bool = False


def parse_policy(text: str) -> RandPolicy:
    """Return what a text in timm's spelling stands for.

    >>> parse_policy("rand-m9-mstd0.5")
    RandPolicy(m=9.0, mstd=0.5, mmax=10.0, n=2, p=0.5, inc=False)

    Raises:
        ConfigError: a part is none of RandAugment's, or its value is out of its range.
    """
    chosen: dict[str, Any] = {}
    for part in text.split("-")[1:]:
        matched = re.fullmatch(r"(m|mstd|mmax|n|p|inc)(\d+(?:\.\d+)?)", part)
        read, highest = PARTS[matched[1]] if matched else (float, 0.0)
        if matched is None or float(matched[2]) > highest or (read is int and "." in matched[2]):
            raise ConfigError(
                f"{part!r} in {text!r} is no part of RandAugment. Expected such as rand-m9-mstd0.5, of "
                "m (magnitude, 10 is full strength), mstd (its spread), mmax (its limit), n (operations), "
                "p (probability of each, up to 1) and inc1 (those that grow with the magnitude)."
            )
        chosen[matched[1]] = read(float(matched[2]))
    return RandPolicy(**chosen)


PARTS: Mapping[str, tuple[Callable[[float], float], float]] = {  # part -> its type, its largest value
    "m": (float, 30.0),
    "mstd": (float, float("inf")),
    "mmax": (float, 30.0),
    "n": (int, 15.0),
    "p": (float, 1.0),
    "inc": (bool, 1.0),
}


class RandAugment:
    """A few operations of those above, the same for all frames of a clip."""

    def __init__(self, policy: RandPolicy) -> None:
        self.policy = policy

    def __call__(
        self, clip: Tensor, label: int, rng: np.random.Generator, notes: list[str] | None = None
    ) -> tuple[Tensor, int]:
        """Change all frames alike."""
        drawn = self.draw(rng)
        if notes is not None:
            notes += map(str, drawn)
        return change_frames(clip, drawn), label

    def draw(self, rng: np.random.Generator) -> list[Drawn]:
        """Return the operations to do, in their order."""
        names = rng.choice(list(OPERATIONS), self.policy.n)
        return [self._with_argument(str(name), rng) for name in names if rng.random() < self.policy.p]

    def _with_argument(self, name: str, rng: np.random.Generator) -> Drawn:
        policy = self.policy
        if policy.mstd > UNIFORM_FROM:
            magnitude = rng.uniform(0, policy.m)
        else:
            magnitude = rng.normal(policy.m, policy.mstd)
        strength = min(max(magnitude, 0.0), policy.mmax) / FULL
        sign = 1 if rng.random() < 0.5 else -1
        argument = GROWING.get(name, OPERATIONS[name].argument) if policy.inc else OPERATIONS[name].argument
        resampling = FILTERS[rng.integers(len(FILTERS))]
        return Drawn(name, argument(strength, sign), resampling)
