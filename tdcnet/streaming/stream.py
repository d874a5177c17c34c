"""Detections of frames while they come."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data import intensity
from tdcnet.data.views import Range
from tdcnet.inference.clips import ByTime, Clip, ClipStream, Reach, evenly
from tdcnet.inference.found import Found
from tdcnet.inference.viewer import Options, Viewer, Views
from tdcnet.streaming.ahead import Ahead
from tdcnet.streaming.frames import LiveFrame, Source

if TYPE_CHECKING:
    from tdcnet.inference.detector import Detector

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame, what was found on it, and where the camera looked.

    Attributes:
        frame: as it came.
        found: its detections.
        scene: which of the scenes that the stream showed: what was found in one has no place in another.
        since: homography [3, 3] from the frame that was looked at before onto this one, pixel-centre coordinates; the
            identity where that showed another scene.
        latency: seconds from arrival to detections.
        intensity_range: 16-bit values that were 0 and 1 to the network; None for 8 bits.
    """

    frame: LiveFrame
    found: Found
    scene: int
    since: NDArray[np.float64]
    latency: float
    intensity_range: Range | None = None


class Stream(Iterator[Seen]):
    """A detector on a source: reading, registration and network each in a thread of its own.

    Args:
        detector: what looks.
        source: what it looks at.
        options: how; see :meth:`~tdcnet.inference.detector.Detector.predict`.
        threads: whether the three overlap; without, each frame is done with before the next one is asked for.
    """

    def __init__(self, detector: Detector, source: Source, options: Options, threads: bool = True) -> None:
        self.detector, self.source, self.options = detector, source, options
        self._state = _State(detector, source, options)
        self._steps: list[Ahead[Any]] = []
        frames: Iterator[LiveFrame] = source.frames()
        if threads and not source.live:  # what is live has a thread already, that drops frames
            frames = self._ahead(frames, "reading")
        ready: Iterator[_Ready] = self._ready(frames)
        self._found = self._detected(self._ahead(ready, "registration") if threads else ready)
        if threads:
            self._found = self._ahead(self._found, "network")

    def __next__(self) -> Seen:
        return next(self._found)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends source and threads. A second time it does nothing."""
        self.source.close()
        for step in reversed(self._steps):
            step.close()

    def _ahead(self, items: Iterator[Any], name: str) -> Ahead[Any]:
        self._steps.append(Ahead(items, 1, name))
        return self._steps[-1]

    def _ready(self, frames: Iterator[LiveFrame]) -> Iterator[_Ready]:
        for frame in frames:
            yield self._state.add(frame)

    def _detected(self, clips: Iterator[_Ready]) -> Iterator[Seen]:
        for ready in clips:
            (found,) = ready.viewer.detect([(ready.clip, ready.views)])
            frame = ready.frame
            found = replace(found, index=frame.index, time=frame.time, recording=frame.recording)
            late = time.monotonic() - frame.arrival
            yield Seen(frame, found, ready.scene, ready.since, late, ready.intensity_range)


@dataclass(frozen=True, eq=False)
class _Ready:
    frame: LiveFrame
    clip: Clip
    views: Views
    viewer: Viewer
    scene: int
    since: NDArray[np.float64]
    intensity_range: Range | None


class _State:
    """The clip of a stream, which begins anew where what comes has nothing to do with what was."""

    def __init__(self, detector: Detector, source: Source, options: Options) -> None:
        self.detector, self.source, self.options = detector, source, options
        self.scene = -1
        self._range = _RunningRange(options.intensity_range or detector.record.intensity_range)
        self._form: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._rate: float | None = None
        self._last: int | None = None
        self._told = -math.inf
        self.viewer = Viewer(detector, options, source.name)

    def add(self, frame: LiveFrame) -> _Ready:
        """The clip of the next frame, as the network takes it."""
        image = frame.image
        form = (image.shape, image.dtype)
        if form != self._form or frame.begins:
            if self._form is not None and form != self._form:
                log.info("%s: frames are %dx%d px now", self.source.name, image.shape[1], image.shape[0])
            self._begin(frame)
            self._form = form
        elif self._by_time is not None and frame.time is not None:
            why = self._by_time.seen(self._position + 1, frame.time)
            if why is not None:
                self._tell("%s: %s; nothing before it counts", self.source.name, why)
                self._stream.restart()
                self.scene += 1
                self._last = None
        self._position += 1
        clip = self._stream.add(image)
        assert clip is not None
        if self._stream.cut:
            self.scene += 1
            self._last = None
        if image.dtype != np.uint8:
            self.viewer.intensity_range = self._range.add(image)
        since = np.eye(3) if self._last is None else self._stream.between(self._last, clip.newest)
        self._last = clip.newest
        views = self.viewer.views(clip)
        return _Ready(frame, clip, views, self.viewer, self.scene, since, self.viewer.intensity_range)

    def _begin(self, frame: LiveFrame) -> None:
        num_frames, rate = self.detector.num_frames, self.source.rate
        self._by_time: ByTime | None = None
        reach: Reach
        step = self._step(rate)
        if frame.time is None or step is None:
            stride = self.options.stride or self.detector.stride
            reach = evenly(num_frames, stride)
        else:
            reach = self._by_time = ByTime(num_frames, step)
            self._by_time.seen(0, frame.time)
        self.viewer = Viewer(self.detector, self.options, frame.recording)
        self._stream = ClipStream(reach, self.options.aligner(num_frames), True, frame.recording)
        self._position, self._last = -1, None
        self.scene += 1

    def _tell(self, message: str, *given: object) -> None:
        """Once a minute: a detector that is slower than its clips are long begins anew with every frame."""
        now = time.monotonic()
        if now - self._told > 60:
            self._told = now
            log.info(message, *given)

    def _step(self, rate: float | None) -> float | None:
        """Seconds from one frame of a clip to the next; None where nothing tells."""
        trained = self.detector.record.rate
        if self.options.stride is None and trained is not None and (self.source.live or rate is None):
            return self.detector.stride / trained
        if rate is None:
            return None
        return (self.options.stride or self.detector.stride_at(rate)) / rate


class _RunningRange:
    """16-bit values that are 0 and 1: those given, or what the first frames hold."""

    def __init__(self, given: Range | None) -> None:
        self._range, self._fixed = given, given is not None
        self._seen: list[NDArray[Any]] = []

    def add(self, image: NDArray[Any]) -> Range:
        """After one more frame."""
        if not self._fixed:
            self._seen.append(intensity.some_pixels(image))
            self._range = intensity.range_of(self._seen) or (0.0, 65535.0)
            if len(self._seen) >= intensity.FRAMES:
                self._fixed = True
                self._seen.clear()
                log.info(
                    "frames have 16 bits; %.0f to %.0f, nearly all values of the first %d, become 0 to 1 "
                    "(intensity_range sets others)",
                    *(*self._range, intensity.FRAMES),
                )
        assert self._range is not None
        return self._range
