"""Named ways to make recordings harder, each of a strength: contrast, noise, dead pixels, blur, look-alikes and so on.

All that is drawn hangs on the seed, the recording's name, the way and the frame alone, so that a frame comes out the
same to the bit whenever and in whatever order it is read. Strengths in grey levels are of 255.
:func:`tdcnet.data.degrade.degraded` applies them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.data.sequence import FrameSource
from tdcnet.finite import number
from tdcnet.plain_data import is_whole

Image = NDArray[np.float32]
Boxes = NDArray[np.float32]

MARGIN = 2
"""px beyond a box that belong to its target."""
RING = 8
"""px round these from which the background below a target is told."""
APART = 12
"""px between a look-alike and any target of the recording, at least."""
TRIES = 200
"""Places that are tried for a look-alike."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What a way may know of the recording, as it was.

    Attributes:
        frames: of the recording.
        boxes: per frame [N, 4], xyxy px.
        name: of the recording.
        seed: of all that is drawn.
        level: stored values that make a grey level.
    """

    frames: FrameSource
    boxes: Sequence[Boxes]
    name: str
    seed: int
    level: float

    @cached_property
    def first(self) -> NDArray[Any]:
        """The first frame that can be read."""
        for index in range(len(self.frames) - 1):
            try:
                return self.frames.read(index)
            except DataError:
                continue
        return self.frames.read(len(self.frames) - 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        height, width = self.first.shape[:2]
        return int(height), int(width)

    def rng(self, way: object, frame: int = -1) -> np.random.Generator:
        """A generator of its own for a way, and for a frame where that counts."""
        text = f"{self.name}\0{type(way).__name__}".encode("utf-8", "surrogateescape")
        return np.random.default_rng([self.seed, zlib.crc32(text), frame + 1])


class Way(Protocol):
    """Makes frames harder."""

    def prepared(self, scene: Scene) -> Any:
        """What is the same for all frames of a recording; given to the others."""
        ...

    def apply(self, image: Image, index: int, scene: Scene, ready: Any) -> Image:
        """The frame ``index``, float32 [H, W] in stored values, made harder."""
        ...


class _Simple:
    def prepared(self, scene: Scene) -> Any:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Contrast(_Simple):
    """Pulls targets toward what would be seen without them, filled in from their surroundings.

    Args:
        keep: share of a target's contrast that stays.
    """

    keep: float

    def __post_init__(self) -> None:
        number("keep", self.keep, 0, 1)

    def apply(self, image: Image, index: int, scene: Scene, ready: Any) -> Image:
        """With weaker targets."""
        out = image.copy()
        places = [place for box in scene.boxes[index] if (place := _place(box, image.shape)) is not None]
        targets = np.zeros(image.shape, bool)
        for place in places:
            targets[place] = True
        for y, x in places:
            below = background(image, (y, x), targets)
            out[y, x] = below + np.float32(self.keep) * (image[y, x] - below)
        return out


@dataclass(frozen=True)
class LookAlikes:
    """Copies of one of the recording's own targets, which stand in one place of all frames.

    Args:
        count: copies.
        gain: of their contrast, 1 for as bright as the targets were.
    """

    count: int
    gain: float = 1.0

    def __post_init__(self) -> None:
        _whole("count", self.count, 0)
        number("gain", self.gain, 0)

    def prepared(self, scene: Scene) -> list[tuple[int, int, Image]]:
        """Places, top and left, and what is added there."""
        rng = scene.rng(self)
        shown = [i for i, boxes in enumerate(scene.boxes) if len(boxes)]
        taken = np.concatenate([scene.boxes[i] for i in shown]) if shown else np.zeros((0, 4), np.float32)
        patch = next(iter(_patches(scene, shown, rng)), None)
        found: list[tuple[int, int, Image]] = []
        if patch is None:
            return found
        height, width = scene.size
        h, w = patch.shape
        for _ in range(TRIES):
            if len(found) == self.count or h >= height or w >= width:
                break
            top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
            place = np.array([[left - APART, top - APART, left + w + APART, top + h + APART]], np.float32)
            others = np.array([[x, y, x + w, y + h] for y, x, _ in found], np.float32).reshape(-1, 4)
            if not _meet(place, np.concatenate([taken, others])):
                found.append((top, left, patch * np.float32(self.gain)))
        return found

    def apply(self, image: Image, index: int, scene: Scene, ready: list[tuple[int, int, Image]]) -> Image:
        """With the copies added."""
        out = image.copy()
        for top, left, patch in ready:
            out[top : top + patch.shape[0], left : left + patch.shape[1]] += patch
        return out


@dataclass(frozen=True)
class Noise(_Simple):
    """Sensor noise, new in each frame.

    Args:
        sigma: standard deviation, grey levels.
    """

    sigma: float

    def __post_init__(self) -> None:
        number("sigma", self.sigma, 0)

    def apply(self, image: Image, index: int, scene: Scene, ready: Any) -> Image:
        """With noise."""
        drawn = scene.rng(self, index).standard_normal(image.shape, np.float32)
        return image + np.float32(self.sigma * scene.level) * drawn


@dataclass(frozen=True)
class FixedPattern:
    """A pattern of the sensor that is the same in all frames: pixel by pixel, and as much by columns.

    Args:
        sigma: standard deviation of both together, grey levels.
    """

    sigma: float

    def __post_init__(self) -> None:
        number("sigma", self.sigma, 0)

    def prepared(self, scene: Scene) -> Image:
        """The pattern."""
        rng, shape = scene.rng(self), scene.size
        drawn = rng.standard_normal(shape, np.float32) + rng.standard_normal((1, shape[1]), np.float32)
        return drawn * np.float32(self.sigma * scene.level / np.sqrt(2))

    def apply(self, image: Image, index: int, scene: Scene, ready: Image) -> Image:
        """With the pattern."""
        return image + ready


@dataclass(frozen=True)
class DeadPixels:
    """Pixels, and a few whole lines, that hold the least or the largest value in all frames.

    Args:
        share: of the pixels.
        lines: rows.
    """

    share: float
    lines: int = 0

    def __post_init__(self) -> None:
        number("share", self.share, 0, 1)
        _whole("lines", self.lines, 0)

    def prepared(self, scene: Scene) -> NDArray[np.float32]:
        """What they hold [H, W], NaN where the sensor works."""
        rng, first = scene.rng(self), scene.first
        stuck = np.full(first.shape, np.nan, np.float32)
        values = np.array([first.min(), first.max()], np.float32)
        at = rng.random(first.shape) < self.share
        stuck[at] = values[rng.integers(0, 2, int(at.sum()))]
        for row in rng.choice(first.shape[0], min(self.lines, first.shape[0]), replace=False):
            stuck[row] = values[rng.integers(0, 2)]
        return stuck

    def apply(self, image: Image, index: int, scene: Scene, ready: NDArray[np.float32]) -> Image:
        """With what does not work."""
        return np.where(np.isnan(ready), image, ready)


@dataclass(frozen=True)
class Blur(_Simple):
    """A lens out of focus.

    Args:
        sigma: of the Gaussian, px.
    """

    sigma: float

    def __post_init__(self) -> None:
        number("sigma", self.sigma, 0)

    def apply(self, image: Image, index: int, scene: Scene, ready: Any) -> Image:
        """Blurred."""
        return np.asarray(cv2.GaussianBlur(image, (0, 0), self.sigma), np.float32) if self.sigma > 0 else image


@dataclass(frozen=True)
class GainSteps:
    """A gain control that jumps every few seconds, round the middle value.

    Args:
        size: largest relative change of the gain.
        every: frames from one jump to the next.
    """

    size: float
    every: int = 45

    def __post_init__(self) -> None:
        number("size", self.size, 0, 1)
        _whole("every", self.every, 1)

    def prepared(self, scene: Scene) -> float:
        """The middle value."""
        return float(np.median(scene.first.astype(np.float32)))

    def apply(self, image: Image, index: int, scene: Scene, ready: float) -> Image:
        """With another gain."""
        gain = 1 + self.size * scene.rng(self, index // self.every).uniform(-1, 1)
        return np.float32(ready) + np.float32(gain) * (image - np.float32(ready))


@dataclass(frozen=True)
class Shake:
    """A camera that trembles: each frame is shifted by itself, and its boxes with it.

    Args:
        sigma: standard deviation in x and in y, px.
    """

    sigma: float

    def __post_init__(self) -> None:
        number("sigma", self.sigma, 0)

    def shift(self, scene: Scene, index: int) -> NDArray[np.float32]:
        """x and y, px."""
        return (self.sigma * scene.rng(self, index).standard_normal(2)).astype(np.float32)

    def prepared(self, scene: Scene) -> None:
        """Nothing."""

    def apply(self, image: Image, index: int, scene: Scene, ready: Any) -> Image:
        """Shifted; what comes in at the edge is mirrored."""
        x, y = self.shift(scene, index).tolist()
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
        size = (image.shape[1], image.shape[0])
        return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT_101), np.float32)


@dataclass(frozen=True)
class Repeated:
    """A stream that stutters: instead of a frame the one before comes again, with what it shows.

    Args:
        share: of the frames.
    """

    share: float

    def __post_init__(self) -> None:
        number("share", self.share, 0, 1)

    def shown(self, scene: Scene, count: int) -> list[int]:
        """Which frame is seen at each time."""
        again = scene.rng(self).random(count) < self.share
        seen: list[int] = []
        for index in range(count):
            seen.append(seen[-1] if index and again[index] else index)
        return seen


@dataclass(frozen=True)
class Dropped:
    """A stream that loses frames: they are missing, and the next follows at once.

    Args:
        share: of the frames.
    """

    share: float

    def __post_init__(self) -> None:
        number("share", self.share, 0, 1)

    def shown(self, scene: Scene, count: int) -> list[int]:
        """Which frames are left; the first always is."""
        kept = scene.rng(self).random(count) >= self.share
        return [index for index in range(count) if index == 0 or kept[index]]


def inside(boxes: Boxes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes [N, 4] have their centre in a frame of this height and width."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return np.asarray((x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0]))


def background(image: Image, place: tuple[slice, slice], targets: NDArray[np.bool_] | None = None) -> Image:
    """What would be seen in a place, float32, filled in from the ring round it: distances weigh by their square.

    Args:
        image: [H, W].
        place: rows and columns.
        targets: [H, W], what is target and tells nothing of the background; the place alone if None.
    """
    y, x = place
    top, left = max(0, y.start - RING), max(0, x.start - RING)
    cut = image[top : y.stop + RING, left : x.stop + RING]
    ring = np.ones(cut.shape, bool)
    ring[y.start - top : y.stop - top, x.start - left : x.stop - left] = False
    if targets is not None:
        ring &= ~targets[top : y.stop + RING, left : x.stop + RING]
    if not ring.any():
        return np.full((y.stop - y.start, x.stop - x.start), np.float32(image.mean()), np.float32)
    rows, columns = np.nonzero(ring)
    down = np.arange(y.start - top, y.stop - top)[:, None, None] - rows
    along = np.arange(x.start - left, x.stop - left)[None, :, None] - columns
    weights = 1.0 / (down.astype(np.float64) ** 2 + along**2) ** 2
    return np.asarray((weights @ cut[ring].astype(np.float64)) / weights.sum(-1), np.float32)


def _patches(scene: Scene, frames: Sequence[int], rng: np.random.Generator) -> Iterable[Image]:
    """What targets add to their background, drawn from frames that can be read and whose targets lie whole in them."""
    for _ in range(TRIES if frames else 0):
        frame = frames[int(rng.integers(len(frames)))]
        boxes = scene.boxes[frame]
        try:
            image = scene.frames.read(frame).astype(np.float32)
        except DataError:
            continue
        place = _place(boxes[int(rng.integers(len(boxes)))], image.shape)
        if place is not None and place[0].start and place[1].start:
            yield image[place] - background(image, place)


def _place(box: Boxes, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Rows and columns of a target, with its margin; None if it is out of the frame."""
    x1, y1 = np.floor(box[:2]).astype(int) - MARGIN
    x2, y2 = np.ceil(box[2:]).astype(int) + MARGIN
    y, x = slice(max(0, int(y1)), min(shape[0], int(y2))), slice(max(0, int(x1)), min(shape[1], int(x2)))
    return (y, x) if y.start < y.stop and x.start < x.stop else None


def _meet(place: Boxes, boxes: Boxes) -> bool:
    """Whether a box meets any of others."""
    return bool(((place[:, :2] < boxes[:, 2:]) & (boxes[:, :2] < place[:, 2:])).all(axis=1).any())


def _whole(name: str, value: object, low: int) -> None:
    if not is_whole(value, low, 1_000_000):
        raise ValueError(f"{name} is {value}; expected a whole number from {low} to 1000000")
