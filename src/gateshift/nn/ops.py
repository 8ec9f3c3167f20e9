"""The operators of the temporal modules, ``torch.ops.gateshift.*``: what autograd, compile and export see.

    batch_moments    mean and variance of each channel, no gradient
    gate_maps        conv3d(relu(norm(x))), the maps behind the gates
    gate_shift       kept + moved, of kept = (1 - gate) * x and moved = shift(gate * x); riffled
    gate_means       the means over space of (gate * x) and kept
    gate_shift_fuse  fuse * moved + (1 - fuse) * kept, riffled
    shift            some channels one frame earlier, as many later
    shift_           the same in place, no gradient

Torch calls compute them on every device (aten_maps.py, aten_shift.py); on a GPU, Triton kernels do
(triton_maps.py, triton_shift.py), but for float64. Only what goes in is kept for the backward pass: there,
relu(norm(x)) and what moved are computed again. Answers have the type of x, also under autocast, and lie in
memory as x does. There is no gradient of a gradient.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels. x is (N, C, H, W), NCHW or
channels-last without gaps; gate and maps are (B, 2, T, H, W), means (B, T, 2, C), fuse (B, T, C).
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op

from gateshift.nn import aten_maps, aten_shift
from gateshift.nn.functional import dense

if torch.backends.cuda.is_built() and find_spec("triton"):
    from gateshift.nn import triton_maps, triton_shift

    TRITON: dict[str, Callable[..., Any]] = {
        "gate_maps": triton_maps.gate_maps,
        "gate_maps_backward": triton_maps.gate_maps_backward,
        "gate_shift": triton_shift.gate_shift,
        "gate_shift_backward": triton_shift.gate_shift_backward,
        "gate_shift_fuse": triton_shift.gate_shift_fuse,
        "gate_shift_fuse_backward": triton_shift.gate_shift_fuse_backward,
        "shift": triton_shift.shift,
    }
else:
    TRITON = {}


def _operator(kernel: Callable[..., Any], mutates_args: tuple[str, ...] = ()) -> CustomOpDef:
    """Make an operator of a kernel of torch calls, and of the Triton kernel of that name if there is one."""
    name = kernel.__name__
    operator = custom_op(f"gateshift::{name}", kernel, mutates_args=mutates_args)
    if name in TRITON:

        def on_gpu(x: Tensor, *others: Any) -> Any:
            return (kernel if x.dtype == torch.float64 else TRITON[name])(x, *others)

        operator.register_kernel("cuda")(on_gpu)
    return operator


batch_moments = _operator(aten_maps.batch_moments)
gate_maps = _operator(aten_maps.gate_maps)
gate_maps_backward = _operator(aten_maps.gate_maps_backward)
gate_shift = _operator(aten_shift.gate_shift)
gate_shift_backward = _operator(aten_shift.gate_shift_backward)
gate_means = _operator(aten_shift.gate_means)
gate_means_backward = _operator(aten_shift.gate_means_backward)
gate_shift_fuse = _operator(aten_shift.gate_shift_fuse)
gate_shift_fuse_backward = _operator(aten_shift.gate_shift_fuse_backward)
shift = _operator(aten_shift.shift)
shift_ = _operator(aten_shift.shift_, mutates_args=("x",))


@batch_moments.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.new_empty(x.shape[1], dtype=wide), x.new_empty(x.shape[1], dtype=wide)


@gate_maps.register_fake
def _(x: Tensor, *others: Any) -> Tensor:
    *_, num_segments, _ = others
    return x.new_empty(x.shape[0] // num_segments, 2, num_segments, *x.shape[2:])


@gate_maps_backward.register_fake
def _(grad: Tensor, x: Tensor, *others: Any) -> tuple[Tensor, ...]:
    _, _, norm_weight, norm_bias, weight, _, _ = others
    like_inputs = (torch.empty_like(value) for value in (x, norm_weight, norm_bias, weight))
    return *like_inputs, weight.new_empty(2)


@gate_means.register_fake
def _(x: Tensor, gate: Tensor, num_segments: int) -> Tensor:
    return x.new_empty(x.shape[0] // num_segments, num_segments, 2, x.shape[1])


@gate_shift.register_fake
@gate_shift_fuse.register_fake
@shift.register_fake
def _(x: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(x)


@gate_shift_backward.register_fake
@gate_means_backward.register_fake
@gate_shift_fuse_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(value) for value in inputs if isinstance(value, Tensor))


@shift_.register_fake
def _(x: Tensor, fold: int, num_segments: int, back: bool) -> None:
    return None


def _keep_gate_maps(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *kept, _, ctx.num_segments, ctx.batch_statistics = inputs  # all but the bias
    ctx.save_for_backward(*kept)


def _gate_maps_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x, *grads = gate_maps_backward(grad, *ctx.saved_tensors, ctx.num_segments, ctx.batch_statistics)
    return grad_x, None, None, *grads, None, None


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.options = inputs[len(tensors) :]


def _gradients_by(backward: CustomOpDef) -> Callable[..., tuple[Tensor | None, ...]]:
    """Return the formula of an operator for all of whose tensors ``backward`` gives the gradients."""

    def gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *backward(grad, *ctx.saved_tensors, *ctx.options), *(None for _ in ctx.options)

    return gradients


def _keep_options(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *ctx.options = inputs


def _shift_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    fold, num_segments, back = ctx.options
    return shift(dense(grad), fold, num_segments, not back), None, None, None


gate_maps.register_autograd(_gate_maps_gradients, setup_context=_keep_gate_maps)
gate_shift.register_autograd(_gradients_by(gate_shift_backward), setup_context=_keep_inputs)
gate_means.register_autograd(_gradients_by(gate_means_backward), setup_context=_keep_inputs)
gate_shift_fuse.register_autograd(_gradients_by(gate_shift_fuse_backward), setup_context=_keep_inputs)
shift.register_autograd(_shift_gradients, setup_context=_keep_options)
