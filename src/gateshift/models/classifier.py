"""VideoClassifier: frames -> features -> head -> consensus.

Shapes: B clips, T frames per clip, N = B*T frames, D features, K classes, S pixels a side. The 3
planes of RGB stand for those of any modality: 10 of flow, 15 of rgbdiff.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gateshift.models.folding import fold_backbone
from gateshift.spec import InputSpec


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What ``create_model`` needs to build the same architecture again.

    Attributes:
        name: a name of ``list_models``.
        num_classes: classes, K.
        num_segments: frames per clip, T.
        interleave: whether gate-shift modules riffle their channels.
        channel_ratio: fraction of the channels that gate-shift-fuse modules act on.
        dropout: probability, before the head.
        modality: what the frames are: "rgb", "flow" or "rgbdiff".
        gate: function of the gates: "tanh", "sigmoid" or "none".
        branch: Inception branch that the temporal modules go to; empty for the backbone's own points.
        num_modules: how many temporal modules there are, counted from the last; -1 for all.
    """

    name: str
    num_classes: int
    num_segments: int
    interleave: bool
    channel_ratio: float
    dropout: float
    modality: str = "rgb"
    gate: str = "tanh"
    branch: str = ""
    num_modules: int = -1


class VideoClassifier(nn.Module):
    """A 2D network applied to each frame, whose frames vote on the class of the clip.

    Args:
        backbone: network with ``forward_features``, its temporal modules in place.
        num_features: channels of the backbone's feature maps, D.
        spec: what was built.
        input_spec: what the clips must look like.
        insertion_points: ``{"name", "channels"}`` of every temporal module.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_features: int,
        spec: ModelSpec,
        input_spec: InputSpec,
        insertion_points: list[dict[str, str | int]],
    ) -> None:
        super().__init__()
        self.spec = spec
        self.input_spec = input_spec
        self.insertion_points = insertion_points
        self.classes: tuple[str, ...] | None = None
        self.label_swaps: tuple[tuple[str, str], ...] = ()  # classes that a mirror image exchanges
        self.temperature: float | None = None  # by which logits are divided for calibrated probabilities
        self.backbone = backbone
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(num_features, spec.num_classes)
        nn.init.normal_(self.head.weight, std=0.001)  # as TSN: all classes start about equal
        nn.init.zeros_(self.head.bias)

    @property
    def num_segments(self) -> int:
        """Frames per clip, T."""
        return self.spec.num_segments

    def forward_features(self, clips: Tensor) -> Tensor:
        """Return features of each frame: (B, T, 3, S, S) -> (B, T, D)."""
        maps = self.backbone.forward_features(clips.flatten(0, 1))  # type: ignore[operator]  # (N, D, h, w)
        return maps.mean((-2, -1)).unflatten(0, (-1, self.num_segments))

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits by average consensus, frames voting with theirs: (B, T, D) -> (B, K)."""
        return self.head(self.dropout(features)).mean(dim=1)

    def optimize_for_inference(self, precision: torch.dtype = torch.float32) -> "VideoClassifier":
        """Return a network that says the same in less time; it cannot learn, and this one stays as it is.

        Batch-norms are folded into the layers before them, also through gate-shift modules; a convolution
        and its activation are one operation; maps are channels-last.

        Args:
            precision: type of weights and maps inside; clips and logits are float32. In float32 the logits
                are equal up to rounding.
        """
        fast = copy.copy(self)
        fast._modules = {**self._modules, "backbone": fold_backbone(self.backbone, precision)}
        for name in ("dropout", "head"):
            fast._modules[name] = copy.deepcopy(self._modules[name])
        return fast.eval().requires_grad_(False)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, T, 3, S, S) -> logits (B, K).

        Raises:
            ValueError: the clips have another shape.
        """
        planes = self.input_spec.in_channels
        if clips.ndim != 5 or clips.shape[1:3] != (self.num_segments, planes):
            what = "colours" if self.spec.modality == "rgb" else f"planes of {self.spec.modality}"
            raise ValueError(
                f"clips have the shape {tuple(clips.shape)}. {self.spec.name} was made for "
                f"(B, {self.num_segments}, {planes}, S, S): clips, frames per clip, {what}, height, width."
            )
        return self.forward_head(self.forward_features(clips))
