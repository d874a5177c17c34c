"""SimOTA: which cell of the output answers for which box, for a whole batch at once.

Source: YOLOX (Ge et al., arXiv 2107.08430), as in the released code of TDCNet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tdcnet.boxes import pairwise_iou
from tdcnet.losses.inside import Inside, in_box

OUTSIDE = 1e5
"""Cost of a cell that is not both inside the box and near its centre."""


@dataclass
class Assignment:
    """Of the batch's cells: which answer for a box, for which one of their image's, and how well they fit it."""

    matched: Tensor
    """bool [B, A]"""
    box: Tensor
    """int64 [B, A], index among the image's boxes; 0 where not matched"""
    similarity: Tensor
    """float [B, A], of the cell's prediction and its box, 0 to 1; 0 where not matched"""

    @classmethod
    def of_nothing(cls, objectness: Tensor) -> Assignment:
        """Of a batch without boxes, whose cells are as many as ``objectness`` [B, A] has."""
        nothing = torch.zeros(objectness.shape, device=objectness.device)
        return cls(nothing.bool(), nothing.long(), nothing)


class SimOTA:
    """Gives each box as many of the cheapest cells as its best predictions' similarities add up to.

    A cell is a candidate if it is inside some box or near its centre. Its cost is the cross-entropy of
    ``sqrt(class * objectness)``, plus ``weight`` times the negative logarithm of the similarity, plus what ``prior``
    says, and much more where it is not both inside and near. A cell that two boxes claim goes to the cheaper one.

    Args:
        candidates: similarities that are summed for a box's number of cells, at least 1.
        weight: of the similarity in the cost.
        radius: strides from a box's centre, in x and in y, up to which a cell is near.
        inside: which cells count as inside a box.
        similarity: of predictions and boxes, ``[..., N, 4], [..., M, 4] -> [..., N, M]`` from 0 to 1, boxes as cx, cy,
            w, h; IoU as published.
        prior: cost of a distance in strides; None for none, as published.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        candidates: int = 10,
        weight: float = 3.0,
        radius: float = 2.5,
        inside: Inside = in_box,
        similarity: Callable[[Tensor, Tensor], Tensor] = pairwise_iou,
        prior: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if candidates < 1 or weight < 0 or radius <= 0:
            raise ValueError(
                f"candidates is {candidates}, weight {weight}, radius {radius}; expected 1 or more, 0 or more, above 0"
            )
        self.candidates, self.weight, self.radius = candidates, weight, radius
        self.inside, self.similarity, self.prior = inside, similarity, prior

    @torch.no_grad()
    def __call__(
        self,
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
            boxes: predicted [B, A, 4] as cx, cy, w, h in px; ``objectness`` [B, A] and ``classes`` [B, A, K] its
                logits.
            truth: padded [B, G, 4] as cx, cy, w, h in px; ``labels`` [B, G]; ``valid`` bool [B, G] tells box from
                padding.
            centres: of the cells, [A, 2] in px, ``stride`` px apart.
        """
        if truth.shape[1] == 0:
            return Assignment.of_nothing(objectness)

        offset = (centres[None, None] - truth[:, :, None, :2]).abs()  # [B, G, A, 2]
        inside = self.inside(offset, truth[:, :, None, 2:], stride) & valid[..., None]
        near = (offset < self.radius * stride).all(-1) & valid[..., None]
        candidate = (inside | near).any(1, keepdim=True)  # [B, 1, A]

        similarity = self.similarity(truth, boxes)  # [B, G, A]
        probability = (classes.sigmoid() * objectness.sigmoid()[..., None]).sqrt().transpose(1, 2)  # [B, K, A]
        one_hot = F.one_hot(labels, classes.shape[-1]).to(probability.dtype)  # [B, G, K]
        # Clamped as binary_cross_entropy does; summed over classes without holding [B, G, K, A].
        hit, miss = probability.log().clamp(min=-100), (1 - probability).log().clamp(min=-100)
        class_cost = -(one_hot @ hit + (1 - one_hot) @ miss)
        cost = class_cost - self.weight * (similarity + 1e-8).log() + OUTSIDE * ~(inside & near)
        if self.prior is not None:
            cost = cost + self.prior(offset.square().sum(-1).sqrt() / stride)
        usable = candidate & valid[..., None]
        cost = cost.masked_fill(~usable, torch.inf)

        n = min(self.candidates, objectness.shape[1])
        count = similarity.masked_fill(~usable, 0).topk(n, dim=-1).values.sum(-1).int().clamp(min=1)  # [B, G]
        cheapest = cost.topk(n, dim=-1, largest=False).indices  # [B, G, n]
        taken = torch.arange(n, device=boxes.device) < count[..., None]
        claim = torch.zeros_like(usable).scatter(-1, cheapest, taken) & usable  # [B, G, A]

        claims = claim.sum(1)
        box = torch.where(claims > 1, cost.argmin(1), claim.int().argmax(1))  # [B, A]
        matched = claims > 0
        return Assignment(matched, box * matched, similarity.gather(1, box[:, None])[:, 0] * matched)
