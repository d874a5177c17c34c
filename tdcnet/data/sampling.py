"""Which clips make an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from torch.utils.data import Sampler

Balance = Literal["none", "sequence"]


class EpochSampler(Sampler[int]):
    """A fixed number of random items per epoch, a new draw each epoch.

    The draw depends on seed and epoch only, so all processes of a distributed run draw the same list and a distributed
    sampler can deal it out (Lightning wraps this one by itself and hands ``set_epoch`` on). No item comes twice before
    all others, of the data set or of its sequence, came once.

    Args:
        counts: items per sequence; the items of a sequence are neighbours.
        samples: items per epoch: an int is a number, a float in (0, 1] a fraction of all items (0.2 as published,
            TDCNET.md, Training), None is all.
        balance: ``"none"`` draws every item at an even chance, ``"sequence"`` every sequence, so that long recordings
            do not outweigh short ones.
        seed: of the draws.

    Raises:
        ValueError: if there are no items, or ``samples`` or ``balance`` is not one of the above.
    """

    def __init__(
        self, counts: list[int], samples: int | float | None = None, balance: Balance = "none", seed: int = 0
    ) -> None:
        total = sum(counts)
        if total == 0:
            raise ValueError("no item to draw from: the split is empty")
        if balance not in get_args(Balance):
            raise ValueError(f"balance is {balance!r}; allowed are {', '.join(get_args(Balance))}")
        if isinstance(samples, bool) or (
            samples is not None and not (0 < samples <= 1 if isinstance(samples, float) else samples >= 1)
        ):
            raise ValueError(f"samples is {samples!r}; expected a whole number from 1 on, or a fraction as 0.2 or 1.0")
        if samples is None:
            samples = total
        self.length = max(1, round(samples * total)) if isinstance(samples, float) else int(samples)
        starts = np.concatenate([[0], np.cumsum(counts)])
        ranges = [np.arange(start, end) for start, end in pairwise(starts) if end > start]
        self.groups = ranges if balance == "sequence" else [np.concatenate(ranges)]
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the draw; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        share, rest = divmod(self.length, len(self.groups))
        extra = set(rng.permutation(len(self.groups))[:rest].tolist())
        drawn = np.concatenate(
            [_draw(group, share + (number in extra), rng) for number, group in enumerate(self.groups)]
        )
        return iter(rng.permutation(drawn).tolist())


def _draw(items: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    rounds = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return np.concatenate([items[:0], *rounds])[:count]
