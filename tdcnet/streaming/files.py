"""Files and a program's arrays as streams."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tdcnet.data.errors import MOST_TOLD, DataError, Policy
from tdcnet.data.folders import sources
from tdcnet.data.frames import VIDEO_SUFFIXES
from tdcnet.data.images import grey_of
from tdcnet.data.sequence import Sequence
from tdcnet.data.video import declared_length, declared_rate, decode
from tdcnet.streaming.frames import LiveFrame, State

log = logging.getLogger(__name__)


class EveryFrame:
    """What files, pipes and arrays have in common: every frame is taken, and none twice.

    Args:
        name: for people.
        rate: frames a second; None if nothing tells.
    """

    live = False
    dropped = 0

    def __init__(self, name: str, rate: float | None) -> None:
        self.name, self._rate = name, rate
        self._state: State = "waiting"
        self._stop = threading.Event()

    @property
    def state(self) -> State:
        """How it is."""
        return self._state

    @property
    def rate(self) -> float | None:
        """Frames a second; None if nothing tells."""
        return self._rate

    @property
    def length(self) -> int | None:
        """Frames; None where that is not known."""
        return None

    def close(self) -> None:
        """Ends it."""
        self._stop.set()

    def frames(self) -> Iterator[LiveFrame]:
        """All frames."""
        self._state = "running"
        try:
            for frame in self._all():
                if self._stop.is_set():
                    return
                yield frame
        finally:
            self._state = "ended"

    def _all(self) -> Iterator[LiveFrame]:
        raise NotImplementedError


class FileStream(EveryFrame):
    """A video, a stack, or a folder of images, decoded while it is looked at.

    Args:
        path: the file or folder; recordings of a folder come one after the other.
        realtime: whether frames come at the rate of the file, not as fast as they are taken.
        rate: frames a second where the file tells none; 30 for pictures in real time.

    Raises:
        DataError: if there is no such file, or it holds no frames.
    """

    def __init__(self, path: str | Path, realtime: bool = False, rate: float | None = None) -> None:
        self._path = Path(path).expanduser()
        if not self._path.exists():
            raise DataError(f"{self._path}: there is no such file or folder")
        self._is_video = self._path.is_file() and self._path.suffix.lower() in VIDEO_SUFFIXES
        told = declared_rate(self._path) if self._is_video else None
        super().__init__(self._path.name or str(self._path), told or rate or (30.0 if realtime else None))
        self._realtime = realtime

    @property
    def length(self) -> int | None:
        """Frames; None where that is not known before all is read."""
        return declared_length(self._path) if self._is_video else None

    def each(self) -> list[EveryFrame]:
        """A stream for each of its recordings, in place of it.

        Raises:
            DataError: if they cannot be told.
        """
        if self._is_video:
            return [self]
        return [SequenceStream(sequence, self._rate) for sequence in sources(self._path)]

    def _all(self) -> Iterator[LiveFrame]:
        start: float | None = None
        for frame in self._frames():
            if self._realtime and frame.time is not None:
                start = time.monotonic() - frame.time if start is None else start
                if self._stop.wait(max(0.0, start + frame.time - time.monotonic())):
                    return
                frame = replace(frame, arrival=time.monotonic())
            yield frame

    def _frames(self) -> Iterator[LiveFrame]:
        if self._is_video:
            yield from self._video()
            return
        before = 0
        for sequence in sources(self._path):
            for frame in SequenceStream(sequence, self._rate).frames():
                yield replace(frame, index=before + frame.index)
            before += len(sequence)

    def _video(self) -> Iterator[LiveFrame]:
        first, last = None, -1.0
        for index, (image, told) in enumerate(decode(self._path)):
            if np.isfinite(told):
                first = told if first is None else first
                seconds = told - first
            else:
                seconds = index / (self._rate or 1.0)
            if seconds <= last:  # streams put one behind the other begin their time anew
                first = None if first is None else first + seconds - last - 1 / (self._rate or 30.0)
                seconds = last + 1 / (self._rate or 30.0)
            last = seconds
            if image is not None:
                yield LiveFrame(image, image, index, seconds, time.monotonic(), self._path.stem, index == 0)


class SequenceStream(EveryFrame):
    """A recording as data sets and folders hold it; nothing reaches over its gaps.

    Args:
        sequence: the recording.
        rate: frames a second where it tells none.
        on_bad_frame: what of a frame that cannot be read: ``skip`` leaves it out and tells.
    """

    def __init__(self, sequence: Sequence, rate: float | None = None, on_bad_frame: Policy = "skip") -> None:
        super().__init__(sequence.name, getattr(sequence.frames, "rate", None) or rate)
        self.sequence, self._on_bad_frame = sequence, on_bad_frame

    @property
    def length(self) -> int:
        """Frames."""
        return len(self.sequence)

    def _all(self) -> Iterator[LiveFrame]:
        frames, bad = self.sequence.frames, 0
        times = getattr(frames, "times", None)
        for index in range(len(frames)):
            try:
                image = np.asarray(frames.read(index))
            except DataError as error:
                if self._on_bad_frame == "error":
                    raise
                bad += 1
                if bad <= MOST_TOLD:
                    log.warning("left out: %s", error)
                continue
            if times is not None:
                seconds: float | None = float(times[index])
            else:
                seconds = index / self._rate if self._rate else None
            begins = int(self.sequence.segment_start[index]) == index
            yield LiveFrame(image, image, index, seconds, time.monotonic(), self.sequence.name, begins)


class ArrayStream(EveryFrame):
    """A program's own arrays.

    Args:
        arrays: [H, W] or [H, W, 3] (RGB), 8 or 16 bits.
        rate: frames a second; None where clips are counted in frames.
    """

    def __init__(self, arrays: Iterable[Any], rate: float | None = None) -> None:
        super().__init__("frames", rate)
        self._arrays = arrays

    def _all(self) -> Iterator[LiveFrame]:
        for index, given in enumerate(self._arrays):
            seconds = index / self._rate if self._rate else None
            yield LiveFrame(grey_of(given, index), given, index, seconds, time.monotonic(), self.name)
