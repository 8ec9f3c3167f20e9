"""A network for inference: batch-norms folded into the layers before them, and layers in their fastest order.

The backbone is traced (torch.fx); what a layer becomes is decided by its neighbours:

    conv -> norm -> relu                   one convolution
    conv -> gate-shift -> norm -> relu     two: see gateshift.nn.folded
    conv3d -> norm -> relu                 a 3D convolution and its activation
    average pool -> 1x1 conv               the convolution first, as it leaves fewer channels to be pooled

Anything else stays as it is. Results are equal up to rounding.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from gateshift.nn import GateShift, GateShiftFuse, InflatedConv, TemporalConv, use_fast_gates
from gateshift.nn.folded import (
    AddBias,
    FoldedConv,
    FoldedGateShift,
    FoldedGateShiftFuse,
    affine,
)
from gateshift.nn.functional import interleave
from gateshift.nn.recompute import norm_relu

FOLDED_GATES: dict[type[nn.Module], type[FoldedGateShift]] = {
    GateShift: FoldedGateShift,
    GateShiftFuse: FoldedGateShiftFuse,
}
RELUS: dict[Any, str] = {
    F.relu: "relu",
    torch.relu: "relu",
    nn.ReLU: "relu",
    "relu": "relu",
    "relu_": "relu",
    F.relu6: "relu6",
    nn.ReLU6: "relu6",
}
LEAVES = (GateShift, GateShiftFuse, InflatedConv, TemporalConv)
VANISHING = 1e-6  # a norm that scales a channel by less leaves nothing for the gates to read


class FoldedBackbone(nn.Module):
    """A traced network without its batch-norms; it computes in ``precision``.

    Args:
        net: the traced and folded ``forward_features``.
        precision: type of weights and maps.
    """

    def __init__(self, net: fx.GraphModule, precision: torch.dtype) -> None:
        super().__init__()
        self.net = net.to(precision)
        self.precision = precision

    def forward_features(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> maps (N, D, h, w) in float32."""
        return self.net(frames.to(self.precision, memory_format=torch.channels_last)).float()


def fold_backbone(backbone: nn.Module, precision: torch.dtype = torch.float32) -> FoldedBackbone:
    """Return a network for inference that computes what ``backbone`` does in eval mode, up to rounding.

    Args:
        backbone: a network with ``forward_features``; it stays as it is.
        precision: type of weights and maps.
    """
    backbone = copy.deepcopy(backbone).eval().requires_grad_(False)
    use_fast_gates(backbone)
    vars(backbone).pop("project_first", None)  # the graph itself is put in that order below
    net = trace(backbone)
    for node in list(net.graph.nodes):
        fold_norm(net, node)
    for node in list(net.graph.nodes):
        project_first(net, node)
    net.graph.eliminate_dead_code()
    net.graph.lint()
    net.recompile()
    net.delete_all_unused_submodules()
    return FoldedBackbone(net, precision)


