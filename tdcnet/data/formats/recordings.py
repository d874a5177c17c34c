"""Recordings from frames listed in any order: what COCO JSON and YOLO labels share."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.frames import ImageFiles
from tdcnet.data.names import Key, segment_starts
from tdcnet.data.safe_names import recording_word, safe_name
from tdcnet.data.sequence import Sequence

log = logging.getLogger(__name__)


@dataclass
class Frame:
    """One frame as listed, before its file is looked at.

    Attributes:
        path: of its file.
        number: its place in the recording.
        where: what lists it, for messages.
        size: height and width in px as told, or None.
        boxes: ``x1, y1, x2, y2``, in px or as fractions of width and height.
        labels: one per box.
        sources: what lists each box, for messages.
        targets: which target of the recording each box is; None, or none at all, where that is not told.
    """

    path: Path
    number: int
    where: str
    size: tuple[int, int] | None = None
    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    targets: list[Hashable | None] = field(default_factory=list)


def name_recordings(own: Iterable[Key], other: Iterable[Key], split: str) -> dict[Key, str]:
    """A name for each recording of a side, which no recording of the other side has, and which files may have.

    The name is the folder's path below ``images``, with what its names share where a folder holds several.
    """
    own, other = set(own), set(other)
    prefixes = Counter(folder for folder, _ in own | other)
    names: dict[Key, str] = {}
    taken: set[str] = set()
    times: Counter[str] = Counter()
    for folder, prefix in sorted(own | other):
        parts = [part for part in PurePosixPath(folder).parts if part not in ("/", "..")]
        if within := [at for at, part in enumerate(parts) if part in ("images", "JPEGImages")]:
            last = within[-1]
            parts = parts[last + 1 :] or parts[:last]
        word = recording_word(prefix)
        if word and (prefixes[folder] > 1 or not parts):
            parts = [*parts, word]
        name = safe_name("_".join(parts) or "frames")
        unique = name
        while unique in taken:
            times[name] += 1
            unique = f"{name}-{times[name] + 1}"
        taken.add(unique)
        names[folder, prefix] = unique
    if shared := sorted(names[key] for key in own & other):
        log.warning(
            "%d of %d recordings of %r are on the other side too, such as %s: scores say little about new ones",
            len(shared),
            len(own),
            split,
            shared[0],
        )
    return {key: f"{name}@{split}" if key in other else name for key, name in names.items() if key in own}


def build_sequences(
    recordings: dict[Key, list[Frame]], other: Iterable[Key], split: str, problems: Problems, *, fractions: bool = False
) -> list[Sequence]:
    """Checks listed frames against their files and makes a sequence of each recording.

    Args:
        recordings: the listed frames, in any order; their files exist.
        other: recordings of the other side.
        split: name of this side.
        problems: told of frames and boxes that are left out.
        fractions: boxes are fractions of width and height instead of px.
    """
    names = name_recordings(recordings, other, split)
    found = [_sequence(names[key], frames, problems, fractions) for key, frames in recordings.items()]
    sequences = [sequence for sequence in found if sequence is not None]
    lone = sum(len(s) > 1 and bool(np.all(s.segment_start == np.arange(len(s)))) for s in sequences)
    if lone:
        log.warning(
            "in %d of %d recordings no frame follows another by number, so their clips show no motion; list all frames",
            lone,
            len(sequences),
        )
    return sequences


def _sequence(name: str, listed: list[Frame], problems: Problems, fractions: bool) -> Sequence | None:
    numbered: dict[int, Frame] = {}
    for frame in listed:
        if frame.number in numbered:
            problems.report(
                frame.where,
                f"is frame {frame.number} of {name}, and so is {numbered[frame.number].path.name}",
                "Keep one of them (copies that an export has varied are no frames of a video), or tell them apart with "
                "dataset.names",
            )
            continue
        numbered[frame.number] = frame
    frames = [numbered[number] for number in sorted(numbered)]
    try:
        size = common.image_size(ImageFiles(frame.path for frame in frames))
    except DataError as error:
        problems.report(name, f"holds no image that can be read ({error})", "Copy it again")
        return None
    kept = []
    for frame in frames:
        if frame.size is not None and frame.size != size:
            problems.report(
                frame.where,
                f"says {frame.size[1]}x{frame.size[0]}, but the frames of {name} are {size[1]}x{size[0]}",
                "Correct width and height, or move frames of another size to a recording of their own",
            )
            continue
        kept.append(frame)
    if not kept:
        return None
    owners = [at for at, frame in enumerate(kept) for _ in frame.boxes]
    sources = [source for frame in kept for source in frame.sources]
    raw = np.array([box for frame in kept for box in frame.boxes], np.float64).reshape(-1, 4)
    if fractions:
        raw *= np.array([size[1], size[0], size[1], size[0]], np.float64)
    boxes, labels, target_ids = common.boxes_by_frame(
        np.array(owners, np.int64),
        raw,
        np.array([label for frame in kept for label in frame.labels], np.int64),
        len(kept),
        size,
        lambda i: sources[i],
        problems,
        [target for frame in kept for target in frame.targets],
    )
    numbers: NDArray[np.int64] = np.array([frame.number for frame in kept], np.int64)
    return Sequence(
        name=name,
        frames=ImageFiles(frame.path for frame in kept),
        boxes=boxes,
        labels=labels,
        indices=np.arange(len(kept), dtype=np.int64),
        segment_start=segment_starts(numbers),
        target_ids=target_ids,
    )
