"""The efficient attention of CloFormer.

Source: Fan et al. 2023, "Rethinking Local Perception in Lightweight Vision Transformer" (arXiv 2303.17803).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.attention.shared import depthwise, join_heads, split_heads
from tdcnet.layers.checks import check_divides, check_odd, check_positive


class CloAttention(nn.Module):
    """Heads in groups, some local and one global: [B, C, H, W] -> the same shape.

    Args:
        group_split: heads of each group, ``num_heads`` together; the last group is the global one.
        kernel_sizes: odd kernel size of each local group.
        window_size: side in pixels of what is averaged into one global key; where it does not divide the map, the
            windows on the right and below are smaller, and their mean is over what they hold.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        group_split: Sequence[int] = (4, 4),
        kernel_sizes: Sequence[int] = (5,),
        window_size: int = 4,
    ) -> None:
        super().__init__()
        check_divides(channels, num_heads, "channels into heads")
        check_positive(**{f"group_split[{i}]": heads for i, heads in enumerate(group_split)}, window_size=window_size)
        check_odd(**{f"kernel_sizes[{i}]": size for i, size in enumerate(kernel_sizes)})
        if sum(group_split) != num_heads:
            raise ValueError(
                f"group_split must sum to num_heads={num_heads}, got {list(group_split)}; "
                f"for example [{num_heads // 2}, {num_heads - num_heads // 2}]"
            )
        if len(kernel_sizes) != len(group_split) - 1:
            raise ValueError(
                f"kernel_sizes must have one entry for each of the {len(group_split) - 1} local groups, "
                f"got {list(kernel_sizes)}; the last of group_split is the global group and has none"
            )
        head_dim = channels // num_heads
        *local, whole = group_split
        self.groups = nn.ModuleList(
            LocalGroup(channels, heads, head_dim, size) for heads, size in zip(local, kernel_sizes, strict=True)
        )
        self.groups.append(GlobalGroup(channels, whole, head_dim, window_size))
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(torch.cat([group(x) for group in self.groups], dim=1))
        return y


class LocalGroup(nn.Module):
    """Gates v by what q and k have in common nearby: [B, C, H, W] -> [B, heads * head_dim, H, W]."""

    def __init__(self, channels: int, heads: int, head_dim: int, kernel_size: int) -> None:
        super().__init__()
        width = heads * head_dim
        self.scale = head_dim**-0.5
        self.qkv = nn.Sequential(nn.Conv2d(channels, 3 * width, 1), depthwise(3 * width, kernel_size))
        self.mlp = nn.Sequential(nn.Conv2d(width, width, 1), nn.SiLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        y: Tensor = torch.tanh(self.scale * self.mlp(q * k)) * v
        return y


class GlobalGroup(nn.Module):
    """Attention to average-pooled keys and values: [B, C, H, W] -> [B, heads * head_dim, H, W]."""

    def __init__(self, channels: int, heads: int, head_dim: int, window_size: int) -> None:
        super().__init__()
        width = heads * head_dim
        self.heads = heads
        self.pool = nn.AvgPool2d(window_size, ceil_mode=True)
        self.q = nn.Conv2d(channels, width, 1)
        self.kv = nn.Conv2d(channels, 2 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(y, self.heads) for y in (self.q(x), *self.kv(self.pool(x)).chunk(2, dim=1)))
        return join_heads(F.scaled_dot_product_attention(q, k, v), x.shape[2])
