"""YOLOX's detection loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tdcnet.boxes import STRIDE, cell_grid, decode
from tdcnet.losses.assignment import assign


class DetectionLoss(nn.Module):
    """``(5 * sum(1 - IoU^2) + sum BCE(objectness) + sum BCE(class, one-hot * IoU)) / max(1, matched cells)``.

    Sums run over the batch; matched cells come from SimOTA (:mod:`tdcnet.losses.assignment`). Computed in float32.

    Source: YOLOX (arXiv 2107.08430), as in the released code of TDCNet.
    """

    def __init__(self, num_classes: int = 1, box_weight: float = 5.0) -> None:
        super().__init__()
        self.num_classes, self.box_weight = num_classes, box_weight

    def forward(self, raw: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            raw: head output [B, 5 + num_classes, h, w].
            targets: per image ``{"boxes": [N, 4] xyxy px of the network's input, "labels": int64 [N]}``; N may be 0.

        Returns:
            scalars ``loss`` (with gradient) and its parts ``loss_box``, ``loss_objectness``, ``loss_class``, and
            ``matched``, the number of matched cells.

        Raises:
            ValueError: if the shapes or labels do not fit.
        """
        self._check(raw, targets)
        boxes, objectness, classes = decode(raw)
        truth, labels, valid = _pad(targets, raw.device)
        centres = (cell_grid(raw.shape[-2], raw.shape[-1], raw.device) + 0.5) * STRIDE
        found = assign(boxes, objectness, classes, truth, labels, valid, centres, STRIDE)

        image, cell = torch.nonzero(found.matched, as_tuple=True)
        which = found.box[image, cell]
        iou = _iou(boxes[image, cell], truth[image, which])
        quality = F.one_hot(labels[image, which], self.num_classes) * found.iou[image, cell, None]
        box = (1 - iou**2).sum()
        obj = F.binary_cross_entropy_with_logits(objectness, found.matched.float(), reduction="sum")
        cls = F.binary_cross_entropy_with_logits(classes[image, cell], quality, reduction="sum")
        matched = found.matched.sum().clamp(min=1)
        parts = {"loss_box": self.box_weight * box, "loss_objectness": obj, "loss_class": cls}
        parts = {name: part / matched for name, part in parts.items()}
        return {"loss": sum(parts.values(), torch.zeros((), device=raw.device)), **parts, "matched": matched}

    def _check(self, raw: Tensor, targets: list[dict[str, Tensor]]) -> None:
        if raw.dim() != 4 or raw.shape[1] != 5 + self.num_classes or raw.shape[0] != len(targets):
            raise ValueError(
                f"expected raw output [{len(targets)}, {5 + self.num_classes}, h, w] for {len(targets)} targets and "
                f"{self.num_classes} classes, got {tuple(raw.shape)}"
            )


def _pad(targets: list[dict[str, Tensor]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes as cx, cy, w, h [B, G, 4], labels [B, G] and which are real [B, G]."""
    xyxy = pad_sequence([t["boxes"].reshape(-1, 4).float() for t in targets], batch_first=True).to(device)
    labels = pad_sequence([t["labels"].reshape(-1).long() for t in targets], batch_first=True).to(device)
    counts = torch.tensor([len(t["labels"]) for t in targets], device=device)
    valid = torch.arange(labels.shape[1], device=device) < counts[:, None]
    centre, size = (xyxy[..., :2] + xyxy[..., 2:]) / 2, xyxy[..., 2:] - xyxy[..., :2]
    return torch.cat((centre, size), dim=-1), labels, valid


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes ``cx, cy, w, h``, pair by pair: [M, 4], [M, 4] -> [M]."""
    upper = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    lower = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    inter = (upper - lower).prod(1) * (lower < upper).all(1)
    return inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter + 1e-16)
