"""Bi-level routing attention, and the plain and locally enhanced attention it is compared with.

Source: Zhu et al., CVPR 2023, "BiFormer: Vision Transformer with Bi-Level Routing Attention".
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.attention.shared import Size2, depthwise, join_heads, split_heads
from tdcnet.layers.checks import check_divides, check_odd, check_option, check_positive


class MultiHeadAttention2d(nn.Module):
    """Each position attends to all: [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int, num_heads: int = 8, qkv_bias: bool = True) -> None:
        super().__init__()
        check_divides(channels, num_heads, "channels into heads")
        self.num_heads = num_heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=qkv_bias)
        self.proj = nn.Conv2d(channels, channels, 1)

    def attend(self, x: Tensor) -> Tensor:
        """The attention without the output projection."""
        q, k, v = (split_heads(y, self.num_heads) for y in self.qkv(x).chunk(3, dim=1))
        return join_heads(F.scaled_dot_product_attention(q, k, v), x.shape[2])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(self.attend(x))
        return y


class LocallyEnhancedAttention(MultiHeadAttention2d):
    """Attention to all positions plus a depthwise convolution of x (not of v): [B, C, H, W] -> the same shape.

    Args:
        side_dwconv: odd kernel size of the depthwise convolution.
    """

    def __init__(self, channels: int, num_heads: int = 8, qkv_bias: bool = False, side_dwconv: int = 5) -> None:
        super().__init__(channels, num_heads, qkv_bias)
        check_odd(side_dwconv=side_dwconv)
        self.lepe = depthwise(channels, side_dwconv)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(self.attend(x) + self.lepe(x))
        return y


def split_windows(x: Tensor, size: Size2) -> Tensor:
    """[B, C, H, W] -> [B, windows, C, h, w], row by row; h and w must divide H and W."""
    h, w = size
    x = x.unflatten(3, (-1, w)).unflatten(2, (-1, h))  # [B, C, rows, h, columns, w]
    return x.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join_windows(x: Tensor, rows: int) -> Tensor:
    """[B, windows, C, h, w] -> [B, C, H, W] for so many rows of windows."""
    x = x.unflatten(1, (rows, -1)).permute(0, 3, 1, 4, 2, 5)  # [B, C, rows, h, columns, w]
    return x.flatten(4, 5).flatten(2, 3)


def attend_to_routed(q: Tensor, k: Tensor, v: Tensor, scale: float, graph: Tensor, valid: Tensor | None) -> Tensor:
    """Attention of windows to others: q, k, v [B, windows, C, h, w] -> the shape of q with the channels of v.

    Args:
        graph: int64 [B, heads, windows, topk]; k and v are read from these windows, whose size may differ from q's.
        valid: bool [windows, h * w], False for positions of k that nobody may attend to; None if there are none.
    """
    heads, topk, h = graph.shape[1], graph.shape[3], q.shape[3]
    q, k, v = (x.flatten(3).unflatten(2, (heads, -1)).permute(0, 2, 1, 4, 3) for x in (q, k, v))
    # [B, heads, windows, h * w, d] each; a routed window is gathered as one row
    index = graph.flatten(2)[..., None]  # [B, heads, windows * topk, 1]
    k, v = (
        x.flatten(3).gather(2, index.expand(-1, -1, -1, x.shape[3] * x.shape[4])).unflatten(3, x.shape[3:])
        for x in (k, v)
    )
    k, v = (x.unflatten(2, (-1, topk)).flatten(3, 4).flatten(1, 2) for x in (k, v))  # [B, heads * windows, N, d]
    mask = None if valid is None else valid[graph].flatten(3).flatten(1, 2)[:, :, None]  # [B, heads * windows, 1, N]
    y = F.scaled_dot_product_attention(q.flatten(1, 2), k, v, attn_mask=mask, scale=scale)
    y = y.unflatten(1, (heads, -1)).permute(0, 2, 1, 4, 3)  # [B, windows, heads, d, h * w]
    return y.flatten(2, 3).unflatten(3, (h, -1))


