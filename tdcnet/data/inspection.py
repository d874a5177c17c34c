"""What is in a data set, and what is wrong with it: one pass over its frames, and the comparison of its splits."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.data.targets import margins, sides, signal_to_clutter, speeds
from tdcnet.data.transforms import full_scale

Floats = NDArray[np.float64]

THUMBNAIL = 64
"""Side of the pictures that frames are compared by, px."""


@dataclass(frozen=True)
class Target:
    """One box and what makes it easy or hard."""

    sequence: str
    frame: int
    box: tuple[float, float, float, float]
    label: int
    side: float
    scr: float
    margin: float
    speed: float
    place: tuple[float, float]
    """Centre as a fraction of width and height."""


@dataclass(eq=False)
class Survey:
    """What one pass over a sequence's part of a split found.

    Attributes:
        name: of the sequence.
        size: height and width in px of its frames; None if none could be read.
        frames: of the split.
        per_frame: targets on each of them.
        targets: every target.
        bad: messages of frames that cannot be read.
        repeated: frames (positions) that equal the one before, bit for bit.
        digests: of the frames' bytes.
        thumbnails: float32 [K, D], unit vectors of frames that show something; see :func:`thumbnail`.
        pictured: the K positions.
    """

    name: str
    size: tuple[int, int] | None = None
    frames: int = 0
    per_frame: list[int] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    thumbnails: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, THUMBNAIL**2), np.float32))
    pictured: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Leak:
    """Two sequences, one of each of two splits, that seem to show the same.

    Attributes:
        splits: the two.
        one: sequence of the first.
        other: sequence of the second.
        kind: ``"same sequence"`` (one name), ``"same recording"`` (by the names), ``"same frames"`` (equal bit for
            bit) or ``"near-duplicates"``.
        frames: how many frames of the other are concerned.
        likeness: largest correlation of two frames; 1 for equal ones, NaN where only the names tell.
    """

    splits: tuple[str, str]
    one: str
    other: str
    kind: str
    frames: int
    likeness: float


KINDS = ("same sequence", "same frames", "same recording", "near-duplicates")
"""From the surest."""


def survey(
    sequence: Sequence, step: int = 1, thumbnails: int = 20, done: Callable[[], object] = lambda: None
) -> Survey:
    """Looks at every ``step``-th frame of a sequence's part of the split.

    Args:
        sequence: what a reader gave.
        step: 1 for all frames.
        thumbnails: how many frames are kept for comparison, evenly spread.
        done: called after each frame.
    """
    found = Survey(sequence.name)
    moving = speeds(sequence.boxes, sequence.segment_start)
    indices = sequence.indices[::step]
    chosen = set(indices[np.linspace(0, len(indices) - 1, min(thumbnails, len(indices))).astype(int)].tolist())
    pictures = []
    before, last = b"", -1
    for t in indices.tolist():
        found.frames += 1
        boxes = sequence.boxes[t]
        found.per_frame.append(len(boxes))
        ratios = beyond = np.full(len(boxes), np.nan)
        try:
            image = sequence.frames.read(t)
        except DataError as error:
            found.bad.append(str(error))
        else:
            found.size = found.size or (image.shape[0], image.shape[1])
            ratios, beyond = signal_to_clutter(image, boxes), margins(image, boxes)
            digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
            if digest == before and last == t - 1:
                found.repeated.append(t)
            found.digests.append(digest)
            before, last = digest, t
            if t in chosen and (picture := thumbnail(image)) is not None:
                pictures.append(picture)
                found.pictured.append(t)
        height, width = found.size or (1, 1)
        for i, (x1, y1, x2, y2) in enumerate(boxes.astype(float).tolist()):
            found.targets.append(
                Target(
                    sequence=sequence.name,
                    frame=t,
                    box=(x1, y1, x2, y2),
                    label=int(sequence.labels[t][i]),
                    side=float(sides(boxes[i : i + 1])[0]),
                    scr=float(ratios[i]),
                    margin=float(beyond[i]),
                    speed=float(moving[t][i]),
                    place=((x1 + x2) / 2 / width, (y1 + y2) / 2 / height),
                )
            )
        done()
    if pictures:
        found.thumbnails = np.stack(pictures)
    return found


def thumbnail(image: NDArray[np.generic]) -> NDArray[np.float32] | None:
    """A small picture of a frame's structure as a unit vector: [H, W] -> float32 [64 * 64]; None if it shows nothing.

    What is smooth is taken out: two skies that fade towards the horizon are alike without being the same recording.
    """
    small = cv2.resize(image.astype(np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    structure = small - cv2.GaussianBlur(small, (0, 0), THUMBNAIL / 16)
    norm = float(np.linalg.norm(structure))
    if norm / THUMBNAIL < 0.002 * full_scale(image):  # half a grey level of 255
        return None
    return (structure / norm).ravel().astype(np.float32)


def leaks(
    splits: Mapping[str, Listed[Survey]], likeness: float = 0.9, recording: Callable[[str], str] = str
) -> list[Leak]:
    """What splits share, two by two, worst first.

    Args:
        splits: what was found in each.
        likeness: least correlation of the structure of two frames that counts as near-duplicate.
        recording: tells by a sequence's name what it was cut from.

    Raises:
        DataError: if ``recording`` does.
    """
    digests = {id(each): frozenset(each.digests) for every in splits.values() for each in every}
    found = []
    for (first, ours), (second, theirs) in itertools.combinations(splits.items(), 2):
        for other, one in itertools.product(theirs, ours):
            equal = len(digests[id(one)] & digests[id(other)])
            likest = _likest(other, one)
            alike, best = int((likest >= likeness).sum()), float(likest.max(initial=0.0))
            if one.name == other.name:
                kind, frames, best = "same sequence", other.frames, 1.0
            elif equal:
                kind, frames, best = "same frames", equal, 1.0
            elif recording(one.name) == recording(other.name):
                kind, frames, best = "same recording", other.frames, best or float("nan")
            elif alike:
                kind, frames = "near-duplicates", alike
            else:
                continue
            found.append(Leak((first, second), one.name, other.name, kind, frames, best))
    return sorted(found, key=lambda leak: (KINDS.index(leak.kind), -leak.frames, -np.nan_to_num(leak.likeness)))


def scenes(surveys: Listed[Survey], likeness: float = 0.9) -> list[list[str]]:
    """Names of sequences that show one scene: those with near-duplicate frames, and through others of these.

    Args:
        surveys: of the sequences.
        likeness: as for :func:`leaks`.
    """
    groups: list[list[Survey]] = []
    for each in surveys:
        with_it = [group for group in groups if any(_likest(each, one).max(initial=0.0) >= likeness for one in group)]
        groups = [group for group in groups if group not in with_it]
        groups.append([*itertools.chain.from_iterable(with_it), each])
    return [[each.name for each in group] for group in groups]


def _likest(one: Survey, other: Survey) -> NDArray[np.float32]:
    """Of each picture of one the largest correlation with a picture of the other; empty if either has none."""
    if not len(one.thumbnails) or not len(other.thumbnails):
        return np.zeros(0, np.float32)
    likest: NDArray[np.float32] = (one.thumbnails @ other.thumbnails.T).max(axis=1)
    return likest
