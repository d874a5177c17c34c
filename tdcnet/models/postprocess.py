"""From the head's raw output to detections."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from tdcnet.boxes import STRIDE, corners, decode


def postprocess(
    raw: Tensor,
    score_threshold: float = 0.001,
    nms_iou: float = 0.5,
    max_detections: int = 100,
    max_candidates: int = 1000,
    stride: int = STRIDE,
) -> list[dict[str, Tensor]]:
    """Detections of each image, best first.

    Args:
        raw: head output [B, 5 + classes, h, w].
        score_threshold: least score, objectness times class probability.
        nms_iou: of two boxes of one class that overlap more than this the weaker is dropped.
        max_candidates: boxes that enter NMS, the best by score.
        stride: px of the input per cell of ``raw``, 8 as published; :func:`tdcnet.boxes.stride_of` tells it.

    Returns:
        per image ``{"boxes": [N, 4] xyxy px of the network's input, "scores": [N], "labels": [N]}``.
    """
    boxes, objectness, classes = decode(raw, stride)
    probability, labels = classes.sigmoid().max(-1)
    scores = objectness.sigmoid() * probability
    detections = []
    for b, s, c in zip(corners(boxes), scores, labels, strict=True):
        keep = torch.nonzero(s >= score_threshold).squeeze(1)
        if len(keep) > max_candidates:
            keep = keep[s[keep].topk(max_candidates).indices]
        chosen = keep[batched_nms(b[keep], s[keep], c[keep], nms_iou)[:max_detections]]
        detections.append({"boxes": b[chosen], "scores": s[chosen], "labels": c[chosen]})
    return detections
