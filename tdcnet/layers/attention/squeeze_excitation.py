"""Squeeze and excitation."""

from __future__ import annotations

from torch import Tensor, nn

from tdcnet.layers.attention.shared import SqueezeMLP, pooled_mean


class SqueezeExcitation(nn.Module):
    """A weight per channel from the mean of the map: [B, C, H, W] -> the same shape.

    Source: Hu et al., CVPR 2018, "Squeeze-and-Excitation Networks".

    Args:
        reduction: the MLP between has ``channels // reduction`` channels.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.mlp = SqueezeMLP(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.mlp(pooled_mean(x)).sigmoid()
        return x * weights
