"""Temporal shift (TSM): a quarter of the channels looks one frame ahead or back, at no cost.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019,
https://arxiv.org/abs/1811.08383
"""

import torch
from torch import Tensor, nn

from gateshift.nn import ops
from gateshift.nn.functional import dense, laid_out_as, shift_time, to_clips, to_frames, whole_clips


class TemporalShift(nn.Module):
    """Temporal shift. Maps frames (B*T, C, H, W) to the same shape; it has no parameters.

    The first eighth of the channels moves one frame earlier, the second eighth one frame later.

    Args:
        channels: feature channels, at least 8.
        num_segments: frames per clip, T.
        in_place: when fast and without gradients, move within the input; for where nothing else reads it.
    """

    def __init__(self, channels: int, num_segments: int, *, in_place: bool = False) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(f"TemporalShift cannot move 1/8 of {channels} channels. It needs 8 or more.")
        self.channels = channels
        self.num_segments = num_segments
        self.in_place = in_place
        self.fast = False  # see use_fast_gates
        self.closed = False  # see closing
        self.fold = channels // 8

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, C, H, W)."""
        if self.closed:
            return x
        if self.fast:
            return self._shift(dense(whole_clips(x, self.num_segments)))
        moving, still = x.tensor_split([2 * self.fold], dim=1)
        earlier, later = to_clips(moving, self.num_segments).chunk(2, dim=1)  # (B, C/8, T, H, W) each
        earlier, later = to_frames(shift_time(earlier, -1)), to_frames(shift_time(later, 1))
        return laid_out_as(torch.cat([earlier, later, still], dim=1), x)

    def _shift(self, x: Tensor) -> Tensor:
        if self.in_place and not (torch.is_grad_enabled() and x.requires_grad):
            ops.shift_(x, self.fold, self.num_segments, False)
            return x
        return ops.shift(x, self.fold, self.num_segments, False)

    def extra_repr(self) -> str:
        """Say what the module was made for."""
        return f"channels={self.channels}, num_segments={self.num_segments}"
