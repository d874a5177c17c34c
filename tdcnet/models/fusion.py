"""Other ways to join the three backbones' features than TDCSTA: what its gain is measured against.

Each takes three lists of features, [B, C_i, T_i, H_i, W_i] of the TDC and 3D backbones and [B, C_i, H_i, W_i] of the 2D
one, and gives one list of [B, C_i, H_i, W_i].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tdcnet.layers.conv import ConvNormAct
from tdcnet.layers.divided_attention import DividedSpaceTimeAttention


class Fusion(nn.Module):
    """Joins scale by scale: ``self.scales[i](tdc, temporal, spatial)``."""

    scales: nn.ModuleList

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.in_channels = self.out_channels = tuple(channels)

    def forward(self, tdc: list[Tensor], temporal: list[Tensor], spatial: list[Tensor]) -> list[Tensor]:
        return [scale(*x) for scale, *x in zip(self.scales, tdc, temporal, spatial, strict=True)]


class SumFusion(Fusion):
    """The sum of the three, motion features as their mean over time. Has no parameters."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(channels)
        self.scales = nn.ModuleList(_Sum() for _ in channels)


class ConcatFusion(Fusion):
    """The three side by side, motion features as their mean over time, reduced by a 1x1 convolution, norm and SiLU."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(channels)
        self.scales = nn.ModuleList(_Concat(c) for c in channels)


class DividedSpaceTimeFusion(Fusion):
    """The 2D feature attends over time to the frames of both motion features, then over space, then an MLP.

    It is the search clip of :class:`~tdcnet.layers.DividedSpaceTimeAttention`, they are its template. Attention over
    space sees the whole map: its cost grows with the square of its positions, 6400 at the finest scale of 640x640.

    Args:
        num_heads: of each scale; must divide its channels.
    """

    def __init__(self, channels: Sequence[int], num_heads: Sequence[int] = (4, 4, 4), mlp_ratio: float = 2.0) -> None:
        super().__init__(channels)
        self.scales = nn.ModuleList(_Divided(c, heads, mlp_ratio) for c, heads in zip(channels, num_heads, strict=True))


class _Sum(nn.Module):
    def forward(self, tdc: Tensor, temporal: Tensor, spatial: Tensor) -> Tensor:
        return tdc.mean(2) + temporal.mean(2) + spatial


class _Concat(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(3 * channels, channels, act=nn.SiLU)

    def forward(self, tdc: Tensor, temporal: Tensor, spatial: Tensor) -> Tensor:
        y: Tensor = self.reduce(torch.cat((tdc.mean(2), temporal.mean(2), spatial), dim=1))
        return y


class _Divided(nn.Module):
    def __init__(self, channels: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attention = DividedSpaceTimeAttention(channels, num_heads, mlp_ratio)

    def forward(self, tdc: Tensor, temporal: Tensor, spatial: Tensor) -> Tensor:
        template = torch.cat((tdc, temporal), dim=2).transpose(1, 2)  # [B, T, C, H, W]
        y: Tensor = self.attention.update(spatial[:, None], template)
        return y[:, 0]
