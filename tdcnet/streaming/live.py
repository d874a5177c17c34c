"""A detector that watches: tracks, alarms and where they go, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from av.error import FFmpegError

from tdcnet.streaming.alarms import Alarm, Alarms
from tdcnet.streaming.frames import State
from tdcnet.streaming.sinks import Sink

if TYPE_CHECKING:
    from tdcnet.streaming.page.board import Board
    from tdcnet.tracking.stream import Tracked, TrackStream

log = logging.getLogger(__name__)

RECENT = 1000
"""Frames over which latency is told."""
WINDOW = 5.0
"""Seconds over which the rate is."""


@dataclass(frozen=True)
class Figures:
    """How it goes.

    Attributes:
        frames: that were looked at.
        rate: of these, a second, over the last seconds.
        latency: seconds from a frame's arrival to its tracks: in half, 95 and 99 of 100 frames it is less; NaN before
            the first.
        dropped: frames that came and were not looked at.
        state: of the source.
        restored: times that the source was lost and came back.
        tracks: confirmed ones now.
        alarms: so far.
        seconds: since the start.
        silent: seconds since the last frame, or the start.
    """

    frames: int
    rate: float
    latency: tuple[float, float, float]
    dropped: int
    state: State
    restored: int
    tracks: int
    alarms: int
    seconds: float
    silent: float

    def text(self) -> str:
        """A line for people."""
        p50, _, p99 = (1000 * value for value in self.latency)
        late = "" if np.isnan(p50) else f", {p50:.0f} ms late (p99 {p99:.0f})"
        dropped = f", {self.dropped} dropped" if self.dropped else ""
        return (
            f"{self.state}: {self.frames} frames, {self.rate:.1f} a second{late}{dropped}, {self.tracks} tracks, "
            f"{self.alarms} alarms"
        )


class Live:
    """Watches a source.

    Args:
        stream: its tracks.
        alarms: rules.
        sinks: where frames and alarms go, by name.
        board: what the page shows; None without one.
    """

    def __init__(
        self, stream: TrackStream, alarms: Alarms, sinks: dict[str, Sink] | None = None, board: Board | None = None
    ) -> None:
        self.stream, self.alarms = stream, alarms
        self.sinks = [_Guarded(name, sink) for name, sink in (sinks or {}).items()]
        self.board = board
        self._stop = threading.Event()
        self._begun = time.monotonic()
        self._frames = self._alarms = self._tracks = 0
        self._late: deque[float] = deque(maxlen=RECENT)
        self._times: deque[float] = deque(maxlen=10_000)

    def stop(self) -> None:
        """Ends it soon, from any thread or signal handler."""
        self._stop.set()
        self.stream.stream.source.close()

    def figures(self) -> Figures:
        """How it goes, from any thread."""
        now = time.monotonic()
        times = [at for at in list(self._times) if now - at <= WINDOW]
        since = max(min(WINDOW, now - self._begun), 1e-3)
        late = np.array(list(self._late))
        low, high, highest = np.percentile(late, [50, 95, 99]) if len(late) else (np.nan,) * 3
        source = self.stream.stream.source
        return Figures(
            frames=self._frames,
            rate=len(times) / since,
            latency=(float(low), float(high), float(highest)),
            dropped=source.dropped,
            state=source.state,
            restored=int(getattr(source, "restored", 0)),
            tracks=self._tracks,
            alarms=self._alarms,
            seconds=now - self._begun,
            silent=now - (times[-1] if times else self._times[-1] if self._times else self._begun),
        )

    def run(self) -> Figures:
        """Watches until the source ends or :meth:`stop` is called; then all sinks are closed.

        Raises:
            DataError: if the source cannot be opened, or gives a bad frame.
        """
        try:
            for tracked in self.stream:
                self._take(tracked)
                if self._stop.is_set():
                    break
        finally:
            self.close()
        return self.figures()

    def close(self) -> None:
        """Ends source, threads and sinks. A second time it does nothing."""
        self.stream.close()
        while self.sinks:
            self.sinks.pop().close()

    def _take(self, tracked: Tracked) -> None:
        alarms = self.alarms.of(tracked)
        for sink in self.sinks:
            sink.add(tracked, alarms)
        if self.board is not None:
            self.board.add(tracked, alarms)
        now = time.monotonic()
        self._late.append(now - tracked.frame.arrival)
        self._times.append(now)
        self._frames += 1
        self._alarms += len(alarms)
        self._tracks = len(tracked.confirmed)


class _Guarded:
    """A sink whose faults end nothing: they are told once, and once more when they are over."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name, self.sink = name, sink
        self._bad = False

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        try:
            self.sink.add(tracked, alarms)
        except Exception as error:
            if not self._bad:
                ours = not isinstance(error, OSError | FFmpegError)
                why = getattr(error, "strerror", None) or type(error).__name__
                told = "%s: cannot be written (%s); detection goes on, and it is tried again"
                log.error(told, self.name, why, exc_info=error if ours else None)
            self._bad = True
        else:
            if self._bad:
                log.info("%s: is written again", self.name)
            self._bad = False

    def close(self) -> None:
        try:
            self.sink.close()
        except Exception as error:
            log.error(
                "%s: could not be ended (%s)", self.name, getattr(error, "strerror", None) or type(error).__name__
            )
