"""Batch-norms whose batch is that of all processes.

    own clips --> count, mean, variance --> all_reduce --> of the whole batch --> norm(x)
    gradient  --> sums of dy, dy * x^   --> all_reduce --> of the whole batch --> dx

As torch's SyncBatchNorm (which wants a GPU): each process counts for as many values as it has, so that shares
may differ in size, and one without clips takes part inside of ``without_clips()``. Gradients of weight and
bias are those of the process, to be averaged by DistributedDataParallel like all others. One process alone
computes in the same way: torch's own norms round otherwise, on a CPU the more the larger a channel's mean is.

Shapes: N frames, C channels, H x W pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PART = 2**22  # values that are added up at once, in float64
_absent: ContextVar[bool] = ContextVar("absent", default=False)


@contextmanager
def without_clips() -> Iterator[None]:
    """Have the forward passes inside stand for no clips at all: they only take part in what others compute.

    Their backward passes, which may lie outside, must start from gradients of zero.
    """
    token = _absent.set(True)
    try:
        yield
    finally:
        _absent.reset(token)


class _SyncNorm(nn.modules.batchnorm._BatchNorm):
    """What batch-norms of 2D and 3D maps share."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps (N, C, ...) by the whole batch, in training; else by what is known."""
        return _WholeNorm.apply(x, self.weight, self.bias, self) if self.training else super().forward(x)

    def take_statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and 1 / deviation of the whole batch and of how many values, (C,) each; note them."""
        mean, variance, total = whole_moments(x)
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            unbiased = variance * (total / (total - 1).clamp(min=1))
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(unbiased.to(self.running_var), momentum)  # type: ignore[union-attr]
        return mean, (variance + self.eps).rsqrt(), total


class SyncNorm2d(_SyncNorm, nn.BatchNorm2d):
    """A 2D batch-norm over the batch of all processes."""


class SyncNorm3d(_SyncNorm, nn.BatchNorm3d):
    """A 3D batch-norm over the batch of all processes."""


KINDS: dict[type[nn.Module], type[SyncNorm2d] | type[SyncNorm3d]] = {
    nn.BatchNorm2d: SyncNorm2d,
    nn.BatchNorm3d: SyncNorm3d,
}


def is_absent() -> bool:
    """Tell whether a forward pass now stands for no clips."""
    return _absent.get()


def is_shared(norm: nn.Module) -> bool:
    """Tell whether a forward pass through ``norm`` now takes statistics over all processes."""
    return isinstance(norm, _SyncNorm) and norm.training


def synchronize_norms(model: nn.Module) -> None:
    """Put batch-norms over all processes in the place of the others; parameters and names stay."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            kind = KINDS.get(type(norm))
            if kind is not None:
                shared = kind.__new__(kind)
                vars(shared).update(vars(norm))
                setattr(parent, name, shared)


def whole_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance (C,) over all processes of maps (N, C, ...), and of how many values."""
    sums = double_sums(x.detach(), x.detach())  # in float64 the difference of squares loses next to nothing
    sums = torch.cat([sums, torch.full_like(sums[:1], x.numel() // x.shape[1])])
    if is_absent():
        sums.zero_()
    _add_up(sums)
    sum_x, sum_xx, total = sums
    mean = sum_x / total
    variance = (sum_xx / total - mean.square()).clamp(min=0)
    wide = torch.promote_types(x.dtype, torch.float32)
    return mean.to(wide), variance.to(wide), total


def double_sums(y: Tensor, x: Tensor) -> Tensor:
    """Return the sums of y and of y * x over each channel of maps (N, C, ...): (2, C), in float64.

    Sums in float32 depend on how a batch is shared out, in digits that norms of channels whose mean is large
    make larger by the ratio of mean and deviation.
    """
    exact = torch.float32 if x.device.type == "mps" else torch.float64
    others = [dim for dim in range(x.dim()) if dim != 1]
    sums = x.new_zeros(2, x.shape[1], dtype=exact)
    frames = max(1, PART * len(x) // x.numel())
    for some_y, some_x in zip(y.split(frames), x.split(frames), strict=True):
        wide_y = some_y.to(exact)
        sums[0] += wide_y.sum(others)
        sums[1] += (wide_y * some_x).sum(others)
    return sums


def _add_up(sums: Tensor) -> None:
    """Add up tensors over all processes, in place; one alone has them already."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)


def normalized(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
    """Return (x - mean) * invstd * weight + bias of maps (N, C, ...)."""
    # A variance of one and an eps of zero: the kernel multiplies by weight * invstd.
    ones = torch.ones_like(invstd)
    return torch.native_batch_norm(x, weight * invstd, bias, mean, ones, False, 0.0, 0.0)[0]


def whole_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, invstd: Tensor, total: Tensor, absent: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight and bias for one of the normalised maps (N, C, ...)."""
    sums = double_sums(grad, x)
    sums[1] = (sums[1] - mean * sums[0]) * invstd
    grad_bias, grad_weight = sums.to(weight, copy=True)
    _add_up(sums)
    if absent:
        return torch.zeros_like(x), grad_weight, grad_bias
    by_mean, by_variance = sums / total * weight * invstd
    slope = by_variance * invstd  # of what the statistics take back, a line in x
    offset = by_mean - slope * mean
    scale, slope, offset = (
        value.to(mean).view(1, -1, *(1 for _ in x.shape[2:])) for value in (weight * invstd, slope, offset)
    )
    grad_x = torch.addcmul(-offset, x.to(mean.dtype), slope, value=-1).addcmul_(grad, scale)
    return grad_x.to(x.dtype), grad_weight, grad_bias


class _WholeNorm(torch.autograd.Function):
    """The norm in autograd's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: _SyncNorm) -> Tensor:
        mean, invstd, total = norm.take_statistics(x)
        ctx.absent = is_absent()
        ctx.save_for_backward(x, weight, mean, invstd, total)
        return normalized(x, weight, bias, mean, invstd)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd, total = ctx.saved_tensors
        return *whole_gradients(grad, x, weight, mean, invstd, total, ctx.absent), None
