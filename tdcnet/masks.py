"""Target masks: 8-connected components, and the way from boxes to masks and back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Components:
    """The 8-connected components of a mask, in raster order of their first pixel.

    Attributes:
        labels: int32 [H, W], 0 for the background, i + 1 for component i.
        areas: int64 [N], pixels.
        centroids: float64 [N, 2], x and y: the mean of the pixels' coordinates, a pixel's own being whole numbers.
        boxes: float32 [N, 4], xyxy px: edges, so that a single pixel (x, y) is ``[x, y, x + 1, y + 1]``.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int64]
    centroids: NDArray[np.float64]
    boxes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.areas)


def components(mask: Mask) -> Components:
    """Takes a mask [H, W] apart; any value but 0 is foreground.

    Raises:
        ValueError: if the mask is not two-dimensional.
    """
    if mask.ndim != 2:
        raise ValueError(f"expected a mask [H, W], got one of shape {mask.shape}")
    count, labels, stats, centroids = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)
    # OpenCV numbers components block by block, not always in the order of their first pixels.
    inside = labels[labels > 0]
    first = np.full(count, len(inside))
    np.minimum.at(first, inside, np.arange(len(inside)))
    order = np.argsort(first[1:], kind="stable")
    rank = np.zeros(count, np.int32)
    rank[order + 1] = np.arange(1, count, dtype=np.int32)
    stats, centroids = stats[1:][order], centroids[1:][order]
    x, y, w, h = stats[:, :4].T
    return Components(
        labels=rank[labels],
        areas=stats[:, cv2.CC_STAT_AREA].astype(np.int64),
        centroids=centroids,
        boxes=np.stack([x, y, x + w, y + h], axis=1).astype(np.float32),
    )


def mask_to_boxes(mask: Mask) -> NDArray[np.float32]:
    """Boxes of a mask's components, xyxy px: [H, W] -> [N, 4]."""
    return components(mask).boxes


def boxes_to_mask(boxes: NDArray[np.floating], size: tuple[int, int]) -> Mask:
    """The pixels whose centre lies in one of the boxes: [N, 4] xyxy px -> [H, W] of ``size`` (height, width).

    A box that holds no pixel's centre takes the pixel its own centre is in, as far as that is in the image: no target
    is lost for being small.
    """
    mask = np.zeros(size, np.bool_)
    for x1, y1, x2, y2 in np.asarray(boxes, np.float64).reshape(-1, 4):
        rows, columns = (slice(*_span(a, b, n)) for a, b, n in ((y1, y2, size[0]), (x1, x2, size[1])))
        mask[rows, columns] = True
    return mask


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    first, last = int(np.ceil(low - 0.5)), int(np.ceil(high - 0.5))
    if last <= first:
        first = int(np.floor((low + high) / 2))
        last = first + 1
    return min(max(first, 0), length), min(max(last, 0), length)
