"""Which crop sizes a network takes, found out from shapes alone."""

import torch
from torch.func import functional_call

from gateshift.errors import ConfigError
from gateshift.models.classifier import VideoClassifier

LARGEST = 512  # that is tried in place of a size that does not do


def require_size(model: VideoClassifier, size: int) -> None:
    """Refuse crops of a size that the network cannot take.

    Raises:
        ConfigError: its maps would shrink to nothing, or not fit together; it names a size that does.
    """
    reason = _why_not(model, size)
    if reason is None:
        return
    larger = next((other for other in range(size + 1, LARGEST) if _why_not(model, other) is None), None)
    instead = f"The next size that it takes is {larger}" if larger else "Its own size"
    raise ConfigError(
        f"{model.spec.name} cannot take crops of {size} pixels: {reason}. {instead}; it was made for "
        f"{model.input_spec.size}. Change --size, or leave it out."
    )


def _why_not(model: VideoClassifier, size: int) -> str | None:
    """Return why a clip of that size does not pass the network, which stays as it is; None if it does."""
    if size < 1:
        return "a crop has 1 pixel or more"
    named = [*model.named_parameters(), *model.named_buffers()]
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in named}
    clip = torch.empty(1, model.num_segments, model.input_spec.in_channels, size, size, device="meta")
    try:
        with torch.inference_mode():
            functional_call(model, shapes, (clip,))
    except RuntimeError as error:  # what torch raises for any misfit of shapes
        return str(error).splitlines()[0].rstrip(".")
    return None
