"""The plumbing of temporal modules: clips and frames, shifts, and the maps behind the gates.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_clips(x: Tensor, num_segments: int) -> Tensor:
    """Return frames (B*T, C, H, W) as a view (B, C, T, H, W).

    Raises:
        ValueError: the frames are no whole number of clips.
    """
    if x.shape[0] % num_segments:
        raise ValueError(
            f"{x.shape[0]} frames are no whole number of clips. "
            f"This module was made for num_segments={num_segments}; give it a multiple of that."
        )
    return x.unflatten(0, (-1, num_segments)).transpose(1, 2)


def to_frames(x: Tensor) -> Tensor:
    """Return clips (B, C, T, H, W) as frames (B*T, C, H, W); undoes ``to_clips``."""
    return x.transpose(1, 2).flatten(0, 1)


def laid_out_as(x: Tensor, frames: Tensor) -> Tensor:
    """Return ``x`` in memory as ``frames`` (N, C, H, W) are, so that a channels-last network stays one."""
    if frames.is_contiguous(memory_format=torch.channels_last):
        return x.contiguous(memory_format=torch.channels_last)
    return x


def shift_time(x: Tensor, step: int) -> Tensor:
    """Move the features of (..., T, H, W) ``step`` frames later (negative: earlier), zeros in the gap.

    >>> x = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1, 1)
    >>> shift_time(x, 1).flatten().tolist()
    [0.0, 1.0, 2.0]
    >>> shift_time(x, -1).flatten().tolist()
    [2.0, 3.0, 0.0]
    """
    return F.pad(x, (0, 0, 0, 0, step, -step))  # F.pad counts from the last dimension: W, H, then T


def interleave(x: Tensor) -> Tensor:
    """Riffle the two halves of the channels (dimension 1): a1 a2 b1 b2 -> a1 b1 a2 b2.

    >>> interleave(torch.tensor([[1, 2, 3, 10, 20, 30]])).tolist()
    [[1, 10, 2, 20, 3, 30]]
    """
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def gate_maps(x: Tensor, weight: Tensor, bias: Tensor, num_segments: int) -> Tensor:
    """Convolve frames (B*T, C, H, W) over time and space into one map per channel half, (B, 2, T, H, W).

    Equal to ``conv3d(to_clips(x), weight, bias, padding=1, groups=2)`` with ``weight`` (2, C/2, 3, 3, 3),
    and 3 to 16 times as fast on a CPU, where convolutions to so few channels are slow: one 1x1
    convolution gives each half its 27 taps, and the taps are added where they belong in space and time.
    """
    taps = weight.flip(3, 4).permute(0, 2, 3, 4, 1).flatten(0, 3)  # (2*3*3*3, C/2); fold runs backwards
    maps = F.conv2d(x, taps[..., None, None], groups=2)  # (N, 2*3*9, H, W)
    maps = F.fold(maps.flatten(2), x.shape[-2:], kernel_size=3, padding=1)  # (N, 2*3, H, W)
    maps = to_clips(maps, num_segments).unflatten(1, (2, 3))  # (B, 2, 3, T, H, W)
    before, now, after = maps.unbind(2)  # (B, 2, T, H, W) each
    maps = shift_time(before, 1) + now + shift_time(after, -1)
    return maps + bias.to(maps.dtype).view(2, 1, 1, 1)
