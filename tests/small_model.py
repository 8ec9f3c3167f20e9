"""A network that was never trained and still has opinions, for the tests of what uses a network."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gateshift.models.classifier import ModelSpec, VideoClassifier
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights
from gateshift.spec import InputSpec


def small_model(classes: tuple[str, ...], *, num_segments: int = 4, size: int = 32) -> VideoClassifier:
    """Return a GSM network whose answers differ from video to video."""
    torch.manual_seed(0)
    model = create_model("gsm_resnet18", len(classes), num_segments, size=size).eval()
    model.classes = classes
    torch.nn.init.normal_(model.head.weight, std=2.0)
    for name, parameter in model.named_parameters():
        if name.endswith("gate.weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


class _Said(nn.Module):
    """A layer that says of each frame what a function says of it."""

    def __init__(self, say: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.say = say

    def forward(self, frames: Tensor) -> Tensor:
        return self.say(frames)[..., None, None]


class _Known(nn.Module):
    """A backbone of that layer alone, which looks at frames and not at symbols that stand for them."""

    def __init__(self, say: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.said = _Said(say)

    def forward_features(self, frames: Tensor) -> Tensor:
        return self.said(frames)


def known_model(
    say: Callable[[Tensor], Tensor], classes: tuple[str, ...], *, num_segments: int, size: int, resize: int
) -> VideoClassifier:
    """Return a network whose logits are the mean of ``say`` (N, 3, S, S) -> (N, K) over the frames.

    It sees pixels from 0 to 1.
    """
    spec = ModelSpec(
        name="known",
        num_classes=len(classes),
        num_segments=num_segments,
        interleave=True,
        channel_ratio=1.0,
        dropout=0.0,
    )
    pixels = InputSpec(size=size, resize=resize, mean=(0.0,) * 3, std=(1.0,) * 3)
    model = VideoClassifier(_Known(say), len(classes), spec, pixels, [])
    nn.init.eye_(model.head.weight)
    model.classes = classes
    return model.eval()


def save_small_model(folder: Path, classes: tuple[str, ...]) -> Path:
    """Write the network as a run directory has it; return the directory."""
    save_weights(small_model(classes), folder / "weights.safetensors")
    return folder
