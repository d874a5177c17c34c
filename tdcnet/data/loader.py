"""Loads an epoch from where a training is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from tdcnet.data.sampling import EpochSampler


class EpochLoader(DataLoader[Any]):
    """Batches of an epoch, less those that a run which is resumed has done; they are not loaded either.

    Args:
        place: asked when the first batch of an epoch is wanted: the epoch, and the steps of it that are done; None for
            those of the sampler. (Lightning makes an iterator before it has read the checkpoint, and its workers would
            begin with the wrong epoch.)
        **options: of torch's loader; the sampler is an :class:`~tdcnet.data.sampling.EpochSampler`.
    """

    def __init__(self, *, place: Callable[[], tuple[int, int]] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.place = place

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.place is not None and isinstance(self.sampler, EpochSampler):
            epoch, self.sampler.done = self.place()
            self.sampler.set_epoch(epoch)
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the place is in the training's own counters. Lightning takes a loader without for one that cannot be
        resumed."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to do, see :meth:`state_dict`."""
