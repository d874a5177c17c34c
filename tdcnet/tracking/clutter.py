"""Where a scene gives false alarms: learnt while it is watched, and held down there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELL = 8
"""Px of the scene that share an entry."""
REMEMBER = 60.0
"""Seconds after which a false alarm counts for 1 / e."""
MOST = 4096
"""Entries that are kept at most; the least go first."""


class ClutterMap:
    """Detections that belong to no confirmed track, by place in the scene.

    Args:
        weight: evidence that a place takes from what is detected there, for each e-fold of its false alarms; or 0.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._counts: dict[tuple[int, int], float] = {}
        self._to_map = np.eye(3)
        self._gain = 1.0  # grows, so that old counts need no touch to fade

    def restart(self) -> None:
        """Forgets all: another scene."""
        self._counts.clear()
        self._to_map, self._gain = np.eye(3), 1.0

    def move(self, since: Floats, size: tuple[int, int]) -> None:
        """The camera has moved.

        Args:
            since: homography [3, 3] from the frame before to this one.
            size: height and width, px.
        """
        if self.weight and not np.array_equal(since, np.eye(3)):
            try:
                self._to_map = self._to_map @ np.linalg.inv(since)
                self._to_map /= self._to_map[2, 2]
            except np.linalg.LinAlgError:
                self.restart()

    def at(self, centres: Floats) -> Floats:
        """What is taken from the evidence of detections at places [N, 2]."""
        if not self.weight or not len(centres):
            return np.zeros(len(centres))
        counts = [self._counts.get(cell, 0.0) / self._gain for cell in self._cells(centres)]
        return self.weight * np.log1p(np.array(counts))

    def learn(self, centres: Floats, dt: float) -> None:
        """Takes places [N, 2] of detections that belong to no confirmed track, ``dt`` seconds after the last."""
        if not self.weight:
            return
        self._gain *= math.exp(min(dt, 10 * REMEMBER) / REMEMBER)
        for y, x in self._cells(centres):
            for near in ((y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                self._counts[near] = self._counts.get(near, 0.0) + self._gain * (1.0 if near == (y, x) else 0.5)
        if len(self._counts) > MOST:
            kept = sorted(self._counts.items(), key=lambda item: -item[1])[: MOST // 2]
            self._counts = dict(kept)
        if self._gain > 1e9:
            self._counts = {cell: count / self._gain for cell, count in self._counts.items()}
            self._gain = 1.0

    def _cells(self, centres: Floats) -> list[tuple[int, int]]:
        if not len(centres):
            return []
        moved = np.concatenate([centres, np.ones((len(centres), 1))], axis=1) @ self._to_map.T
        places = np.floor(moved[:, :2] / moved[:, 2:] / CELL)
        if not np.isfinite(places).all():
            return [(0, 0)] * len(centres)
        return [(int(y), int(x)) for x, y in np.clip(places, -1e6, 1e6)]


class Dirt:
    """What stays on the sensor while the scene moves: dead pixels, dirt on a window, a reticle. No target does.

    Args:
        moved: px that the scene must have moved by beneath what did not.
        stays: px within which it stays on the sensor.
        seconds: that it must have been seen for.
    """

    RADIUS = 2.5
    """Px round such a place that belong to it."""
    FORGET = 120.0
    """Seconds after which a place where nothing was detected any more is none."""

    def __init__(self, moved: float = 8.0, stays: float = 1.2, seconds: float = 0.7) -> None:
        self.moved, self.stays, self.seconds = moved, stays, seconds
        self._places: list[tuple[float, float, float]] = []  # x, y in px of the sensor, and when it was seen last

    def restart(self) -> None:
        """Forgets all."""
        self._places.clear()

    def is_dirt(self, way: tuple[float, float], age: float) -> bool:
        """Whether a track is: px that it has been away from where it began, against the scene and on the sensor."""
        return way[0] >= self.moved and way[1] <= self.stays and age >= self.seconds

    def learn(self, x: float, y: float, now: float) -> None:
        """A track at a place of the sensor was dirt."""
        if not self.at(np.array([[x, y]]), now)[0]:
            self._places.append((x, y, now))

    def at(self, centres: Floats, now: float) -> NDArray[np.bool_]:
        """Which detections at [N, 2] lie on dirt."""
        found = np.zeros(len(centres), bool)
        self._places = [place for place in self._places if now - place[2] <= self.FORGET]
        if not len(centres):
            return found
        for number, (x, y, _) in enumerate(self._places):
            near = np.hypot(*(centres - (x, y)).T) <= self.RADIUS
            if near.any():
                self._places[number] = (x, y, now)
            found |= near
        return found
