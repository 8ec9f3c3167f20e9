"""BN-Inception, the 2D network behind the GSM and TSN results, without its classifier.

Ioffe and Szegedy, Batch Normalization, 2015, https://arxiv.org/abs/1502.03167, with the layer names and the
pooling of the Caffe model that Temporal Segment Networks published, so that their ImageNet weights fit.

    frames -> conv 7x7 /2 -> pool /2 -> conv 1x1, 3x3 -> pool /2 -> 3a 3b 3c/2 -> 4a .. 4e/2 -> 5a 5b -> maps

    block:     +--> 1x1 -----------------------------+
            x -+--> 3x3_reduce -> 3x3 ---------------+--> concatenate
               +--> double_3x3_reduce -> _1 -> _2 ---+
               +--> pool -> pool_proj ---------------+

Blocks 3c and 4e halve the map: no 1x1 branch, the last 3x3 of each tower has stride 2, the pooled input is
not projected. Every conv is followed by batch norm and ReLU. Shapes: N frames, C channels, H x W pixels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from gateshift.nn.checkpointing import run_block
from gateshift.nn.pooling import average_pool, max_pool, norm_relu_pool, project_then_average
from gateshift.nn.recompute import concat, norm_relu

# Widths of 1x1, 3x3_reduce, 3x3, double_3x3_reduce, double_3x3_1 and _2, pool_proj.
# 0: the block has no such layer, and halves the map.
BLOCKS = {
    "inception_3a": (64, 64, 64, 64, 96, 32),
    "inception_3b": (64, 64, 96, 64, 96, 64),
    "inception_3c": (0, 128, 160, 64, 96, 0),
    "inception_4a": (224, 64, 96, 96, 128, 128),
    "inception_4b": (192, 96, 128, 96, 128, 128),
    "inception_4c": (160, 128, 160, 128, 160, 128),
    "inception_4d": (96, 128, 192, 160, 192, 128),
    "inception_4e": (0, 128, 192, 192, 256, 0),
    "inception_5a": (352, 192, 320, 160, 224, 128),
    "inception_5b": (352, 192, 320, 192, 224, 128),
}
MAX_POOLED = "inception_5b"  # the one block of stride 1 whose pool takes the maximum, not the average


def bn_inception() -> nn.Module:
    """Build BN-Inception with random weights; its ``forward_features`` gives maps (N, 1024, H/32, W/32)."""
    return BNInception()


class BNInception(nn.Module):
    """BN-Inception. All layers lie directly in this module, under the names of the published weights."""

    project_first = False
    """Whether averages are taken behind the 1x1 conv that projects them; see ``project_then_average``."""

    def __init__(self) -> None:
        super().__init__()
        self.add_unit("conv1_7x7_s2", 3, 64, kernel=7, stride=2)
        self.add_unit("conv2_3x3_reduce", 64, 64)
        self.add_unit("conv2_3x3", 64, 192, kernel=3)
        channels = 192
        for block in BLOCKS:
            channels = self.add_block(block, channels)

    def add_unit(self, name: str, channels: int, width: int, kernel: int = 1, stride: int = 1) -> None:
        """Register a conv under ``name`` and its batch norm under ``name_bn``."""
        conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2)
        self.add_module(name, conv)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(width))

    def add_block(self, block: str, channels: int) -> int:
        """Register the layers of an Inception block; return the channels it puts out."""
        one, reduce, three, reduce_double, double, pooled = BLOCKS[block]
        stride = 1 if one else 2
        if one:
            self.add_unit(f"{block}_1x1", channels, one)
        self.add_unit(f"{block}_3x3_reduce", channels, reduce)
        self.add_unit(f"{block}_3x3", reduce, three, kernel=3, stride=stride)
        self.add_unit(f"{block}_double_3x3_reduce", channels, reduce_double)
        self.add_unit(f"{block}_double_3x3_1", reduce_double, double, kernel=3)
        self.add_unit(f"{block}_double_3x3_2", double, double, kernel=3, stride=stride)
        if pooled:
            self.add_unit(f"{block}_pool_proj", channels, pooled)
        return one + three + double + (pooled or channels)

    def unit(self, x: Tensor, *names: str) -> Tensor:
        """Chain conv, batch norm and ReLU of each of ``names``."""
        for name in names:
            x = norm_relu(self.get_submodule(f"{name}_bn"), self.get_submodule(name)(x))
        return x

    def pooled_unit(self, x: Tensor, name: str) -> Tensor:
        """Run conv, batch norm, ReLU and a max-pool that halves the map."""
        return norm_relu_pool(self.get_submodule(f"{name}_bn"), self.get_submodule(name)(x), ceil_mode=True)

    def block(self, x: Tensor, block: str) -> Tensor:
        """Run one Inception block."""
        halving = BLOCKS[block][0] == 0
        branches = [] if halving else [self.unit(x, f"{block}_1x1")]
        branches.append(self.unit(x, f"{block}_3x3_reduce", f"{block}_3x3"))
        double = f"{block}_double_3x3"
        branches.append(self.unit(x, f"{double}_reduce", f"{double}_1", f"{double}_2"))
        if halving:
            branches.append(halve(x))
        elif block == MAX_POOLED:
            branches.append(self.unit(max_pool(x, stride=1, padding=1), f"{block}_pool_proj"))
        else:
            branches.append(self.project_average(x, f"{block}_pool_proj"))
        return concat(branches)

    def project_average(self, x: Tensor, name: str) -> Tensor:
        """Run the branch that averages neighbourhoods and projects them."""
        conv = self.get_submodule(name)
        if not (self.project_first and type(conv) is nn.Conv2d):
            return self.unit(average_pool(x), name)
        return norm_relu(self.get_submodule(f"{name}_bn"), project_then_average(x, conv))

    def forward_features(self, frames: Tensor) -> Tensor:
        """Map frames (N, 3, H, W) to maps (N, 1024, H/32, W/32)."""
        x = self.pooled_unit(frames, "conv1_7x7_s2")  # (N, 64, H/4, W/4)
        x = self.pooled_unit(self.unit(x, "conv2_3x3_reduce"), "conv2_3x3")  # (N, 192, H/8, W/8)
        for block in BLOCKS:
            x = run_block(self, self.block, x, block)
        return x


def halve(x: Tensor) -> Tensor:
    """Max-pool 3x3 with stride 2 to ceil(H/2) x ceil(W/2), the size that a padded conv of stride 2 gives.

    The published network pools with ceil mode: the same on maps of even size, one short on odd ones. As ``x``
    comes out of ReLU, the zeros that fill the last windows change no maximum.
    """
    return max_pool(F.pad(x, (0, 2, 0, 2)), stride=2)
