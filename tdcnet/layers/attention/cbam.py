"""Convolutional block attention module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdcnet.layers.attention.shared import SqueezeMLP, pooled_max, pooled_mean
from tdcnet.layers.checks import check_odd


class CBAM(nn.Module):
    """A weight per channel, then one per position: [B, C, H, W] -> the same shape.

    Source: Woo et al., ECCV 2018, "CBAM: Convolutional Block Attention Module".

    Args:
        reduction: the MLP of the channel weights has ``channels // reduction`` channels between.
        kernel_size: odd, of the convolution that makes the weights of positions.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        check_odd(kernel_size=kernel_size)
        self.mlp = SqueezeMLP(channels, reduction)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        x = x * (self.mlp(pooled_max(x)) + self.mlp(pooled_mean(x))).sigmoid()
        weights: Tensor = self.conv(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)).sigmoid()
        return x * weights
