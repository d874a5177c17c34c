"""The neck: three scales in, one map at stride 8 out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.models.csp_darknet import conv_silu


class TopDownNeck(nn.Module):
    """Coarse maps are enlarged (nearest, twice), joined in front of the finer one and reduced by a 1x1.

    ``[B, C1, H/8, W/8], [B, C2, H/16, W/16], [B, C3, H/32, W/32] -> [B, C1, H/8, W/8]``.
    """

    def __init__(self, in_channels: Sequence[int] = (128, 256, 512)) -> None:
        super().__init__()
        c1, c2, c3 = in_channels
        self.in_channels = tuple(in_channels)
        self.out_channels = c1
        self.reduce2 = conv_silu(c3 + c2, c2, 1)
        self.reduce1 = conv_silu(c2 + c1, c1, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        out1, out2, out3 = features
        x = self.reduce2(torch.cat((F.interpolate(out3, scale_factor=2, mode="nearest"), out2), dim=1))
        y: Tensor = self.reduce1(torch.cat((F.interpolate(x, scale_factor=2, mode="nearest"), out1), dim=1))
        return y
