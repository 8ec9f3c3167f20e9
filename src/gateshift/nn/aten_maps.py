"""The maps behind the gates in torch calls: few of them, and few passes over memory.

They run on every device and are what a CPU uses; channels-last frames go faster. Autocast would change the
type of a product, but leaves one alone that is made with ``out=``.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels, P = N*H*W.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gateshift.nn.functional import laid_out_as


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the biased variance (C,) of each channel, in float32 or better."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if x.device.type not in ("cpu", "cuda"):  # the others have no batch_norm_update_stats
        variance, mean = torch.var_mean(x.to(wide), (0, 2, 3), correction=0)
        return mean, variance
    none = x.new_zeros(x.shape[1], dtype=wide)  # running statistics decide the type of the answer
    return torch.batch_norm_update_stats(x, none, none.clone(), 0.0)


def gate_maps(
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    num_segments: int,
    batch_statistics: bool,
) -> Tensor:
    """Return conv3d(relu((x - mean) * rstd * norm_weight + norm_bias)) by weight (2, C/2, 3, 3, 3).

    ``batch_statistics`` says that mean and rstd are those of x: its gradient then goes through them too.
    """
    return convolve(_active(x, mean, rstd, norm_weight, norm_bias), weight, bias, num_segments)


def convolve(active: Tensor, weight: Tensor, bias: Tensor, num_segments: int) -> Tensor:
    """Convolve channels-last frames (N, C, H, W) by (2, C/2, 3, 3, 3) into (B, 2, T, H, W).

    A matrix product gives each pixel 27 taps a half. One tap of all pixels is a row, in which neighbours in
    space and time are a fixed step away: to sum 3 columns, 3 rows and 3 frames takes two long additions each.
    What would come over an edge is zeroed first.
    """
    height, width = active.shape[-2:]
    frame = height * width
    size, margin = active.shape[0] * frame, frame + width + 1  # P, and the longest way to a neighbour
    maps = active.new_empty(2, 27, size + 2 * margin)
    maps[..., :margin] = 0
    maps[..., -margin:] = 0
    for half, pixels in enumerate(_pixels(active).chunk(2, dim=1)):  # (P, C/2) each
        taps = weight[half].flatten(1).t().to(active.dtype)  # (27, C/2)
        torch.mm(taps, pixels.t(), out=maps[half, :, margin:-margin])
    for axis, step in ((-1, 1), (-2, width), (-3, frame)):
        maps = maps.view(-1, 3, maps.shape[-1])  # of one axis: (18, 3, ...), (6, 3, ...), (2, 3, ...)
        margin = (maps.shape[-1] - size) // 2
        grid = maps[..., margin : margin + size].unflatten(-1, (-1, num_segments, height, width))
        grid[:, 0].select(axis, -1).zero_()
        grid[:, 2].select(axis, 0).zero_()
        before, now, after = (maps[:, i, i * step : maps.shape[-1] - (2 - i) * step] for i in range(3))
        maps = (before + now).add_(after)
    maps = maps.view(2, -1, num_segments, height, width).transpose(0, 1)
    return torch.add(maps, bias.to(maps.dtype).view(2, 1, 1, 1)).contiguous()


def gate_maps_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight: Tensor,
    num_segments: int,
    batch_statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients for x, norm_weight, norm_bias, weight and bias, from one for (B, 2, T, H, W)."""
    height, width = x.shape[-2:]
    active = _active(x, mean, rstd, norm_weight, norm_bias)
    padded = F.pad(grad, (1, 1, 1, 1, 1, 1))
    windows = padded.unfold(2, num_segments, 1).unfold(3, height, 1).unfold(4, width, 1)
    taps = windows.permute(1, 2, 3, 4, 0, 5, 6, 7).reshape(2, 27, -1)  # (B, 2, 3, 3, 3, T, H, W) before
    backwards = weight.flip(2, 3, 4).flatten(2).to(x.dtype)  # (2, C/2, 27): a tap's gradient comes mirrored
    grad_weight = torch.empty_like(backwards)
    grad_active = torch.empty_like(active)
    halves = zip(_pixels(active).chunk(2, dim=1), _pixels(grad_active).chunk(2, dim=1), strict=True)
    for half, (pixels, grad_pixels) in enumerate(halves):
        torch.mm(pixels.t(), taps[half].t(), out=grad_weight[half])
        torch.mm(taps[half].t(), backwards[half].t(), out=grad_pixels)
    torch.ops.aten.threshold_backward.grad_input(grad_active, active, 0, grad_input=grad_active)
    scale, variance, all_three = norm_weight.to(mean.dtype), rstd.pow(-2), [True, True, True]
    grad_x, grad_norm_weight, grad_norm_bias = torch.ops.aten.native_batch_norm_backward(
        grad_active, x, scale, mean, variance, mean, rstd, batch_statistics, 0.0, all_three
    )
    return (
        laid_out_as(grad_x, x),
        grad_norm_weight.to(norm_weight.dtype),
        grad_norm_bias.to(norm_bias.dtype),
        grad_weight.view(weight.shape).flip(2, 3, 4).to(weight.dtype),
        grad.sum((0, 2, 3, 4), dtype=weight.dtype),
    )


def _pixels(x: Tensor) -> Tensor:
    """Return channels-last frames (N, C, H, W) as a view (P, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _active(x: Tensor, mean: Tensor, rstd: Tensor, norm_weight: Tensor, norm_bias: Tensor) -> Tensor:
    """Return relu((x - mean) * rstd * norm_weight + norm_bias), channels-last."""
    scale, shift = (rstd * norm_weight).to(mean.dtype), norm_bias.to(mean.dtype)
    normed = F.batch_norm(x, mean, torch.ones_like(mean), scale, shift, eps=0.0)
    return normed.relu_().contiguous(memory_format=torch.channels_last)
