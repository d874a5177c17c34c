"""Contextual transformer block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.attention.shared import ConvBlock
from tdcnet.layers.checks import check_divides, check_odd


class ContextualTransformer(nn.Module):
    """Static context from a k x k convolution plus dynamic context it and x weigh: [B, C, H, W] -> the same shape.

    Source: Li et al. 2021, "Contextual Transformer Networks for Visual Recognition" (arXiv 2107.12292).

    Args:
        kernel_size: odd, k.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        check_divides(channels, 4, "channels into groups")
        check_odd(kernel_size=kernel_size)
        self.key = ConvBlock(channels, channels, kernel_size, groups=4, act=nn.ReLU)
        self.value = ConvBlock(channels, channels)
        self.squeeze = ConvBlock(2 * channels, channels // 2, act=nn.ReLU)
        self.scores = nn.Conv2d(channels // 2, channels * kernel_size**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        static = self.key(x)
        hidden = self.squeeze(torch.cat([static, x], dim=1))
        # C k^2 scores averaged over k^2 are C scores by the averaged weights, at 1 / k^2 of the work.
        weight, bias = (p.unflatten(0, (x.shape[1], -1)).mean(1) for p in self.scores.parameters())
        scores = F.conv2d(hidden, weight, bias)
        y: Tensor = static + scores.flatten(2).softmax(2).unflatten(2, x.shape[2:]) * self.value(x)
        return y
