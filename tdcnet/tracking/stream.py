"""Tracks of a source while its frames come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def follow(frames: Iterable[Seen], tracker: Tracker) -> Iterator[Tracked]:
    """Frames with their tracks, which end where another scene begins."""
    scene: int | None = None
    for seen in frames:
        if scene is not None and seen.scene != scene:
            tracker.restart()
        scene = seen.scene
        yield Tracked(seen, tracker.add(seen.found, seen.since))


class TrackStream(Iterator[Tracked]):
    """A stream's frames with their tracks.

    Args:
        stream: detections from the tracker's weakest on.
        tracker: what joins them.
    """

    def __init__(self, stream: Stream, tracker: Tracker) -> None:
        self.stream, self.tracker = stream, tracker
        self._tracked = follow(stream, tracker)

    def __next__(self) -> Tracked:
        return next(self._tracked)

    def __enter__(self) -> TrackStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends source and threads."""
        self.stream.close()
