"""SimOTA: which cell of the output answers for which box, for a whole batch at once.

Source: YOLOX (Ge et al., arXiv 2107.08430), as in the released code of TDCNet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tdcnet.boxes import pairwise_iou

CENTRE_RADIUS = 2.5
"""Strides round a box's centre within which a cell is a candidate."""
CANDIDATES = 10
"""IoUs summed for a box's number of cells."""
OUTSIDE = 1e5
"""Cost of a cell that is not both inside the box and near its centre."""


@dataclass
class Assignment:
    """Of the batch's cells: which answer for a box, for which one of their image's, and how well they overlap it."""

    matched: Tensor
    """bool [B, A]"""
    box: Tensor
    """int64 [B, A], index among the image's boxes; 0 where not matched"""
    iou: Tensor
    """float [B, A], IoU of the cell's prediction with its box; 0 where not matched"""


@torch.no_grad()
def assign(
    boxes: Tensor,
    objectness: Tensor,
    classes: Tensor,
    truth: Tensor,
    labels: Tensor,
    valid: Tensor,
    centres: Tensor,
    stride: int,
) -> Assignment:
    """Matches cells to boxes.

    Args:
        boxes: predicted [B, A, 4] as cx, cy, w, h in px; ``objectness`` [B, A] and ``classes`` [B, A, K] its logits.
        truth: padded [B, G, 4] as cx, cy, w, h in px; ``labels`` [B, G]; ``valid`` bool [B, G] tells box from padding.
        centres: of the cells, [A, 2] in px.
    """
    b, a = objectness.shape
    if truth.shape[1] == 0:
        nothing = torch.zeros(b, a, device=boxes.device)
        return Assignment(nothing.bool(), nothing.long(), nothing)

    offset = (centres[None, None] - truth[:, :, None, :2]).abs()  # [B, G, A, 2]
    inside = (offset < truth[:, :, None, 2:] / 2).all(-1) & valid[..., None]
    near = (offset < CENTRE_RADIUS * stride).all(-1) & valid[..., None]
    candidate = (inside | near).any(1, keepdim=True)  # [B, 1, A]

    iou = pairwise_iou(truth, boxes)  # [B, G, A]
    probability = (classes.sigmoid() * objectness.sigmoid()[..., None]).sqrt().transpose(1, 2)  # [B, K, A]
    one_hot = F.one_hot(labels, classes.shape[-1]).to(probability.dtype)  # [B, G, K]
    # Clamped as binary_cross_entropy does; summed over classes without holding [B, G, K, A].
    hit, miss = probability.log().clamp(min=-100), (1 - probability).log().clamp(min=-100)
    class_cost = -(one_hot @ hit + (1 - one_hot) @ miss)
    cost = class_cost - 3.0 * (iou + 1e-8).log() + OUTSIDE * ~(inside & near)
    usable = candidate & valid[..., None]
    cost = cost.masked_fill(~usable, torch.inf)

    n = min(CANDIDATES, a)
    count = iou.masked_fill(~usable, 0).topk(n, dim=-1).values.sum(-1).int().clamp(min=1)  # [B, G]
    cheapest = cost.topk(n, dim=-1, largest=False).indices  # [B, G, n]
    taken = torch.arange(n, device=boxes.device) < count[..., None]
    claim = torch.zeros_like(usable).scatter(-1, cheapest, taken) & usable  # [B, G, A]

    claims = claim.sum(1)
    box = torch.where(claims > 1, cost.argmin(1), claim.int().argmax(1))  # [B, A]
    matched = claims > 0
    return Assignment(matched, box * matched, iou.gather(1, box[:, None])[:, 0] * matched)
