"""What TDC is compared with: differences of neighbouring frames without a kernel over time, alone and beside one.

Source: the ablation of TDCNet (arXiv 2511.09352), rows TD and TD + 3D.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import ConvNormAct, Size3
from tdcnet.layers.stacked_branches import StackedBranches
from tdcnet.layers.temporal_conv import triple
from tdcnet.layers.temporal_difference import KERNEL


def over_frames(weight: Tensor) -> Tensor:
    """Kernels [O, I, 3, 3] on ``F_t - F_(t-1)`` as kernels over frames, [O, I, 5, 3, 3]; zeros before the first."""
    return F.pad(torch.stack((-weight, weight), dim=2), (0, 0, 0, 0, 1, 2))


class PlainDifferenceConv3d(nn.Module):
    """``ReLU(BN(W * (F_t - F_(t-1))))`` with a 3x3 kernel W, the same for all frames; zeros lie before the first.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int | Size3 = 1, groups: int = 1) -> None:
        super().__init__()
        self.step, *in_space = triple(stride)
        self.conv = ConvNormAct(in_channels, out_channels, 3, tuple(in_space), groups)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        before = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1]
        change = (x - before)[:, :, :: self.step].transpose(1, 2)  # [B, T', C, H, W]
        y = F.relu(self.conv(change.flatten(0, 1)))
        return y.unflatten(0, (-1, change.shape[1])).transpose(1, 2)


class DifferencePlusConv3d(StackedBranches):
    """``ReLU(BN(W * (F_t - F_(t-1))) + BN(conv3d))``: as :class:`PlainDifferenceConv3d`, beside a 5x3x3 convolution.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``; :class:`StackedBranches` says how it runs.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int | Size3 = 1, groups: int = 1) -> None:
        super().__init__(out_channels, 2, stride, groups)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *KERNEL))
        self.difference = nn.Parameter(torch.empty(out_channels, in_channels // groups, *KERNEL[1:]))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        nn.init.kaiming_uniform_(self.difference, a=5**0.5)
        self.register_parameter("bias", None)

    def kernels(self) -> Tensor:
        """Of difference and convolution, [O, 2, C / groups, 5, 3, 3]."""
        return torch.stack((over_frames(self.difference), self.weight), dim=1)

    def name(self) -> str:
        """Its branches."""
        return "difference+conv3d"
