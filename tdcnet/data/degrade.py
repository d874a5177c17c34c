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

from tdcnet.data.degradations import Contrast, Dropped, Repeated, Scene, Shake, Way, inside
from tdcnet.data.sequence import Sequence as Recording
from tdcnet.finite import number
from tdcnet.plain_data import is_number

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


def degraded(
    recording: Recording, ways: Iterable[AnyWay], seed: int = 0, level: float = 1.0, newest: int | None = None
) -> Recording:
    """A recording made harder in some ways, one after the other.

    Args:
        recording: to be left as it is.
        ways: in the order in which they are applied; of :class:`Repeated` and :class:`Dropped` one at most.
        seed: of all that is drawn.
        level: stored values that make a grey level: 1 in 8-bit images.
        newest: position of the only frame whose boxes count, which then is neither dropped nor repeated; None for all.

    Raises:
        ValueError: if frames are to be repeated and dropped, or targets to be changed after they were shaken away from
            their boxes.
    """
    ways = tuple(ways)
    scene = Scene(recording.frames, recording.boxes, recording.name, seed, level)
    check_together([type(way) for way in ways])
    order = [way for way in ways if isinstance(way, Repeated | Dropped)]
    shown = order[0].shown(scene, len(recording)) if order else list(range(len(recording)))
    if newest is not None and order:
        if isinstance(order[0], Repeated):
            shown[newest] = newest
        elif newest not in shown:
            bisect.insort(shown, newest)
    changing: list[Way] = [way for way in ways if not isinstance(way, Repeated | Dropped)]
    boxes, labels = [recording.boxes[at] for at in shown], [recording.labels[at] for at in shown]
    ids = None if recording.target_ids is None else [recording.target_ids[at] for at in shown]
    shakes = [way for way in changing if isinstance(way, Shake)]
    for place, at in enumerate(shown) if shakes else ():
        if newest in (None, at):
            moved = boxes[place] + np.tile(np.sum([way.shift(scene, at) for way in shakes], axis=0), 2)
            kept = inside(moved, scene.size)
            boxes[place], labels[place] = moved[kept].astype(np.float32), labels[place][kept]
            if ids is not None:
                ids[place] = ids[place][kept]
    # What is shown of frames outside the split has no labels.
    indices, starts = np.flatnonzero(np.isin(shown, recording.indices)), recording.segment_start
    if order and isinstance(order[0], Repeated):
        indices = np.intersect1d(indices, recording.indices)
    elif order:
        starts = np.searchsorted(shown, starts[shown]).astype(np.int64)  # the first frame of a segment that is left
    return replace(
        recording,
        frames=Degraded(scene, changing, shown),
        boxes=boxes,
        labels=labels,
        target_ids=ids,
        indices=indices.astype(np.int64),
        segment_start=starts,
        aligned_files=None,
    )


def check_together(kinds: Sequence[type]) -> None:
    """Whether ways of these kinds can be applied one after the other.

    Raises:
        ValueError: if not.
    """
    if len([kind for kind in kinds if kind in (Repeated, Dropped)]) > 1:
        raise ValueError("frames are repeated and dropped at once; give one of them")
    if Shake in kinds and Contrast in kinds[kinds.index(Shake) :]:
        raise ValueError("Contrast after Shake would change what is not a target any more; give Shake after it")


class Sometimes:
    """A way to make training clips harder, used in some of them and with a strength drawn for each.

    Args:
        way: makes one of :mod:`tdcnet.data.degradations` of its strengths.
        probability: share of the clips.
        strengths: per argument of ``way`` the lowest and the highest that is drawn, evenly; counts are drawn whole.

    Attributes:
        kind: of the way.

    Raises:
        ValueError: if a range is none, or ``way`` refuses one of its ends.
    """

    def __init__(self, way: Callable[..., AnyWay], probability: float = 1.0, **strengths: Sequence[float]) -> None:
        number("probability", probability, 0, 1)
        for name, given in strengths.items():
            if not _numbers(given) or len(given) != 2 or not given[0] <= given[1]:
                raise ValueError(f"{name} is {given}; expected the lowest and the highest that is drawn, [LOW, HIGH]")
        ends = [way(**{name: given[end] for name, given in strengths.items()}) for end in (0, 1)]
        self.kind = type(ends[0])
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
        if wrong := [name for name, given in strengths.items() if not _numbers(given)]:
            raise ValueError(f"{wrong[0]} is {strengths[wrong[0]]}; expected a list of numbers, one for each step")
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
        The recording as it then is; the position in it of the newest frame, which always comes; and whether all frames
        stayed where they are, so that what was registered still is.
    """
    drawn = [way for sometimes in ways if (way := sometimes.drawn(rng)) is not None]
    if not drawn:
        return recording, newest, True
    harder = degraded(recording, drawn, int(rng.integers(2**32)), level, newest)
    if any(isinstance(way, Dropped) for way in drawn):
        assert isinstance(harder.frames, Degraded)
        newest = harder.frames.shown.index(newest)
    return harder, newest, not any(isinstance(way, Shake | Repeated | Dropped) for way in drawn)


def _numbers(given: object) -> bool:
    return isinstance(given, list | tuple) and all(map(is_number, given))
