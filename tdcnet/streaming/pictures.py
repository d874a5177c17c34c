"""Frames with their tracks drawn in, fast enough for every frame."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tdcnet.data.views import Range
    from tdcnet.tracking.stream import Tracked

Picture = NDArray[np.uint8]
CONFIRMED, COASTING, WEAK = (255, 150, 40), (150, 150, 150), (90, 140, 200)
TRAIL = 60
"""Frames of a track's past that are drawn."""
GAP = 3
"""Px that brackets stand off a target."""
LEAST_SIDE = 480
"""Px of a picture's shorter side; smaller frames are doubled."""
MOST_SIDE = 2560
"""Px of its longer side, if it is enlarged."""


class Painter:
    """Draws tracks with their trails.

    Args:
        tentative: whether tracks that are not confirmed are drawn, too.
        zoom: picture px for a px of the frame; None for 1, or what brings the shorter side to :data:`LEAST_SIDE`.
    """

    def __init__(self, tentative: bool = False, zoom: int | None = None) -> None:
        self.tentative, self.zoom = tentative, zoom
        self._trails: dict[int, deque[tuple[float, float]]] = {}
        self._scene: int | None = None

    def draw(self, tracked: Tracked) -> Picture:
        """A picture of the next frame, uint8 RGB.

        Args:
            tracked: the frames in order: trails are moved as the camera moves.
        """
        self.follow(tracked)
        return self.paint(tracked)

    def paint(self, tracked: Tracked) -> Picture:
        """The same of a frame that was taken already."""
        picture = shown(tracked.frame.given, tracked.frame.image, tracked.seen.intensity_range)
        zoom = self.zoom or max(1, min(-(-LEAST_SIDE // min(picture.shape[:2])), MOST_SIDE // max(picture.shape[:2])))
        if zoom > 1:
            picture = np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)
        for track in reversed(tracked.tracks):
            if track.state == "tentative" and not self.tentative:
                continue
            colour = {"confirmed": CONFIRMED, "coasting": COASTING}.get(track.state, WEAK)
            trail = np.array(self._trails.get(track.id, ()), np.float32).reshape(-1, 2)
            if len(trail) > 1:
                line = np.round((trail + 0.5) * zoom * 8).astype(np.int32)[:, None]
                cv2.polylines(picture, [line], False, colour, 1, cv2.LINE_AA, 3)
            x1, y1, x2, y2 = (float(value) * zoom for value in track.box)
            corners = (round(x1) - GAP, round(y1) - GAP), (round(x2) + GAP, round(y2) + GAP)
            cv2.rectangle(picture, *corners, colour, 1)
            _label(picture, f"{track.id} {track.score:.2f}", corners[0], corners[1][1], colour)
        return np.asarray(picture, np.uint8)

    def follow(self, tracked: Tracked) -> None:
        """Takes the next frame without drawing it."""
        seen = tracked.seen
        if seen.scene != self._scene:
            self._trails.clear()
            self._scene = seen.scene
        elif not np.array_equal(seen.since, np.eye(3)):
            for key, trail in self._trails.items():
                places = np.array(trail, np.float64).reshape(-1, 1, 2)
                moved = cv2.perspectiveTransform(places, seen.since).reshape(-1, 2)
                self._trails[key] = deque(((float(x), float(y)) for x, y in moved), TRAIL)
        alive = {track.id for track in tracked.tracks}
        self._trails = {key: trail for key, trail in self._trails.items() if key in alive}
        for track in tracked.tracks:
            if track.state == "tentative" and not self.tentative:
                continue
            x1, y1, x2, y2 = (float(value) for value in track.box)
            self._trails.setdefault(track.id, deque(maxlen=TRAIL)).append(((x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5))


def shown(given: Any, image: NDArray[Any], intensity_range: Range | None = None) -> Picture:
    """A frame as uint8 RGB [H, W, 3], a copy."""
    array = np.asarray(given)
    if array.ndim == 3 and array.dtype == np.uint8:
        return array.copy()
    if image.dtype != np.uint8:
        low, high = intensity_range or (float(image.min()), float(image.max()))
        scaled = (image.astype(np.float32) - low) * (255 / max(1.0, high - low))
        image = np.clip(scaled, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)


def _label(picture: Picture, text: str, corner: tuple[int, int], below: int, colour: tuple[int, int, int]) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 0.42, 1)
    x = max(0, min(corner[0], picture.shape[1] - width - 2))
    y = corner[1] - 4 if corner[1] > height + 6 else min(below + height + 4, picture.shape[0] - 3)
    for shade, thick in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, 0.42, shade, thick, cv2.LINE_AA)
