"""What makes a target easy or hard: its size, its contrast to what surrounds it, its speed. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Listed

import cv2
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
    least = 0.5 if image.dtype.kind in "ui" else 0.5 * full_scale(image) / 255
    ratios = np.full(len(boxes), np.nan)
    for i, (inside, outside) in enumerate(_inside_and_around(image, boxes)):
        if inside.size and outside.size:
            deviation = max(float(outside.std(dtype=np.float64)), least)
            ratios[i] = abs(inside.mean(dtype=np.float64) - outside.mean(dtype=np.float64)) / deviation
    return ratios


def margins(image: NDArray[np.generic], boxes: NDArray[np.floating]) -> Floats:
    """How far each box reaches beyond what is seen of its target, px on each side: the mean over both axes.

    Seen is what hangs together with the box's most conspicuous pixel and differs at least half as much from the median
    around it (as in :func:`signal_to_clutter`). Boxes that people drew by eye are often several px wider, whatever the
    target's size: see ``margin`` of :class:`~tdcnet.data.augment.Augment`.

    Args:
        image: [H, W].
        boxes: [N, 4] xyxy px.

    Returns:
        [N]; NaN where nothing is left inside or around, or where nothing stands out: by less than twice the deviation
        around.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    found = np.full(len(boxes), np.nan)
    for i, (inside, outside) in enumerate(_inside_and_around(image, boxes)):
        if not inside.size or not outside.size:
            continue
        height = np.abs(inside.astype(np.float64) - np.median(outside.astype(np.float64)))
        if height.max() <= 2 * outside.std(dtype=np.float64):
            continue
        _, regions, boxes_of, _ = cv2.connectedComponentsWithStats((2 * height >= height.max()).astype(np.uint8))
        seen = boxes_of[regions.flat[height.argmax()], [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
        found[i] = ((boxes[i, 2:] - boxes[i, :2] - seen) / 2).mean()
    return found


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


def _inside_and_around(
    image: NDArray[np.generic], boxes: Floats
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """The pixels in each box [h, w], and those up to :data:`SURROUND` px around it that are in no box [K]."""
    height, width = image.shape
    rectangles = [_pixels(box, height, width) for box in boxes]
    background = np.ones((height, width), np.bool_)
    for rows, columns in rectangles:
        background[rows, columns] = False
    for rows, columns in rectangles:
        around = tuple(
            slice(max(0, part.start - SURROUND), min(n, part.stop + SURROUND))
            for part, n in ((rows, height), (columns, width))
        )
        yield image[rows, columns], image[around][background[around]]


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
