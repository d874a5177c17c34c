"""The coding of boxes: how a cell of the raw output stands for one, and how boxes overlap. Knows no network."""

from __future__ import annotations

import torch
from torch import Tensor

STRIDE = 8
"""Pixels of the input per cell of the output, as published."""
MAX_LOG_SIZE = 10.0
"""Bound on the raw size before exp: e^10 strides is beyond any image, and stays finite in half precision's range."""


def stride_of(clips: Tensor, raw: Tensor) -> int:
    """Pixels per cell: of clips [..., H, W] and the head's raw output [B, C, h, w] for them."""
    return clips.shape[-1] // raw.shape[-1]


def cell_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Cell coordinates (x, y), float32 [height * width, 2], row by row."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2).float()


def decode(raw: Tensor, stride: int = STRIDE) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes and scores of every cell.

    Args:
        raw: head output [B, 5 + classes, h, w].
        stride: px of the input per cell, see :func:`stride_of`.

    Returns:
        boxes [B, h*w, 4] as centre x, centre y, width, height in px of the input;
        logits of objectness [B, h*w]; logits of the classes [B, h*w, classes]. All float32.

    Source: YOLOX: centre = (raw + cell) * stride, size = exp(raw) * stride.
    """
    h, w = raw.shape[-2:]
    cells = raw.float().flatten(2).transpose(1, 2)  # [B, h*w, 5 + classes]
    centre = (cells[..., :2] + cell_grid(h, w, raw.device)) * stride
    size = cells[..., 2:4].clamp(max=MAX_LOG_SIZE).exp() * stride
    return torch.cat((centre, size), dim=-1), cells[..., 4], cells[..., 5:]


def corners(boxes: Tensor) -> Tensor:
    """``cx, cy, w, h`` -> ``x1, y1, x2, y2``, last axis 4."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes ``cx, cy, w, h``: [..., N, 4], [..., M, 4] -> [..., N, M]."""
    lower = torch.maximum(
        (a[..., :2] - a[..., 2:] / 2)[..., :, None, :], (b[..., :2] - b[..., 2:] / 2)[..., None, :, :]
    )
    upper = torch.minimum(
        (a[..., :2] + a[..., 2:] / 2)[..., :, None, :], (b[..., :2] + b[..., 2:] / 2)[..., None, :, :]
    )
    inter = (upper - lower).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1)[..., :, None] + b[..., 2:].prod(-1)[..., None, :] - inter
    return inter / union.clamp(min=1e-12)
