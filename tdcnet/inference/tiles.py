"""Frames larger than a network's input, cut into overlapping tiles at their own resolution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from tdcnet.data.transforms import Matrix

OVERLAP = 64
"""px that neighbouring tiles share at least: a target of up to half of it is whole in the tile that answers for it."""

Detections = dict[str, Tensor]


@dataclass(frozen=True)
class Tile:
    """A part of a frame.

    Attributes:
        left, top: px of the frame that the tile's upper left corner lies at; below 0 where the frame is smaller.
        core: ``x1, y1, x2, y2``, the part of the plane whose detections this tile answers for. The cores of a frame's
            tiles divide the plane: the outer ones have no end.
    """

    left: int
    top: int
    core: tuple[float, float, float, float]

    @property
    def matrix(self) -> Matrix:
        """Frame to tile, float64 [3, 3], edge coordinates."""
        return np.array([[1.0, 0.0, -self.left], [0.0, 1.0, -self.top], [0.0, 0.0, 1.0]])


def tiles_of(frame: tuple[int, int], size: tuple[int, int], overlap: int = OVERLAP) -> list[Tile]:
    """The tiles that cover a frame, as few as there can be, spread evenly, row by row.

    Args:
        frame: height and width, px.
        size: of a tile; a frame that is smaller lies in its middle.
        overlap: px that neighbours share at least.

    Raises:
        ValueError: if a tile is no larger than the overlap.
    """
    if not 0 <= overlap < min(size):
        raise ValueError(
            f"tiles of {size[1]}x{size[0]} px cannot overlap by {overlap} px; expected 0 to less than both"
        )
    rows, columns = (_cut(length, side, overlap) for length, side in zip(frame, size, strict=True))
    return [Tile(x, y, (x1, y1, x2, y2)) for y, y1, y2 in rows for x, x1, x2 in columns]


def _cut(length: int, side: int, overlap: int) -> list[tuple[int, float, float]]:
    """Along an axis: start of each tile, and where its core begins and ends, in the middle of what neighbours share."""
    if length <= side:
        return [((length - side) // 2, -math.inf, math.inf)]
    count = math.ceil((length - overlap) / (side - overlap))
    starts = [round(start) for start in np.linspace(0, length - side, count)]
    borders = [(left + side + right) / 2 for left, right in itertools.pairwise(starts)]
    return list(zip(starts, [-math.inf, *borders], [*borders, math.inf], strict=True))


def merge(
    found: Sequence[Detections], tiles: Sequence[Tile], nms_iou: float = 0.5, max_detections: int = 100
) -> Detections:
    """The detections of a frame from those of its tiles.

    Each comes from the tile in whose core its centre lies, where it is seen whole. Two that tiles place on either side
    of a border are one if they overlap.

    Args:
        found: of each tile, ``{"boxes": [N, 4] xyxy px of the tile, "scores": [N], "labels": [N]}``.
        tiles: that they are of.
        nms_iou: of two boxes of one class that overlap more than this the weaker is dropped.
        max_detections: the best of the frame that are kept.

    Returns:
        the same in px of the frame, best first.
    """
    parts: list[Detections] = []
    for each, tile in zip(found, tiles, strict=True):
        boxes = each["boxes"] + each["boxes"].new_tensor([tile.left, tile.top] * 2)
        x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).unbind(1)
        x1, y1, x2, y2 = tile.core
        own = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        parts.append({"boxes": boxes[own], "scores": each["scores"][own], "labels": each["labels"][own]})
    whole = {key: torch.cat([part[key] for part in parts]) for key in ("boxes", "scores", "labels")}
    keep = batched_nms(whole["boxes"], whole["scores"], whole["labels"], nms_iou)[:max_detections]
    return {key: value[keep] for key, value in whole.items()}
