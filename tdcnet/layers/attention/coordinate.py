"""Coordinate attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdcnet.layers.attention.shared import ConvBlock
from tdcnet.layers.checks import check_positive


class CoordinateAttention(nn.Module):
    """A weight per channel and row times one per channel and column: [B, C, H, W] -> the same shape.

    Source: Hou et al., CVPR 2021, "Coordinate Attention for Efficient Mobile Network Design".

    Args:
        reduction: ``channels // reduction`` channels between, but at least 8.
    """

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        hidden = max(8, channels // reduction)
        self.squeeze = ConvBlock(channels, hidden, act=nn.Hardswish)
        self.rows = nn.Conv2d(hidden, channels, 1)
        self.columns = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).mT], dim=2)  # [B, C, H + W, 1]
        rows, columns = self.squeeze(means).split(list(x.shape[2:]), dim=2)
        y: Tensor = x * self.rows(rows).sigmoid() * self.columns(columns.mT).sigmoid()
        return y
