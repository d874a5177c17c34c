"""Targets too dim for one frame, found by adding up registered frames along straight tracks of many velocities.

Velocity filters as of Reed, Gagliardi and Stotts ("Optical moving target detection with 3-D matched filtering", IEEE
Transactions on Aerospace and Electronic Systems 24(4), 1988): over K frames a target grows by K, noise by its root.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 4
"""Frames that are added up along few velocities first; the sums then along all."""
COARSE = 2
"""Steps of the velocities that make one of these few."""


def strongest_tracks(frames: Tensor, fastest: float = 1.5, steps: int = 5) -> Tensor:
    """The largest and the least sum along any track that ends at a pixel, over the root of K.

    Args:
        frames: [B, K, H, W], the newest first, what stands still subtracted; K is a multiple of :data:`BLOCK`.
        fastest: largest velocity, px per frame.
        steps: velocities from 0 to the largest, in each direction.

    Returns:
        [B, 2, H, W]; where frames hold noise of standard deviation 1, so do both, less what the best of many is by
        chance.

    Raises:
        ValueError: if K is no such number.
    """
    batch, count, height, width = frames.shape
    if count % BLOCK or not count:
        raise ValueError(f"{count} frames; tracks are added up over a multiple of {BLOCK}")
    pace = fastest / steps
    within, beyond = math.ceil(fastest * (BLOCK - 1)), math.ceil(fastest * (count - BLOCK))  # px, of a block
    reach = within + beyond
    # Images in one row, with zeros between their lines and at both ends: then a shift in y and x is one along the row,
    # and sums run over memory as it lies.
    line = width + reach
    spread = functional.pad(frames.transpose(0, 1), (0, reach, 0, reach)).flatten(1)
    row = functional.pad(spread, (reach * line + reach,) * 2).unbind(0)
    most = least = None
    for near, exact in _velocities(steps).items():
        shifts = [round(near[0] * pace * i) * line + round(near[1] * pace * i) for i in range(BLOCK)]
        blocks = [_sum(row[first : first + BLOCK], shifts, within * line + within) for first in range(0, count, BLOCK)]
        for down, along in exact:
            shifts = [round(down * pace * i) * line + round(along * pace * i) for i in range(0, count, BLOCK)]
            total = _sum(blocks, shifts, beyond * line + beyond)
            most = total if most is None else torch.maximum(most, total)
            least = total if least is None else torch.minimum(least, total)
    assert most is not None and least is not None
    found = torch.stack((most, least), dim=1).view(batch, height + reach, line, 2)[:, :height, :width]
    return found.permute(0, 3, 1, 2) / math.sqrt(count)


def _sum(rows: Sequence[Tensor], shifts: Sequence[int], margin: int) -> Tensor:
    """The sum of rows, each shifted, without a margin at both ends that is as wide as the largest shift."""
    total: Tensor | None = None
    for row, shift in zip(rows, shifts, strict=True):
        seen = row[margin - shift : row.shape[0] - margin - shift]
        total = seen if total is None else total + seen
    assert total is not None
    return total


@functools.cache
def _velocities(steps: int) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Velocities up to the largest, in steps of y and x, by the nearest of the few along which blocks are added up."""
    few = sorted({sign * min(steps, each) for each in range(0, steps + COARSE, COARSE) for sign in (1, -1)})
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y in range(-steps, steps + 1):
        for x in range(-steps, steps + 1):
            if math.hypot(y, x) <= steps + 0.5:
                near = min(few, key=lambda each: abs(each - y)), min(few, key=lambda each: abs(each - x))
                found.setdefault(near, []).append((y, x))
    return found
