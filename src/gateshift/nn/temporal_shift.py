"""Temporal shift (TSM): a quarter of the channels looks one frame ahead or back, at no cost.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019,
https://arxiv.org/abs/1811.08383
"""

import torch
from torch import Tensor, nn

from gateshift.nn.functional import laid_out_as, shift_time, to_clips, to_frames


class TemporalShift(nn.Module):
    """Temporal shift. Maps frames (B*T, C, H, W) to the same shape; it has no parameters.

    The first eighth of the channels moves one frame earlier, the second eighth one frame later.

    Args:
        channels: feature channels, at least 8.
        num_segments: frames per clip, T.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(f"TemporalShift cannot move 1/8 of {channels} channels. It needs 8 or more.")
        self.channels = channels
        self.num_segments = num_segments
        self.fold = channels // 8

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, C, H, W)."""
        moving, still = x.tensor_split([2 * self.fold], dim=1)
        earlier, later = to_clips(moving, self.num_segments).chunk(2, dim=1)  # (B, C/8, T, H, W) each
        earlier, later = to_frames(shift_time(earlier, -1)), to_frames(shift_time(later, 1))
        return laid_out_as(torch.cat([earlier, later, still], dim=1), x)

    def extra_repr(self) -> str:
        """Say what the module was made for."""
        return f"channels={self.channels}, num_segments={self.num_segments}"
