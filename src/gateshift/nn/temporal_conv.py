"""Hard-wired temporal filters: the baselines that gates are compared with.

InflatedConv makes a k x k convolution 3 x k x k (C3D); TemporalConv is a 3 x 1 x 1 convolution to put after
it (S3D, R(2+1)D). Both start as the 2D network: their taps for the frames before and after are empty.

Shapes: B clips, T frames per clip, N = B*T frames, C channels, H x W pixels.
"""

import torch
from torch import Tensor, nn

from gateshift.nn.functional import laid_out_as, to_clips, to_frames


class InflatedConv(nn.Module):
    """A k x k convolution made 3 x k x k. Maps frames (B*T, C, H, W) to frames, as ``conv`` does.

    Args:
        conv: the convolution to inflate; its kernel becomes the tap of the present frame.
        num_segments: frames per clip, T.
    """

    def __init__(self, conv: nn.Conv2d, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.conv = nn.Conv3d(
            conv.in_channels,
            conv.out_channels,
            kernel_size=(3, conv.kernel_size[0], conv.kernel_size[1]),
            stride=(1, conv.stride[0], conv.stride[1]),
            padding=(1, int(conv.padding[0]), int(conv.padding[1])),
            dilation=(1, conv.dilation[0], conv.dilation[1]),
            groups=conv.groups,
            bias=conv.bias is not None,
        ).to(conv.weight)
        with torch.no_grad():
            self.conv.weight.zero_()[:, :, 1] = conv.weight
            if conv.bias is not None and self.conv.bias is not None:
                self.conv.bias.copy_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, C', H', W')."""
        return laid_out_as(to_frames(self.conv(to_clips(x, self.num_segments))), x)


class TemporalConv(nn.Module):
    """A 3 x 1 x 1 convolution that starts as the identity. Maps frames (B*T, C, H, W) to the same shape.

    Args:
        channels: feature channels.
        num_segments: frames per clip, T.
        groups: as many groups as the spatial convolution before it has.
    """

    def __init__(self, channels: int, num_segments: int, *, groups: int = 1) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=groups, bias=False)
        nn.init.dirac_(self.conv.weight, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, C, H, W)."""
        return laid_out_as(to_frames(self.conv(to_clips(x, self.num_segments))), x)
