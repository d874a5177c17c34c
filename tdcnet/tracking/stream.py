"""Tracks of a source while its frames come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tdcnet.streaming.frames import LiveFrame
from tdcnet.streaming.stream import Seen, Stream
from tdcnet.tracking.tracker import Tracker, TrackPoint


@dataclass(frozen=True, eq=False)
class Tracked:
    """A frame with its tracks.

    Attributes:
        seen: the frame and its detections, weak ones as well.
        tracks: all that are alive, best first.
    """

    seen: Seen
    tracks: list[TrackPoint]

    @property
    def frame(self) -> LiveFrame:
        """The frame as it came."""
        return self.seen.frame

    @property
    def confirmed(self) -> list[TrackPoint]:
        """Tracks of targets; the others may be none."""
        return [track for track in self.tracks if track.state != "tentative"]


class TrackStream(Iterator[Tracked]):
    """A stream's frames with their tracks.

    Args:
        stream: detections from the tracker's weakest on.
        tracker: what joins them.
    """

    def __init__(self, stream: Stream, tracker: Tracker) -> None:
        self.stream, self.tracker = stream, tracker
        self._scene: int | None = None

    def __next__(self) -> Tracked:
        seen = next(self.stream)
        if self._scene is not None and seen.scene != self._scene:
            self.tracker.restart()
        self._scene = seen.scene
        return Tracked(seen, self.tracker.add(seen.found, seen.since))

    def __enter__(self) -> TrackStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends source and threads."""
        self.stream.close()
