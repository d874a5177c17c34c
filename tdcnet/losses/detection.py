"""The detection loss: YOLOX's unless other parts are given."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tdcnet.boxes import STRIDE, cell_grid, decode
from tdcnet.finite import number
from tdcnet.losses.box_terms import BoxTerm, squared_iou
from tdcnet.losses.class_targets import ClassTarget, overlap
from tdcnet.losses.simota import Assignment, SimOTA

Assign = Callable[..., Assignment]
"""Which cells answer for which boxes; takes and gives what :meth:`SimOTA.__call__` does."""


class DetectionLoss(nn.Module):
    """``(5 * sum(1 - IoU^2) + sum BCE(objectness) + sum BCE(class, one-hot * IoU)) / max(1, matched cells)``.

    Sums run over the batch; matched cells come from SimOTA (:mod:`tdcnet.losses.simota`). Computed in float32.

    Args:
        num_classes: that the network tells apart.
        assign: which cells answer for which boxes; SimOTA as published if None.
        first: the same for the first ``first_share`` of the training; None for none, as published.
        first_share: 0 to 1.
        box_term: of a prediction and its box; ``1 - IoU^2`` as published.
        class_target: what takes IoU's place in the class's target.
        box_weight: of the box's term, 5 as published.
        least_per_image: matched cells per image that the sums are divided by at least; 0 as published. A batch of a few
            targets among many images otherwise has a gradient many times the usual.

    Raises:
        ValueError: if ``first_share`` is not from 0 to 1, or ``box_weight`` or ``least_per_image`` is below 0.

    Source: YOLOX (arXiv 2107.08430), as in the released code of TDCNet.
    """

    def __init__(
        self,
        num_classes: int = 1,
        assign: Assign | None = None,
        box_term: BoxTerm = squared_iou,
        class_target: ClassTarget = overlap,
        box_weight: float = 5.0,
        first: Assign | None = None,
        first_share: float = 0.1,
        least_per_image: float = 0.0,
    ) -> None:
        super().__init__()
        number("loss.first_share", first_share, 0, 1)
        number("loss.least_per_image", least_per_image, 0)
        number("loss.box_weight", box_weight, 0)
        self.least_per_image = least_per_image
        self.first, self.first_share = first, first_share
        self.num_classes, self.box_weight = num_classes, box_weight
        self.assign = assign or SimOTA()
        self.box_term, self.class_target = box_term, class_target

    def forward(
        self, raw: Tensor, targets: list[dict[str, Tensor]], stride: int = STRIDE, progress: float = 1.0
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            raw: head output [B, 5 + num_classes, h, w].
            targets: per image ``{"boxes": [N, 4] xyxy px of the network's input, "labels": int64 [N]}``; N may be 0.
            stride: px of the network's input per cell of ``raw``.
            progress: share of the training that is over.

        Returns:
            scalars ``loss`` (with gradient) and its parts ``loss_box``, ``loss_objectness``, ``loss_class``;
            ``loss_constant``, what that of objectness would be if all cells had the best one score; and ``matched``,
            the number of matched cells.

        Raises:
            ValueError: if the shapes or labels do not fit.
        """
        self._check(raw, targets)
        boxes, objectness, classes = decode(raw, stride)
        truth, labels, valid = _pad(targets, raw.device)
        centres = (cell_grid(raw.shape[-2], raw.shape[-1], raw.device) + 0.5) * stride
        assign = self.first if self.first is not None and progress < self.first_share else self.assign
        found = assign(boxes, objectness, classes, truth, labels, valid, centres, stride)

        image, cell = torch.nonzero(found.matched, as_tuple=True)
        which = found.box[image, cell]
        quality = self.class_target(found.similarity[image, cell])[:, None]
        target = F.one_hot(labels[image, which], self.num_classes) * quality
        box = self.box_term(boxes[image, cell], truth[image, which]).sum()
        obj = F.binary_cross_entropy_with_logits(objectness, found.matched.float(), reduction="sum")
        cls = F.binary_cross_entropy_with_logits(classes[image, cell], target, reduction="sum")
        matched = found.matched.sum().clamp(min=1)
        parts = {"loss_box": self.box_weight * box, "loss_objectness": obj, "loss_class": cls}
        divisor = matched.clamp(min=self.least_per_image * len(targets))
        parts = {name: part / divisor for name, part in parts.items()}
        told = {"loss_constant": _of_a_constant(found.matched) / divisor, "matched": matched}
        return {"loss": sum(parts.values(), torch.zeros((), device=raw.device)), **parts, **told}

    def _check(self, raw: Tensor, targets: list[dict[str, Tensor]]) -> None:
        if raw.dim() != 4 or raw.shape[1] != 5 + self.num_classes or raw.shape[0] != len(targets):
            raise ValueError(
                f"expected raw output [{len(targets)}, {5 + self.num_classes}, h, w] for {len(targets)} targets and "
                f"{self.num_classes} classes, got {tuple(raw.shape)}"
            )


def _of_a_constant(matched: Tensor) -> Tensor:
    """Sum over cells of the cross-entropy of the share of matched ones: no score that all cells have gives less."""
    share = matched.double().mean()
    entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
    return (entropy * matched.numel()).float()


def _pad(targets: list[dict[str, Tensor]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes as cx, cy, w, h [B, G, 4], labels [B, G] and which are real [B, G]."""
    xyxy = pad_sequence([t["boxes"].reshape(-1, 4).float() for t in targets], batch_first=True).to(device)
    labels = pad_sequence([t["labels"].reshape(-1).long() for t in targets], batch_first=True).to(device)
    counts = torch.tensor([len(t["labels"]) for t in targets], device=device)
    valid = torch.arange(labels.shape[1], device=device) < counts[:, None]
    centre, size = (xyxy[..., :2] + xyxy[..., 2:]) / 2, xyxy[..., 2:] - xyxy[..., :2]
    return torch.cat((centre, size), dim=-1), labels, valid
