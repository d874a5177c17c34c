"""Criss-cross attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tdcnet.layers.attention.shared import reduced


class CrissCrossAttention(nn.Module):
    """Each position attends to its column and its row, itself counted once: [B, C, H, W] -> the same shape.

    What is attended to is added to x times ``gamma``, which starts at 0: untrained, the layer hands x through.
    Memory grows with H W (H + W).

    Source: Huang et al., ICCV 2019, "CCNet: Criss-Cross Attention for Semantic Segmentation".

    Args:
        reduction: queries and keys have ``channels // reduction`` channels.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = reduced(channels, reduction)
        self.query = nn.Conv2d(channels, hidden, 1)
        self.key = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        height, width = x.shape[2:]
        column = torch.einsum("bchw,bcgw->bhwg", q, k)  # [B, H, W, H]
        row = torch.einsum("bchw,bchv->bhwv", q, k)  # [B, H, W, W]
        itself = torch.eye(height, dtype=torch.bool, device=x.device)[:, None]
        weights = torch.cat([column.masked_fill(itself, -math.inf), row], dim=-1).softmax(-1)
        column, row = weights.split([height, width], dim=-1)
        y = torch.einsum("bhwg,bcgw->bchw", column, v) + torch.einsum("bhwv,bchv->bchw", row, v)
        return x + self.gamma * y
