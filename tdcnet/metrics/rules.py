"""Which detection may hit which target: the field's rules for boxes, by name. (For masks: ``mask_protocols.py``.)

A rule looks at pairs of one detection and one target of the same frame, ``rule(detections [P, 4], targets [P, 4])`` in
xyxy px, and tells which of them may match, bool [P], and what a match would cost, [P]; of two pairs that compete the
cheaper one goes first. Matching itself, always one to one, is in ``matching.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats], tuple[Bools, Floats]]


def within(distance: float = 3.0) -> Rule:
    """Centres at most ``distance`` px apart, nearest first; exactly at the limit counts. This project's own rule."""
    return partial(_near, distance=distance, inclusive=True)


def centroid(distance: float = 3.0) -> Rule:
    """Centres less than ``distance`` px apart, nearest first.

    The limit is that of the field's mask codes (BasicIRSTD, DNANet: centroids < 3 px), which take the first one in
    raster order instead of the nearest.
    """
    return partial(_near, distance=distance, inclusive=False)


def iou(threshold: float = 0.5) -> Rule:
    """Intersection over union of at least ``threshold``, largest first; COCO's and TDCNet's measure of a hit."""
    return partial(_overlapping, threshold=threshold)


def hit() -> Rule:
    """The detection's centre lies in the target's box (left and upper edge included, as pixels do), nearest first."""
    return _inside


RULES: dict[str, Callable[..., Rule]] = {"within": within, "centroid": centroid, "iou": iou, "hit": hit}


def _near(detections: Floats, targets: Floats, distance: float, inclusive: bool) -> tuple[Bools, Floats]:
    squared = _squared_distance(detections, targets)
    near: Bools = np.less_equal(squared, distance**2) if inclusive else np.less(squared, distance**2)
    return near, squared


def overlap(detections: Floats, targets: Floats) -> Floats:
    """Intersection over union of each pair of boxes: [P, 4], [P, 4] -> [P]; 0 where neither has an area."""
    low, high = np.maximum(detections[:, :2], targets[:, :2]), np.minimum(detections[:, 2:], targets[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    union = _area(detections) + _area(targets) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _overlapping(detections: Floats, targets: Floats, threshold: float) -> tuple[Bools, Floats]:
    shared = overlap(detections, targets)
    return shared >= threshold, 1 - shared


def _inside(detections: Floats, targets: Floats) -> tuple[Bools, Floats]:
    centres = (detections[:, :2] + detections[:, 2:]) / 2
    inside = (centres >= targets[:, :2]) & (centres < targets[:, 2:])
    return inside[:, 0] & inside[:, 1], _squared_distance(detections, targets)


def _squared_distance(a: Floats, b: Floats) -> Floats:
    squared: Floats = (((a[:, :2] + a[:, 2:]) / 2 - (b[:, :2] + b[:, 2:]) / 2) ** 2).sum(axis=1)
    return squared


def _area(boxes: Floats) -> Floats:
    area: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return area
