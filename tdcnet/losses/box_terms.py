"""How far a predicted box is from the one it answers for: terms of the loss, by name.

A term takes predictions and targets, both ``[M, 4]`` as cx, cy, w, h in px, and gives ``[M]``, 0 where they are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from tdcnet.boxes import corners

BoxTerm = Callable[[Tensor, Tensor], Tensor]


def squared_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """``1 - IoU^2``. Its gradient is weak where they overlap little, and none where they do not.

    Source: YOLOX (arXiv 2107.08430).
    """
    return 1 - _iou(boxes, truth) ** 2


def giou(boxes: Tensor, truth: Tensor) -> Tensor:
    """``1 - IoU`` plus the share of the box round both that neither covers. Source: Rezatofighi et al., CVPR 2019."""
    return generalized_box_iou_loss(corners(boxes), corners(truth))


class NWD:
    """``1 - exp(-W / constant)``, W the Wasserstein distance of the boxes taken as Gaussians, in px.

    As smooth for a box of 2 px as for one of 20, and with a gradient where they do not overlap.

    Args:
        constant: px; of the order of the data set's mean side (12.8 for AI-TOD).

    Source: Wang et al., "A normalized Gaussian Wasserstein distance for tiny object detection", arXiv 2110.13389.
    """

    def __init__(self, constant: float = 12.8) -> None:
        if constant <= 0:
            raise ValueError(f"constant is {constant}; expected px above 0")
        self.constant = constant

    def __call__(self, boxes: Tensor, truth: Tensor) -> Tensor:
        """The term, [M]."""
        return 1 - _nwd(boxes - truth, self.constant)


def pairwise_nwd(a: Tensor, b: Tensor, constant: float = 12.8) -> Tensor:
    """The same as a similarity of all pairs, for an assignment: ``[..., N, 4], [..., M, 4] -> [..., N, M]``, 0 to 1."""
    return _nwd(a[..., :, None, :] - b[..., None, :, :], constant)


def _nwd(difference: Tensor, constant: float) -> Tensor:
    centre, size = difference[..., :2], difference[..., 2:] / 2
    squared = centre.square().sum(-1) + size.square().sum(-1)
    return torch.exp(-(squared + 1e-12).sqrt() / constant)


def log_box(boxes: Tensor, truth: Tensor) -> Tensor:
    """Offset of the centre over the true side, and difference of the logarithms of the sides, x and y added up.

    A box that is a tenth too wide costs the same at any size. The centre's offset is in sides as R-CNN's is.

    Source: the coding of Girshick et al. (R-CNN, arXiv 1311.2524, appendix C) with an L1 norm.
    """
    centre = ((boxes[:, :2] - truth[:, :2]) / truth[:, 2:].clamp(min=1)).abs()
    size = (boxes[:, 2:].clamp(min=1e-6).log() - truth[:, 2:].clamp(min=1e-6).log()).abs()
    return (centre + size).sum(1)


class IoUBelow:
    """``sigmoid((least - IoU) / width)``: a smooth count of boxes that overlap too little to be hits.

    Where labels were drawn by eye, a target's size on the image does not tell that of its box. ``1 - IoU^2`` then ends
    at the usual size, and small boxes are missed; this ends where most boxes overlap by ``least``, which is some
    percent lower where a few are much smaller than the usual.

    Args:
        least: IoU of a hit, 0.5 for AP50.
        width: of the step, in IoU. There is hardly a gradient further than some widths from ``least``.
    """

    def __init__(self, least: float = 0.5, width: float = 0.08) -> None:
        if not 0 < least < 1 or width <= 0:
            raise ValueError(f"least is {least}, width {width}; expected an IoU between 0 and 1, and a width above 0")
        self.least, self.width = least, width

    def __call__(self, boxes: Tensor, truth: Tensor) -> Tensor:
        """The term, [M]; 0.002 and not 0 where they are equal, with the defaults."""
        return ((self.least - _iou(boxes, truth)) / self.width).sigmoid()


class WeightedSum:
    """Several terms at once.

    Raises:
        ValueError: if there is not one weight for each.
    """

    def __init__(self, terms: Sequence[BoxTerm], weights: Sequence[float]) -> None:
        if len(terms) != len(weights) or not terms:
            raise ValueError(f"{len(terms)} terms and {len(weights)} weights; expected one weight for each")
        self.terms, self.weights = tuple(terms), tuple(weights)

    def __call__(self, boxes: Tensor, truth: Tensor) -> Tensor:
        """The sum, [M]."""
        parts = [weight * term(boxes, truth) for term, weight in zip(self.terms, self.weights, strict=True)]
        return torch.stack(parts).sum(0)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes ``cx, cy, w, h``, pair by pair: [M, 4], [M, 4] -> [M]."""
    upper = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    lower = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    inter = (upper - lower).prod(1) * (lower < upper).all(1)
    return inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter + 1e-16)
