"""How the gates of a network stand while it trains: how open they are, and which sign they have.

Letters: B clips, T frames, h w of a gate plane.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gateshift.data.dataset import EvalViews
from gateshift.data.transforms import normalize
from gateshift.engine.device import autocast
from gateshift.engine.run import GATE_COLUMNS
from gateshift.errors import VideoError
from gateshift.models.classifier import VideoClassifier
from gateshift.nn import Exchanging, GateShift, GateShiftFuse

DIRECTIONS = ("earlier", "later")  # what the two gates of a module do, in their order
MOST_CLIPS = 8
SHARE = 20  # one clip for so many of training: forward only, they take about 2 % of an epoch


class GateClips:
    """A few validation clips, the same in each epoch, over which gates are measured.

    They are spread evenly over the list, and read once; a video that cannot be read is left out.

    Args:
        views: of the validation videos.
        num_train: training videos, which decide how many clips are worth their time.
    """

    def __init__(self, views: EvalViews, num_train: int) -> None:
        self._views = views
        self._count = min(len(views), MOST_CLIPS, max(1, num_train // SHARE))
        self._clips: list[Tensor] | None = None

    def read(self) -> list[Tensor]:
        """Return the clips, (1, T, 3, S, S) uint8 each."""
        if self._clips is None:
            places = np.linspace(0, len(self._views) - 1, self._count).round().astype(int)
            self._clips = [views[:1] for views in map(self._try_read, places.tolist()) if views is not None]
        return self._clips

    def _try_read(self, index: int) -> Tensor | None:
        try:
            return self._views[index][0]
        except VideoError:
            return None


def exchanging_modules(network: VideoClassifier) -> dict[str, Exchanging]:
    """Return the modules that can be closed by the convolution they follow; TSN has none."""
    return {
        name.removesuffix(".temporal"): module
        for name, module in network.backbone.named_modules()
        if isinstance(module, Exchanging)
    }


def gate_modules(network: VideoClassifier) -> dict[str, GateShift | GateShiftFuse]:
    """Return those of ``exchanging_modules`` that have gates; TSN and TSM have none."""
    modules = exchanging_modules(network)
    return {name: each for name, each in modules.items() if isinstance(each, GateShift | GateShiftFuse)}


@contextmanager
def watching_gates(network: VideoClassifier) -> Iterator[dict[str, Tensor]]:
    """Yield what holds, after a forward pass inside, its gates (B, 2, T, h, w) by module."""
    planes: dict[str, Tensor] = {}

    def keep(module: GateShift | GateShiftFuse, inputs: tuple[Tensor], name: str) -> None:
        planes[name] = module.gates(inputs[0])

    hooks = [
        module.register_forward_pre_hook(partial(keep, name=name))
        for name, module in gate_modules(network).items()
    ]
    try:
        yield planes
    finally:
        for hook in hooks:
            hook.remove()


def measure_gates(
    network: VideoClassifier, clips: Sequence[Tensor], precision: torch.dtype, epoch: int
) -> list[dict[str, Any]]:
    """Return one row of GATE_COLUMNS for each gate of ``network``, averaged over clips (1, T, 3, S, S).

    ``open`` is the mean size of the gate, ``above_half`` the share of places where it is above one half, and
    ``sign`` the mean of its sign. The network stays as it is, its mode and its batch-norms included.
    """
    modules = gate_modules(network)
    if not modules or not clips:
        return []
    found: dict[str, list[Tensor]] = {name: [] for name in modules}
    device = network.head.weight.device
    # The class's own method: where the backbone is compiled, hooks that came later would not be called.
    backbone: Any = network.backbone
    forward_features = type(backbone).forward_features
    with (
        watching_gates(network) as planes,
        torch.no_grad(),
        evaluating(network),
        autocast(device, precision),
    ):
        for clip in clips:
            inputs = normalize(clip.to(device), network.input_spec)
            forward_features(backbone, inputs.flatten(0, 1))
            for name, gates in planes.items():
                found[name].append(_three_means(gates.float()))
    means = {name: torch.stack(each).mean(dim=0).tolist() for name, each in found.items()}  # 2 x 3
    return [
        dict(zip(GATE_COLUMNS, (epoch, name, direction, *(round(value, 6) for value in three)), strict=True))
        for name, both in means.items()
        for direction, three in zip(DIRECTIONS, both, strict=True)
    ]


def _three_means(gates: Tensor) -> Tensor:
    """Return what is measured of gates (B, 2, T, h, w), for each of the two: (2, 3)."""
    sizes = gates.abs()
    parts = (sizes, (sizes > 0.5).float(), gates.sign())
    return torch.stack([part.mean(dim=(0, 2, 3, 4)) for part in parts], dim=1)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every layer into eval mode while the block runs, and back into its own."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
