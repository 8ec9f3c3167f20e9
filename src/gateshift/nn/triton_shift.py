# mypy: disable-error-code="no-untyped-def"
"""Gated shifts on a GPU: frames are read once and written once, gated, mixed and riffled on the way.

forward    _forward     goes through the frames of a clip in the direction in which features move, and carries
                        what moved from one frame to the next
backward   _backward    goes through all channels of some pixels, since a gate's gradient is a sum over them
           _move        temporal shift

Blocks count channels as they lie in the riffled result, so that it is written without gaps. Sums of several
blocks go through memory and are added in one order, so that answers repeat to the last bit.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, half of them C/2 features, H x W pixels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gateshift.nn.functional import laid_out_as
from gateshift.nn.triton_maps import steps

PIXELS = 32  # of a block
FEATURES = 32  # of a block


def gate_shift(x: Tensor, gate: Tensor, num_segments: int, interleave: bool) -> Tensor:
    """Return kept + moved, each half of the channels riffled where ``interleave``."""
    return _run_forward(x, gate, None, num_segments, interleave)


def gate_shift_fuse(x: Tensor, gate: Tensor, fuse: Tensor, num_segments: int, interleave: bool) -> Tensor:
    """Return fuse * moved + (1 - fuse) * kept, each half of the channels riffled where ``interleave``."""
    return _run_forward(x, gate, fuse, num_segments, interleave)


def gate_shift_backward(
    grad: Tensor, x: Tensor, gate: Tensor, num_segments: int, interleave: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for x and gate."""
    grad_x, grad_gate, _ = _run_backward(grad, x, gate, None, num_segments, interleave)
    return grad_x, grad_gate


