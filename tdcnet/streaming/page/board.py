"""What the page shows now: one picture for all who look, and the last alarms."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2

from tdcnet.streaming import rows
from tdcnet.streaming.pictures import Painter

if TYPE_CHECKING:
    from tdcnet.streaming.alarms import Alarm
    from tdcnet.tracking.stream import Tracked

ALARMS = 50
"""The last ones that are listed, with pictures."""
MOST_RATE = 25.0
"""Pictures a second at most."""
QUALITY = 85


@dataclass(frozen=True)
class Listed:
    """An alarm with its picture."""

    told: dict[str, Any]
    picture: bytes
    at: float  # seconds since 1970


class Board:
    """Draws and encodes in a thread of its own, and only while somebody looks.

    Attributes:
        least: score of tracks that are drawn; alarms and their pictures are not touched by it.
    """

    def __init__(self) -> None:
        self.alarms: deque[Listed] = deque(maxlen=ALARMS)
        self.version, self.picture = 0, b""
        self.least = 0.0
        self._painter = Painter()
        self._news = threading.Condition()
        self._next: Tracked | None = None
        self._lock = threading.Lock()  # of the painter
        self._looking, self._closed = 0, False
        self._drawn = 0.0
        self._thread = threading.Thread(target=self._run, name="page pictures", daemon=True)
        self._thread.start()

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame; it does not wait for anybody."""
        with self._lock:
            self._painter.follow(tracked)
        if alarms:
            encoded = self._encoded(tracked)
            for alarm in alarms:
                self.alarms.appendleft(Listed(rows.alarm_line(alarm), encoded, time.time()))
        now = time.monotonic()
        if (self._looking or not self.version) and now - self._drawn >= 1 / MOST_RATE:
            self._drawn = now
            with self._news:
                self._next = tracked
                self._news.notify_all()

    def look(self, more: int) -> None:
        """One viewer more, or one less."""
        with self._news:
            self._looking += more

    @property
    def looking(self) -> int:
        """Viewers."""
        return self._looking

    def close(self) -> None:
        """Ends the thread."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._next is not None or self._closed)
                if self._closed:
                    return
                assert self._next is not None
                tracked, self._next = self._next, None
            drawn = [track for track in tracked.tracks if track.score >= self.least]
            self.picture = self._encoded(replace(tracked, tracks=drawn))
            self.version += 1

    def _encoded(self, tracked: Tracked) -> bytes:
        with self._lock:
            picture = self._painter.paint(tracked)
        good, told = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return told.tobytes() if good else b""
