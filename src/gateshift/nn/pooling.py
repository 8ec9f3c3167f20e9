"""Pools that keep less for their backward pass than torch's own do.

Torch keeps the input of a pool, of which it needs no more than the shape, and 8 bytes an output for the place
of a maximum. Values and gradients are the same. Shapes: N frames, C channels, H x W pixels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gateshift.nn.recompute import keeps_recipes, norm_relu


def average_pool(x: Tensor) -> Tensor:
    """Average the 3x3 neighbourhoods of (N, C, H, W), zeros around it counted."""
    return _AveragePool.apply(x) if keeps_recipes() else F.avg_pool2d(x, 3, stride=1, padding=1)


def max_pool(x: Tensor, *, stride: int, padding: int = 0, ceil_mode: bool = False) -> Tensor:
    """Take the maximum of 3x3 neighbourhoods of (N, C, H, W)."""
    if keeps_recipes():
        return _MaxPool.apply(x, ([3, 3], [stride] * 2, [padding] * 2, [1, 1], ceil_mode))
    return F.max_pool2d(x, 3, stride=stride, padding=padding, ceil_mode=ceil_mode)


def norm_relu_pool(norm: nn.Module, x: Tensor, *, padding: int = 0, ceil_mode: bool = False) -> Tensor:
    """Return relu(norm(x)) of (N, C, H, W), max-pooled with stride 2 to about (N, C, H/2, W/2).

    Where recipes are kept the ReLU comes last, on a quarter of the values: it leaves their order as it is, so
    that the maxima, and the gradients of those above zero, are the same.
    """
    if keeps_recipes():
        return F.relu(max_pool(norm(x), stride=2, padding=padding, ceil_mode=ceil_mode), inplace=True)
    return max_pool(norm_relu(norm, x), stride=2, padding=padding, ceil_mode=ceil_mode)


def project_then_average(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return ``conv(average_pool(x))`` of a 1x1 conv, up to rounding: both are linear, in either order.

    Fewer channels are averaged. Outside of the map there are zeros and no bias: it is added behind.
    """
    y = average_pool(F.conv2d(x, conv.weight))
    return y if conv.bias is None else y.add_(conv.bias.to(y.dtype)[:, None, None])


class _AveragePool(torch.autograd.Function):
    """Averages, of whose input the shape is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shaped = _shape_of(x)
        return F.avg_pool2d(x, 3, stride=1, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        window = ([3, 3], [1, 1], [1, 1], False, True, None)
        return torch.ops.aten.avg_pool2d_backward(grad, ctx.shaped(), *window)


class _MaxPool(torch.autograd.Function):
    """Maxima, whose places within a map fit into 16 bits where torch takes 64."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[Any, ...]) -> Tensor:
        y, places = torch.ops.aten.max_pool2d_with_indices(x, *window)
        small = x.shape[-2] * x.shape[-1] <= torch.iinfo(torch.int16).max
        ctx.save_for_backward(places.to(torch.int16 if small else torch.int32))
        ctx.window, ctx.shaped = window, _shape_of(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        x = ctx.shaped()
        return torch.ops.aten.max_pool2d_with_indices_backward(grad, x, *ctx.window, places.long()), None


def _shape_of(x: Tensor) -> Callable[[], Tensor]:
    """Return what gives a tensor like ``x`` to read its shape from: memory that nobody writes costs none."""
    layout = (
        torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    )
    return partial(torch.empty, x.shape, dtype=x.dtype, device=x.device, memory_format=layout)
