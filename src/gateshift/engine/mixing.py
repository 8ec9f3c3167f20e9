"""MixUp and CutMix: each clip of a batch mixed with its neighbour, and its label alike.

MixUp, Zhang et al., 2018, https://arxiv.org/abs/1710.09412; CutMix, Yun et al., 2019,
https://arxiv.org/abs/1905.04899. All frames of a clip are mixed alike. Labels are those of the loader, where
mirrored clips have exchanged theirs already.

Letters: B clips, T frames, C channels, H W pixels, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gateshift.data.augment import Augment


@dataclass(frozen=True)
class Mix:
    """How one clip is mixed with its neighbour.

    Attributes:
        share: what stays of the clip, and of its label.
        box: top, bottom, left and right of the part that is the neighbour's; None where both are blended.
    """

    share: float
    box: tuple[int, int, int, int] | None = None

    def __str__(self) -> str:
        if self.box is None:
            return f"{self.share:.0%} of it blended with"
        top, bottom, left, right = self.box
        return f"box of {right - left} x {bottom - top} at {left}, {top} from"


class Mixing:
    """Mixes batches of training clips as an ``Augment`` says.

    Each clip draws for itself: where both kinds are wanted, one of them, at even chances.
    """

    def __init__(self, augment: Augment, num_classes: int) -> None:
        self.alphas = {
            name: alpha for name, alpha in (("mixup", augment.mixup), ("cutmix", augment.cutmix)) if alpha
        }
        self.num_classes = num_classes

    def __bool__(self) -> bool:
        return bool(self.alphas)

    def __call__(
        self, clips: Tensor, labels: Tensor, rng: np.random.Generator, taught: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return mixed clips, their targets, and what a teacher says of them.

        (B, T, C, H, W) float, labels (B,), probabilities (B, K) -> the same, (B, K), (B, K).
        """
        mixes = self.draw(len(clips), clips.shape[-2], clips.shape[-1], rng)
        targets = mix_labels(labels, mixes, self.num_classes)
        return mix_clips(clips, mixes), targets, None if taught is None else mix_rows(taught, mixes)

    def draw(self, num_clips: int, height: int, width: int, rng: np.random.Generator) -> list[Mix]:
        """Return how each of the clips of a batch is mixed."""
        kinds = rng.choice(list(self.alphas), num_clips)
        shares = [rng.beta(self.alphas[kind], self.alphas[kind]) for kind in kinds]
        # Of two that are blended, either may be called the first: here a clip is the larger part of its own.
        return [
            Mix(max(share, 1 - share)) if kind == "mixup" else draw_box(share, height, width, rng)
            for kind, share in zip(kinds, shares, strict=True)
        ]


def draw_box(share: float, height: int, width: int, rng: np.random.Generator) -> Mix:
    """Return a box of about ``1 - share`` of the frame with its centre anywhere, and the share it leaves.

    What would lie outside the frame is cut off, so the share is what the pixels say, to the pixel.
    """
    side = math.sqrt(1 - share)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    h, w = int(side * height), int(side * width)
    top, left = max(y - h // 2, 0), max(x - w // 2, 0)
    bottom, right = min(y - h // 2 + h, height), min(x - w // 2 + w, width)
    left_over = 1 - (bottom - top) * (right - left) / (height * width)
    return Mix(left_over, (top, bottom, left, right))


def mix_clips(clips: Tensor, mixes: list[Mix]) -> Tensor:
    """Mix each clip (B, T, C, H, W), float, with the one before it; the first with the last."""
    mixed = clips.clone()
    for i, mix in enumerate(mixes):
        neighbour = clips[i - 1]
        if mix.box is None:
            mixed[i].mul_(mix.share).add_(neighbour, alpha=1 - mix.share)
        else:
            top, bottom, left, right = mix.box
            mixed[i, ..., top:bottom, left:right] = neighbour[..., top:bottom, left:right]
    return mixed


def mix_labels(labels: Tensor, mixes: list[Mix], num_classes: int) -> Tensor:
    """Return the share of each class in each mixed clip: (B,) -> (B, K), rows that sum to 1."""
    return mix_rows(F.one_hot(labels, num_classes).float(), mixes)


def mix_rows(own: Tensor, mixes: list[Mix]) -> Tensor:
    """Return what is known of each mixed clip, from what is known of each: (B, K) -> (B, K), by shares."""
    shares = torch.tensor([mix.share for mix in mixes], dtype=own.dtype, device=own.device)
    return own * shares[:, None] + own.roll(1, dims=0) * (1 - shares[:, None])


def share_right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how many clips are predicted right; of a mixed clip, the share of the predicted class.

    ``targets`` are labels (B,), or shares of the classes (B, K) as the logits are.

    >>> share_right(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[0.75, 0.25], [1.0, 0.0]])).item()
    0.75
    """
    predicted = logits.argmax(1)
    if targets.dim() == 1:
        return (predicted == targets).sum().float()
    return targets.gather(1, predicted[:, None]).sum()
