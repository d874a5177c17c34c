"""Max-pools: behind the stems of the 3D backbones, and of the 2D backbone's pyramid."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tdcnet.layers.conv import is_eager_on_cpu


def max_pool_clip(x: Tensor) -> Tensor:
    """Max-pool 3x3x3 of stride 2 and padding 1: [B, C, T, H, W] -> [B, C, ceil(T/2), ceil(H/2), ceil(W/2)].

    On a CPU it runs axis by axis on slices, which gives what ``max_pool3d`` gives, its gradient included, in less
    time, and keeps two bits of choice a byte each for the backward pass instead of the input and 64-bit indices.
    """
    if not is_eager_on_cpu(x) or min(x.shape[2:]) < 1:
        return F.max_pool3d(x, 3, stride=2, padding=1)
    for dim in (4, 3, 2):  # in this order the first of equal values wins in a row, then in a frame, then in time
        x = _Halve.apply(x, dim) if torch.is_grad_enabled() and x.requires_grad else _halved(x, dim)
    return x


def max_pool_image(x: Tensor) -> Tensor:
    """Max-pool 5x5 of stride 1 and padding 2: [B, C, H, W] -> the same shape.

    Without gradients on a CPU it runs on slices, row by row and column by column, as :func:`max_pool_clip`.
    """
    if not is_eager_on_cpu(x) or torch.is_grad_enabled():
        return F.max_pool2d(x, 5, stride=1, padding=2)
    for dim in (3, 2):
        length = x.shape[dim]
        padded = F.pad(x, (2, 2) if dim == 3 else (0, 0, 2, 2), value=-math.inf)
        pairs = torch.maximum(padded.narrow(dim, 0, length + 3), padded.narrow(dim, 1, length + 3))
        fours = torch.maximum(pairs.narrow(dim, 0, length), pairs.narrow(dim, 2, length))
        x = torch.maximum(fours, padded.narrow(dim, 4, length), out=fours)
    return x


def _every_second(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Views of positions 0, 2, .. and 1, 3, .. along an axis."""
    even, odd = (x[(slice(None),) * dim + (slice(start, None, 2),)] for start in (0, 1))
    return even, odd


def _halved(x: Tensor, dim: int) -> Tensor:
    """The largest of positions 2i - 1, 2i and 2i + 1 along an axis."""
    if x.shape[dim] == 1:
        return x
    even, odd = _every_second(x, dim)
    pairs = odd.shape[dim]
    y = x.new_empty(even.shape)
    torch.maximum(even.narrow(dim, 0, pairs), odd, out=y.narrow(dim, 0, pairs))
    if even.shape[dim] > pairs:
        y.narrow(dim, pairs, 1).copy_(even.narrow(dim, pairs, 1))
    behind = y.narrow(dim, 1, y.shape[dim] - 1)
    torch.maximum(behind, odd.narrow(dim, 0, y.shape[dim] - 1), out=behind)
    return y


class _Halve(torch.autograd.Function):
    """:func:`_halved`, which keeps for each result which of the three it was; of equal ones the first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        y = _halved(x, dim)
        even, odd = _every_second(x, dim)
        before = torch.zeros(y.shape, dtype=torch.bool)
        rest = y.shape[dim] - 1
        torch.eq(odd.narrow(dim, 0, rest), y.narrow(dim, 1, rest), out=before.narrow(dim, 1, rest))
        ctx.save_for_backward(before, torch.eq(even, y))
        ctx.dim, ctx.shape = dim, x.shape
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (before, at), dim = ctx.saved_tensors, ctx.dim
        total = grad.new_empty(ctx.shape)
        even, odd = _every_second(total, dim)
        first = grad * before
        left = grad - first
        torch.mul(left, at, out=even)
        pairs, rest = odd.shape[dim], grad.shape[dim] - 1
        torch.sub(left.narrow(dim, 0, pairs), even.narrow(dim, 0, pairs), out=odd)
        odd.narrow(dim, 0, rest).add_(first.narrow(dim, 1, rest))
        return total, None
