"""Where the temporal modules of a model sit, and what they see there."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateshift.models.registry import MODELS, create_model


@dataclass(frozen=True)
class Place:
    """One temporal module.

    Attributes:
        name: of the module in the network.
        channels: that it sees.
        height: of the maps it sees.
        width: of these maps.
    """

    name: str
    channels: int
    height: int
    width: int

    @property
    def size(self) -> str:
        """The size of what it sees, for people."""
        return f"{self.channels} x {self.height} x {self.width}"


def temporal_places(model: str, num_segments: int, size: int) -> list[Place]:
    """Return the temporal modules of a model in their order, from shapes alone; none for TSN.

    Args:
        model: a name of ``list_models``.
        num_segments: frames per clip, T.
        size: side of the crop; 0 for the backbone's own.
    """
    if MODELS[model].kind == "tsn":
        return []
    with torch.device("meta"):
        network = create_model(model, 2, num_segments, size=size or None).eval()
    places: list[Place] = []
    for name, module in network.named_modules():
        if name.endswith(".temporal"):
            module.register_forward_hook(_note(name, places))
    side = network.input_spec.size
    with torch.no_grad():
        network(torch.zeros(1, num_segments, network.input_spec.in_channels, side, side, device="meta"))
    return places


def _note(name: str, places: list[Place]) -> Any:
    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places.append(Place(name, *inputs[0].shape[1:]))  # of frames (N, C, H, W)

    return note
