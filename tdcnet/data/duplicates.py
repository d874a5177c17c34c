"""Boxes that are on a frame twice: a detector that finds the target once would be said to have missed the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.9
"""Intersection over union above which two boxes of a class may be one."""
APART = 0.5
"""And their centres must be nearer than this, px: a pair that flies past each other never is for long."""


def repeats(frames: NDArray[np.int64], boxes: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes repeat an earlier one of their frame and class, bool [N].

    Identical ones, and those that differ by rounding or by two passes of a tool: overlap above :data:`OVERLAP` with
    centres less than :data:`APART` px from each other. Boxes of 1 px on neighbouring pixels are two targets.

    Args:
        frames: of each box, [N].
        boxes: ``x1, y1, x2, y2`` in px, finite, of some area, [N, 4].
        labels: [N].
    """
    found: NDArray[np.bool_] = np.zeros(len(boxes), np.bool_)
    if len(boxes) < 2:
        return found
    exact = boxes.astype(np.float64)
    centres = (exact[:, :2] + exact[:, 2:]) / 2
    order = np.lexsort((centres[:, 0], labels, frames))
    near: NDArray[np.bool_] = np.zeros(len(boxes), np.bool_)
    step = np.diff(centres[order, 0])
    near[1:] = (np.diff(frames[order]) == 0) & (np.diff(labels[order]) == 0) & (step < APART)
    # Few boxes have a neighbour that near; only these are looked at one by one, in groups along x.
    starts = np.flatnonzero(~near)
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        if end - start > 1:
            group = np.sort(order[start:end])  # as they are in the file: the first stays
            first = np.sort(np.unique(exact[group], axis=0, return_index=True)[1])
            found[group], single = True, group[first]
            found[single] = False
            found[single[_repeats_of_one_kind(exact[single], centres[single])]] = True
    return found


def _repeats_of_one_kind(boxes: NDArray[np.float64], centres: NDArray[np.float64]) -> list[int]:
    kept: dict[tuple[int, int], list[int]] = {}
    found = []
    for at, centre in enumerate(centres):
        # In a grid, since a file may say the same box a million times.
        column, row = (int(v) for v in centre // APART)
        around = [i for x in (-1, 0, 1) for y in (-1, 0, 1) for i in kept.get((column + x, row + y), ())]
        if around and _same(boxes[at], boxes[around], centre, centres[around]):
            found.append(at)
        else:
            kept.setdefault((column, row), []).append(at)
    return found


def _same(
    box: NDArray[np.float64], others: NDArray[np.float64], centre: NDArray[np.float64], theirs: NDArray[np.float64]
) -> bool:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    close = np.hypot(*(theirs - centre).T) < APART
    return bool(np.any(close & (shared > OVERLAP * union)))
