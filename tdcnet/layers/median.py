"""The median of maps, value by value, by a sorting network: minima and maxima alone, which every runtime does fast."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor


def median_of(maps: Sequence[Tensor]) -> Tensor:
    """The median over a list, of an even number of maps the mean of the middle two.

    Args:
        maps: tensors of one shape.

    Raises:
        ValueError: if there is none.
    """
    if not maps:
        raise ValueError("the median of no maps; expected one or more")
    kept = list(maps)
    for low, high, needs_low, needs_high in selection(len(kept)):
        first, second = kept[low], kept[high]
        if needs_low:
            kept[low] = torch.minimum(first, second)
        if needs_high:
            kept[high] = torch.maximum(first, second)
    middle = len(kept) // 2
    return kept[middle] if len(kept) % 2 else (kept[middle - 1] + kept[middle]) / 2


@functools.cache
def selection(count: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Steps that bring the middle of ``count`` values to its place: two places, and whether each is looked at later.

    Batcher's merge exchange (Knuth, The Art of Computer Programming, vol. 3, 5.2.2, algorithm M) less what the middle
    does not hang on.
    """
    pairs = []
    top = 1 << max(count - 1, 1).bit_length() - 1
    step = top
    while step:
        size, rest, distance = top, 0, step
        while distance:
            pairs += [(i, i + distance) for i in range(count - distance) if i & step == rest]
            distance, size, rest = size - step, size // 2, step
        step //= 2
    needed = {count // 2} if count % 2 else {count // 2 - 1, count // 2}
    steps = []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            steps.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(steps))
