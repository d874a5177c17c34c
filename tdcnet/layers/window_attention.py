"""Shifted-window attention over clips: the self- and cross-attention of TDCSTA, on [B, T, H, W, C].

Source: TDCNet (arXiv 2511.09352), the section on TDC-guided spatio-temporal attention; windows and bias after
Video Swin (Liu et al., CVPR 2022). Details that released weights depend on are marked where they are.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import Size3


@dataclass(frozen=True)
class WindowGrid:
    """How a clip of ``size`` (T, H, W) is cut into windows.

    Where the clip does not exceed the configured window along an axis, the window shrinks to it and the shift is 0.
    """

    size: Size3
    window: Size3
    shift: Size3
    padded: Size3

    @classmethod
    def of(cls, size: Size3, window: Size3) -> WindowGrid:
        """The grid for a clip of ``size`` with the configured ``window``; shifts are half a window."""
        used, shift, padded = [], [], []
        for n, w in zip(size, window, strict=True):
            used.append(min(n, w))
            shift.append(w // 2 if n > w else 0)
            padded.append(-(-n // used[-1]) * used[-1])
        return cls(size, tuple(used), tuple(shift), tuple(padded))  # type: ignore[arg-type]

    def shifted(self, configured: Size3) -> WindowGrid:
        """The grid of the second attention: as this one, but frame by frame where no frame may see another.

        That is so for two frames and a configured window of two (see :func:`shift_mask`), the usual case: half of
        each window would be masked away, so windows of one frame give the same at half the work.
        """
        apart = self.padded[0] == configured[0] == 2
        return replace(self, window=(1, *self.window[1:])) if apart else self

    def pad(self, x: Tensor) -> Tensor:
        """Zeros at the far ends of [B, T, H, W, C], up to whole windows."""
        if self.padded == self.size:
            return x
        t, h, w = (p - n for p, n in zip(self.padded, self.size, strict=True))
        return F.pad(x, (0, 0, 0, w, 0, h, 0, t))

    def crop(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`pad`."""
        t, h, w = self.size
        return x if self.padded == self.size else x[:, :t, :h, :w]

    def split(self, x: Tensor) -> Tensor:
        """Windows [B * windows, N, C] of a padded clip [B, T, H, W, C]; N positions a window."""
        wt, wh, ww = self.window
        x = x.unflatten(3, (-1, ww)).unflatten(2, (-1, wh)).unflatten(1, (-1, wt))
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(0, 3)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of :meth:`split`."""
        counts = [p // w for p, w in zip(self.padded, self.window, strict=True)]
        x = windows.unflatten(1, self.window).unflatten(0, (-1, *counts))  # [B, nT, nH, nW, wt, wh, ww, C]
        return x.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)


@functools.lru_cache(maxsize=64)
def shift_mask(padded: Size3, window: Size3, configured: Size3, device: torch.device) -> Tensor:
    """-100 between positions of one shifted window that come from different regions, else 0: [windows, 1, N, N].

    Released weights depend on this: the regions are cut with the *configured* window and shift, also along an axis
    where the window shrank and nothing is shifted. With two frames and a window of two, the second attention
    therefore never crosses the frames.
    """
    with torch.inference_mode(False), torch.no_grad():
        regions = torch.zeros(padded)
        cuts = [(slice(0, -w), slice(-w, -(w // 2)), slice(-(w // 2), None)) for w in configured]
        for number, area in enumerate(itertools.product(*cuts)):
            regions[area] = number
        flat = WindowGrid(padded, window, (0, 0, 0), padded).split(regions[None, ..., None]).squeeze(-1)
        mask = torch.where(flat[:, :, None] == flat[:, None, :], 0.0, -100.0)
        return mask[:, None].to(device)


def relative_position_index(window: Size3) -> Tensor:
    """Row of the bias table for each pair of positions of a window: int64 [N, N]."""
    coords = torch.cartesian_prod(*(torch.arange(w) for w in window))  # [N, 3]
    offset = coords[:, None] - coords[None] + torch.tensor([w - 1 for w in window])
    _, h, w = (2 * n - 1 for n in window)
    return (offset[..., 0] * h + offset[..., 1]) * w + offset[..., 2]


class RelativePositionBias(nn.Module):
    """A learnt number per head and displacement within the configured window."""

    def __init__(self, window: Size3, num_heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(
            torch.empty((2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1), num_heads)
        )
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("index", relative_position_index(window), persistent=False)
        self.index: Tensor

    def forward(self, n: int) -> Tensor:
        """Bias [1, heads, n, n] for a window of n positions.

        Released weights depend on this: a smaller window takes the upper left block of the configured one's index.
        """
        bias = self.table[self.index[:n, :n].reshape(-1)]
        return bias.view(n, n, -1).permute(2, 0, 1)[None]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention within windows, [B * windows, N, C] each -> [B * windows, N, C]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [B*nW, heads, N, d]
    if mask is not None:
        bias = bias + mask  # [nW, heads, N, N]
        bias = bias.repeat(q.shape[0] // bias.shape[0], 1, 1, 1)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    return y.transpose(1, 2).flatten(2)


def mlp(dim: int, ratio: float) -> nn.Sequential:
    """Two linear layers with GELU between them."""
    hidden = int(dim * ratio)
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


def touch(x: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """``x`` unchanged, with a zero gradient for ``parameters`` this size does not use: DDP wants one for each."""
    return x + 0.0 * sum(p.sum() for p in parameters)


class WindowAttention(nn.Module):
    """Self-attention within windows, with relative position bias."""

    def __init__(self, dim: int, window: Size3, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.bias = RelativePositionBias(window, num_heads)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B * windows, N, C] -> the same shape."""
        q, k, v = self.qkv(windows).chunk(3, dim=-1)
        y: Tensor = self.proj(attend(q, k, v, self.num_heads, self.bias(windows.shape[1]), mask))
        return y


