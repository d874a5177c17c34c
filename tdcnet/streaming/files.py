"""Files and a program's arrays as streams."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import MOST_TOLD, DataError
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
        self._sequences: list[Sequence] | None = None
        if not self._path.exists():
            raise DataError(f"{self._path}: there is no such file or folder")
        self._is_video = self._path.is_file() and self._path.suffix.lower() in VIDEO_SUFFIXES
        told = declared_rate(self._path) if self._is_video else None
        super().__init__(self._path.name or str(self._path), rate or told or (30.0 if realtime else None))
        self._realtime, self._given_rate, self._bad = realtime, rate, 0

    @property
    def length(self) -> int | None:
        """Frames; None where that is not known, or not before all recordings are opened."""
        if self._is_video:
            return declared_length(self._path)
        return None if self._sequences is None else sum(map(len, self._sequences))

    def each(self) -> list[FileStream]:
        """A stream for each of its recordings, in place of it.

        Raises:
            DataError: if they cannot be told.
        """
        if self._is_video:
            return [self]
        streams = []
        for sequence in sources(self._path):
            own = copy.copy(self)
            own._sequences, own.name, own._stop = [sequence], sequence.name, threading.Event()
            streams.append(own)
        return streams

    def _all(self) -> Iterator[LiveFrame]:
        start: float | None = None
        for index, (image, seconds, recording, begins) in enumerate(self._images()):
            if image is None:
                continue
            if self._realtime and seconds is not None:
                start = time.monotonic() - seconds if start is None else start
                if self._stop.wait(max(0.0, start + seconds - time.monotonic())):
                    return
            yield LiveFrame(image, image, index, seconds, time.monotonic(), recording, begins)

    def _images(self) -> Iterator[tuple[NDArray[Any] | None, float | None, str, bool]]:
        if self._is_video:
            name, first, last = self._path.stem, None, -1.0
            for index, (image, told) in enumerate(decode(self._path)):
                if self._given_rate is not None or not np.isfinite(told):
                    seconds = index / self._rate if self._rate else float(index)
                else:
                    first = told if first is None else first
                    seconds = told - first
                if seconds <= last:  # streams put one behind the other begin their time anew
                    first = None if first is None else first + seconds - last - 1 / (self._rate or 30.0)
                    seconds = last + 1 / (self._rate or 30.0)
                last = seconds
                yield image, seconds, name, index == 0
            return
        for sequence in self._sequences or sources(self._path):
            told_times = getattr(sequence.frames, "times", None)
            for index in range(len(sequence.frames)):
                begins = int(sequence.segment_start[index]) == index
                if told_times is not None and self._given_rate is None:
                    seconds_ = float(told_times[index])
                else:
                    seconds_ = index / self._rate if self._rate else None  # type: ignore[assignment]
                yield self._image(sequence, index), seconds_, sequence.name, begins

    def _image(self, sequence: Sequence, index: int) -> NDArray[Any] | None:
        """A frame of a folder; one that cannot be read is left out, and told."""
        try:
            return np.asarray(sequence.frames.read(index))
        except DataError as error:
            self._bad += 1
            if self._bad <= MOST_TOLD:
                log.warning("left out: %s", error)
            return None


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