def gate_shift_fuse_backward(
    grad: Tensor, x: Tensor, gate: Tensor, fuse: Tensor, num_segments: int, interleave: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients for x, gate and fuse."""
    grad_x, grad_gate, grad_fuse = _run_backward(grad, x, gate, fuse, num_segments, interleave)
    return grad_x, grad_gate, grad_fuse.sum(0).view(fuse.shape).to(fuse.dtype)


def shift(x: Tensor, fold: int, num_segments: int, back: bool) -> Tensor:
    """Return frames with ``fold`` channels moved one frame earlier and ``fold`` later; or ``back`` again."""
    y = torch.empty_like(x)
    channel_step, _ = steps(x)
    sizes = (x.numel(), num_segments, x.shape[1], x[0].numel(), channel_step, fold, -1 if back else 1)
    with torch.cuda.device_of(x):
        _move[(triton.cdiv(x.numel(), 1024),)](x, y, *sizes, BLOCK=1024)
    return y


def _run_forward(x: Tensor, gate: Tensor, fuse: Tensor | None, num_segments: int, interleave: bool) -> Tensor:
    features, pixels, clips = x.shape[1] // 2, x[0, 0].numel(), x.shape[0] // num_segments
    y = torch.empty_like(x)
    grid = clips * triton.cdiv(pixels, PIXELS), triton.cdiv(features, FEATURES), 2
    weights = x if fuse is None else fuse.contiguous()  # something to point at
    with torch.cuda.device_of(x):
        _forward[grid](
            x, gate.contiguous(), weights, y, num_segments, pixels, features, *steps(x),
            RIFFLED=interleave, FUSED=fuse is not None, PIXELS=PIXELS, FEATURES=FEATURES,
        )  # fmt: skip
    return y


def _run_backward(
    grad: Tensor, x: Tensor, gate: Tensor, fuse: Tensor | None, num_segments: int, interleave: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients for x and gate, and for fuse by blocks of pixels: (blocks, N, C)."""
    features, pixels = x.shape[1] // 2, x[0, 0].numel()
    blocks = triton.cdiv(pixels, PIXELS)
    grad_x, grad_gate = torch.empty_like(x), torch.empty_like(gate, memory_format=torch.contiguous_format)
    fused_blocks = 0 if fuse is None else blocks
    grad_fuse = torch.empty(fused_blocks, *x.shape[:2], dtype=torch.float32, device=x.device)
    weights = x if fuse is None else fuse.contiguous()  # something to point at
    with torch.cuda.device_of(x):
        _backward[x.shape[0], blocks, 2](
            laid_out_as(grad, x), x, gate.contiguous(), weights, grad_x, grad_gate, grad_fuse,
            num_segments, pixels, features, *steps(x),
            RIFFLED=interleave, FUSED=fuse is not None, PIXELS=PIXELS, FEATURES=FEATURES,
        )  # fmt: skip
    return grad_x, grad_gate, grad_fuse


@triton.jit
def _forward(
    x, gate, fuse, y, num_segments, pixels, features, channel_step, pixel_step,
    RIFFLED: tl.constexpr, FUSED: tl.constexpr, PIXELS: tl.constexpr, FEATURES: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(pixels, PIXELS)
    clip, half = tl.program_id(0) // blocks, tl.program_id(2)
    pixel = tl.program_id(0) % blocks * PIXELS + tl.arange(0, PIXELS)
    feature = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    source = _source(feature, features, RIFFLED)
    inside = (pixel < pixels)[:, None] & (feature < features)[None, :]
    moved = tl.zeros((PIXELS, FEATURES), tl.float32)
    for i in range(num_segments):
        t = half * i + (1 - half) * (num_segments - 1 - i)  # the first half moves to earlier frames
        frame = clip * num_segments + t
        start = _start_of(frame, half, features, pixels, channel_step) + pixel[:, None] * pixel_step
        place = _places_of_gate(clip, half, t, num_segments, pixel, pixels)
        value = _wide(x + start + source[None, :] * channel_step, inside)
        leaving = _wide(gate + place, pixel < pixels)[:, None] * value
        mixed = value - leaving + moved
        if FUSED:
            weights = frame * 2 * features + half * features + source
            weight = _wide(fuse + weights, feature < features)[None, :]
            mixed = weight * moved + (1 - weight) * (value - leaving)
        tl.store(y + start + feature[None, :] * channel_step, mixed, inside)
        moved = leaving


@triton.jit
def _backward(
    grad, x, gate, fuse, grad_x, grad_gate, grad_fuse,
    num_segments, pixels, features, channel_step, pixel_step,
    RIFFLED: tl.constexpr, FUSED: tl.constexpr, PIXELS: tl.constexpr, FEATURES: tl.constexpr,
):  # fmt: skip
    frame, half = tl.program_id(0), tl.program_id(2)
    clip, t = frame // num_segments, frame % num_segments
    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    place = _places_of_gate(clip, half, t, num_segments, pixel, pixels)
    opened = _wide(gate + place, pixel < pixels)[:, None]
    start = _start_of(frame, half, features, pixels, channel_step) + pixel[:, None] * pixel_step
    way = 2 * half - 1  # to where features of this frame went
    step = way * 2 * features * pixels
    went = tl.where((t + way >= 0) & (t + way < num_segments), 1, 0)  # whether there is such a frame
    came = tl.where((t - way >= 0) & (t - way < num_segments), 1, 0)
    seen = pixel < pixels
    total = tl.zeros((PIXELS,), tl.float32)
    for first in range(0, features, FEATURES):
        feature = first + tl.arange(0, FEATURES)
        source = _source(feature, features, RIFFLED)
        inside = seen[:, None] & (feature < features)[None, :]
        from_ = start + source[None, :] * channel_step
        to = start + feature[None, :] * channel_step
        value = _wide(x + from_, inside)
        kept = _wide(grad + to, inside)
        moved = _wide(grad + to + step, seen[:, None] & (feature < went * features)[None, :])
        if FUSED:
            weights = frame * 2 * features + half * features + source
            weight = _wide(fuse + weights, feature < features)[None, :]
            weight_there = _wide(fuse + weights + way * 2 * features, feature < went * features)[None, :]
            arrived = _wide(x + from_ - step, seen[:, None] & (feature < came * features)[None, :])
            arrived *= _wide(gate + place - way * pixels, pixel < came * pixels)[:, None]
            change = kept * (arrived - (value - opened * value))
            sums = grad_fuse + tl.program_id(1) * tl.num_programs(0) * 2 * features + weights
            tl.store(sums, tl.sum(change, 0), feature < features)
            kept, moved = (1 - weight) * kept, weight_there * moved
        tl.store(grad_x + from_, kept + opened * (moved - kept), inside)
        total += tl.sum(value * (moved - kept), 1)
    tl.store(grad_gate + place, total, pixel < pixels)


@triton.jit
def _move(x, y, count, num_segments, channels, size, channel_step, fold, way, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel, t = place // channel_step % channels, place // size % num_segments
    from_ = tl.where(channel < fold, way, tl.where(channel < 2 * fold, -way, 0))  # frames from here
    there = (place < count) & (t + from_ >= 0) & (t + from_ < num_segments)
    tl.store(y + place, tl.load(x + place + from_ * size, there, 0.0), place < count)


@triton.jit
def _wide(places, inside):
    """Return what lies there in float32, and 0 outside."""
    return tl.load(places, inside, 0.0).to(tl.float32)


@triton.jit
def _source(feature, features, RIFFLED: tl.constexpr):
    """Return where in its half a feature of the riffled result comes from."""
    if RIFFLED:
        return feature % 2 * (features // 2) + feature // 2
    return feature


@triton.jit
def _start_of(frame, half, features, pixels, channel_step):
    """Return where half of the channels of a frame begin."""
    return frame.to(tl.int64) * 2 * features * pixels + half * features * channel_step


@triton.jit
def _places_of_gate(clip, half, t, num_segments, pixel, pixels):
    """Return where in gates (B, 2, T, H, W) the pixels lie."""
    return ((clip * 2 + half) * num_segments + t) * pixels + pixel
