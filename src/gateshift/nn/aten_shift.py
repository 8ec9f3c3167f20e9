"""Gated shifts in torch calls: few of them, and few passes over memory.

They run on every device and are what a CPU uses; channels-last frames go faster.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels.
"""

import torch
from torch import Tensor

from gateshift.nn.functional import is_channels_last, laid_out_as

# Of (B, T, 2, ...), where features of each half arrive and where they come from: earlier, then later.
MOVES = (
    ((slice(None), slice(-1), 0), (slice(None), slice(1, None), 0)),
    ((slice(None), slice(1, None), 1), (slice(None), slice(-1), 1)),
)


def gate_shift(x: Tensor, gate: Tensor, num_segments: int, interleave: bool) -> Tensor:
    """Return kept + moved, each half of the channels riffled where ``interleave``."""
    clips, gate = _halves(x, num_segments), _beside(gate, x)
    y = torch.empty_like(x)
    out = torch.mul(clips, 1 - gate, out=_halves(y, num_segments))
    for to, source in MOVES:
        out[to].addcmul_(clips[source], gate[source])
    return _riffle(y, 2) if interleave else y


def gate_shift_backward(
    grad: Tensor, x: Tensor, gate: Tensor, num_segments: int, interleave: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for x and gate."""
    grad = laid_out_as(grad, x)
    kept = _halves(_riffle(grad, grad.shape[1] // 4) if interleave else grad, num_segments)
    return _through_gate(kept, kept, x, gate, num_segments)


def gate_means(x: Tensor, gate: Tensor, num_segments: int) -> Tensor:
    """Return the means over space of gate * x and of (1 - gate) * x: (B, T, 2 means, C)."""
    gates = gate.transpose(1, 2).flatten(3).flatten(0, 1)  # (N, 2, H*W)
    parts = torch.stack([gates, 1 - gates], dim=2)  # (N, 2 halves, 2 parts, H*W)
    means = x.new_empty(x.shape[0], 2, x.shape[1])
    halves = zip(parts.unbind(1), x.flatten(2).chunk(2, dim=1), means.chunk(2, dim=2), strict=True)
    for part, pixels, mean in halves:  # (N, 2, H*W), (N, C/2, H*W), (N, 2, C/2)
        torch.bmm(part, pixels.transpose(1, 2), out=mean)
    return means.div_(parts.shape[-1]).unflatten(0, (-1, num_segments))


def gate_means_backward(grad: Tensor, x: Tensor, gate: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """Return the gradients for x and gate."""
    grad = (grad / x[0, 0].numel()).unflatten(-1, (2, -1))  # (B, T, 2 means, 2 halves, C/2)
    moved, kept = grad[..., None, None].unbind(2)  # (B, T, 2, C/2, 1, 1) each
    grad_x = torch.empty_like(x)
    torch.addcmul(kept, _beside(gate, x), moved - kept, out=_halves(grad_x, num_segments))
    grad_gate = ((moved - kept) * _halves(x, num_segments)).sum(3)  # (B, T, 2, H, W)
    return grad_x, grad_gate.transpose(1, 2).contiguous()


def gate_shift_fuse(x: Tensor, gate: Tensor, fuse: Tensor, num_segments: int, interleave: bool) -> Tensor:
    """Return fuse * moved + (1 - fuse) * kept, each half of the channels riffled where ``interleave``."""
    clips, gate, fuse = _halves(x, num_segments), _beside(gate, x), _every_pixel(fuse)
    y = torch.empty_like(x)
    out = torch.mul(clips, 1 - gate, out=_halves(y, num_segments)).mul_(1 - fuse)
    moved = clips * gate
    for to, source in MOVES:
        out[to].addcmul_(moved[source], fuse[to])
    return _riffle(y, 2) if interleave else y


def gate_shift_fuse_backward(
    grad: Tensor, x: Tensor, gate: Tensor, fuse: Tensor, num_segments: int, interleave: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients for x, gate and fuse."""
    grad = laid_out_as(grad, x)
    grads = _halves(_riffle(grad, grad.shape[1] // 4) if interleave else grad, num_segments)
    clips, weight = _halves(x, num_segments), _every_pixel(fuse)
    parts = clips * _beside(gate, x)  # what moved, then how it differs from what is kept
    change = parts - clips
    for to, source in MOVES:
        change[to].add_(parts[source])
    grad_fuse = change.mul_(grads).sum((-2, -1)).flatten(2)  # (B, T, C)
    to_moved = grads * weight
    return *_through_gate(grads - to_moved, to_moved, x, gate, num_segments), grad_fuse


def shift(x: Tensor, fold: int, num_segments: int, back: bool) -> Tensor:
    """Return frames with ``fold`` channels moved one frame earlier and ``fold`` later; or ``back`` again."""
    y = torch.empty_like(x)
    y[:, 2 * fold :] = x[:, 2 * fold :]
    _move(_clips(x, num_segments), _clips(y, num_segments), fold, back)
    return y


def shift_(x: Tensor, fold: int, num_segments: int, back: bool) -> None:
    """Move channels of ``x`` itself."""
    clips = _clips(x, num_segments)
    _move(clips[:, :, : 2 * fold].clone(), clips, fold, back)


def _move(x: Tensor, y: Tensor, fold: int, back: bool) -> None:
    """Write the channels of clips ``x`` that move into those of ``y``, (B, T, C, H, W)."""
    for first, earlier in ((0, not back), (fold, back)):
        part = slice(first, first + fold)
        to, source, end = (slice(-1), slice(1, None), -1) if earlier else (slice(1, None), slice(-1), 0)
        y[:, to, part] = x[:, source, part]
        y[:, end, part] = 0


def _through_gate(
    to_kept: Tensor, to_moved: Tensor, x: Tensor, gate: Tensor, num_segments: int
) -> tuple[Tensor, Tensor]:
    """Return the gradients for x and gate, from those for kept and moved (B, T, 2, C/2, H, W)."""
    change = to_kept.neg()  # becomes: gradient where a feature went, less the one where it stayed
    for to, source in MOVES:
        change[source].add_(to_moved[to])
    grad_x = torch.empty_like(x)
    torch.addcmul(to_kept, _beside(gate, x), change, out=_halves(grad_x, num_segments))
    grad_gate = change.mul_(_halves(x, num_segments)).sum(3)  # (B, T, 2, H, W)
    return grad_x, grad_gate.transpose(1, 2).contiguous()


def _clips(x: Tensor, num_segments: int) -> Tensor:
    """Return frames (B*T, C, H, W) as a view (B, T, C, H, W)."""
    return x.unflatten(0, (-1, num_segments))


def _halves(x: Tensor, num_segments: int) -> Tensor:
    """Return frames (B*T, C, H, W) as a view (B, T, 2, C/2, H, W)."""
    return _clips(x, num_segments).unflatten(2, (2, -1))


def _beside(gate: Tensor, x: Tensor) -> Tensor:
    """Return gates (B, 2, T, H, W) as (B, T, 2, 1, H, W), in memory as the pixels of frames ``x`` are."""
    if is_channels_last(x):
        return gate.permute(0, 2, 3, 4, 1).contiguous().permute(0, 1, 4, 2, 3).unsqueeze(3)
    return gate.transpose(1, 2).unsqueeze(3)


def _every_pixel(fuse: Tensor) -> Tensor:
    """Return weights (B, T, C) to multiply (B, T, 2, C/2, H, W) by."""
    return fuse.unflatten(2, (2, -1))[..., None, None]


def _riffle(x: Tensor, groups: int) -> Tensor:
    """Riffle the ``groups`` of channels of each half of frames (N, C, H, W), in memory as they are."""
    num_frames, channels, height, width = x.shape
    if is_channels_last(x):  # each pixel becomes two, of half the channels
        pixels = x.permute(0, 2, 3, 1).view(num_frames, height, 2 * width, channels // 2).permute(0, 3, 1, 2)
        mixed = torch.channel_shuffle(pixels, groups).permute(0, 2, 3, 1)
        return mixed.reshape(num_frames, height, width, channels).permute(0, 3, 1, 2)
    frames = x.view(2 * num_frames, channels // 2, height, width)
    return torch.channel_shuffle(frames, groups).reshape(x.shape)
