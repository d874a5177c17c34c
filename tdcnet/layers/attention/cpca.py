"""Channel prior convolutional attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.attention.shared import SqueezeMLP, depthwise, pooled_max, pooled_mean


class CPCA(nn.Module):
    """Weights of channels, then of positions from strips of 7, 11 and 21: [B, C, H, W] -> the same shape.

    Source: Huang et al. 2024, "Channel prior convolutional attention for medical image segmentation".

    Args:
        reduction: the MLP of the channel weights has ``channels // reduction`` channels between.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, channels, 1)
        self.mlp = SqueezeMLP(channels, reduction, bias=True)
        self.square = depthwise(channels, 5)
        self.strips = nn.ModuleList(
            nn.Sequential(depthwise(channels, (1, size)), depthwise(channels, (size, 1))) for size in (7, 11, 21)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.proj(x))
        y = y * (self.mlp(pooled_mean(y)).sigmoid() + self.mlp(pooled_max(y)).sigmoid())
        near = self.square(y)
        far = near
        for strip in self.strips:
            far = far + strip(near)
        y = self.proj(self.proj(far) * y)  # released weights depend on this: one 1x1 convolution in three places
        return y
