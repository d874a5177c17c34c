"""Raw frames on standard input."""

from __future__ import annotations

import math
import os
import re
import select
import time
from collections.abc import Iterator
from typing import BinaryIO

import cv2
import numpy as np

from tdcnet.data.errors import DataError
from tdcnet.data.images import check_pixels
from tdcnet.streaming.capture import Capture
from tdcnet.streaming.files import EveryFrame
from tdcnet.streaming.frames import LiveFrame
from tdcnet.streaming.readers import Picture

RAW = re.compile(r"([0-9]{1,5})x([0-9]{1,5})(?::(uint8|uint16|uint16be|rgb24))?$")
"""How raw frames are told: width x height : type."""
_TYPES = {"uint8": ("u1", 1), "uint16": ("<u2", 1), "uint16be": (">u2", 1), "rgb24": ("u1", 3)}


class RawStream(EveryFrame):
    """Frames that come one behind the other as they lie in memory, such as from ``ffmpeg -f rawvideo -``.

    Args:
        pipe: where they come from.
        form: ``WIDTHxHEIGHT:TYPE``, TYPE uint8 (if none is given), uint16, uint16be or rgb24.
        rate: frames a second; None for times of arrival.

    Raises:
        DataError: if the form is none.
    """

    def __init__(self, pipe: BinaryIO, form: str, rate: float | None = None) -> None:
        super().__init__("stdin", rate)
        match = RAW.match(form)
        if match is None:
            raise DataError(
                f"raw={form[:40]}: expected WIDTHxHEIGHT:TYPE, such as 640x512:uint16; types are {', '.join(_TYPES)}"
            )
        self._width, self._height = int(match[1]), int(match[2])
        check_pixels("raw frames", self._width, self._height)
        self._form = match[3] or "uint8"
        self._pipe = pipe

    def _all(self) -> Iterator[LiveFrame]:
        kind, channels = _TYPES[self._form]
        dtype = np.dtype(kind)
        size = self._width * self._height * channels * dtype.itemsize
        index, start = 0, None
        while True:
            block = self._exactly(size)
            if self._stop.is_set():
                return
            arrival = time.monotonic()
            if len(block) < size:
                if not index and not block:
                    raise DataError("stdin: ended before a frame came. Does what writes them run, and to the pipe?")
                if block:
                    raise DataError(
                        f"stdin: {len(block)} bytes were left after {index} frames of {size} bytes "
                        f"({self._width}x{self._height} {self._form}); check size and type (raw=WIDTHxHEIGHT:TYPE)"
                    )
                return
            start = arrival if start is None else start
            image = np.frombuffer(block, dtype).astype(dtype.newbyteorder("="), copy=False)
            seconds = index / self._rate if self._rate else arrival - start
            if channels == 3:
                given = image.reshape(self._height, self._width, 3)
                yield LiveFrame(cv2.cvtColor(given, cv2.COLOR_RGB2GRAY), given, index, seconds, arrival, self.name)
            else:
                grey = image.reshape(self._height, self._width)
                yield LiveFrame(grey, grey, index, seconds, arrival, self.name)
            index += 1

    def _exactly(self, size: int) -> bytes:
        """So many bytes, or fewer at the end, or when it is closed: who waits for a pipe that is silent must not wait
        for ever."""
        parts: list[bytes] = []
        handle = _handle(self._pipe)
        while size > 0:
            if handle is None:
                part = self._pipe.read(size)
            else:
                while not select.select([handle], [], [], 0.2)[0]:
                    if self._stop.is_set():
                        return b""
                part = os.read(handle, min(size, 1 << 20))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _handle(pipe: BinaryIO) -> int | None:
    """What can be waited for; None where nothing can."""
    if os.name != "posix":
        return None
    try:
        return pipe.fileno()
    except (OSError, ValueError):
        return None


class NewestRaw(Capture):
    """The newest of raw frames: those that come while the detector is busy are dropped and counted.

    Args:
        stream: all of them.
    """

    def __init__(self, stream: RawStream) -> None:
        super().__init__(lambda: _Pictures(stream), stream.name, again=False, stall=math.inf)
        self._stream = stream

    def close(self) -> None:
        """Ends it."""
        self._stream.close()
        super().close()


class _Pictures:
    """A stream's frames as a camera gives them."""

    def __init__(self, stream: RawStream) -> None:
        self._frames = stream.frames()
        self.rate = stream.rate

    def read(self) -> Picture | None:
        frame = next(self._frames, None)
        return None if frame is None else Picture(frame.image, frame.given, frame.time)

    def close(self) -> None:
        self._frames.close()  # type: ignore[attr-defined]
