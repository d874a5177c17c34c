"""Detectors without learning, behind the same interface as the networks: what a network has to be better than.

Each makes a map of how much a pixel stands out, divides it by its local mean (a rough sky makes many weak peaks, a
smooth one few), smooths it, and puts a box of fixed size round each peak. The head's raw output is written backwards
from that, one peak per cell, so that decoding, NMS, metrics and export treat it as any network's.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.boxes import STRIDE

CERTAIN = 20.0
"""Logit of the class: nearly 1, so that a box's score is that of its objectness."""


class SaliencyDetector(nn.Module):
    """``forward(aligned, frames) -> [B, 6, H/8, W/8]``, as :class:`~tdcnet.models.Detector`; no parameters.

    Score of a peak with contrast c (the map over its local mean): ``c / (1 + c)``.

    Args:
        box: side of the boxes, px.
        mean_size: side of the window of the local mean, px, odd.
        floor: added to the local mean, grey levels of 255: the contrast of a map that is near zero means nothing.
        sigma: of the Gaussian that smooths the map, px.
        num_frames: T of the clips.
    """

    in_channels = 1
    num_classes = 1

    def __init__(
        self, box: float = 13.0, mean_size: int = 31, floor: float = 1.5, sigma: float = 1.5, num_frames: int = 5
    ) -> None:
        super().__init__()
        self.box, self.mean_size, self.floor, self.num_frames = box, mean_size, floor, num_frames
        reach = math.ceil(3 * sigma)
        taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
        self.register_buffer("taps", taps / taps.sum(), persistent=False)
        self.taps: Tensor

    def saliency(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """How much each pixel of the newest frame stands out: clips [B, T, H, W] in grey levels -> [B, H, W], >= 0."""
        raise NotImplementedError

    def contrast(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """The map over its local mean, smoothed: clips [B, 1, T, H, W] in [0, 1] -> [B, H, W]."""
        stands_out = self.saliency(255 * aligned[:, 0], 255 * frames[:, 0])[:, None]
        # Row by row, then column by column: the same mean for a fraction of the work.
        size, half = self.mean_size, self.mean_size // 2
        mean = F.avg_pool2d(stands_out, (1, size), 1, (0, half), count_include_pad=False)
        mean = F.avg_pool2d(mean, (size, 1), 1, (half, 0), count_include_pad=False)
        ratio = stands_out / (mean + self.floor)
        reach = len(self.taps) // 2
        padded = F.pad(ratio, (reach,) * 4, mode="replicate")
        rows = F.conv2d(padded, self.taps.view(1, 1, 1, -1))
        return F.conv2d(rows, self.taps.view(1, 1, -1, 1))[:, 0]

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        contrast = self.contrast(aligned, frames)[:, None]
        _b, _, h, w = contrast.shape
        peaks = contrast * (contrast == F.max_pool2d(contrast, 3, 1, 1))
        best, index = F.max_pool2d(peaks, STRIDE, return_indices=True)  # one peak per cell
        y, x = (index // w + 0.5) / STRIDE, (index % w + 0.5) / STRIDE
        rows = torch.arange(h // STRIDE, device=best.device).view(-1, 1)
        columns = torch.arange(w // STRIDE, device=best.device).view(1, -1)
        side = torch.full_like(best, math.log(self.box / STRIDE))
        objectness = best.clamp_min(1e-9).log()  # the logit of c / (1 + c)
        return torch.cat((x - columns, y - rows, side, side, objectness, torch.full_like(best, CERTAIN)), dim=1)


class TopHat(SaliencyDetector):
    """White top-hat: the newest frame less its opening; bright spots smaller than ``size`` px remain.

    Source: Serra, "Image Analysis and Mathematical Morphology", 1982; the field's oldest baseline.
    """

    def __init__(self, size: int = 21, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.size = size

    def saliency(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Newest frame minus opening."""
        image = frames[:, -1:]
        # Continued beyond the border, or whatever slopes towards it would stand out there.
        wide = F.pad(image, (2 * (self.size // 2),) * 4, mode="replicate")
        eroded = -self._dilate(-wide)
        return (image - self._dilate(eroded))[:, 0]

    def _dilate(self, image: Tensor) -> Tensor:
        return F.max_pool2d(F.max_pool2d(image, (1, self.size), 1), (self.size, 1), 1)


class MPCM(SaliencyDetector):
    """Multiscale patch-based contrast measure: a patch that differs from all its eight neighbours to the same side.

    At each scale the mean of a patch is compared with those of the patches around it; of the four pairs of opposite
    neighbours the least product of differences counts, and of the scales the largest.

    Source: Wei, You, Li, "Multiscale patch-based contrast measure for small infrared target detection", Pattern
    Recognition 58, 2016.
    """

    def __init__(self, sizes: tuple[int, ...] = (3, 5, 7, 9), **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.sizes = tuple(sizes)

    def saliency(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Square root of the measure, so that it is in grey levels; bright targets only."""
        image = frames[:, -1:]
        h, w = image.shape[-2:]
        measures = []
        for size in self.sizes:
            mean = F.avg_pool2d(F.pad(image, (size // 2,) * 4, mode="replicate"), size, 1)
            around = F.pad(mean, (size,) * 4, mode="replicate")

            def towards(dy: int, dx: int, mean: Tensor = mean, around: Tensor = around, size: int = size) -> Tensor:
                y, x = size * (1 + dy), size * (1 + dx)
                return (mean - around[..., y : y + h, x : x + w]).clamp_min(0)

            pairs = [towards(dy, dx) * towards(-dy, -dx) for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))]
            measures.append(torch.stack(pairs).amin(0))
        return torch.stack(measures).amax(0).sqrt()[:, 0]


class TemporalDifference(SaliencyDetector):
    """The newest frame against the mean of the older, aligned ones."""

    def saliency(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Absolute difference."""
        return (aligned[:, -1] - aligned[:, :-1].mean(1)).abs()


class TemporalMedian(SaliencyDetector):
    """The newest frame against the median of all aligned ones; T of 21 and more is what it is made for."""

    def saliency(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Absolute difference."""
        return (aligned[:, -1] - aligned.median(dim=1).values).abs()
