"""A recording made harder, by some of :mod:`tdcnet.data.degradations`; its boxes stay those of what is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.degradations import Contrast, Dropped, Repeated, Scene, Shake, Way
from tdcnet.data.sequence import Sequence as Recording


class Degraded:
    """Frames of a recording, each made harder as it is read; a :class:`~tdcnet.data.sequence.FrameSource`."""

    def __init__(self, scene: Scene, ways: Sequence[Way], shown: Sequence[int]) -> None:
        self.scene, self.ways, self.shown = scene, ways, shown
        self.rate: float | None = getattr(scene.frames, "rate", None)
        times = getattr(scene.frames, "times", None)
        # One that comes again is taken for the one that should have come.
        self.times = times if times is None or len(shown) == len(times) else times[list(shown)]

    def __len__(self) -> int:
        return len(self.shown)

    @cached_property
    def _ready(self) -> list[Any]:
        return [way.prepared(self.scene) for way in self.ways]

    def read(self, index: int) -> NDArray[np.generic]:
        """A frame, of the type of the recording's."""
        at = self.shown[index]
        stored: NDArray[Any] = self.scene.frames.read(at)
        image = stored.astype(np.float32)
        for way, ready in zip(self.ways, self._ready, strict=True):
            image = way.apply(image, at, self.scene, ready)
        most = np.iinfo(stored.dtype).max
        return np.clip(np.rint(image), 0, most).astype(stored.dtype)

    def where(self, index: int) -> str:
        """Where the frame comes from."""
        return self.scene.frames.where(self.shown[index])


def degraded(
    recording: Recording, ways: Iterable[Way | Repeated | Dropped], seed: int = 0, level: float = 1.0
) -> Recording:
    """A recording made harder in some ways, one after the other.

    Args:
        recording: to be left as it is.
        ways: in the order in which they are applied; of :class:`Repeated` and :class:`Dropped` one at most.
        seed: of all that is drawn.
        level: stored values that make a grey level: 1 in 8-bit images.

    Raises:
        ValueError: if frames are to be repeated and dropped, or targets to be changed after they were shaken away from
            their boxes.
    """
    ways = tuple(ways)
    scene = Scene(recording.frames, recording.boxes, recording.name, seed, level)
    order = [way for way in ways if isinstance(way, Repeated | Dropped)]
    if len(order) > 1:
        raise ValueError("frames are repeated and dropped at once; give one of them")
    count = len(recording)
    shown = order[0].shown(scene, count) if order else list(range(count))
    changing: list[Way] = [way for way in ways if not isinstance(way, Repeated | Dropped)]
    kinds = [type(way) for way in changing]
    if Shake in kinds and Contrast in kinds[kinds.index(Shake) :]:
        raise ValueError("Contrast after Shake would change what is not a target any more; give Shake after it")
    boxes = [recording.boxes[at].copy() for at in shown]
    for shake in (way for way in changing if isinstance(way, Shake)):
        boxes = [box + np.tile(shake.shift(scene, at), 2) for box, at in zip(boxes, shown, strict=True)]
    indices, starts = recording.indices, recording.segment_start
    if order and isinstance(order[0], Dropped):
        indices = np.flatnonzero(np.isin(shown, indices))
        starts = np.searchsorted(shown, starts[shown]).astype(np.int64)  # the first frame of a segment that is left
    return replace(
        recording,
        frames=Degraded(scene, changing, shown),
        boxes=boxes,
        labels=[recording.labels[at] for at in shown],
        indices=indices.astype(np.int64),
        segment_start=starts,
        aligned_files=None,
    )
