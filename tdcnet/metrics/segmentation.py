"""Figures of detectors that give masks: Pd and Fa by the published protocols, IoU and nIoU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from tdcnet.masks import components
from tdcnet.metrics.mask_protocols import MASK_PROTOCOLS, MaskCounts


class MaskMetrics(Metric):
    """Pd, Fa, IoU and nIoU of masks, summed as they come: nothing is held but counts.

    Args:
        protocols: names of :data:`~tdcnet.metrics.mask_protocols.MASK_PROTOCOLS`.
        threshold: predictions above it are target; boolean masks stay as they are.

    ``compute`` gives floats: ``Pd_NAME`` and ``Fa_NAME`` (false pixels over all pixels) per protocol; ``IoU`` over all
    pixels of all frames together; ``nIoU``, the mean of the frames' IoU, over frames where either mask has a pixel;
    and ``frames``. Ratios with nothing to divide by are NaN.

    Raises:
        ValueError: if a protocol is unknown.
    """

    full_state_update = False
    counts: Tensor
    overlap: Tensor
    frames: Tensor
    pixels: Tensor

    def __init__(self, protocols: Sequence[str] = ("basicirstd",), threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if unknown := [name for name in protocols if name not in MASK_PROTOCOLS]:
            raise ValueError(f"protocol {unknown[0]!r} is unknown; allowed are {', '.join(MASK_PROTOCOLS)}")
        self.protocols, self.threshold = tuple(protocols), threshold
        zeros = torch.zeros(len(self.protocols), 3, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")  # targets, hits, false pixels
        # Intersection, union, sum of the frames' IoU, frames with one.
        self.add_state("overlap", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("frames", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("pixels", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Counts a batch of masks [B, H, W]; targets are whatever is not 0.

        Raises:
            ValueError: if the two differ in shape.
        """
        if predictions.shape != targets.shape or predictions.dim() != 3:
            raise ValueError(
                f"expected two batches of masks [B, H, W], got {tuple(predictions.shape)} and {tuple(targets.shape)}"
            )
        found = predictions if predictions.dtype == torch.bool else predictions > self.threshold
        wanted = targets != 0
        both, either = (found & wanted).flatten(1).sum(1).double(), (found | wanted).flatten(1).sum(1).double()
        shown = either > 0
        each = both[shown] / either[shown]
        sums = torch.stack([both.sum(), either.sum(), each.sum(), shown.sum().double()])
        self.overlap = self.overlap.double() + sums.to(self.overlap.device)
        self.frames += len(found)
        self.pixels += found.numel()
        pairs = [(components(p), components(t)) for p, t in zip(found.cpu().numpy(), wanted.cpu().numpy(), strict=True)]
        for i, name in enumerate(self.protocols):
            total = sum((MASK_PROTOCOLS[name](p, t) for p, t in pairs), MaskCounts())
            self.counts[i] += torch.tensor([total.targets, total.hits, total.false_pixels], device=self.counts.device)

    def compute(self) -> dict[str, float]:
        """The figures of all frames and processes."""
        intersection, union, summed, shown = self.overlap.tolist()
        figures = {"IoU": _ratio(intersection, union), "nIoU": _ratio(summed, shown), "frames": float(self.frames)}
        for name, (targets, hits, false) in zip(self.protocols, self.counts.tolist(), strict=True):
            figures[f"Pd_{name}"] = _ratio(hits, targets)
            figures[f"Fa_{name}"] = _ratio(false, float(self.pixels))
        return figures


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
