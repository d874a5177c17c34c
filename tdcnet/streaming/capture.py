"""A camera or stream behind a thread, which keeps the newest frame and comes back when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tdcnet.data.errors import DataError
from tdcnet.streaming.frames import LiveFrame, State
from tdcnet.streaming.readers import Picture, Reader

log = logging.getLogger(__name__)

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each try to open a source again; the last for all that follow."""
STALL = 20.0
"""Seconds without a frame after which a reader is given up: some never return."""
MOST_HUNG = 8
"""Readers that never returned; with more the program would run out of threads and is better started anew."""
JUMP = 2.0
"""Seconds that a stream's clock may run ahead of this machine's from one frame to the next."""


class Capture:
    """Frames of a camera or stream, the newest first of all.

    Args:
        open_reader: opens it; called again when it is lost.
        name: for people.
        live: keep the newest frame only and count the others; else wait until each is taken.
        again: whether to open it again when it ends or is lost.
        wait: whether to go on trying if it cannot be opened the first time.
        stall, pauses: seconds, see :data:`STALL` and :data:`PAUSES`.

    Attributes:
        restored: times that it was lost and came back.
    """

    def __init__(
        self,
        open_reader: Callable[[], Reader],
        name: str,
        live: bool = True,
        again: bool = True,
        wait: bool = False,
        stall: float = STALL,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.name, self.live = name, live
        self.restored = 0
        self._open, self._again, self._wait, self._stall, self._pauses = open_reader, again, wait, stall, pauses
        self._news = threading.Condition()
        self._newest: LiveFrame | None = None
        self._fault: DataError | None = None
        self._state: State = "waiting"
        self._closed = False
        self._round = 0  # of readers; what one of an earlier round gives is not taken any more
        self._hung = self._count = self._dropped = 0
        self._rate: float | None = None
        self._clock = _Clock()
        self._heard = 0.0

    @property
    def state(self) -> State:
        """How it is."""
        return self._state

    @property
    def dropped(self) -> int:
        """Frames that came and were never taken."""
        return self._dropped

    @property
    def rate(self) -> float | None:
        """Frames a second, as the camera tells them; None while it does not."""
        return self._rate

    def close(self) -> None:
        """Ends it."""
        with self._news:
            self._closed = True
            self._round += 1
            self._news.notify_all()

    def frames(self) -> Iterator[LiveFrame]:
        """All frames, or the newest ones."""
        self._start()
        while (frame := self._next()) is not None:
            yield frame

    def _start(self) -> None:
        self._heard = time.monotonic()
        threading.Thread(target=self._run, args=(self._round,), name=f"camera {self.name}", daemon=True).start()

    def _next(self) -> LiveFrame | None:
        with self._news:
            while True:
                if self._newest is not None:
                    frame, self._newest = self._newest, None
                    self._news.notify_all()
                    return frame
                if self._fault is not None:
                    fault, self._fault = self._fault, None
                    self._state = "ended"
                    raise fault
                if self._closed or self._state == "ended":
                    self._state = "ended"
                    return None
                self._news.wait(min(1.0, self._stall / 4))
                if self._state == "running" and time.monotonic() - self._heard > self._stall:
                    self._give_up()

    def _give_up(self) -> None:
        """Leaves a reader that does not return to itself, and begins with another."""
        self._hung += 1
        if self._hung > MOST_HUNG:
            self._fault = DataError(f"{self.name}: {MOST_HUNG} readers in a row never returned. Start again")
            return
        log.warning("%s: no frame for %.0f s; it is opened again", self.name, self._stall)
        self._round += 1
        self._state = "lost"
        self._start()

    def _run(self, mine: int) -> None:
        tries = 0
        while mine == self._round:
            try:
                reader = self._open()
            except Exception as caught:
                error = _as_fault(caught, self.name)
                if not self._seen() and not self._wait:
                    self._end(mine, error)
                    return
                if tries == 0:
                    log.warning("%s; it is tried again", error)
            else:
                tries = self._read(mine, reader, tries)
                if mine != self._round or self._state == "ended":
                    return
            pause = self._pauses[min(tries, len(self._pauses) - 1)]
            tries += 1
            with self._news:
                self._heard = time.monotonic() + pause
                self._news.wait_for(lambda: mine != self._round, pause)

    def _seen(self) -> bool:
        return self._count > 0

    def _read(self, mine: int, reader: Reader, tries: int) -> int:
        """Takes all that a reader gives; the number of tries since a frame came."""
        self._rate = reader.rate or self._rate
        self._clock.lost()
        ended = "ended"
        try:
            while mine == self._round:
                picture = reader.read()
                if picture is None:
                    break
                if mine != self._round:
                    return tries
                if self._state == "lost":
                    self.restored += 1
                    log.info("%s: frames come again", self.name)
                tries, self._hung = 0, 0
                self._hand_over(mine, picture)
        except Exception as caught:
            ended = str(_as_fault(caught, self.name)).removeprefix(f"{self.name}: ")
        finally:
            reader.close()
        if mine != self._round:
            return tries
        if not self._again:
            self._end(mine, None if ended == "ended" else DataError(f"{self.name}: {ended}"))
            return tries
        if self._state != "lost":
            log.warning("%s: %s; it is opened again", self.name, ended)
            self._state = "lost"
        return tries

    def _hand_over(self, mine: int, picture: Picture) -> None:
        arrival = time.monotonic()
        time_ = self._clock.time(picture.time, arrival)
        frame = LiveFrame(picture.image, picture.given, self._count, time_, arrival, self.name)
        with self._news:
            self._count += 1
            self._heard, self._state = arrival, "running"
            if not self.live:
                self._news.wait_for(lambda: self._newest is None or mine != self._round)
            if self._newest is not None:
                self._dropped += 1
            self._newest = frame
            self._news.notify_all()

    def _end(self, mine: int, fault: DataError | None) -> None:
        with self._news:
            if mine == self._round:
                if not self.live:
                    self._news.wait_for(lambda: self._newest is None or mine != self._round)
                self._fault = fault
                self._state = "ended" if fault is None else self._state
                self._news.notify_all()


def _as_fault(error: Exception, name: str) -> DataError:
    """What a reader raised, as a fault of the source; what nobody thought of is told with its traceback."""
    if isinstance(error, DataError):
        return error
    log.error("%s", name, exc_info=error)
    return DataError(f"{name}: cannot be read ({type(error).__name__})")


class _Clock:
    """Seconds since the first frame: by the stream's clock where it has one that can be trusted, else by ours."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._last: tuple[float | None, float, float] | None = None  # of the stream, as told, and arrival
        self._lost = False

    def lost(self) -> None:
        """What comes has another beginning."""
        self._lost = True

    def time(self, told: float | None, arrival: float) -> float:
        """Of the next frame.

        A stream that comes late, in bursts or faster than it was made keeps its own steps; one whose clock goes back,
        or ahead by more than has passed, is told by its arrival.
        """
        if self._last is None or self._start is None:
            self._start, self._lost = arrival, False
            self._last = told, 0.0, arrival
            return 0.0
        before, found, at = self._last
        passed = max(0.0, arrival - at)
        step = passed if told is None or before is None or self._lost else told - before
        if step < 0 or step > passed + JUMP:  # its clock was set
            step = passed
        self._lost = False
        self._last = told, found + max(step, 1e-6), arrival
        return self._last[1]
