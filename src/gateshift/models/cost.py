"""What a network costs: parameters, and multiply-accumulates of one clip, counted from shapes alone."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from gateshift.models.classifier import VideoClassifier
from gateshift.nn import use_fast_gates


def count_parameters(model: nn.Module) -> int:
    """Return the number of learnt values."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: VideoClassifier) -> int:
    """Return the multiply-accumulates of one clip: convolutions, gates and the head (the paper's "FLOPs").

    Norms, activations, pooling and the shifts themselves are left out, as is usual.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        total += _macs_of(layer, output)

    bare = copy.deepcopy(model).to("meta").eval()
    use_fast_gates(bare, False)  # so that gates are counted as the convolutions they are
    hooks = [layer.register_forward_hook(count) for layer in bare.modules()]
    size = model.input_spec.size
    with torch.no_grad():
        bare(torch.zeros(1, model.num_segments, model.input_spec.in_channels, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


def _macs_of(layer: nn.Module, y: Tensor) -> int:
    if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
        return y.numel() * layer.weight[0].numel()
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features
    return 0
