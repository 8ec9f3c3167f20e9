"""A network that was never trained and still has opinions, for the tests of what uses a network."""

from pathlib import Path

import torch

from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import create_model
from gateshift.models.weights import save_weights


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


def save_small_model(folder: Path, classes: tuple[str, ...]) -> Path:
    """Write the network as a run directory has it; return the directory."""
    save_weights(small_model(classes), folder / "weights.safetensors")
    return folder
