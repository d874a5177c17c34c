"""Context anchor attention."""

from __future__ import annotations

from torch import Tensor, nn

from tdcnet.layers.attention.shared import ConvBlock, depthwise
from tdcnet.layers.checks import check_odd


class ContextAnchorAttention(nn.Module):
    """Weights from long strips around each position: [B, C, H, W] -> the same shape.

    Source: Cai et al., CVPR 2024, "Poly Kernel Inception Network for Remote Sensing Detection".

    Args:
        kernel_h, kernel_v: odd lengths of the horizontal and the vertical strip.
    """

    def __init__(self, channels: int, kernel_h: int = 11, kernel_v: int = 11) -> None:
        super().__init__()
        check_odd(kernel_h=kernel_h, kernel_v=kernel_v)
        self.weights = nn.Sequential(
            nn.AvgPool2d(7, stride=1, padding=3),
            ConvBlock(channels, channels, act=nn.SiLU),
            depthwise(channels, (1, kernel_h)),
            depthwise(channels, (kernel_v, 1)),
            ConvBlock(channels, channels, act=nn.SiLU),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.weights(x)
        return x * weights


CAA = ContextAnchorAttention
