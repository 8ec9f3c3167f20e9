"""Convolutions and gate-shift modules with the batch-norms around them folded in, for inference.

A batch-norm in eval mode multiplies each channel and adds to it. The product moves into the convolution
before it, through gate-shift as well, whose value path is linear in x; what is added stays behind:

    norm(gate_shift(conv(x)))  =  gate_shift'(conv'(x)) + bias

conv' puts its channels out in the order that gate-shift would riffle them to, so nothing is riffled any more;
gate-shift' knows how to undo scale and order for its gate. All modules keep maps channels-last.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, G of them gated, H x W pixels, P = H*W.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gateshift.nn.aten_maps import convolve
from gateshift.nn.gate_shift import GATES, GateShift, GateShiftFuse

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu_,
    "relu6": lambda x: x.clamp_(0, 6),
}
ONEDNN_ACTIVATIONS: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


class FoldedConv(nn.Module):
    """A 2D convolution, its batch-norm and its activation in one: (N, C, H, W) -> (N, C', H', W').

    Args:
        conv: the convolution; it is not changed.
        weight: in place of the conv's.
        bias: in place of the conv's.
        activation: a name of ACTIVATIONS.
    """

    def __init__(self, conv: nn.Conv2d, weight: Tensor, bias: Tensor, activation: str = "none") -> None:
        super().__init__()
        self.stride, self.dilation, self.groups = list(conv.stride), list(conv.dilation), conv.groups
        self.padding = [int(pad) for pad in conv.padding]
        self.activation = activation
        self._packed: Tensor | None = None  # the weight in the order that oneDNN reads it in
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W'), through the activation."""
        where = (self.padding, self.stride, self.dilation, self.groups)
        if _has_onednn(x):
            if self._packed is None:
                pack = torch.ops.mkldnn._reorder_convolution_weight
                self._packed = pack(self.weight, *where, list(x.shape))
            then = ONEDNN_ACTIVATIONS[self.activation]
            return torch.ops.mkldnn._convolution_pointwise(x, self._packed, self.bias, *where, *then, "")
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return ACTIVATIONS[self.activation](y)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what a copy packs for itself; oneDNN's tensors cannot be copied."""
        return {**self.__dict__, "_packed": None}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FoldedConv":
        self._packed = None  # what moves or changes its type is packed anew
        return super()._apply(fn, recurse)

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel of the result comes of one pixel."""
        return self.weight.shape[2:] == (1, 1) and self.stride == [1, 1] and self.padding == [0, 0]

    def extra_repr(self) -> str:
        """Say what it maps."""
        return f"{tuple(self.weight.shape)}, stride={self.stride}, activation={self.activation}"


class AddBias(nn.Module):
    """Add to each channel of (N, C, H, W), in place, and activate.

    Args:
        bias: (C,) to add; None for nothing.
        activation: a name of ACTIVATIONS.
    """

    def __init__(self, bias: Tensor | None, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.register_buffer("bias", None if bias is None else bias[:, None, None])
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return ACTIVATIONS[self.activation](x if self.bias is None else x.add_(self.bias))


class FoldedGateShift(nn.Module):
    """Gate-shift, the batch-norm behind it and its activation: frames (N, C, H, W) to the same shape.

    Args:
        module: what is folded; it is not changed.
        order: (C,) which channel of ``module``'s input each channel of x is.
        scale: (C,) by which each channel of x was multiplied already, never 0.
        bias: (C,) to add to each channel of the result.
        activation: a name of ACTIVATIONS.
    """

    def __init__(
        self, module: GateShift | GateShiftFuse, order: Tensor, scale: Tensor, bias: Tensor, activation: str
    ) -> None:
        super().__init__()
        self.num_segments = module.num_segments
        self.gate_function = module.gate_function
        self.activation = activation
        self.num_gated = module.norm.num_features
        order, scale = order[: self.num_gated], scale[: self.num_gated]
        factor, offset = affine(module.norm)
        self.register_buffer("norm_scale", (factor[order] / scale)[:, None, None])
        self.register_buffer("norm_shift", offset[order][:, None, None])
        halves = order.view(2, -1) % (self.num_gated // 2)  # the gate's weight is (2, G/2, 3, 3, 3)
        self.register_buffer("gate_weight", module.gate.weight.detach()[torch.arange(2)[:, None], halves])
        assert module.gate.bias is not None
        self.register_buffer("gate_bias", module.gate.bias.detach())
        self.register_buffer("bias", bias)
        self.norm_scale: Tensor
        self.norm_shift: Tensor
        self.gate_weight: Tensor
        self.gate_bias: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), through the activation."""
        gated = x[:, : self.num_gated]
        active = torch.addcmul(self.norm_shift, gated, self.norm_scale).relu_()
        gate = self._gate(active)  # (B, T, P, 2, 1)
        mixed = self.mix(self.clips(gated), gate, self.clips(active))
        y = mixed.flatten(-2).unflatten(2, x.shape[-2:]).flatten(0, 1).movedim(-1, 1)  # (N, G, H, W)
        if self.num_gated < x.shape[1]:
            y = torch.cat([y, x[:, self.num_gated :] + self.bias[self.num_gated :, None, None]], dim=1)
        return ACTIVATIONS[self.activation](y)

    def clips(self, x: Tensor) -> Tensor:
        """Return frames (N, G, H, W) as (B, T, P, 2, G/2), a view where they are channels-last."""
        x = x.movedim(1, -1).flatten(1, 2)
        return x.unflatten(-1, (2, -1)).unflatten(0, (-1, self.num_segments))

    def mix(self, x: Tensor, gate: Tensor, room: Tensor) -> Tensor:
        """Return moved + kept + bias, (B, T, P, 2, G/2); ``room``, as large, is overwritten."""
        y = torch.addcmul(self.bias.view(2, -1), x, 1 - gate, out=room)
        y[:, :-1, :, 0].addcmul_(x[:, 1:, :, 0], gate[:, 1:, :, 0])
        y[:, 1:, :, 1].addcmul_(x[:, :-1, :, 1], gate[:, :-1, :, 1])
        return y

    def _gate(self, active: Tensor) -> Tensor:
        """Return the gates of normalised frames (N, G, H, W): (B, T, P, 2, 1)."""
        maps = convolve(active, self.gate_weight, self.gate_bias, self.num_segments)  # (B, 2, T, H, W)
        return GATES[self.gate_function](maps).flatten(-2).movedim(1, -1).unsqueeze(-1)


class FoldedGateShiftFuse(FoldedGateShift):
    """The same of gate-shift-fuse: what moved and what is kept are mixed by weights of their means."""

    def __init__(
        self, module: GateShiftFuse, order: Tensor, scale: Tensor, bias: Tensor, activation: str
    ) -> None:
        super().__init__(module, order, scale, bias, activation)
        order = order[: self.num_gated]
        self.fuse = nn.ModuleList([module.fuse_earlier, module.fuse_later])
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())
        self.register_buffer("mean_scale", 1 / scale[: self.num_gated])
        self.order: Tensor
        self.back: Tensor
        self.mean_scale: Tensor

    def mix(self, x: Tensor, gate: Tensor, room: Tensor) -> Tensor:
        """Return the mixture + bias, (B, T, P, 2, G/2); ``room``, as large, is overwritten."""
        moved = torch.mul(x, gate, out=room)
        kept = x - moved
        weight = self._weights(moved.mean(2), kept.mean(2))  # (B, T, 1, 2, G/2)
        y = torch.addcmul(self.bias[: self.num_gated].view(2, -1), kept, 1 - weight)
        y[:, :-1, :, 0].addcmul_(moved[:, 1:, :, 0], weight[:, :-1, :, 0])
        y[:, 1:, :, 1].addcmul_(moved[:, :-1, :, 1], weight[:, 1:, :, 1])
        return y

    def _weights(self, moved: Tensor, kept: Tensor) -> Tensor:
        """Return the weight of what moved, (B, T, 1, 2, G/2), from means over space (B, T, 2, G/2)."""
        moved = torch.stack(
            [F.pad(moved[:, 1:, 0], (0, 0, 0, 1)), F.pad(moved[:, :-1, 1], (0, 0, 1, 0))], dim=2
        )
        means = torch.stack([moved, kept], dim=1).flatten(-2)  # (B, 2, T, G)
        means = (means * self.mean_scale)[..., self.back].transpose(-1, -2)  # in the order of training
        halves = zip(self.fuse, means.chunk(2, dim=2), strict=True)  # (B, 2, G/2, T) each
        weight = torch.cat([fuse(half) for fuse, half in halves], dim=2).sigmoid().squeeze(1)  # (B, G, T)
        return weight.transpose(-1, -2)[..., self.order].unflatten(-1, (2, -1)).unsqueeze(2)


def affine(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Return what a batch-norm in eval mode multiplies each channel by, and adds to it: (C,) and (C,).

    >>> norm = nn.BatchNorm2d(2, eps=0.0)
    >>> norm.running_mean.fill_(3.0), norm.running_var.fill_(4.0)
    (tensor([3., 3.]), tensor([4., 4.]))
    >>> [values.tolist() for values in affine(norm)]
    [[0.5, 0.5], [-1.5, -1.5]]
    """
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        factor = (norm.running_var + norm.eps).rsqrt()
        factor = factor if norm.weight is None else factor * norm.weight
        offset = -norm.running_mean * factor
        return factor, offset if norm.bias is None else offset + norm.bias


def _has_onednn(x: Tensor) -> bool:
    """Return whether convolutions of ``x`` can take their activation along."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and not torch.compiler.is_compiling()
    )
