"""Clips of frames that come one after the other: a ring of past frames, each registered once."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.alignment import Aligner, Prepared
from tdcnet.data.camera import Camera
from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.data.transforms import Image

log = logging.getLogger(__name__)

STEADY = 10
"""Frames in a row that must have matched before one that does not can be another scene."""
ALIKE = 0.5
"""Correlation of two small pictures of one scene, at least."""
LEAST_PAUSE = 1.0
"""Seconds without a frame that do not matter however short a clip is."""
SMALL = (16, 12)
"""Width and height of these, px."""


@dataclass(frozen=True)
class Clip:
    """A frame and those before it.

    Attributes:
        newest: position of the frame.
        positions: of the T frames.
        images: T grey images [H, W], oldest first; where there is no older one the first stands for it.
        whole: whether they reach as far back as they are to; the first ones of a recording do not.
        homographies: float32 [T, 3, 3], each frame -> newest, pixel-centre coordinates; None where nothing is
            registered.
    """

    newest: int
    positions: list[int]
    images: list[Image]
    whole: bool
    homographies: NDArray[np.float32] | None = None


Reach = Callable[[int], tuple[list[int], bool]]
"""Positions of the clip that ends at a frame, oldest first and that frame last, and whether it reaches as far back as
it is to. The oldest never lies before that of the frame before."""


def evenly(num_frames: int, stride: int) -> Reach:
    """Clips of frames ``stride`` apart, of a recording without gaps."""
    span = stride * (num_frames - 1)
    return lambda newest: ([max(0, newest - back) for back in range(span, -1, -stride)], newest >= span)


def of_sequence(sequence: Sequence, num_frames: int, stride: int) -> Reach:
    """The clips of a recording: over no gap, and by time where frames come at no constant rate."""
    return lambda newest: (
        sequence.clip_indices(newest, num_frames, stride),
        sequence.has_past(newest, num_frames, stride),
    )


class ByTime:
    """Clips of frames that lie so much time apart, whatever was lost between them.

    Args:
        num_frames: T.
        step: seconds from one frame of a clip to the next.
    """

    def __init__(self, num_frames: int, step: float) -> None:
        self.num_frames, self.step = num_frames, step
        self._times: deque[tuple[int, float]] = deque()

    def seen(self, position: int, time: float) -> str | None:
        """Takes the time of the next frame.

        Args:
            position: after that of the frame before.
            time: seconds.

        Returns:
            why nothing before it counts; None where it does.
        """
        why = None
        if self._times:
            pause = time - self._times[-1][1]
            if pause < 0:
                why = f"time went back by {-pause:.3g} s"
            elif pause > max(self.span, LEAST_PAUSE):
                why = f"nothing came for {pause:.3g} s"
        if why is not None:
            self._times.clear()
        self._times.append((position, time))
        while len(self._times) > 2 and self._times[1][1] <= time - self.span:
            self._times.popleft()
        return why

    @property
    def span(self) -> float:
        """Seconds from the oldest frame of a clip to the newest."""
        return self.step * (self.num_frames - 1)

    def __call__(self, newest: int) -> tuple[list[int], bool]:
        """As :data:`Reach`, of the frame that was seen last."""
        positions = np.array([position for position, _ in self._times])
        times = np.array([time for _, time in self._times])
        wanted = times[-1] - self.step * np.arange(self.num_frames - 1, -1, -1)
        nearest = np.abs(times - wanted[:, None]).argmin(axis=1)
        frame = np.diff(times).min() if len(times) > 1 else 0.0
        return positions[nearest].tolist(), bool(times[0] <= wanted[0] + max(frame / 2, 1e-6))


class ClipStream:
    """A clip for each frame as it comes.

    No more frames are kept than a clip spans. Each is registered once, onto a keyframe before it, and clips are
    composed (:class:`~tdcnet.data.camera.Camera`), as those of data sets with ``align_by=keyframes`` are.

    Args:
        reach: which frames a clip is made of.
        aligner: what registers; None for a camera that stands still.
        cuts: whether to look for another scene, of which nothing before counts; it is told in the log.
        name: of the recording, for the log.

    Attributes:
        cut: whether the frame that was added last shows another scene than those before.
    """

    def __init__(self, reach: Reach, aligner: Aligner | None, cuts: bool = False, name: str = "frames") -> None:
        self.reach, self.aligner, self.name = reach, aligner, name
        self._camera: Camera[Prepared] | None = None if aligner is None else Camera(aligner.register)
        self._cuts = Cuts() if cuts and aligner is not None else None
        self._kept: dict[int, Image] = {}
        self._form: tuple[tuple[int, ...], np.dtype[np.generic]] | None = None
        self._first, self._next = 0, 0
        self.cut = False

    def restart(self) -> None:
        """Nothing up to now belongs to what comes."""
        self._first = self._next
        self._kept.clear()
        if self._camera is not None:
            self._camera.cut()

    def add(self, image: Image | None) -> Clip | None:
        """Takes the next frame.

        Args:
            image: grey [H, W], of the size and type of those before; None for one that is missing.

        Returns:
            the clip that ends at it; None for a missing frame, and where the clip would need one.

        Raises:
            DataError: if the frame is of another size or type than the first.
        """
        position, self._next, self.cut = self._next, self._next + 1, False
        if image is None:
            return None
        now = (image.shape, image.dtype)
        if self._form is not None and now != self._form:
            raise DataError(
                f"frame {position} is {image.shape[1]}x{image.shape[0]} {image.dtype}, those before it are "
                f"{self._form[0][1]}x{self._form[0][0]} {self._form[1]}; give recordings of one size one by one"
            )
        self._form = now
        reached, whole = self.reach(position)
        self._register(position, image, alone=reached[0] == position)
        wanted = [max(self._first, each) for each in reached]
        whole = whole and reached[0] >= self._first
        self._kept[position] = image
        for each in [each for each in self._kept if each < wanted[0]]:
            del self._kept[each]
        if not all(each in self._kept for each in wanted):
            return None
        moved = None
        if self._camera is not None:
            moved = np.stack([self._camera.between(each, position) for each in wanted]).astype(np.float32)
            self._camera.forget(min(wanted[0], position - 1))  # from the last frame to this one is asked for, too
        return Clip(position, wanted, [self._kept[each] for each in wanted], whole, moved)

    def between(self, frame: int, newest: int) -> NDArray[np.float64]:
        """The homography [3, 3] from one of the last frames to the newest, pixel-centre coordinates."""
        return np.eye(3) if self._camera is None else self._camera.between(frame, newest)

    def _register(self, position: int, image: Image, alone: bool) -> None:
        if self._camera is None or self.aligner is None:
            return
        if alone:  # nothing before it counts
            self._camera.cut()
        ready = self.aligner.prepare(image)
        matched = self._camera.add(position, ready).matched
        if self._cuts is not None and self._cuts.cut(ready, matched):
            log.info("%s: frame %d shows another scene; nothing before it counts", self.name, position)
            self._first, self.cut = position, True
            self._kept.clear()
            self._camera.cut()
            self._camera.add(position, ready)


class Cuts:
    """Tells a frame of another scene: those before it matched, it does not, and it looks different."""

    def __init__(self) -> None:
        self._matched = 0
        self._last: NDArray[np.float32] | None = None

    def cut(self, ready: Prepared, matched: bool) -> bool:
        """Whether the next frame is one.

        Args:
            ready: the frame.
            matched: whether it could be registered onto one before it.
        """
        small = np.asarray(cv2.resize(ready.plain, SMALL, interpolation=cv2.INTER_AREA), np.float32)
        last, self._last = self._last, small
        steady, self._matched = self._matched >= STEADY, self._matched + 1 if matched else 0
        if matched or not steady or last is None:
            return False
        if min(float(small.std()), float(last.std())) < 1e-3:
            return False  # a frame is blank
        return float(np.corrcoef(small.ravel(), last.ravel())[0, 1]) < ALIKE
