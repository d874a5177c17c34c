"""A recording made harder, by some of :mod:`tdcnet.data.degradations`; its boxes stay those of what is seen.

:func:`degraded` for what is evaluated, :class:`Sometimes` for training clips.
"""

from __future__ import annotations

import bisect
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.degradations import Contrast, Dropped, Repeated, Scene, Shake, Way
from tdcnet.data.sequence import Sequence as Recording
from tdcnet.finite import number

AnyWay = Way | Repeated | Dropped


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


def degraded(recording: Recording, ways: Iterable[AnyWay], seed: int = 0, level: float = 1.0) -> Recording:
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
    boxes = [recording.boxes[at] for at in shown]
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


def keeps_places(ways: Iterable[AnyWay]) -> bool:
    """Whether all frames stay where they are, in time and in the image, so that what was registered still is."""
    return not any(isinstance(way, Shake | Repeated | Dropped) for way in ways)


class Sometimes:
    """A way to make training clips harder, used in some of them and with a strength drawn for each.

    Args:
        way: makes one of :mod:`tdcnet.data.degradations` of its strengths.
        probability: share of the clips.
        strengths: per argument of ``way`` the lowest and the highest that is drawn, evenly; counts are drawn whole.

    Raises:
        ValueError: if a range is none, or ``way`` refuses one of its ends.
    """

    def __init__(self, way: Callable[..., AnyWay], probability: float = 1.0, **strengths: Sequence[float]) -> None:
        number("probability", probability, 0, 1)
        for name, given in strengths.items():
            if len(given) != 2 or not given[0] <= given[1]:
                raise ValueError(f"{name} is {list(given)}; expected the lowest and the highest that is drawn")
        for end in (0, 1):
            way(**{name: given[end] for name, given in strengths.items()})
        self.way, self.probability = way, probability
        self.strengths = {name: (given[0], given[1]) for name, given in strengths.items()}
        taken = inspect.signature(way).parameters
        self._counts = {name for name in strengths if taken[name].annotation in (int, "int")}

    def drawn(self, rng: np.random.Generator) -> AnyWay | None:
        """The way for one clip; None if this one is left as it is."""
        if rng.random() >= self.probability:
            return None
        return self.way(**{name: self._strength(name, rng) for name in self.strengths})

    def _strength(self, name: str, rng: np.random.Generator) -> float:
        low, high = self.strengths[name]
        return int(rng.integers(int(low), int(high) + 1)) if name in self._counts else float(rng.uniform(low, high))


class Steps:
    """A way to make recordings harder in several steps.

    Args:
        way: makes one of :mod:`tdcnet.data.degradations` of its strengths.
        axis: what the strengths are, in words.
        strengths: per argument of ``way`` what it is in each step; the first argument names the steps.

    Attributes:
        ways: of the steps.

        strengths: what the steps are told by.

    Raises:
        ValueError: if there is none, or they have not as many steps each.
    """

    def __init__(self, way: Callable[..., AnyWay], axis: str = "", **strengths: Sequence[float]) -> None:
        lengths = {len(given) for given in strengths.values()}
        if len(lengths) != 1 or 0 in lengths:
            told = ", ".join(f"{name} {list(given)}" for name, given in strengths.items()) or "nothing"
            raise ValueError(f"{told}: expected one or more steps, as many for each argument")
        self.axis = axis
        self.strengths = [float(strength) for strength in next(iter(strengths.values()))]
        self.ways = [
            way(**dict(zip(strengths, values, strict=True))) for values in zip(*strengths.values(), strict=True)
        ]


def harder_clip(
    recording: Recording, newest: int, ways: Iterable[Sometimes], level: float, rng: np.random.Generator
) -> tuple[Recording, int, bool]:
    """A recording made harder for one training clip.

    Args:
        recording: to be left as it is.
        newest: position of the clip's newest frame.
        ways: what may happen to it.
        level: stored values that make a grey level.
        rng: draws what happens.

    Returns:
        The recording as it then is; the position in it of the newest frame, or where that was dropped of the one after;
        and whether all frames stayed where they are, so that what was registered still is.
    """
    drawn = [way for sometimes in ways if (way := sometimes.drawn(rng)) is not None]
    if not drawn:
        return recording, newest, True
    harder = degraded(recording, drawn, int(rng.integers(2**32)), level)
    if any(isinstance(way, Dropped) for way in drawn):
        assert isinstance(harder.frames, Degraded)
        newest = min(bisect.bisect_left(harder.frames.shown, newest), len(harder) - 1)
    return harder, newest, not any(isinstance(way, Shake | Repeated | Dropped) for way in drawn)
