"""Bottleneck attention module."""

from __future__ import annotations

from torch import Tensor, nn

from tdcnet.layers.attention.shared import ConvBlock, pooled_mean, reduced
from tdcnet.layers.checks import check_positive


class BAM(nn.Module):
    """x (1 + sigmoid(channel + spatial)): [B, C, H, W] -> the same shape.

    In training with a batch of one, the channel branch normalises with the running statistics: its pooled map is a
    single value per channel.

    Source: Park et al., BMVC 2018, "BAM: Bottleneck Attention Module".

    Args:
        reduction: both branches work on ``channels // reduction`` channels.
        dilation: of the three 3x3 convolutions of the spatial branch.
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        check_positive(dilation=dilation)
        hidden = reduced(channels, reduction)
        self.channel = nn.Sequential(
            ConvBlock(channels, hidden, act=nn.ReLU),
            *(ConvBlock(hidden, hidden, act=nn.ReLU) for _ in range(2)),
            nn.Conv2d(hidden, channels, 1),
        )
        self.spatial = nn.Sequential(
            ConvBlock(channels, hidden, act=nn.ReLU),
            *(ConvBlock(hidden, hidden, 3, dilation=dilation, act=nn.ReLU) for _ in range(3)),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = (self.channel(pooled_mean(x)) + self.spatial(x)).sigmoid()
        return x * (1 + weights)
