"""Gate-Shift: let neighbouring frames of a 2D network exchange gated features.

GateShift (GSM): Sudhakaran et al., "Gate-Shift Networks for Video Action Recognition", CVPR 2020,
https://arxiv.org/abs/1912.00381

    x --+--> gate = tanh(conv3d(relu(norm(x))))
        +--> moved = gate * x ---> shift one frame --+
        +--> kept  = x - moved ----------------------+--> add --> interleave --> y

The first half of the channels moves one frame earlier, the second half one frame later.

GATES has what may stand in place of tanh: sigmoid, whose gates lie in (0, 1), so that nothing moves with its
sign turned and fresh gates are half open; and none, which takes what the convolution gives, of any size.

GateShiftFuse (GSF): Sudhakaran et al., "Gate-Shift-Fuse for Video Action Recognition", TPAMI 2023,
https://arxiv.org/abs/2203.08897. It acts on the first channels only, and instead of adding it mixes:

    fuse = sigmoid(conv2d(mean over space of [moved, kept]));  y = fuse * moved + (1 - fuse) * kept

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gateshift.nn import ops
from gateshift.nn.functional import dense, interleave, laid_out_as, shift_time, to_clips, to_frames
from gateshift.nn.gate_maps import gate_maps
from gateshift.nn.temporal_shift import TemporalShift


def _unchanged(x: Tensor) -> Tensor:
    return x


GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "none": _unchanged,
}


class GateShift(nn.Module):
    """Gate-Shift Module. Maps frames (B*T, C, H, W) to the same shape.

    Args:
        channels: feature channels, a multiple of 4.
        num_segments: frames per clip, T.
        interleave: riffle the channels of each half, as published. A fresh module, whose gates are shut, is
            then a permutation of the channels; without it, it is the identity.
        gate: function of the gates, a name of GATES.
    """

    def __init__(
        self, channels: int, num_segments: int, *, interleave: bool = True, gate: str = "tanh"
    ) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f"GateShift cannot split {channels} channels. It needs a multiple of 4.")
        self.channels = channels
        self.num_segments = num_segments
        self.interleave = interleave
        self.gate_function = _known(gate)
        self.fast = False  # see use_fast_gates
        self.closed = False  # see closing
        self.norm = nn.BatchNorm3d(channels)
        self.gate = nn.Conv3d(channels, 2, kernel_size=3, padding=1, groups=2)  # one gate per half
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]

    def gates(self, x: Tensor) -> Tensor:
        """Return the gates of frames (B*T, C, H, W): (B, 2, T, H, W), what moves earlier first."""
        return _gates(x, self)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, C, H, W)."""
        gate = self.gates(x)
        if self.fast:
            return ops.gate_shift(dense(x), gate, self.num_segments, self.interleave)
        earlier, later = to_clips(x, self.num_segments).chunk(2, dim=1)  # (B, C/2, T, H, W) each
        earlier = _gated_shift(earlier, gate[:, :1], step=-1)
        later = _gated_shift(later, gate[:, 1:], step=+1)
        return laid_out_as(_join([to_frames(earlier), to_frames(later)], self.interleave), x)

    def extra_repr(self) -> str:
        """Say what the module was made for."""
        return (
            f"channels={self.channels}, num_segments={self.num_segments}, interleave={self.interleave}, "
            f"gate={self.gate_function}"
        )


