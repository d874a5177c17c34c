"""The neck: three scales in, one map at the finest's stride out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.models.csp_darknet import conv_silu


class TopDownNeck(nn.Module):
    """Coarse maps are enlarged (nearest, twice), joined in front of the finer one and reduced by a 1x1.

    ``[B, C1, H/8, W/8], [B, C2, H/16, W/16], [B, C3, H/32, W/32] -> [B, C1, H/8, W/8]``; with a map at stride 4 before
    these the output is at stride 4.

    Args:
        in_channels: of the maps, three or four, the finest first.

    Raises:
        ValueError: if there are more or fewer.
    """

    def __init__(self, in_channels: Sequence[int] = (128, 256, 512)) -> None:
        super().__init__()
        if len(in_channels) not in (3, 4):
            raise ValueError(f"in_channels is {tuple(in_channels)}; expected those of three maps or four")
        self.in_channels = tuple(in_channels)
        self.out_channels = in_channels[0]
        *finer, c2, c3 = in_channels
        self.reduce2 = conv_silu(c3 + c2, c2, 1)
        self.reduce1 = conv_silu(c2 + finer[-1], finer[-1], 1)
        self.reduce0 = conv_silu(finer[-1] + finer[0], finer[0], 1) if len(finer) == 2 else None

    def forward(self, features: list[Tensor]) -> Tensor:
        *finer, out2, out3 = features
        x = self.reduce2(_joined(out3, out2))
        x = self.reduce1(_joined(x, finer[-1]))
        if self.reduce0 is not None:
            x = self.reduce0(_joined(x, finer[0]))
        y: Tensor = x
        return y


def _joined(coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.cat((F.interpolate(coarse, scale_factor=2, mode="nearest"), fine), dim=1)
