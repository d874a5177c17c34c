"""A fixed assignment: the cells nearest to a box's centre, whatever the network predicts."""

from __future__ import annotations

import torch
from torch import Tensor

from tdcnet.boxes import pairwise_iou
from tdcnet.losses.simota import Assignment


class NearestCells:
    """Gives each box its ``count`` nearest cells; one that two boxes claim goes to the nearer one.

    For the start of a training, in which what the network predicts says nothing about which cell is best.

    Source: fixed assignments before one that follows the predictions: ATSS in YOLOv6 (arXiv 2209.02976) and TOOD
    (arXiv 2108.07755); here simpler, as there is one scale and a target is hardly larger than a cell.
    """

    def __init__(self, count: int = 1) -> None:
        if count < 1:
            raise ValueError(f"count is {count}; expected at least one cell")
        self.count = count

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
        """Matches cells to boxes; takes and gives what :class:`~tdcnet.losses.simota.SimOTA` does."""
        if truth.shape[1] == 0:
            return Assignment.of_nothing(objectness)
        distance = (centres - truth[:, :, None, :2]).square().sum(-1)  # [B, G, A]
        distance = distance.masked_fill(~valid[..., None], torch.inf)
        nearest = distance.topk(min(self.count, objectness.shape[1]), dim=-1, largest=False).indices
        claim = torch.zeros_like(distance, dtype=torch.bool).scatter(-1, nearest, True) & valid[..., None]
        matched = claim.any(1)
        box = distance.masked_fill(~claim, torch.inf).argmin(1) * matched
        similarity = pairwise_iou(truth, boxes).gather(1, box[:, None])[:, 0]
        return Assignment(matched, box, similarity * matched)