def check_heads(dim: int, num_heads: int) -> None:
    """Raises ValueError unless ``num_heads`` divides ``dim``."""
    if dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {dim} channels; choose a number of heads that does")


class SelfAttention3d(nn.Module):
    """SA of TDCSTA: two Swin layers, the second with shifted windows; [B, T, H, W, C] -> the same shape.

    Args:
        window: (t, h, w) of a window in positions of the feature map.
    """

    def __init__(self, dim: int, window: Size3, num_heads: int, mlp_ratio: float = 1.5) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.window = tuple(window)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))
        self.attn1 = WindowAttention(dim, window, num_heads)
        self.attn2 = WindowAttention(dim, window, num_heads)
        self.mlp1 = mlp(dim, mlp_ratio)
        self.mlp2 = mlp(dim, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        size: Size3 = (x.shape[1], x.shape[2], x.shape[3])
        grid = WindowGrid.of(size, self.window)  # type: ignore[arg-type]
        y = grid.join(self.attn1(grid.split(grid.pad(self.norm1(x)))))
        x = grid.pad(x) + y
        x = x + self.mlp1(self.norm2(x))

        y = self.norm3(x)
        if any(grid.shift):
            grid2 = grid.shifted(self.window)  # type: ignore[arg-type]
            mask = shift_mask(grid2.padded, grid2.window, self.window, x.device)
            back = tuple(-s for s in grid.shift)
            windows = grid2.split(y.roll(back, dims=(1, 2, 3)))
            y = grid2.join(self.attn2(windows, mask)).roll(grid.shift, dims=(1, 2, 3))
        elif self.training:
            y = touch(y, self.attn2.parameters())
        x = grid.crop(x) + grid.crop(y)
        x = x + self.mlp2(self.norm4(x))
        return x


class CrossAttention3d(nn.Module):
    """CA of TDCSTA: queries, keys and values from three clips of one shape [B, T, H, W, C]; the values' residual.

    The heads are split from the normalised features; there is no projection of q, k or v.
    """

    def __init__(self, dim: int, window: Size3, num_heads: int, mlp_ratio: float = 2.0) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.window, self.num_heads = tuple(window), num_heads
        self.norm_q, self.norm_k, self.norm_v, self.norm = (nn.LayerNorm(dim) for _ in range(4))
        self.bias = RelativePositionBias(window, num_heads)
        self.proj = nn.Linear(dim, dim)
        self.mlp = mlp(dim, mlp_ratio)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not q.shape == k.shape == v.shape:
            raise ValueError(f"query {tuple(q.shape)}, key {tuple(k.shape)} and value {tuple(v.shape)} differ in shape")
        grid = WindowGrid.of((q.shape[1], q.shape[2], q.shape[3]), self.window)  # type: ignore[arg-type]
        parts = [grid.split(grid.pad(n(x))) for n, x in ((self.norm_q, q), (self.norm_k, k), (self.norm_v, v))]
        y = attend(parts[0], parts[1], parts[2], self.num_heads, self.bias(parts[0].shape[1]))
        x = v + grid.crop(grid.join(self.proj(y)))
        x = x + self.mlp(self.norm(x))
        return x