class Tracer(fx.Tracer):
    """A tracer that looks into containers of convolutions and norms, and into nothing else."""

    traced_func_name = "forward_features"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module stays one node."""
        parts = [part for part in m.modules() if part is not m]
        return type(m) in LEAVES or not any(isinstance(part, (nn.Conv2d, nn.BatchNorm2d)) for part in parts)

    def create_arg(self, a: Any) -> Any:
        """Let a function take a module, as ``norm_relu`` does."""
        if isinstance(a, nn.Module):
            return self.create_node("get_attr", self.path_of_module(a), (), {})
        return super().create_arg(a)


def trace(backbone: nn.Module) -> fx.GraphModule:
    """Return ``forward_features`` of a network as a graph."""
    return fx.GraphModule(backbone, Tracer(autowrap_functions=(norm_relu,)).trace(backbone))


def fold_norm(net: fx.GraphModule, node: fx.Node) -> None:
    """Where ``node`` is a batch-norm, take it and its activation into the layers before it."""
    norm = norm_of(net, node)
    if norm is None:
        return
    source: Any = node.args[-1]
    layer = layer_of(net, source)
    activation, last = activation_of(net, node)
    scale, bias = affine(norm)
    if type(layer) is nn.Conv2d:
        folded: nn.Module = FoldedConv(layer, *scaled(layer, scale, bias), activation)
    elif isinstance(layer, (TemporalConv, InflatedConv)):
        weight, shift = scaled(layer.conv, scale, bias)
        layer.conv.weight, layer.conv.bias = nn.Parameter(weight, False), nn.Parameter(shift, False)
        folded = nn.Sequential(layer, AddBias(None, activation))
    elif isinstance(layer, (GateShift, GateShiftFuse)) and scale.abs().min() > VANISHING:
        conv = layer_of(net, source.args[0])
        if type(conv) is not nn.Conv2d:
            return
        order = riffle(layer)
        weight, shift = scaled(conv, scale, torch.zeros_like(bias), order)
        net.set_submodule(source.args[0].target, FoldedConv(conv, weight, shift))
        folded = FOLDED_GATES[type(layer)](layer, order, scale, bias, activation)
    else:
        return
    net.set_submodule(source.target, folded)
    last.replace_all_uses_with(source)
    net.graph.erase_node(last)
    if last is not node:
        net.graph.erase_node(node)


def project_first(net: fx.GraphModule, node: fx.Node) -> None:
    """Where ``node`` averages what a 1x1 convolution then narrows, let the convolution come first.

    Both are linear. The bias comes last, because what is averaged at the border are zeros as well.
    """
    if node.target is not F.avg_pool2d or len(node.users) > 1:
        return
    (user,) = node.users
    conv = layer_of(net, user, alone=False)
    if (
        not isinstance(conv, FoldedConv)
        or not conv.is_pointwise
        or conv.weight.shape[0] > conv.weight.shape[1]
    ):
        return
    net.add_submodule(f"{user.target}_bias", AddBias(conv.bias, conv.activation))
    conv.bias, conv.activation = torch.zeros_like(conv.bias), "none"
    with net.graph.inserting_after(user):
        pool = net.graph.call_function(F.avg_pool2d, (user, *node.args[1:]), node.kwargs)
    with net.graph.inserting_after(pool):
        last = net.graph.call_module(f"{user.target}_bias", (pool,))
    user.replace_all_uses_with(last, delete_user_cb=lambda reader: reader is not pool)
    unpooled: Any = node.args[0]
    user.replace_input_with(node, unpooled)
    net.graph.erase_node(node)


def norm_of(net: fx.GraphModule, node: fx.Node) -> nn.BatchNorm2d | None:
    """Return the batch-norm that a node applies to its last argument, if it does."""
    called: Any = node.args[0] if node.target is norm_relu else node
    if called is node and node.op != "call_module":
        return None
    module = net.get_submodule(called.target)
    return module if isinstance(module, nn.BatchNorm2d) else None


def layer_of(net: fx.GraphModule, node: Any, alone: bool = True) -> nn.Module | None:
    """Return the module that a node calls; with ``alone`` only where one other node takes what it gives."""
    if not isinstance(node, fx.Node) or node.op != "call_module" or (alone and len(node.users) > 1):
        return None
    calls = [other for other in net.graph.nodes if other.op == "call_module" and other.target == node.target]
    return net.get_submodule(str(node.target)) if len(calls) == 1 else None


def activation_of(net: fx.GraphModule, norm: fx.Node) -> tuple[str, fx.Node]:
    """Return the activation that follows a batch-norm at once, and the last node of both."""
    if norm.op == "call_function":
        return "relu", norm
    if len(norm.users) == 1:
        (user,) = norm.users
        layer = layer_of(net, user, alone=False)
        name = RELUS.get(user.target if layer is None else type(layer))
        if name:
            return name, user
    return "none", norm


def riffle(module: GateShift | GateShiftFuse) -> Tensor:
    """Return, for each channel that gate-shift puts out, the one that it was: (C,).

    >>> riffle(GateShift(8, num_segments=2)).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    order = torch.arange(module.channels)
    if module.interleave:
        gated = order[: module.norm.num_features]
        gated.copy_(torch.cat([interleave(half[None])[0] for half in gated.clone().chunk(2)]))
    return order


def scaled(
    conv: nn.Conv2d | nn.Conv3d, scale: Tensor, bias: Tensor, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution, its outputs put in order, multiplied and added to."""
    weight, shift = conv.weight.detach(), torch.zeros_like(bias) if conv.bias is None else conv.bias.detach()
    if order is not None:
        weight, shift = weight[order], shift[order]
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift * scale + bias
