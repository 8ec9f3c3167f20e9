"""ResNet: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385

Layers are named as in torchvision, whose weights fit; the stride of a Bottleneck is at its 3 x 3 convolution.
"""

from torch import Tensor, nn

from gateshift.nn.checkpointing import Blocks
from gateshift.nn.pooling import norm_relu_pool
from gateshift.nn.recompute import norm_relu


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a skip connection; it gives ``width`` channels."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual branch to its input."""
        y = norm_relu(self.bn1, self.conv1(x))
        y = self.bn2(self.conv2(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a skip connection; it gives 4 * width channels."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual branch to its input."""
        y = norm_relu(self.bn1, self.conv1(x))
        y = norm_relu(self.bn2, self.conv2(y))
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """A residual network without its classifier.

    Args:
        block: what the stages are made of.
        depths: blocks in each of the four stages.
    """

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = [64 * block.expansion * 2**stage for stage in range(4)]
        self.layer1 = _stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = _stage(block, widths[0], 128, depths[1], stride=2)
        self.layer3 = _stage(block, widths[1], 256, depths[2], stride=2)
        self.layer4 = _stage(block, widths[2], 512, depths[3], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> feature maps (N, 512 * expansion, H/32, W/32)."""
        x = norm_relu_pool(self.bn1, self.conv1(frames), padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return what brings the input of a block to the shape of its output, None where it has that shape."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, depth: int, stride: int
) -> Blocks:
    """Return ``depth`` blocks, the first of which changes resolution and width."""
    rest = [block(width * block.expansion, width, 1) for _ in range(depth - 1)]
    return Blocks(block(in_channels, width, stride), *rest)


def resnet18() -> ResNet:
    """Return ResNet-18, 512 features."""
    return ResNet(BasicBlock, (2, 2, 2, 2))


def resnet34() -> ResNet:
    """Return ResNet-34, 512 features."""
    return ResNet(BasicBlock, (3, 4, 6, 3))


def resnet50() -> ResNet:
    """Return ResNet-50, 2048 features."""
    return ResNet(Bottleneck, (3, 4, 6, 3))


def resnet101() -> ResNet:
    """Return ResNet-101, 2048 features."""
    return ResNet(Bottleneck, (3, 4, 23, 3))
