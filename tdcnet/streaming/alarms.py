"""When somebody is told: rules of tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tdcnet.finite import number

if TYPE_CHECKING:
    from tdcnet.tracking.stream import Tracked
    from tdcnet.tracking.tracker import TrackPoint


@dataclass(frozen=True)
class Rule:
    """A rule; a confirmed track that keeps all of it is an alarm.

    Args:
        name: for people.
        score: least score.
        seconds: least age.
        speed: px per second at least, against the scene.
        inside: corners ``[[x, y], ...]`` of a polygon in px of the frame, that the target's centre is in; None for
            anywhere.
        classes: names of classes; None for all.
        repeat: seconds until the same track can be an alarm again; None for never.
        quiet: seconds after an alarm of this rule in which there is no other.
    """

    name: str = "target"
    score: float = 0.0
    seconds: float = 0.0
    speed: float = 0.0
    inside: Sequence[Sequence[float]] | None = None
    classes: Sequence[str] | None = None
    repeat: float | None = None
    quiet: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.name))
        if isinstance(self.classes, str):
            object.__setattr__(self, "classes", [self.classes])
        number("score", self.score, 0, 1)
        for name in ("seconds", "speed", "quiet"):
            number(name, getattr(self, name), 0)
        if self.repeat is not None:
            number("repeat", self.repeat, 0)
        if self.inside is not None:
            corners = [list(each) if isinstance(each, Sequence) else [each] for each in self.inside]
            if len(corners) < 3 or any(len(each) != 2 for each in corners):
                raise ValueError(f"rule {self.name}: inside is {corners}; expected three corners [x, y] or more, in px")
            for x, y in corners:
                number("inside", x, -1e6, 1e6)
                number("inside", y, -1e6, 1e6)

    def keeps(self, track: TrackPoint, name: str) -> bool:
        """Whether a confirmed track keeps it.

        Args:
            track: at a frame.
            name: of its class.
        """
        if track.state != "confirmed" or track.score < self.score or track.age < self.seconds:
            return False
        if self.classes is not None and name not in self.classes:
            return False
        if self.speed and float(np.hypot(*track.velocity)) < self.speed:
            return False
        if self.inside is None:
            return True
        x, y = float(track.box[0] + track.box[2]) / 2, float(track.box[1] + track.box[3]) / 2
        corners = np.array([list(each) for each in self.inside], np.float32)
        return cv2.pointPolygonTest(corners, (x, y), False) >= 0


@dataclass(frozen=True, eq=False)
class Alarm:
    """A track that keeps a rule.

    Attributes:
        number: of the alarm, from 1.
        rule: name of the rule.
        track: at the frame where it began.
        name: of its class.
        index, time: of the frame.
        recording: what the frame is part of.
        at: when the frame arrived, seconds since 1970.
    """

    number: int
    rule: str
    track: TrackPoint
    name: str
    index: int
    time: float | None
    recording: str
    at: float


@dataclass
class Alarms:
    """Rules, and what has kept them so far.

    Args:
        rules: each for itself.
    """

    rules: Sequence[Rule] = ()
    _count: int = field(default=0, init=False)
    _told: dict[tuple[int, int], float] = field(default_factory=dict, init=False)
    _last: dict[int, float] = field(default_factory=dict, init=False)
    _now: float = field(default=-np.inf, init=False)

    def of(self, tracked: Tracked) -> list[Alarm]:
        """Those that begin at a frame."""
        found, frame, classes = [], tracked.seen.frame, tracked.seen.found.classes
        now = frame.arrival if frame.time is None else frame.time
        if now < self._now:  # another recording
            self._told.clear()
            self._last.clear()
        self._now = now
        for at, rule in enumerate(self.rules):
            for track in tracked.tracks:
                name = classes[track.label] if track.label < len(classes) else str(track.label)
                if not rule.keeps(track, name):
                    continue
                before = self._told.get((at, track.id))
                if before is not None and (rule.repeat is None or now - before < rule.repeat):
                    continue
                if rule.quiet and now - self._last.get(at, -np.inf) < rule.quiet:
                    continue
                self._count += 1
                self._told[at, track.id] = self._last[at] = now
                where = (frame.index, frame.time, frame.recording, frame.at)
                found.append(Alarm(self._count, rule.name, track, name, *where))
        if len(self._told) > 10_000:  # of tracks long gone
            self._told = dict(list(self._told.items())[-5_000:])
        return found
