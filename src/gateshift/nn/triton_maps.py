# mypy: disable-error-code="no-untyped-def"
"""The maps behind the gates on a GPU: frames are normalised as they are read, and read once.

forward    _taps        27 numbers a pixel and half: relu(norm(x)) times the weights
           _add_taps    their sums over 3 frames, rows and columns
backward   _reduce      gradients of the weights and of the norm; nothing as large as x is written
           _back_to_x   the gradient of x, what _reduce knew computed again

Sums of several blocks go through memory and are added in one order, so that answers repeat to the last bit.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels; rows are the N*H*W pixels of all
frames. Products are summed up in float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 64  # pixels of a block
BACKWARD_ROWS = 32  # fewer, since more is known of each: with 64 the registers of an H100 overflow
CHANNELS = 32  # channels of a block
TAPS = tl.constexpr(27)
SPLITS = 128  # blocks that each sum up a share of all rows


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
    """Return conv3d(relu((x - mean) * rstd * norm_weight + norm_bias)), (B, 2, T, H, W)."""
    num_frames, channels, height, width = x.shape
    rows = num_frames * height * width
    taps = x.new_empty(2, 27, rows)
    maps = x.new_empty(num_frames // num_segments, 2, num_segments, height, width)
    scale = rstd * norm_weight
    with torch.cuda.device_of(x):
        _taps[triton.cdiv(rows, ROWS), 2](
            x, mean, scale, norm_bias, weight.contiguous(), taps, rows, height * width, channels, *steps(x),
            WIDE=_is_wide(x), ROWS=ROWS, CHANNELS=CHANNELS,
        )  # fmt: skip
        _add_taps[triton.cdiv(rows, 256), 2](taps, bias, maps, rows, num_segments, height, width, ROWS=256)
    return maps


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
    num_frames, channels, height, width = x.shape
    rows = num_frames * height * width
    num_splits = min(SPLITS, triton.cdiv(rows, BACKWARD_ROWS))
    sums = torch.empty(num_splits, 2, channels, dtype=torch.float32, device=x.device)
    weights = torch.empty(num_splits, channels, 27, dtype=torch.float32, device=x.device)
    grad_x = torch.empty_like(x)
    blocks = triton.cdiv(channels // 2, CHANNELS)
    inputs = (grad.contiguous(), x, mean, rstd, norm_weight, norm_bias, weight.contiguous())
    sizes = (rows, num_segments, height, width, channels, *steps(x))
    options = {"WIDE": _is_wide(x), "ROWS": BACKWARD_ROWS, "CHANNELS": CHANNELS}
    with torch.cuda.device_of(x):
        _reduce[num_splits, blocks, 2](*inputs, sums, weights, *sizes, **options)
        total = sums.sum(0)
        means = total / rows if batch_statistics else torch.zeros_like(total)
        _back_to_x[triton.cdiv(rows, BACKWARD_ROWS), blocks, 2](*inputs, means, grad_x, *sizes, **options)
    return (
        grad_x,
        total[1].to(norm_weight.dtype),
        total[0].to(norm_bias.dtype),
        weights.sum(0).view(weight.shape).to(weight.dtype),
        grad.sum((0, 2, 3, 4), dtype=weight.dtype),
    )


def steps(x: Tensor) -> tuple[int, int]:
    """Return how far apart neighbouring channels and pixels of frames lie in memory."""
    return (1, x.shape[1]) if x.is_contiguous(memory_format=torch.channels_last) else (x[0, 0].numel(), 1)


def _is_wide(x: Tensor) -> bool:
    """Return whether factors are float32: also in Triton's interpreter, which cannot multiply bfloat16."""
    return x.dtype == torch.float32 or not x.is_cuda


