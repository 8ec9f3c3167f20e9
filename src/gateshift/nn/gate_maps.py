"""The maps behind the gates by operators: relu(norm(x)) is convolved and never kept.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels.
"""

import torch
from torch import Tensor, nn

from gateshift.nn import ops
from gateshift.nn.functional import dense, whole_clips
from gateshift.nn.sync_norm import is_shared


def gate_maps(x: Tensor, norm: nn.BatchNorm3d, conv: nn.Conv3d, num_segments: int) -> Tensor:
    """Return conv(relu(norm(x))) of frames (B*T, C, H, W): (B, 2, T, H, W)."""
    assert conv.bias is not None
    x = dense(whole_clips(x, num_segments))
    if is_shared(norm):  # its gradient is not that of the operator: the operator gets what is normalised
        zeros, ones = torch.zeros_like(norm.weight), torch.ones_like(norm.weight)
        constant = zeros, ones, ones, zeros
        return ops.gate_maps(
            dense(norm(x.unsqueeze(2)).squeeze(2)), *constant, conv.weight, conv.bias, num_segments, False
        )
    mean, variance = _statistics(x, norm)
    values = norm.weight, norm.bias, conv.weight, conv.bias
    return ops.gate_maps(x, mean, (variance + norm.eps).rsqrt(), *values, num_segments, norm.training)


def _statistics(x: Tensor, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Return the mean and variance (C,) that ``norm`` goes by; in training it keeps track of those of x."""
    assert norm.running_mean is not None and norm.running_var is not None
    if not norm.training:
        return norm.running_mean, norm.running_var
    mean, variance = ops.batch_moments(x.detach())
    assert norm.num_batches_tracked is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        count = x.numel() // x.shape[1]
        unbiased = variance * (count / max(count - 1, 1))
        norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
        norm.running_var.lerp_(unbiased.to(norm.running_var), momentum)
    return mean, variance
