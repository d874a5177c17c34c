"""Boxes of the shapes that labelling tools draw, and of shapes in between two frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import cos, radians, sin
from typing import NamedTuple

from tdcnet.data.errors import DataError
from tdcnet.limits import bound

MOST_BOXES = 10_000_000
"""Of all frames of a file of tracks."""


class Box(NamedTuple):
    """``x1, y1, x2, y2`` in px, the name of its class, what lists it, and which target it is if that is told."""

    corners: list[float]
    name: str
    where: str
    target: Hashable | None = None


@dataclass(frozen=True)
class KeyFrame:
    """Where a target is on one frame: number, ``x1, y1, x2, y2``, whether it is seen from there on, what lists it."""

    number: int
    box: list[float]
    seen: bool
    where: str


def around(points: list[tuple[float, float]]) -> list[float]:
    """The box ``x1, y1, x2, y2`` of points."""
    xs, ys = zip(*points, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def turned(box: list[float], degrees: float, about: tuple[float, float]) -> list[float]:
    """The box of a box that is turned clockwise, as seen on an image, about a point."""
    if not degrees % 360:
        return box
    c, s = cos(radians(degrees)), sin(radians(degrees))
    corners = [(x - about[0], y - about[1]) for x in box[::2] for y in box[1::2]]
    return around([(about[0] + c * x - s * y, about[1] + s * x + c * y) for x, y in corners])


def by_frame(
    tracks: Iterable[tuple[str, Iterable[KeyFrame]]], last: int, where: object, stays: bool = False
) -> dict[int, list[Box]]:
    """The boxes on each frame; linear in between two that are listed.

    Args:
        tracks: of each target its class, and where it is.
        last: number of the last frame there is.
        where: they are listed, for messages.
        stays: a target is seen up to the last frame where no later entry ends it; else up to its last entry.

    Raises:
        DataError: if there are more than ``MOST_BOXES``.
    """
    found: dict[int, list[Box]] = defaultdict(list)
    count = 0
    for target, (name, listed) in enumerate(tracks):
        keys = {key.number: key for key in listed}
        for number, box, source in _each_frame([keys[at] for at in sorted(keys)], last, stays):
            found[number].append(Box(box, name, source, target))
            count += 1
            if count > bound(MOST_BOXES):
                raise DataError(f"{where}: has more than {bound(MOST_BOXES):,} boxes. Export it in parts")
    return found


def _each_frame(track: list[KeyFrame], last: int, stays: bool) -> Iterator[tuple[int, list[float], str]]:
    for key, after in pairwise(track):
        for number in range(key.number, min(after.number, last + 1)) if key.seen else ():
            share = (number - key.number) / (after.number - key.number) if after.seen else 0.0
            yield number, [(1 - share) * a + share * b for a, b in zip(key.box, after.box, strict=True)], key.where
    if track and track[-1].seen:
        for number in range(track[-1].number, (last if stays else track[-1].number) + 1):
            yield number, track[-1].box, track[-1].where
