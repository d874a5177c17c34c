"""Which boxes of a recording's frames are one and the same target."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

REACH = 30.0
"""Px that a target moves at most from one of its frames to the next."""
PATIENCE = 30
"""Frames without it after which a target that comes is another one."""


def numbered(targets: Sequence[Hashable | None], frames: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """A number from 0 for each target; None if one is not told, or is twice on a frame.

    Args:
        targets: whatever name each box's target has, [N].
        frames: of each box, [N].
    """
    if first_untold(targets, frames) is not None:
        return None
    number = {target: at for at, target in enumerate(dict.fromkeys(targets))}
    return np.array([number[target] for target in targets], np.int64)


def first_untold(targets: Sequence[Hashable | None], frames: NDArray[np.int64]) -> int | None:
    """The first box whose target is not told or is on its frame twice; arguments are those of :func:`numbered`."""
    seen: set[tuple[int, Hashable]] = set()
    for at, (frame, target) in enumerate(zip(frames.tolist(), targets, strict=True)):
        if target is None or (frame, target) in seen:
            return at
        seen.add((frame, target))
    return None


def linked(boxes: Sequence[NDArray[np.float32]]) -> tuple[list[NDArray[np.int64]], bool]:
    """An id for each box, from 0, where the data set does not tell.

    Where no frame has two targets there is one, however long it was out of sight, as data sets of one target mean it.
    Else boxes are joined from frame to frame by the least way (Hungarian method).

    Args:
        boxes: [N, 4] of each frame, xyxy px.

    Returns:
        ids [N] of each frame, and whether there is one target only.
    """
    if max((len(each) for each in boxes), default=0) < 2:
        return [np.zeros(len(each), np.int64) for each in boxes], True
    ids: list[NDArray[np.int64]] = []
    alive: dict[int, tuple[int, NDArray[np.float64]]] = {}  # id -> frame and centre where it was last
    count = 0
    for frame, each in enumerate(boxes):
        centres = (each[:, :2].astype(float) + each[:, 2:]) / 2
        alive = {i: kept for i, kept in alive.items() if frame - kept[0] <= PATIENCE}
        known = list(alive)
        here = np.full(len(each), -1, np.int64)
        if known and len(each):
            way = np.linalg.norm(np.stack([alive[i][1] for i in known])[:, None] - centres[None], axis=-1)
            rows, columns = linear_sum_assignment(np.minimum(way, 1e6))
            for row, column in zip(rows, columns, strict=True):
                if way[row, column] <= REACH:
                    here[column] = known[row]
        for column in range(len(each)):
            if here[column] < 0:
                here[column], count = count, count + 1
            alive[int(here[column])] = frame, centres[column]
        ids.append(here)
    return ids, False
