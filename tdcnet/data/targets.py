"""What makes a target easy or hard: its size, its contrast to what surrounds it, its speed. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence as Listed

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.transforms import full_scale

Floats = NDArray[np.float64]

SIZE_BINS: tuple[tuple[str, float, float], ...] = (
    ("tiny", 2.0, 10.0),
    ("mini", 10.0, 20.0),
    ("small", 20.0, float("inf")),
)
"""Name, least side and side beyond, px. Source: TDCNet's supplement (arXiv 2511.09352)."""

SURROUND = 20
"""px round a target that count as its background; the field's usual margin in signal-to-clutter ratios."""


def sides(boxes: NDArray[np.floating]) -> Floats:
    """Side of the square of each box's area, px: [N, 4] xyxy -> [N]."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.sqrt(area)


def size_bin(side: float) -> str:
    """Name of the bin of :data:`SIZE_BINS` that a side in px falls in; ``"below"`` if it is under the least."""
    return next((name for name, low, high in SIZE_BINS if low <= side < high), "below")


def signal_to_clutter(image: NDArray[np.generic], boxes: NDArray[np.floating]) -> Floats:
    """Signal-to-clutter ratio of each box: ``|mean inside - mean around| / standard deviation around``.

    Around is the box grown by :data:`SURROUND` px on each side, less all boxes of the frame. A background without any
    deviation (a flat synthetic one) counts as one that deviates by half a step of the stored numbers: scaling an image
    does not change its ratios, whatever part of 16 bit it takes up.

    Args:
        image: [H, W]; whole numbers as stored, or floats from 0 to 1.
        boxes: [N, 4] xyxy px.

    Returns:
        [N]; NaN where nothing is left inside or around.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    height, width = image.shape
    rectangles = [_pixels(box, height, width) for box in boxes]
    background = np.ones((height, width), np.bool_)
    for rows, columns in rectangles:
        background[rows, columns] = False
    least = 0.5 if image.dtype.kind in "ui" else 0.5 * full_scale(image) / 255
    ratios = np.full(len(boxes), np.nan)
    for i, (rows, columns) in enumerate(rectangles):
        around = tuple(
            slice(max(0, part.start - SURROUND), min(n, part.stop + SURROUND))
            for part, n in ((rows, height), (columns, width))
        )
        inside, outside = image[rows, columns], image[around][background[around]]
        if inside.size and outside.size:
            deviation = max(float(outside.std(dtype=np.float64)), least)
            ratios[i] = abs(inside.mean(dtype=np.float64) - outside.mean(dtype=np.float64)) / deviation
    return ratios


def speeds(boxes: Listed[NDArray[np.floating]], segment_start: NDArray[np.int64] | None = None) -> list[Floats]:
    """How fast each target moves in the image, px per frame: to the nearest target of the frame before.

    The camera's own motion is in it. NaN on the first frame of a segment and after a frame without targets.

    Args:
        boxes: per frame [N, 4] xyxy px.
        segment_start: per frame the position of its segment's first; one segment if None.

    Returns:
        Per frame [N].
    """
    found = []
    for t, now in enumerate(boxes):
        first = 0 if segment_start is None else int(segment_start[t])
        before = boxes[t - 1] if t > first else None
        if before is None or not len(now) or not len(before):
            found.append(np.full(len(now), np.nan))
            continue
        here, there = _centres(now), _centres(before)
        found.append(np.linalg.norm(here[:, None] - there[None], axis=-1).min(axis=1))
    return found


def _centres(boxes: NDArray[np.floating]) -> Floats:
    boxes = np.asarray(boxes, np.float64)
    centres: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def _pixels(box: Floats, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that the box covers by more than half, at least the one its centre is in."""
    spans = []
    for low, high, n in ((box[1], box[3], height), (box[0], box[2], width)):
        start, stop = round(low), round(high)
        if stop <= start:
            start = int((low + high) / 2)
            stop = start + 1
        spans.append(slice(min(max(start, 0), n), min(max(stop, 0), n)))
    return spans[0], spans[1]
