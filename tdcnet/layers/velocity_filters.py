"""Targets too dim for one frame, found by adding up registered frames along straight tracks of many velocities.

Velocity filters as of Reed, Gagliardi and Stotts ("Optical moving target detection with 3-D matched filtering", IEEE
Transactions on Aerospace and Electronic Systems 24(4), 1988): over K frames a target grows by K, noise by its root.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 4
"""Frames that are added up along few velocities first; the sums then along all."""
COARSE = 3
"""Steps of the velocities that make one of these few."""


def strongest_tracks(frames: Tensor, fastest: float = 1.5, steps: int = 6) -> Tensor:
    """The largest and the least sum along any track that ends at a pixel, over the root of K.

    Args:
        frames: [B, K, H, W], the newest first, what stands still subtracted; K is a multiple of :data:`BLOCK`.
        fastest: largest velocity, px per frame in x and in y.
        steps: velocities from 0 to the largest, in each direction.

    Returns:
        [B, 2, H, W]; where frames hold noise of standard deviation 1, so do both, less what the best of many is by
        chance.

    Raises:
        ValueError: if K is no such number.
    """
    count, height, width = frames.shape[1:]
    if count % BLOCK or not count:
        raise ValueError(f"{count} frames; tracks are added up over a multiple of {BLOCK}")
    reach = math.ceil(fastest * (BLOCK - 1)), math.ceil(fastest * (count - BLOCK))  # px within a block, and beyond
    padded = functional.pad(frames, (sum(reach),) * 4)
    inner = height + 2 * reach[1], width + 2 * reach[1]
    coarse: dict[tuple[int, int], list[Tensor]] = {}
    for velocity, (y, x) in _velocities(steps, fastest, COARSE):
        coarse[velocity] = [
            _along([padded[:, first + i] for i in range(BLOCK)], y, x, 1, reach[0], inner)
            for first in range(0, count, BLOCK)
        ]
    most = least = None
    for velocity, (y, x) in _velocities(steps, fastest, 1):
        blocks = coarse[_nearest(velocity[0], steps), _nearest(velocity[1], steps)]
        total = _along(blocks, y, x, BLOCK, reach[1], (height, width))
        most = total if most is None else torch.maximum(most, total)
        least = total if least is None else torch.minimum(least, total)
    assert most is not None and least is not None
    return torch.stack((most, least), dim=1) / math.sqrt(count)


def _along(maps: Sequence[Tensor], y: float, x: float, apart: int, pad: int, size: tuple[int, int]) -> Tensor:
    """The sum of padded maps [B, H, W], each ``apart`` frames before the last, along a velocity, px per frame."""
    total: Tensor | None = None
    for back, each in enumerate(maps):
        top, left = pad - round(y * apart * back), pad - round(x * apart * back)
        seen = each[:, top : top + size[0], left : left + size[1]]
        total = seen if total is None else total + seen
    assert total is not None
    return total


def _velocities(steps: int, fastest: float, every: int) -> Iterator[tuple[tuple[int, int], tuple[float, float]]]:
    """Numbers of every n-th velocity in y and x, and what they are in px per frame."""
    numbers = _grid(steps, every)
    for down in numbers:
        for along in numbers:
            yield (down, along), (down * fastest / steps, along * fastest / steps)


@functools.cache
def _grid(steps: int, every: int) -> tuple[int, ...]:
    return tuple(sorted({min(steps, i) * sign for i in range(0, steps + every, every) for sign in (1, -1)}))


@functools.cache
def _nearest(number: int, steps: int) -> int:
    return min(_grid(steps, COARSE), key=lambda each: abs(each - number))
