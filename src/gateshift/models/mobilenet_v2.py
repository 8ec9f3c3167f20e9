"""MobileNetV2: Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381

Layers are named as in torchvision, whose weights fit.
"""

from torch import Tensor, nn

from gateshift.nn.checkpointing import Blocks
from gateshift.nn.recompute import norm_relu6

STAGES = (  # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class ConvNormRelu(nn.Sequential):
    """A convolution, its norm and a ReLU that stops at 6."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)."""
        conv, norm, _ = self
        return norm_relu6(norm, conv(x))


class InvertedResidual(nn.Module):
    """Widen, filter each channel in space, narrow; with a skip connection where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        widen = [] if expansion == 1 else [_conv_bn_relu(in_channels, width, 1)]
        self.conv = nn.Sequential(
            *widen,
            _conv_bn_relu(width, width, 3, stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.skips = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)."""
        return x + self.conv(x) if self.skips else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 at width 1, without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn_relu(3, 32, 3, stride=2)]
        in_channels = 32
        for expansion, channels, depth, first_stride in STAGES:
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                layers.append(InvertedResidual(in_channels, channels, stride, expansion))
                in_channels = channels
        layers.append(_conv_bn_relu(in_channels, 1280, 1))
        self.features = Blocks(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward_features(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> feature maps (N, 1280, H/32, W/32)."""
        return self.features(frames)


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> ConvNormRelu:
    """Return a convolution, its norm and a ReLU that stops at 6."""
    return ConvNormRelu(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


def mobilenet_v2() -> MobileNetV2:
    """Return MobileNetV2, 1280 features."""
    return MobileNetV2()
