"""Which clips make an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import numpy as np
from torch.utils.data import DistributedSampler

Balance = Literal["none", "sequence"]


class Draw(NamedTuple):
    """An item of an epoch, and what all that is random about it comes from."""

    item: int
    seed: tuple[int, int, int]
    """Of the run, the epoch, and the place in it: not of a process, so that workers, processes and a resumed run make
    the same sample of it."""


class EpochSampler(DistributedSampler[Draw]):
    """A fixed number of random items per epoch, a new draw each epoch.

    The draw depends on seed and epoch only, so all processes of a distributed run draw the same list; each takes every
    so many of it. No item comes twice before all others, of the data set or of its sequence, came once. (It is torch's
    DistributedSampler by name, so that Lightning leaves the dealing to it.)

    Args:
        counts: items per sequence; the items of a sequence are neighbours.
        samples: items per epoch: an int is a number, a float in (0, 1] a fraction of all items (0.2 as published,
            TDCNET.md, Training), None is all.
        balance: ``"none"`` draws every item at an even chance, ``"sequence"`` every sequence, so that long recordings
            do not outweigh short ones.
        seed: of the draws.
        batch: items of one step, over all processes. What makes no whole step at an epoch's end is left out, unless it
            is all there is.
        processes: how many share the draw. (If it does not divide the only step of an epoch, some items come twice.)
        rank: which of them this is, from 0 on.

    Attributes:
        done: steps of the epoch that are passed over, since a run that is resumed has done them.

    Raises:
        ValueError: if there are no items, or ``samples`` or ``balance`` is not one of the above.
    """

    def __init__(
        self,
        counts: list[int],
        samples: int | float | None = None,
        balance: Balance = "none",
        seed: int = 0,
        batch: int = 1,
        processes: int = 1,
        rank: int = 0,
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
        if self.length > batch:
            self.length -= self.length % batch
        starts = np.concatenate([[0], np.cumsum(counts)])
        ranges = [np.arange(start, end) for start, end in pairwise(starts) if end > start]
        self.groups = ranges if balance == "sequence" else [np.concatenate(ranges)]
        self.seed, self.batch = seed, batch
        self.num_replicas, self.rank = processes, rank
        self.epoch = self.done = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the draw; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.num_replicas)

    def __iter__(self) -> Iterator[Draw]:
        items = self._items()
        for start in range(self.done * self.batch, len(self) * self.num_replicas, self.num_replicas):
            place = (start + self.rank) % self.length
            # From 1 on, for numpy takes a seed that ends in zeros for the one without them: the epoch's own draw.
            yield Draw(items[place], (self.seed, self.epoch, place + 1))

    def _items(self) -> list[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        share, rest = divmod(self.length, len(self.groups))
        extra = set(rng.permutation(len(self.groups))[:rest].tolist())
        drawn = np.concatenate(
            [_draw(group, share + (number in extra), rng) for number, group in enumerate(self.groups)]
        )
        items: list[int] = rng.permutation(drawn).tolist()
        return items


def _draw(items: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    rounds = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return np.concatenate([items[:0], *rounds])[:count]
