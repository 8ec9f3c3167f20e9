"""The first convolution of a backbone, made to see other modalities than RGB."""

import torch
from torch import nn


def first_conv(net: nn.Module) -> nn.Conv2d:
    """Return the convolution that sees the pixels."""
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d))


def convert_first_conv(net: nn.Module, in_channels: int) -> None:
    """Let pretrained filters see ``in_channels`` planes: the mean over the colours, repeated, as released.

    Load the weights first, and put temporal modules in after.
    """
    conv = first_conv(net)
    mean = conv.weight.detach().mean(dim=1, keepdim=True)
    _set_weight(conv, mean.repeat(1, in_channels, 1, 1))


def redraw_first_conv(net: nn.Module, in_channels: int) -> None:
    """Let random filters see ``in_channels`` planes: drawn anew, since alike ones would only see their sum.

    What comes out varies as much as it did with three planes.
    """
    conv = first_conv(net)
    weight = conv.weight.detach()
    drawn = torch.randn_like(weight[:, :1].repeat(1, in_channels, 1, 1))
    _set_weight(conv, drawn * weight.std() * (conv.in_channels / in_channels) ** 0.5)


def _set_weight(conv: nn.Conv2d, weight: torch.Tensor) -> None:
    conv.weight = nn.Parameter(weight)
    conv.in_channels = weight.shape[1]
