"""Plain records that sibling rooms share: weights carry an InputSpec, transforms consume it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How a network wants its pixels.

    Attributes:
        size: side of the square crop that enters the network, in pixels.
        resize: short side of a frame before the crop at test time, in pixels.
        mean: subtracted, in the order of ``channels`` and on the scale of ``scale``.
        std: divided by, likewise.
        scale: what a white pixel is before mean and std: 255.0, or 1.0.
        channels: order of the colour planes.
    """

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1.0
    channels: Literal["rgb", "bgr"] = "rgb"

    def with_size(self, size: int) -> "InputSpec":
        """Return the same spec for another crop size; ``resize`` keeps its ratio to it.

        >>> spec = InputSpec(size=224, resize=256, mean=(0, 0, 0), std=(1, 1, 1))
        >>> spec.with_size(112).resize
        128
        """
        return replace(self, size=size, resize=self.resize * size // self.size)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``from_json`` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "InputSpec":
        """Return the spec that ``to_json`` wrote."""
        fixed: dict[str, Any] = dict(values)
        return cls(**fixed | {key: tuple(fixed[key]) for key in ("mean", "std")})