class GateShiftFuse(nn.Module):
    """Gate-Shift-Fuse module. Maps frames (B*T, C, H, W) to the same shape.

    Args:
        channels: feature channels.
        num_segments: frames per clip, T.
        channel_ratio: fraction (0-1] of the channels that the module acts on, counted from the first and
            rounded up to a multiple of 4 channels.
        interleave: riffle the channels of each half, as published.
        gate: function of the gates, a name of GATES.
    """

    def __init__(
        self,
        channels: int,
        num_segments: int,
        *,
        channel_ratio: float = 1.0,
        interleave: bool = True,
        gate: str = "tanh",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.num_segments = num_segments
        self.interleave = interleave
        self.gate_function = _known(gate)
        self.fast = False  # see use_fast_gates
        self.closed = False  # see closing
        self.num_gated = count_gated(channels, channel_ratio)
        self.norm = nn.BatchNorm3d(self.num_gated)
        self.gate = nn.Conv3d(self.num_gated, 2, kernel_size=3, padding=1, groups=2)  # starts open
        self.fuse_earlier = nn.Conv2d(2, 1, kernel_size=3, padding=1)  # over maps of channels x frames
        self.fuse_later = nn.Conv2d(2, 1, kernel_size=3, padding=1)

    def gates(self, x: Tensor) -> Tensor:
        """Return the gates of frames (B*T, C, H, W): (B, 2, T, H, W), what moves earlier first."""
        return _gates(x[:, : self.num_gated], self)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, C, H, W)."""
        gated, rest = x.tensor_split([self.num_gated], dim=1)
        if self.fast:
            y = self._mixed(dense(gated))
            return torch.cat([y, rest], dim=1) if rest.shape[1] else y
        gate = _gates(gated, self)
        earlier, later = to_clips(gated, self.num_segments).chunk(2, dim=1)  # (B, num_gated/2, T, H, W) each
        earlier = _gated_shift_fuse(earlier, gate[:, :1], self.fuse_earlier, step=-1)
        later = _gated_shift_fuse(later, gate[:, 1:], self.fuse_later, step=+1)
        y = torch.cat([_join([to_frames(earlier), to_frames(later)], self.interleave), rest], dim=1)
        return laid_out_as(y, x)

    def _mixed(self, x: Tensor) -> Tensor:
        """Return what becomes of the gated channels of frames, (B*T, num_gated, H, W), by operators."""
        gate = _gates(x, self)
        means = ops.gate_means(x, gate, self.num_segments).to(self.fuse_earlier.weight.dtype)  # (B, T, 2, C)
        moved, kept = means.unflatten(3, (2, -1)).permute(2, 3, 0, 4, 1)  # (2, B, C/2, T) each
        earlier = self.fuse_earlier(torch.stack([F.pad(moved[0], (-1, 1)), kept[0]], dim=1))  # (B, 1, C/2, T)
        later = self.fuse_later(torch.stack([F.pad(moved[1], (1, -1)), kept[1]], dim=1))
        fuse = (
            torch.cat([earlier, later], dim=2).sigmoid().squeeze(1).transpose(1, 2).to(x.dtype).contiguous()
        )
        return ops.gate_shift_fuse(x, gate, fuse, self.num_segments, self.interleave)

    def extra_repr(self) -> str:
        """Say what the module was made for."""
        return (
            f"channels={self.channels}, num_gated={self.num_gated}, "
            f"num_segments={self.num_segments}, interleave={self.interleave}, gate={self.gate_function}"
        )


def count_gated(channels: int, channel_ratio: float) -> int:
    """Return how many of the channels a GateShiftFuse acts on.

    The released code rounds up to a multiple of 2 and then fails where that is no multiple of 4.

    >>> count_gated(256, 0.25), count_gated(24, 0.25)
    (64, 8)
    """
    if not 0 < channel_ratio <= 1:
        raise ValueError(f"channel_ratio={channel_ratio} is no fraction of the channels. It lies in (0, 1].")
    num_gated = max(4, -(-int(channels * channel_ratio) // 4) * 4)
    if num_gated > channels:
        raise ValueError(
            f"GateShiftFuse cannot gate {num_gated} of {channels} channels. "
            "It gates a multiple of 4; lower channel_ratio or give it more channels."
        )
    return num_gated


def use_fast_gates(model: nn.Module, fast: bool = True) -> None:
    """Let the gate-shift and temporal-shift modules of ``model`` be run by the operators of ``nn/ops.py``.

    The plain modules are the reference, with the released arithmetic to the last rounding; the operators give
    the same up to rounding, several times as fast, and keep less for the backward pass.
    """
    for module in model.modules():
        if isinstance(module, (GateShift, GateShiftFuse, TemporalShift)):
            module.fast = fast


def _known(gate: str) -> str:
    """Return the name of a gate function, or refuse one that is not in GATES."""
    if gate not in GATES:
        raise ValueError(f"there is no gate function {gate!r}. Choose from: {', '.join(GATES)}.")
    return gate


def _gates(x: Tensor, module: GateShift | GateShiftFuse) -> Tensor:
    """Return f(gate(relu(norm(x)))) of frames (B*T, C, H, W) as (B, 2, T, H, W), f the module's of GATES."""
    bound = torch.zeros_like if module.closed else GATES[module.gate_function]
    if not module.fast:
        clips = to_clips(x, module.num_segments).contiguous()
        return bound(module.gate(module.norm(clips).relu()))
    return bound(gate_maps(x, module.norm, module.gate, module.num_segments))


def _gated_shift(x: Tensor, gate: Tensor, step: int) -> Tensor:
    """Move the gated part of (B, C, T, H, W) by ``step`` frames and add it to the part that is kept."""
    moved = gate * x
    return x - moved + shift_time(moved, step)


def _gated_shift_fuse(x: Tensor, gate: Tensor, fuse: nn.Conv2d, step: int) -> Tensor:
    """Move the gated part of (B, C, T, H, W) by ``step`` frames and mix it with the part that is kept."""
    moved = gate * x
    kept = x - moved
    moved = shift_time(moved, step)
    pooled = torch.stack([moved.mean((-2, -1)), kept.mean((-2, -1))], dim=1)  # (B, 2, C, T)
    weight = fuse(pooled).sigmoid().squeeze(1)[..., None, None].to(x.dtype)  # (B, C, T, 1, 1)
    return weight * moved + (1 - weight) * kept


def _join(halves: list[Tensor], interleaved: bool) -> Tensor:
    """Put the two halves of the channels of frames together, each riffled where ``interleaved``."""
    return torch.cat([interleave(half) for half in halves] if interleaved else halves, dim=1)
