"""What sibling rooms share: records (weights carry an InputSpec, transforms consume it), and one cache."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gateshift.errors import lookup

ModalityName = Literal["rgb", "flow", "rgbdiff"]


@dataclass(frozen=True)
class Modality:
    """What the network sees of one segment of a video; the numbers are the released code's.

    Attributes:
        stack: consecutive frames that one segment shows.
        frames_read: consecutive frames that are read for it: n differences take n + 1 frames.
        planes: planes of a frame.
        shows: what it is, for people.
    """

    stack: int
    frames_read: int
    planes: int
    shows: str

    @property
    def in_channels(self) -> int:
        """Channels of one segment as they enter the network."""
        return self.stack * self.planes


MODALITIES: dict[str, Modality] = {
    "rgb": Modality(stack=1, frames_read=1, planes=3, shows="RGB frames"),
    "flow": Modality(stack=5, frames_read=5, planes=2, shows="stacks of 5 frames of x and y flow"),
    "rgbdiff": Modality(stack=5, frames_read=6, planes=3, shows="stacks of 5 differences of RGB frames"),
}
FLOW_AT_REST = 128.0  # grey level of no motion, where white is 255


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How a network wants its pixels.

    Attributes:
        size: side of the square crop that enters the network, in pixels.
        resize: short side of a frame before the crop at test time, in pixels.
        mean: subtracted from a frame's planes, in the order of ``channels`` and on the scale of ``scale``.
        std: divided by, likewise.
        scale: what a white pixel is before mean and std: 255.0, or 1.0.
        channels: order of the colour planes; "rgb" for flow, which has x before y.
        modality: what the frames are: "rgb", optical "flow", or "rgbdiff", differences of RGB frames.
    """

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    channels: Literal["rgb", "bgr"] = "rgb"
    modality: ModalityName = "rgb"

    @property
    def stack(self) -> int:
        """Consecutive frames that one segment shows, L."""
        return MODALITIES[self.modality].stack

    @property
    def frames_read(self) -> int:
        """Consecutive frames that are read for one segment."""
        return MODALITIES[self.modality].frames_read

    @property
    def planes(self) -> int:
        """Planes of one frame."""
        return MODALITIES[self.modality].planes

    @property
    def in_channels(self) -> int:
        """Channels of one segment as they enter the network.

        >>> spec = InputSpec(size=224, resize=256, mean=(0, 0, 0), std=(1, 1, 1))
        >>> [spec.for_modality(name).in_channels for name in MODALITIES]
        [3, 10, 15]
        """
        return MODALITIES[self.modality].in_channels

    def for_modality(self, modality: str) -> "InputSpec":
        """Return what a network made for this RGB input wants of another modality, as released.

        Differences have neither mean nor std. The std of flow is the mean of those of the colours.
        """
        lookup("modality", modality, MODALITIES)
        if modality == "flow":
            mean, std = FLOW_AT_REST / 255 * self.scale, sum(self.std) / len(self.std)
            return replace(self, modality="flow", mean=(mean,) * 2, std=(std,) * 2, channels="rgb")
        if modality == "rgbdiff":
            return replace(self, modality="rgbdiff", mean=(0.0,) * 3, std=(1.0,) * 3)
        return self

    def with_size(self, size: int) -> "InputSpec":
        """Return the same spec for another crop size; ``resize`` keeps its ratio to it.

        >>> spec = InputSpec(size=224, resize=256, mean=(0, 0, 0), std=(1, 1, 1))
        >>> spec.with_size(112).resize
        128
        """
        return replace(self, size=size, resize=self.resize * size // self.size)

    def at_full_resolution(self) -> "InputSpec":
        """Return the same spec with crops as large as the short side of the resized frames.

        >>> spec = InputSpec(size=224, resize=256, mean=(0, 0, 0), std=(1, 1, 1))
        >>> spec.at_full_resolution().size
        256
        """
        return replace(self, size=self.resize)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``from_json`` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "InputSpec":
        """Return the spec that ``to_json`` wrote."""
        fixed: dict[str, Any] = dict(values)
        return cls(**fixed | {key: tuple(fixed[key]) for key in ("mean", "std")})


def cache_dir() -> Path:
    """Return the folder of files from the network: ``GATESHIFT_CACHE``, or ``~/.cache/gateshift``."""
    return Path(os.environ.get("GATESHIFT_CACHE") or "~/.cache/gateshift").expanduser()
