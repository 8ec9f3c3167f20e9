"""Inception-V3 as converted for Temporal Segment Networks, the larger network of the GSM and GSF results.

Szegedy et al., Rethinking the Inception Architecture, 2016, https://arxiv.org/abs/1512.00567, with the layer
names and the pooling of CUHK's ImageNet weights, without the classifier. GSM feeds it 229 x 229 pixels.

    frames -> conv .. conv_4 -> mixed .. mixed_2 -> mixed_3 /2 -> mixed_4 .. _7 -> mixed_8 /2 -> mixed_9, _10

A block is a dictionary: branch prefix -> what the branch does, in order. ``conv``, ``conv_1``, ... count the
convs of one branch; each is followed by batch norm and ReLU. Shapes: N frames, C channels, H x W pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from gateshift.nn.checkpointing import run_block
from gateshift.nn.pooling import average_pool, max_pool, norm_relu_pool, project_then_average
from gateshift.nn.recompute import concat, norm_relu


class Conv(NamedTuple):
    """A conv of a branch; with stride 1 it keeps the size of the map, with stride 2 it has no padding."""

    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


class Fork(NamedTuple):
    """A 3x1 and a 1x3 conv side by side, at the end of a branch."""

    width: int


Pool = Callable[[Tensor], Tensor]
Block = dict[str, tuple[Conv | Fork | Pool, ...]]


def average(x: Tensor) -> Tensor:
    """Average 3x3 neighbourhoods; the zeros outside the map count, as published."""
    return average_pool(x)


def maximum(x: Tensor) -> Tensor:
    """Take the maximum of 3x3 neighbourhoods."""
    return max_pool(x, stride=1, padding=1)


def halve(x: Tensor) -> Tensor:
    """Max-pool to the size that the unpadded convs of stride 2 give.

    The published network rounds up instead: the same on maps of odd size, and an error on even ones.
    """
    return max_pool(x, stride=2)


def fine(pooled: int) -> Block:
    """Return a block of the H/8 maps."""
    return {
        "": (Conv(64),),
        "tower_": (Conv(48), Conv(64, (5, 5))),
        "tower_1_": (Conv(64), Conv(96, (3, 3)), Conv(96, (3, 3))),
        "tower_2_": (average, Conv(pooled)),
    }


def middle(inner: int) -> Block:
    """Return a block of the H/16 maps, whose 7x7 convs are split into columns (7x1) and rows (1x7)."""
    column, row = Conv(inner, (7, 1)), Conv(inner, (1, 7))
    return {
        "": (Conv(192),),
        "tower_": (Conv(inner), column, Conv(192, (1, 7))),
        "tower_1_": (Conv(inner), row, column, row, Conv(192, (7, 1))),
        "tower_2_": (average, Conv(192)),
    }


def coarse(pool: Pool) -> Block:
    """Return a block of the H/32 maps."""
    return {
        "": (Conv(320),),
        "tower_": (Conv(384), Fork(384)),
        "tower_1_": (Conv(448), Conv(384, (3, 3)), Fork(384)),
        "tower_2_": (pool, Conv(192)),
    }


BLOCKS: dict[str, Block] = {
    "mixed_": fine(32),
    "mixed_1_": fine(64),
    "mixed_2_": fine(64),
    "mixed_3_": {
        "": (Conv(384, (3, 3), stride=2),),
        "tower_": (Conv(64), Conv(96, (3, 3)), Conv(96, (3, 3), stride=2)),
        "pool": (halve,),
    },
    "mixed_4_": middle(128),
    "mixed_5_": middle(160),
    "mixed_6_": middle(160),
    "mixed_7_": middle(192),
    "mixed_8_": {
        "tower_": (Conv(192), Conv(320, (3, 3), stride=2)),
        "tower_1_": (Conv(192), Conv(192, (7, 1)), Conv(192, (1, 7)), Conv(192, (3, 3), stride=2)),
        "pool": (halve,),
    },
    "mixed_9_": coarse(average),
    "mixed_10_": coarse(maximum),
}


def inception_v3() -> nn.Module:
    """Build Inception-V3 with random weights; its ``forward_features`` gives maps (N, 2048, h, w)."""
    return InceptionV3()


class InceptionV3(nn.Module):
    """Inception-V3. All layers lie directly in this module, under the names of the published weights."""

    project_first = False
    """Whether averages are taken behind the 1x1 conv that projects them; see ``project_then_average``."""

    def __init__(self) -> None:
        super().__init__()
        self.add_unit("conv", 3, Conv(32, (3, 3), stride=2))
        self.add_unit("conv_1", 32, Conv(32, (3, 3)), padded=False)
        self.add_unit("conv_2", 32, Conv(64, (3, 3)))
        self.add_unit("conv_3", 64, Conv(80))
        self.add_unit("conv_4", 80, Conv(192, (3, 3)), padded=False)
        channels = 192
        for name, block in BLOCKS.items():
            channels = sum(self.add_branch(name + prefix, channels, block[prefix]) for prefix in block)

    def add_unit(self, name: str, channels: int, conv: Conv, padded: bool = True) -> None:
        """Register a conv as ``name_Conv2D`` and its batch norm as ``name_batchnorm``."""
        height, width = conv.kernel
        padding = (height // 2, width // 2) if padded and conv.stride == 1 else (0, 0)
        layer = nn.Conv2d(channels, conv.width, conv.kernel, stride=conv.stride, padding=padding)
        self.add_module(f"{name}_Conv2D", layer)
        self.add_module(f"{name}_batchnorm", nn.BatchNorm2d(conv.width))

    def add_branch(self, prefix: str, channels: int, steps: tuple[Conv | Fork | Pool, ...]) -> int:
        """Register the convs of a branch; return the channels it puts out."""
        convs = 0
        for step in steps:
            if isinstance(step, Fork):
                self.add_unit(f"{prefix}mixed_conv", channels, Conv(step.width, (3, 1)))
                self.add_unit(f"{prefix}mixed_conv_1", channels, Conv(step.width, (1, 3)))
                channels = 2 * step.width
            elif isinstance(step, Conv):
                self.add_unit(prefix + numbered("conv", convs), channels, step)
                channels, convs = step.width, convs + 1
        return channels

    def unit(self, x: Tensor, name: str) -> Tensor:
        """Run a conv, its batch norm and ReLU."""
        return norm_relu(self.get_submodule(f"{name}_batchnorm"), self.get_submodule(f"{name}_Conv2D")(x))

    def pooled_unit(self, x: Tensor, name: str) -> Tensor:
        """Run conv, batch norm, ReLU and a max-pool that halves the map."""
        x = self.get_submodule(f"{name}_Conv2D")(x)
        return norm_relu_pool(self.get_submodule(f"{name}_batchnorm"), x, ceil_mode=True)

    def branch(self, x: Tensor, prefix: str, steps: tuple[Conv | Fork | Pool, ...]) -> list[Tensor]:
        """Run one branch of a block; return the maps it ends in."""
        if self.project_first and steps[0] is average:
            conv = self.get_submodule(f"{prefix}conv_Conv2D")
            if type(conv) is nn.Conv2d:
                y = project_then_average(x, conv)
                return [norm_relu(self.get_submodule(f"{prefix}conv_batchnorm"), y)]
        convs = 0
        for step in steps:
            if isinstance(step, Fork):
                return [self.unit(x, f"{prefix}mixed_conv"), self.unit(x, f"{prefix}mixed_conv_1")]
            if isinstance(step, Conv):
                x = self.unit(x, prefix + numbered("conv", convs))
                convs += 1
            else:
                x = step(x)
        return [x]

    def block(self, x: Tensor, name: str) -> Tensor:
        """Run one block."""
        branches = [self.branch(x, name + prefix, steps) for prefix, steps in BLOCKS[name].items()]
        return concat([y for branch in branches for y in branch])

    def forward_features(self, frames: Tensor) -> Tensor:
        """Map frames (N, 3, H, W) to maps (N, 2048, h, w); 229 x 229 pixels give 6 x 6."""
        x = self.unit(self.unit(frames, "conv"), "conv_1")  # (N, 32, H/2, W/2)
        x = self.unit(self.pooled_unit(x, "conv_2"), "conv_3")  # (N, 80, H/4, W/4)
        x = self.pooled_unit(x, "conv_4")  # (N, 192, H/8, W/8)
        for name in BLOCKS:
            x = run_block(self, self.block, x, name)
        return x


def numbered(name: str, index: int) -> str:
    """Count as the published names do: ``conv``, ``conv_1``, ``conv_2``."""
    return f"{name}_{index}" if index else name
