"""Deformable attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.attention.shared import ChannelLayerNorm, Size2, depthwise, join_heads, split_heads
from tdcnet.layers.checks import check_divides, check_option, check_positive

POSITIONS = ("depthwise", "fixed", "table", "log_mlp", None)


class DeformableAttention(nn.Module):
    """Each position attends to points the map itself chooses, shared by all: [B, C, H, W] -> the same shape.

    Points are (y, x) in [-1, 1] from the first to the last pixel; a size of 1 counts as 2 in what is divided by
    size - 1. Outside the map there are zeros.

    Source: Xia et al., CVPR 2022, "Vision Transformer with Deformable Attention".

    Args:
        num_groups: groups of channels, each with points of its own; must divide ``num_heads``.
        stride: there is one point for so many pixels along each axis.
        offset_range: the farthest a point moves from its place on a regular grid, in halves of the grid's step.
        kernel_size: of the depthwise convolution that offsets are read from.
        position: the position term. "depthwise" adds a depthwise 3x3 convolution of the queries to the output.
            The others add to the scores: "fixed" a learnt number per head, query and key; "table" one per head and
            displacement, read from a learnt map of displacements; "log_mlp" an MLP of the logarithmic displacement.
            None adds nothing.
        map_size: (H, W) the learnt numbers of "fixed" and "table" are for. Maps of other sizes work as well: "fixed"
            is resized bilinearly over queries and over keys, and "table" is over displacements relative to the size
            of the map and read bilinearly at any.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        num_groups: int = 4,
        stride: int = 1,
        offset_range: float = 4.0,
        kernel_size: int = 3,
        position: str | None = "depthwise",
        map_size: Size2 | None = None,
    ) -> None:
        super().__init__()
        check_divides(channels, num_heads, "channels into heads")
        check_divides(num_heads, num_groups, "heads into groups")
        check_positive(stride=stride, kernel_size=kernel_size)
        check_option("position", position, POSITIONS)
        if offset_range < 0:
            raise ValueError(
                f"offset_range must not be negative, got {offset_range}; 0 keeps the points where they are"
            )
        self.num_heads, self.num_groups, self.offset_range = num_heads, num_groups, offset_range
        width = channels // num_groups
        self.offset = nn.Sequential(
            nn.Conv2d(width, width, kernel_size, stride, kernel_size // 2, groups=width),
            ChannelLayerNorm(width),
            nn.GELU(),
            nn.Conv2d(width, 2, 1, bias=False),
        )
        self.q, self.k, self.v, self.proj = (nn.Conv2d(channels, channels, 1) for _ in range(4))
        self.local = depthwise(channels, 3) if position == "depthwise" else None
        self.bias: FixedBias | TableBias | LogMLPBias | None = None
        if position == "log_mlp":
            self.bias = LogMLPBias(num_heads, num_groups)
        elif position in ("fixed", "table"):
            if map_size is None or len(map_size) != 2 or min(map_size) < 1:
                raise ValueError(f"position={position!r} needs map_size=(H, W) of the map, got {map_size}; give it")
            if position == "table":
                self.bias = TableBias(num_heads, num_groups, map_size)
            else:
                h, w = ((n + 2 * (kernel_size // 2) - kernel_size) // stride + 1 for n in map_size)
                self.bias = FixedBias(num_heads, map_size, (h, w))

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x)
        points = self.points(q)
        sampled = self.sample(x, points)
        queries, keys, values = (split_heads(y, self.num_heads) for y in (q, self.k(sampled), self.v(sampled)))
        bias = None
        if self.bias is not None:
            bias = self.bias(grid(x.shape[2:], 0.0, points), points).to(q.dtype)
        y = join_heads(F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias), x.shape[2])
        if self.local is not None:
            y = y + self.local(q)
        y = self.proj(y)
        return y

    def points(self, q: Tensor) -> Tensor:
        """Where to look: [B, C, H, W] -> [B * groups, h, w, 2], in 32 bits at least."""
        offset = self.offset(q.unflatten(1, (self.num_groups, -1)).flatten(0, 1)).permute(0, 2, 3, 1)
        offset = offset.to(torch.promote_types(offset.dtype, torch.float32))
        h, w = offset.shape[1:3]
        reach = offset.new_tensor([1 / max(n - 1, 1) for n in (h, w)]) * self.offset_range
        return grid((h, w), 0.5, offset) + offset.tanh() * reach

    def sample(self, x: Tensor, points: Tensor) -> Tensor:
        """Each group of channels at its own points: [B, C, H, W] -> [B, C, h, w]."""
        groups = x.unflatten(1, (self.num_groups, -1)).flatten(0, 1).to(points.dtype)
        sampled = F.grid_sample(groups, points.flip(-1), align_corners=True)
        return sampled.unflatten(0, (-1, self.num_groups)).flatten(1, 2).to(x.dtype)


def grid(size: Sequence[int], start: float, like: Tensor) -> Tensor:
    """Pixel positions plus ``start``, scaled so that those of 0 and size - 1 are -1 and 1: [h, w, 2], (y, x)."""
    axes = [(torch.arange(n, dtype=like.dtype, device=like.device) + start) * (2 / max(n - 1, 1)) - 1 for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def displacement(queries: Tensor, points: Tensor) -> Tensor:
    """From each point to each query: [H, W, 2] and [B * groups, h, w, 2] -> [B * groups, H * W, h * w, 2]."""
    return queries.flatten(0, 1)[:, None] - points.flatten(1, 2)[:, None]


class FixedBias(nn.Module):
    """A learnt number per head, query and key; for other sizes resized bilinearly: -> [1, heads, H * W, h * w]."""

    def __init__(self, num_heads: int, map_size: Size2, key_size: Size2) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(num_heads, *map_size, *key_size))
        nn.init.trunc_normal_(self.table, std=0.01)

    def forward(self, queries: Tensor, points: Tensor) -> Tensor:
        table = resize(self.table.flatten(1, 2), points.shape[1:3])  # [heads, H * W, h', w']
        table = table.flatten(2).unflatten(1, self.table.shape[1:3]).movedim(3, 1)
        table = resize(table, queries.shape[:2])  # [heads, h' * w', H', W']
        return table.flatten(2).mT[None]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, [B, C, H, W] -> [B, C, *size]; as it is if it has that size."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear")


class TableBias(nn.Module):
    """A learnt number per head and displacement, read bilinearly: -> [B, heads, H * W, h * w]."""

    def __init__(self, num_heads: int, num_groups: int, map_size: Size2) -> None:
        super().__init__()
        h, w = map_size
        self.table = nn.Parameter(torch.empty(num_groups, num_heads // num_groups, 2 * h - 1, 2 * w - 1))
        nn.init.trunc_normal_(self.table, std=0.01)

    def forward(self, queries: Tensor, points: Tensor) -> Tensor:
        where = displacement(queries, points).flip(-1) / 2
        groups = len(self.table)
        table = self.table.to(where.dtype).repeat(where.shape[0] // groups, 1, 1, 1)
        bias = F.grid_sample(table, where, align_corners=True)  # [B * groups, heads / groups, H * W, h * w]
        return bias.unflatten(0, (-1, groups)).flatten(1, 2)


class LogMLPBias(nn.Module):
    """An MLP, the same for all groups, of the logarithmic displacement: -> [B, heads, H * W, h * w].

    Source: Liu et al., CVPR 2022, "Swin Transformer V2", which has it for windows.
    """

    def __init__(self, num_heads: int, num_groups: int) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.hidden = nn.Linear(2, 32)
        self.out = nn.Linear(32, num_heads // num_groups, bias=False)

    def forward(self, queries: Tensor, points: Tensor) -> Tensor:
        d = 4 * displacement(queries, points)  # in [-8, 8] for points on the map
        d = d.sign() * torch.log2(d.abs() + 1) / 3  # 3 = log2(8)
        bias = self.out(self.hidden(d.to(self.hidden.weight.dtype)).relu()).movedim(3, 1)
        y: Tensor = bias.unflatten(0, (-1, self.num_groups)).flatten(1, 2)
        return y