@triton.jit
def _taps(
    x, mean, scale, shift, weight, taps, rows, frame, channels, channel_step, pixel_step,
    WIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row, half = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1)
    tap = tl.arange(0, 32)
    start = (row // frame).to(tl.int64) * channels * frame + row % frame * pixel_step
    total = tl.zeros((ROWS, 32), tl.float32)
    for first in range(0, channels // 2, CHANNELS):
        inside = first + tl.arange(0, CHANNELS) < channels // 2
        channel = half * (channels // 2) + first + tl.arange(0, CHANNELS)
        there = (row < rows)[:, None] & inside[None, :]
        value = tl.load(x + start[:, None] + channel[None, :] * channel_step, there, 0.0).to(tl.float32)
        value -= tl.load(mean + channel, inside, 0.0).to(tl.float32)
        value = value * tl.load(scale + channel, inside, 0.0) + tl.load(shift + channel, inside, 0.0)
        value = tl.maximum(value, 0.0)
        taken = inside[:, None] & (tap < TAPS)[None, :]
        weights = tl.load(weight + channel[:, None] * TAPS + tap[None, :], taken, 0.0)
        total += _product(value, weights, x, WIDE)
    to = taps + (half * TAPS + tap[None, :]).to(tl.int64) * rows + row[:, None]
    tl.store(to, total, (row < rows)[:, None] & (tap < TAPS)[None, :])


@triton.jit
def _add_taps(taps, bias, maps, rows, num_segments, height, width, ROWS: tl.constexpr):
    row, half = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1)
    total = tl.zeros((ROWS,), tl.float32) + tl.load(bias + half).to(tl.float32)
    for tap in tl.static_range(27):
        there, step = _neighbour(row, tap, 1, rows, num_segments, height, width)
        from_ = taps + (half * TAPS + tap).to(tl.int64) * rows + row + step
        total += tl.load(from_, there, 0.0).to(tl.float32)
    tl.store(maps + _place_of_map(row, half, num_segments, height * width), total, row < rows)


@triton.jit
def _reduce(
    grad, x, mean, rstd, norm_weight, norm_bias, weight, sums, weights,
    rows, num_segments, height, width, channels, channel_step, pixel_step,
    WIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    split, num_splits = tl.program_id(0), tl.num_programs(0)
    half, tap = tl.program_id(2), tl.arange(0, 32)
    channel, inside = _channels_of_block(channels, CHANNELS)
    total = tl.zeros((CHANNELS,), tl.float32)
    total_normed = tl.zeros((CHANNELS,), tl.float32)
    total_weight = tl.zeros((32, CHANNELS), tl.float32)
    for first in range(split * ROWS, rows, num_splits * ROWS):
        row = first + tl.arange(0, ROWS)
        active, normed, change, windows = _recomputed(
            grad, x, mean, rstd, norm_weight, norm_bias, weight, row, channel, inside, half,
            rows, num_segments, height, width, channels, channel_step, pixel_step, WIDE,
        )  # fmt: skip
        total += tl.sum(change, 0)
        total_normed += tl.sum(change * normed, 0)
        total_weight += _product(tl.trans(windows), active, x, WIDE)
    tl.store(sums + 2 * split * channels + channel, total, inside)
    tl.store(sums + (2 * split + 1) * channels + channel, total_normed, inside)
    to = weights + (split * channels + channel[None, :]) * TAPS + tap[:, None]
    tl.store(to, total_weight, inside[None, :] & (tap < TAPS)[:, None])


@triton.jit
def _back_to_x(
    grad, x, mean, rstd, norm_weight, norm_bias, weight, means, grad_x,
    rows, num_segments, height, width, channels, channel_step, pixel_step,
    WIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row, half = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(2)
    channel, inside = _channels_of_block(channels, CHANNELS)
    _, normed, change, _ = _recomputed(
        grad, x, mean, rstd, norm_weight, norm_bias, weight, row, channel, inside, half,
        rows, num_segments, height, width, channels, channel_step, pixel_step, WIDE,
    )  # fmt: skip
    change -= tl.load(means + channel, inside, 0.0)
    change -= tl.load(means + channels + channel, inside, 0.0) * normed
    change *= tl.load(norm_weight + channel, inside, 0.0) * tl.load(rstd + channel, inside, 0.0)
    frame = height * width
    start = (row // frame).to(tl.int64) * channels * frame + row % frame * pixel_step
    to = grad_x + start[:, None] + channel[None, :] * channel_step
    tl.store(to, change, (row < rows)[:, None] & inside[None, :])


@triton.jit
def _recomputed(
    grad, x, mean, rstd, norm_weight, norm_bias, weight, row, channel, inside, half,
    rows, num_segments, height, width, channels, channel_step, pixel_step, WIDE: tl.constexpr,
):  # fmt: skip
    """Return of a block of (rows, channels): relu(norm(x)), (x - mean) * rstd, and the gradient before relu.

    And the (rows, 32) of ``grad`` that reach its pixels, by taps.
    """
    frame, tap = height * width, tl.arange(0, 32)
    start = (row // frame).to(tl.int64) * channels * frame + row % frame * pixel_step
    there = (row < rows)[:, None] & inside[None, :]
    value = tl.load(x + start[:, None] + channel[None, :] * channel_step, there, 0.0).to(tl.float32)
    normed = (value - tl.load(mean + channel, inside, 0.0)) * tl.load(rstd + channel, inside, 0.0)
    before = normed * tl.load(norm_weight + channel, inside, 0.0) + tl.load(norm_bias + channel, inside, 0.0)
    reached, step = _neighbour(row[:, None], tap[None, :], -1, rows, num_segments, height, width)
    place = _place_of_map(row, half, num_segments, frame)[:, None] + step  # neighbours are of one clip
    windows = tl.load(grad + place, reached & (tap < TAPS)[None, :], 0.0)  # (rows, 32): of every tap
    taken = inside[None, :] & (tap < TAPS)[:, None]
    weights = tl.load(weight + channel[None, :] * TAPS + tap[:, None], taken, 0.0)
    change = tl.where(there & (before > 0), _product(windows, weights, x, WIDE), 0.0)
    return tl.where(there, tl.maximum(before, 0.0), 0.0), tl.where(there, normed, 0.0), change, windows


@triton.jit
def _channels_of_block(channels, CHANNELS: tl.constexpr):
    """Return the channels of a block of one half, and which of them there are."""
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    return tl.program_id(2) * (channels // 2) + channel, channel < channels // 2


@triton.jit
def _product(a, b, x, WIDE: tl.constexpr):
    """Return the matrix product in float32, of factors in the type of ``x``."""
    narrow: tl.constexpr = x.dtype.element_ty
    if WIDE:
        return tl.dot(a.to(narrow).to(tl.float32), b.to(narrow).to(tl.float32), input_precision="ieee")
    return tl.dot(a.to(narrow), b.to(narrow))


@triton.jit
def _neighbour(row, tap, sign, rows, num_segments, height, width):
    """Return whether the pixel that ``tap`` looks at is there, and how far off; sign -1: that looks at it."""
    dt, dy, dx = sign * (tap // 9 - 1), sign * (tap // 3 % 3 - 1), sign * (tap % 3 - 1)
    t, y, x = row // (height * width) % num_segments + dt, row // width % height + dy, row % width + dx
    inside = (t >= 0) & (t < num_segments) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return (row < rows) & inside, (dt * height + dy) * width + dx


@triton.jit
def _place_of_map(row, half, num_segments, frame):
    """Return where in maps (B, 2, T, H, W) a row lies."""
    clip = num_segments * frame
    return ((row // clip) * 2 + half) * clip + row % clip
