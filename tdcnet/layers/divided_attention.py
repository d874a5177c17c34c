"""Divided space-time attention, also across two clips whose frames differ in size.

Source: Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?", ICML 2021 (arXiv 2102.05095).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.checks import check_divides
from tdcnet.layers.window_attention import mlp


class Attention(nn.Module):
    """Multi-head attention of tokens [..., N, C] to themselves and to others [..., M, C] -> [..., N, C]."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, others: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if others is not None:
            dim = x.shape[-1]
            k2, v2 = F.linear(others, self.qkv.weight[dim:], self.qkv.bias[dim:]).chunk(2, dim=-1)
            k, v = torch.cat((k, k2), dim=-2), torch.cat((v, v2), dim=-2)
        q, k, v = (t.flatten(0, -3).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        z: Tensor = self.proj(y).view(x.shape)
        return z


class DividedSpaceTimeAttention(nn.Module):
    """Attention over time, then over space, then an MLP, each with its norm before it and a residual around it.

    Two clips [B, T1, C, H1, W1] and [B, T2, C, H2, W2] -> two of the same shapes. Each position attends over time to
    all frames of both clips at the same relative position, for which the other clip is resampled bilinearly to its
    own grid; over space it attends within its frame. Clips of one size give what TimeSformer's block gives for the
    joined clip (less its second linear layer behind the attention over time, which one layer can stand for). There are
    no position embeddings inside: frames may come in any order.

    Args:
        mlp_ratio: hidden channels of the MLP in units of ``channels``.

    Raises:
        ValueError: if ``num_heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, num_heads: int = 4, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        check_divides(channels, num_heads, "channels into heads")
        self.norm_time, self.norm_space, self.norm = (nn.LayerNorm(channels) for _ in range(3))
        self.time = Attention(channels, num_heads)
        self.space = Attention(channels, num_heads)
        self.mlp = mlp(channels, mlp_ratio)

    def forward(self, search: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
        return self.update(search, template), self.update(template, search)

    def update(self, clip: Tensor, other: Tensor) -> Tensor:
        """The first of two clips alone, for those who need no more."""
        if clip.shape[0] != other.shape[0] or clip.shape[2] != other.shape[2]:
            raise ValueError(
                f"two clips [B, T, C, H, W] of one batch size and as many channels are needed, got "
                f"{tuple(clip.shape)} and {tuple(other.shape)}"
            )
        h, w = clip.shape[-2:]
        x = clip.permute(0, 3, 4, 1, 2)  # [B, H, W, T, C]
        others = self.norm_time(other.movedim(2, -1)).movedim(-1, 2)
        if others.shape[-2:] != (h, w):
            others = F.interpolate(others.flatten(0, 1), (h, w), mode="bilinear").unflatten(0, other.shape[:2])
        x = x + self.time(self.norm_time(x), others.permute(0, 3, 4, 1, 2))
        x = x.permute(0, 3, 1, 2, 4).flatten(2, 3)  # [B, T, H * W, C]
        x = x + self.space(self.norm_space(x))
        x = x + self.mlp(self.norm(x))
        return x.transpose(2, 3).unflatten(3, (h, w))