def regional_routing_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float, region_graph: Tensor, region_size: Size2
) -> Tensor:
    """Attention of each region to the regions a graph names: maps [B, C, H, W] -> the same shape.

    A map that is no multiple of the region is padded on the right and below. Nobody attends to the padding, so with
    every region routed the result is that of full attention at any size.

    Args:
        scale: factor of the scores before the softmax.
        region_graph: int64 [B, heads, regions, topk], the regions each region attends to; they are counted row by
            row, the padded ones at the border included.
        region_size: (h, w) of a region in pixels.

    Raises:
        ValueError: if the graph is for another number of regions, or its heads do not divide the channels.
    """
    (height, width), (h, w) = query.shape[2:], region_size
    rows, columns = -(-height // h), -(-width // w)
    if region_graph.shape[2] != rows * columns:
        raise ValueError(
            f"a map of {height}x{width} has {rows * columns} regions of {h}x{w}, the graph {region_graph.shape[2]}; "
            "make the graph for this map"
        )
    for x in (query, value):
        check_divides(x.shape[1], region_graph.shape[1], "channels into heads")
    padding = (0, columns * w - width, 0, rows * h - height)
    valid = None
    if any(padding):
        inside = F.pad(query.new_ones(1, 1, height, width), padding)
        valid = split_windows(inside, region_size)[0].flatten(1) > 0
    q, k, v = (split_windows(F.pad(x, padding), region_size) for x in (query, key, value))
    y = attend_to_routed(q, k, v, scale, region_graph, valid)
    return join_windows(y, rows)[..., :height, :width]


POOLS: dict[str, Callable[[int, int], nn.Module]] = {
    "identity": lambda ratio, per_window: nn.Identity(),
    "avgpool": lambda ratio, per_window: nn.AvgPool2d(ratio, ceil_mode=True),
    "maxpool": lambda ratio, per_window: nn.MaxPool2d(ratio, ceil_mode=True),
    "adaptive_avgpool": lambda ratio, per_window: nn.AdaptiveAvgPool2d(per_window),
    "adaptive_maxpool": lambda ratio, per_window: nn.AdaptiveMaxPool2d(per_window),
}
"""How the keys and values of a window may be pooled."""


class BiLevelRoutingAttention(nn.Module):
    """Each pixel attends to the pixels of the windows most like its own: [B, C, H, W] -> the same shape.

    The map is cut into ``n_win`` x ``n_win`` windows, zero-padded on the right and below where it has to be. As in
    the published operator the padding is attended to like any other pixel.

    Args:
        n_win: windows along each axis.
        topk: windows each window attends to.
        qk_dim: channels of queries and keys; ``channels`` if None. The scores are scaled by ``qk_dim ** -0.5``.
        kv_downsample: how keys and values of a window are pooled: "identity", "avgpool", "maxpool",
            "adaptive_avgpool" or "adaptive_maxpool".
        kv_ratio: side in pixels of what "avgpool" and "maxpool" pool; a rest at a window's border is pooled as well.
        kv_per_win: side of a window after the adaptive pools.
        side_dwconv: odd kernel size of the depthwise convolution of v that is added.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        n_win: int = 7,
        topk: int = 4,
        qk_dim: int | None = None,
        kv_downsample: str = "identity",
        kv_ratio: int = 4,
        kv_per_win: int = 4,
        side_dwconv: int = 3,
    ) -> None:
        super().__init__()
        qk_dim = channels if qk_dim is None else qk_dim
        check_divides(channels, num_heads, "channels into heads")
        check_divides(qk_dim, num_heads, "channels of queries and keys into heads")
        check_positive(qk_dim=qk_dim, n_win=n_win, topk=topk, kv_ratio=kv_ratio, kv_per_win=kv_per_win)
        check_odd(side_dwconv=side_dwconv)
        check_option("kv_downsample", kv_downsample, POOLS)
        if topk > n_win**2:
            raise ValueError(f"topk must be at most the {n_win**2} windows there are, got {topk}; choose a smaller one")
        self.num_heads, self.n_win, self.topk = num_heads, n_win, topk
        self.widths = [qk_dim, qk_dim, channels]
        self.qkv = nn.Conv2d(channels, sum(self.widths), 1)
        self.pool = POOLS[kv_downsample](kv_ratio, kv_per_win)
        self.lepe = depthwise(channels, side_dwconv)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.n_win, 0, -height % self.n_win))
        window = (x.shape[2] // self.n_win, x.shape[3] // self.n_win)
        q, k, v = self.qkv(x).split(self.widths, dim=1)
        graph = self.route(F.avg_pool2d(q.detach(), window), F.avg_pool2d(k.detach(), window))
        keys, values = (self.pool_windows(split_windows(y, window)) for y in (k, v))
        y = attend_to_routed(split_windows(q, window), keys, values, self.widths[0] ** -0.5, graph, None)
        y = join_windows(y, self.n_win) + self.lepe(v)
        y = self.proj(y[..., :height, :width])
        return y

    def route(self, q: Tensor, k: Tensor) -> Tensor:
        """Means of the windows [B, qk_dim, n_win, n_win] -> graph [B, heads, windows, topk], the same for all heads."""
        scores = q.flatten(2).mT @ k.flatten(2)
        graph: Tensor = scores.topk(self.topk, sorted=False).indices
        return graph[:, None].expand(-1, self.num_heads, -1, -1)

    def pool_windows(self, windows: Tensor) -> Tensor:
        """[B, windows, C, h, w] -> [B, windows, C, h', w']."""
        pooled: Tensor = self.pool(windows.flatten(0, 1))
        return pooled.unflatten(0, (-1, windows.shape[1]))
