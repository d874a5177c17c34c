"""Shifted-window attention over clips: the self- and cross-attention of TDCSTA.

Both take clips [B, T, H, W, C], or windows that :class:`~tdcnet.layers.windows.WindowGrid` has cut already: what
follows one another stays in windows, and only shifting moves features about.

Source: TDCNet (arXiv 2511.09352), the section on TDC-guided spatio-temporal attention; windows and bias after
Video Swin (Liu et al., CVPR 2022). Details that released weights depend on are marked where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.checks import check_divides
from tdcnet.layers.conv import Size3, is_eager_on_cpu
from tdcnet.layers.windows import WindowGrid, padding_mask, shift_mask


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
    """Multi-head attention within windows: q [B * windows, N, C], k and v [B * windows, M, C] -> [B * windows, N, C].

    Args:
        bias: [1, heads, N, M], added to the scores.
        mask: [windows, 1, N or 1, M], added as well.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [B * windows, heads, N, d]
    if mask is not None:
        bias = bias + mask  # [windows, heads, N, M]
    if torch.is_grad_enabled() and is_eager_on_cpu(q):
        y = _Attention.apply(q, k, v, bias)
    else:
        if 1 < len(bias) < q.shape[0]:  # not len(q): an exported graph would have a fixed batch
            bias = bias.repeat(q.shape[0] // len(bias), 1, 1, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    return y.transpose(1, 2).flatten(2)


class _Attention(torch.autograd.Function):
    """Attention whose bias is learnt: q, k, v [B * windows, heads, N or M, d], bias [windows, heads, N, M].

    For the CPU, where PyTorch has no fused one with a gradient for the bias, and its way round takes twice the memory.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        scores.unflatten(0, (-1, len(bias))).add_(bias)
        weights = scores.softmax(-1)
        ctx.save_for_backward(q, k, v, weights)
        ctx.windows = len(bias)
        return weights @ v

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v, weights = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        inner = grad @ v.mT
        grad_scores = torch._softmax_backward_data(inner, weights, -1, weights.dtype)
        grad_bias = grad_scores.unflatten(0, (-1, ctx.windows)).sum(0)
        return (grad_scores @ k).mul_(scale), (grad_scores.mT @ q).mul_(scale), weights.mT @ grad, grad_bias


def add(x: Tensor, y: Tensor) -> Tensor:
    """``x + y`` for a fresh ``y`` that nobody else needs, in its memory where the types allow."""
    return y.add_(x) if x.dtype == y.dtype else x + y


def mlp(dim: int, ratio: float) -> nn.Sequential:
    """Two linear layers with GELU between them."""
    hidden = int(dim * ratio)
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


def zero(*layers: nn.Module) -> None:
    """Sets weights and biases to zero."""
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


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

    def forward(self, windows: Tensor, mask: Tensor | None = None, repeats: int = 1) -> Tensor:
        """[B * windows, N, C] -> [B * windows, repeats * N, C].

        Args:
            repeats: frames in a window, of which ``windows`` holds one because all are the same. Equal keys act like
                one whose weight is their sum, so attending to it with the logarithm of the summed biases is enough.
        """
        n = windows.shape[1]
        q, k, v = self.qkv(windows).chunk(3, dim=-1)
        bias = self.bias(repeats * n)
        if repeats > 1:
            q = q.repeat(1, repeats, 1)
            bias = bias.unflatten(-1, (repeats, n)).logsumexp(-2)
        y: Tensor = self.proj(attend(q, k, v, self.num_heads, bias, mask))
        return y


class SelfAttention3d(nn.Module):
    """SA of TDCSTA: two Swin layers, the second with shifted windows; [B, T, H, W, C] -> the same shape.

    Args:
        window: (t, h, w) of a window in positions of the feature map.
        mask_padding: attend to nothing beyond the map where windows do not divide it. False, as published and as
            released weights want it: the zeros there take part, and weaken what such a window sees.
    """

    def __init__(
        self, dim: int, window: Size3, num_heads: int, mlp_ratio: float = 1.5, mask_padding: bool = False
    ) -> None:
        super().__init__()
        check_divides(dim, num_heads, "channels into heads")
        self.window, self.mask_padding = tuple(window), mask_padding
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))
        self.attn1 = WindowAttention(dim, window, num_heads)
        self.attn2 = WindowAttention(dim, window, num_heads)
        self.mlp1 = mlp(dim, mlp_ratio)
        self.mlp2 = mlp(dim, mlp_ratio)

    def start_quietly(self) -> None:
        """Sets to zero what the residual branches end in."""
        zero(self.attn1.proj, self.attn2.proj, self.mlp1[-1], self.mlp2[-1])

    def forward(self, x: Tensor, grid: WindowGrid | None = None, repeats: int = 1) -> Tensor:
        """[B, T, H, W, C] -> the same shape; with ``grid``, its windows [B * windows, N, C] -> the same shape.

        Args:
            repeats: of a clip of so many equal frames in one window, x holds one: [B * windows, N / repeats, C].
        """
        if grid is None:
            grid = WindowGrid.of(x.shape[1:4], self.window)  # type: ignore[arg-type]
            return grid.join(self(grid.split(x), grid))
        shown = grid if repeats == 1 else grid.first_frame()
        mask = padding_mask(shown, x.device) if self.mask_padding else None
        y = self.attn1(shown.blank(self.norm1(x)), mask, repeats)
        x = add(x.repeat(1, repeats, 1) if repeats > 1 else x, y)
        x = add(x, self.mlp1(self.norm2(x)))
        if any(grid.shift):
            x = grid.shift_windows(x)
            mask = shift_mask(grid.shifted(), x.device)
            if self.mask_padding and (beyond := padding_mask(grid, x.device, shifted=True)) is not None:
                mask = mask + beyond
            x = add(x, self.attn2(self.norm3(x), mask))
            x = add(x, self.mlp2(self.norm4(x)))
            return grid.shift_windows(x, back=True)
        y = self.norm3(
            x
        )  # released weights depend on this: without a shift there is no second attention, only its norm
        x = x + (touch(y, self.attn2.parameters()) if self.training else y)
        return add(x, self.mlp2(self.norm4(x)))


class CrossAttention3d(nn.Module):
    """CA of TDCSTA: queries, keys and values from three clips of one shape; the values' residual.

    The heads are split from the normalised features; there is no projection of q, k or v. ``mask_padding`` as in
    :class:`SelfAttention3d`.
    """

    def __init__(
        self, dim: int, window: Size3, num_heads: int, mlp_ratio: float = 2.0, mask_padding: bool = False
    ) -> None:
        super().__init__()
        check_divides(dim, num_heads, "channels into heads")
        self.window, self.num_heads, self.mask_padding = tuple(window), num_heads, mask_padding
        self.norm_q, self.norm_k, self.norm_v, self.norm = (nn.LayerNorm(dim) for _ in range(4))
        self.bias = RelativePositionBias(window, num_heads)
        self.proj = nn.Linear(dim, dim)
        self.mlp = mlp(dim, mlp_ratio)

    def start_quietly(self) -> None:
        """Sets to zero what the residual branches end in."""
        zero(self.proj, self.mlp[-1])

    def forward(self, q: Tensor, k: Tensor, v: Tensor, grid: WindowGrid | None = None) -> Tensor:
        """[B, T, H, W, C] each -> the same shape; with ``grid``, its windows [B * windows, N, C] -> the same shape."""
        if not q.shape == k.shape == v.shape:
            raise ValueError(f"query {tuple(q.shape)}, key {tuple(k.shape)} and value {tuple(v.shape)} differ in shape")
        if grid is None:
            grid = WindowGrid.of(q.shape[1:4], self.window)  # type: ignore[arg-type]
            return grid.join(self(grid.split(q), grid.split(k), grid.split(v), grid))
        parts = [grid.blank(norm(x)) for norm, x in ((self.norm_q, q), (self.norm_k, k), (self.norm_v, v))]
        mask = padding_mask(grid, q.device) if self.mask_padding else None
        y = attend(parts[0], parts[1], parts[2], self.num_heads, self.bias(q.shape[1]), mask)
        x = add(v, self.proj(y))
        return add(x, self.mlp(self.norm(x)))
