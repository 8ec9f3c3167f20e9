"""What training need not keep: activations that follow from what is kept anyway.

    conv --> x --> relu(norm(x)) = y --> concatenate --> the convs of the next block
             kept                 \\________ computed again in the backward pass _____/

Autograd keeps y for the convs that read it, and its concatenation with its neighbours once more. Inside of
``recomputing()`` these reads keep a recipe: x, the statistics of its batch and the affine values. The
arithmetic of both passes stays the same: channels-last on a CPU to the last bit. A recipe serves one backward
pass.

Shapes: N frames, C channels, H x W pixels.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gateshift.nn.sync_norm import is_absent, is_shared, normalized, whole_gradients

_inside: ContextVar[bool] = ContextVar("recomputing", default=False)


@contextmanager
def switched(switch: ContextVar[bool], on: bool) -> Iterator[None]:
    """Have a switch on, or off, inside."""
    token = switch.set(on)
    try:
        yield
    finally:
        switch.reset(token)


@contextmanager
def recomputing() -> Iterator[None]:
    """Keep recipes for activations in the forward passes inside; the backward pass may lie outside."""
    with switched(_inside, True), torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
        yield


def keeping_all() -> AbstractContextManager[None]:
    """Keep no recipes in the forward passes inside, though these may lie within ``recomputing()``."""
    return switched(_inside, False)


def keeps_recipes() -> bool:
    """Tell whether a forward pass runs here whose backward pass will compute activations again."""
    return not torch.compiler.is_compiling() and _inside.get() and torch.is_grad_enabled()


def norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """Return relu(norm(x)) of frames (N, C, H, W).

    A 3D batch-norm takes its statistics over all frames, as a 2D one does.
    """
    if _has_recipe(norm, x):
        return _by_recipe(norm, x, math.inf)
    if isinstance(norm, nn.BatchNorm3d):
        return F.relu(norm(x.unsqueeze(2)).squeeze(2), inplace=True)
    return F.relu(norm(x), inplace=True)


def norm_relu6(norm: nn.Module, x: Tensor) -> Tensor:
    """Return relu6(norm(x)) of frames (N, C, H, W): a ReLU that stops at 6."""
    return _by_recipe(norm, x, 6.0) if _has_recipe(norm, x) else F.relu6(norm(x))


def concat(tensors: list[Tensor]) -> Tensor:
    """Concatenate (N, c, H, W) to (N, C, H, W), by a recipe where all of them but pooled ones have one."""
    y = torch.cat(tensors, dim=1)
    if not keeps_recipes():
        return y
    recipes = [getattr(tensor, "recipe", None) for tensor in tensors]
    parts = list(zip(recipes, tensors, strict=True))
    whole = _Concatenation([recipe or tensor.detach() for recipe, tensor in parts])
    start = 0
    for recipe, tensor in parts:
        if isinstance(recipe, _NormRelu):  # its backward pass reads what the convs behind have read
            tensor.grad_fn.activation = _Slice(whole, start, tensor.shape[1])  # type: ignore[union-attr]
        start += tensor.shape[1]
    y.recipe = whole  # type: ignore[attr-defined]
    return y


def _has_recipe(norm: nn.Module, x: Tensor) -> bool:
    """Tell whether recipes are kept, the norm is of the usual kind, and something wants a gradient."""
    if not keeps_recipes() or not isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d)):
        return False
    usual = norm.weight is not None and norm.running_mean is not None and norm.momentum is not None
    return usual and (x.requires_grad or norm.weight.requires_grad)


def _by_recipe(norm: Any, x: Tensor, top: float) -> Tensor:
    recipe = _NormRelu(norm, x.detach(), top)
    y = _NormReluFunction.apply(x, norm.weight, norm.bias, recipe)
    y.recipe = recipe
    return y


def _pack(tensor: Tensor) -> "_Recipe | Tensor":
    """Say what autograd shall keep in the place of a tensor."""
    recipe = getattr(tensor, "recipe", None)
    if recipe is None:
        return tensor.detach()  # itself it would keep alive what it is an output of
    recipe.readers += 1
    return recipe


def _unpack(kept: "_Recipe | Tensor") -> Tensor:
    return kept if isinstance(kept, Tensor) else kept.read()


class _Recipe:
    """A tensor that is computed when it is first read, and given up after the last of its readers."""

    readers = 0
    value: Tensor | None = None

    def make(self) -> Tensor:
        """Compute it."""
        raise NotImplementedError

    def read(self) -> Tensor:
        """Return it to one of its readers."""
        self.readers -= 1
        value = self.make() if self.value is None else self.value
        self.value = value if self.readers > 0 else None
        return value


class _NormRelu(_Recipe):
    """relu(norm(x)), from x and what the norm multiplied and added at first; it stops at ``top``."""

    def __init__(self, norm: nn.BatchNorm2d | nn.BatchNorm3d, x: Tensor, top: float) -> None:
        self.norm = norm
        self.top = top
        self.x: Tensor | None = x
        self.learns = norm.training
        self.shared = is_shared(norm)
        self.absent = is_absent()
        self.mean, self.invstd, self.total = x, x, x  # of the batch, once ``first`` has run

    def first(self) -> Tensor:
        """Return the activation in the forward pass, where a norm in training takes its statistics."""
        norm = self.norm
        if self.shared:
            self.mean, self.invstd, self.total = norm.take_statistics(self.x)  # type: ignore[operator]
            return self.make()
        if self.learns:
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
        assert self.x is not None and norm.momentum is not None
        y, self.mean, self.invstd = torch.native_batch_norm(
            self.x,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            self.learns,
            norm.momentum,
            norm.eps,
        )
        return self.activate(y)

    def activate(self, y: Tensor) -> Tensor:
        """Apply the ReLU in place."""
        return y.relu_() if self.top == math.inf else F.hardtanh_(y, 0.0, self.top)

    def make(self) -> Tensor:
        norm, x = self.norm, self.x
        if x is None:
            raise RuntimeError("activations were given up by a backward pass. Run the forward pass again.")
        if not self.learns:
            return self.first()
        return self.activate(normalized(x, norm.weight.detach(), norm.bias, self.mean, self.invstd))

    def gradients(self, grad: Tensor, wanted: list[bool]) -> tuple[Tensor | None, ...]:
        """Return the ``wanted`` gradients of x, weight and bias for one of norm(x); x is given up."""
        norm = self.norm
        if self.shared:
            assert self.x is not None
            x, self.x = self.x, None
            return whole_gradients(grad, x, norm.weight, self.mean, self.invstd, self.total, self.absent)
        gradients = torch.ops.aten.native_batch_norm_backward(
            grad,
            self.x,
            norm.weight,
            norm.running_mean,
            norm.running_var,
            self.mean,
            self.invstd,
            self.learns,
            norm.eps,
            wanted,
        )
        self.x = None
        return gradients


class _Concatenation(_Recipe):
    """The concatenation of what recipes make and of tensors that are kept."""

    def __init__(self, parts: list["_Recipe | Tensor"]) -> None:
        self.parts = parts

    def make(self) -> Tensor:
        return torch.cat([part if isinstance(part, Tensor) else part.make() for part in self.parts], dim=1)


class _Slice(_Recipe):
    """Some channels of a concatenation, of which they are one more reader."""

    def __init__(self, whole: _Concatenation, start: int, channels: int) -> None:
        self.whole, self.start, self.channels = whole, start, channels
        whole.readers += 1

    def make(self) -> Tensor:
        return self.whole.read().narrow(1, self.start, self.channels)


class _NormReluFunction(torch.autograd.Function):
    """The activation in autograd's graph: its backward pass reads it as the convs behind it do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, recipe: _NormRelu) -> Tensor:
        recipe.readers = 1
        ctx.recipe = ctx.activation = recipe
        return recipe.first()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, recipe = ctx.activation.read(), ctx.recipe
        if recipe.top < math.inf:  # where y is 0 or the top, norm(x) was there or beyond
            grad = torch.ops.aten.hardtanh_backward(grad, y, 0, recipe.top)
        else:
            own = ctx.activation is recipe and recipe.readers == 0
            into = y if own else torch.empty_like(recipe.x)  # a y that nobody reads again is written over
            grad = torch.ops.aten.threshold_backward.grad_input(grad, y, 0, grad_input=into)
        return *recipe.gradients(grad, list(ctx.needs_input_grad[:3])), None
