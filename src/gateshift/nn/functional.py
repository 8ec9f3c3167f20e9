"""The plumbing of temporal modules: clips and frames, shifts, and how frames lie in memory.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def whole_clips(x: Tensor, num_segments: int) -> Tensor:
    """Return frames (B*T, C, H, W) as they are.

    Raises:
        ValueError: they are no whole number of clips.
    """
    if x.shape[0] % num_segments:
        raise ValueError(
            f"{x.shape[0]} frames are no whole number of clips. "
            f"This module was made for num_segments={num_segments}; give it a multiple of that."
        )
    return x


def to_clips(x: Tensor, num_segments: int) -> Tensor:
    """Return frames (B*T, C, H, W) as a view (B, C, T, H, W)."""
    return whole_clips(x, num_segments).unflatten(0, (-1, num_segments)).transpose(1, 2)


def to_frames(x: Tensor) -> Tensor:
    """Return clips (B, C, T, H, W) as frames (B*T, C, H, W); undoes ``to_clips``."""
    return x.transpose(1, 2).flatten(0, 1)


def is_channels_last(x: Tensor) -> bool:
    """Return whether frames (N, C, H, W) lie channels-last in memory, and not also NCHW."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def dense(x: Tensor) -> Tensor:
    """Return frames (N, C, H, W) NCHW or channels-last in memory, without gaps."""
    if x.is_contiguous() or is_channels_last(x):
        return x
    return x.contiguous(memory_format=torch.channels_last if x.stride(1) == 1 else torch.contiguous_format)


def laid_out_as(x: Tensor, frames: Tensor) -> Tensor:
    """Return ``x`` in memory as ``frames`` (N, C, H, W) are, so that a channels-last network stays one."""
    if frames.is_contiguous(memory_format=torch.channels_last):
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous()


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
