"""What the readers share: list files with one line per frame, folders of numbered frames, and boxes worth trusting."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tdcnet.data import names
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.frames import ImageFiles, list_images
from tdcnet.data.sequence import FrameSource, Sequence

log = logging.getLogger(__name__)

SPLITS = ("train", "val")
HOW_TO_GET = "data/README.md says how to get it"
OVERSHOOT = 1.0
"""Published boxes end up to this many px outside the image; they are clipped, further ones are reported."""


@dataclass
class ListedFrame:
    """One line of a list file: where it stands, its boxes ``x1, y1, x2, y2`` in px and their classes."""

    where: str
    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


@dataclass
class Recording:
    """One folder of frames joined with the lines that list it; the fields are those of :class:`Sequence`."""

    name: str
    paths: list[Path]
    numbers: NDArray[np.int64]
    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    indices: NDArray[np.int64]

    def sequence(
        self, segment_start: NDArray[np.int64], aligned_files: list[tuple[Path, ...] | None] | None
    ) -> Sequence:
        """The finished sequence."""
        return Sequence(
            name=self.name,
            frames=ImageFiles(self.paths),
            boxes=self.boxes,
            labels=self.labels,
            indices=self.indices,
            segment_start=segment_start,
            aligned_files=aligned_files,
        )


def check_split(split: str) -> None:
    """Raises ValueError if ``split`` is neither ``"train"`` nor ``"val"``."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed are 'train' and 'val'")


def find(root: Path, names: Iterable[str], what: str) -> Path:
    """The first of ``names`` that exists below ``root``.

    Raises:
        FileNotFoundError: if there is none; the message says where it was looked for.
    """
    tried = [root / name for name in names]
    for path in tried:
        if path.exists():
            return path
    places = ", ".join(str(path.absolute()) for path in tried)
    raise FileNotFoundError(f"{what} not found; looked for {places}. {HOW_TO_GET}")


def read_split_file(path: Path) -> dict[str, list[str]]:
    """The names in a ``split.json``: ``{"train": [...], "val": [...]}``.

    Raises:
        FileNotFoundError: if the file is missing.
        DataError: if it is of another shape, or names a recording twice.
    """
    shape = 'a line such as {"train": ["NAME_1", "NAME_2"], "val": ["NAME_3"]}'
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        sides = {side: list(content[side]) for side in SPLITS}
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"no folder {path.parent.absolute()}, where the data set should be. {HOW_TO_GET}; "
                "dataset.root=PATH names another place"
            ) from None
        raise FileNotFoundError(
            f"split not found; looked for {path.absolute()}. Write {shape}, or have scripts/split.py write it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be used as a split ({error!r}). It must be {shape}") from error
    every = [name for side in sides.values() for name in side]
    if bad := [name for name in every if not isinstance(name, str) or not name or Path(name).name != name]:
        raise DataError(f"{path}: {bad[0]!r} is not the name of a recording. It must be {shape}")
    if twice := sorted({name for name in every if every.count(name) > 1}):
        raise DataError(f"{path}: {', '.join(twice)} listed twice; a recording belongs to one side, once. Delete one")
    return sides


def warn_shared(names: Iterable[str], others: Iterable[str], where: object) -> None:
    """Logs what both sides of a split hold: a score on it says little about anything new."""
    shared = sorted(set(names) & set(others))
    if shared:
        log.warning("%s: %d entries are on both sides of the split, such as %s", where, len(shared), shared[0])


def not_empty(sequences: list[Sequence], split: str, where: Path) -> list[Sequence]:
    """Gives ``sequences`` back.

    Raises:
        DataError: if they hold no frame of the split.
    """
    if not any(len(sequence.indices) for sequence in sequences):
        raise DataError(f"{where}: the {split!r} split holds no usable frame. Check the list and that its files exist")
    return sequences


def read_list(path: Path, num_classes: int, problems: Problems) -> dict[str, dict[int, ListedFrame]]:
    """Reads lines ``.../images/SEQUENCE/FRAME.png x1,y1,x2,y2,class ...`` into sequence -> frame number -> frame.

    Paths are those of somebody else's machine: only what follows the last ``/images/`` counts, back-slashes are taken
    as slashes, and the suffix is dropped, since the same lists are used with png and with bmp. A line without a box is
    an empty frame.
    """
    listed: dict[str, dict[int, ListedFrame]] = {}
    # A prefix in another encoding must not stop the reader: it is dropped anyway.
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{at}"
        _, found, rest = f"/{line.strip()}".replace("\\", "/").rpartition("/images/")
        tokens = rest.split()
        parts = PurePosixPath(tokens[0]).parts if found and tokens else ()
        if len(parts) != 2 or parts[0] == ".." or not PurePosixPath(parts[1]).stem.isdecimal():
            problems.report(
                where,
                f"expected .../images/SEQUENCE/NUMBER.png and its boxes, came {line.strip()[:80]!r}",
                "Correct or delete the line",
            )
            continue
        frames = listed.setdefault(parts[0], {})
        number = int(PurePosixPath(parts[1]).stem)
        if number in frames:
            problems.report(where, f"frame {tokens[0]} is listed a second time", "Keep one of the lines")
            continue
        frames[number] = frame = ListedFrame(where)
        for token in tokens[1:]:
            parsed = parse_box(token, num_classes)
            if isinstance(parsed, str):
                problems.report(where, parsed, "Correct or delete the box")
            else:
                frame.boxes.append(parsed[0])
                frame.labels.append(parsed[1])
    return listed


def parse_box(token: str, num_classes: int) -> tuple[list[float], int] | str:
    """Box and class of ``x1,y1,x2,y2,class``, or what is wrong with it."""
    parts = token.split(",")
    try:
        box, label = [float(part) for part in parts[:-1]], int(parts[-1])
    except ValueError:
        box, label = [], 0
    if len(box) != 4:
        return f"box {token!r} is not x1,y1,x2,y2,class"
    if not 0 <= label < num_classes:
        return f"box {token!r} has class {label}; allowed are 0 to {num_classes - 1}"
    return box, label


def load_recording(
    images: Path, name: str, listed: dict[int, ListedFrame], list_file: Path, problems: Problems
) -> Recording | None:
    """Joins the frames of folder ``images/name`` with the lines that list it; None if no frame is there."""
    folder = images / name
    try:
        paths, numbers = _numbered_images(folder, problems)
    except FileNotFoundError:
        paths = []
    if not paths:
        problems.report(
            folder, f"holds no image, but {list_file.name} lists {len(listed)} of its frames", f"Copy it; {HOW_TO_GET}"
        )
        return None
    try:
        size = image_size(ImageFiles(paths))
    except DataError as error:
        problems.report(folder, f"holds no image that can be read ({error})", f"Copy it again; {HOW_TO_GET}")
        return None
    position = {int(number): i for i, number in enumerate(numbers)}
    indices: list[int] = []
    owners: list[tuple[int, str]] = []
    raw: list[list[float]] = []
    classes: list[int] = []
    for number, frame in sorted(listed.items()):
        at = position.get(number)
        if at is None:
            problems.report(
                frame.where, f"frame {number} of {folder} is listed, its file is missing", "Copy it or delete the line"
            )
            continue
        indices.append(at)
        owners += [(at, frame.where)] * len(frame.boxes)
        raw += frame.boxes
        classes += frame.labels
    boxes, labels = boxes_by_frame(
        np.array([at for at, _ in owners], np.int64),
        np.array(raw, np.float64).reshape(-1, 4),
        np.array(classes, np.int64),
        len(paths),
        size,
        lambda i: owners[i][1],
        problems,
    )
    return Recording(name, paths, numbers, boxes, labels, np.array(indices, np.int64))


def _numbered_images(folder: Path, problems: Problems) -> tuple[list[Path], NDArray[np.int64]]:
    kept: dict[int, Path] = {}
    paths = list_images(folder)
    by_pattern = names.numbers([path.name for path in paths]) if names.given() else [None] * len(paths)
    for path, named in zip(paths, by_pattern, strict=True):
        if named is None and not path.stem.isdecimal():
            problems.report(path, "the name is not a frame number", "Move the file out of the folder")
            continue
        number = int(path.stem) if named is None else named
        if number in kept:
            problems.report(path, f"is frame {number}, and so is {kept[number].name}", "Keep one of them")
            continue
        kept[number] = path
    paths = [kept[number] for number in sorted(kept)]
    return paths, np.array(sorted(kept), dtype=np.int64)


def image_size(frames: FrameSource) -> tuple[int, int]:
    """Height and width in px of the first frame that can be read.

    A bad frame before it is not reported here: whoever uses that frame does.

    Raises:
        DataError: if no frame can be read; the message is that of the first.
    """
    first: DataError | None = None
    for index in range(len(frames)):
        try:
            height, width = frames.read(index).shape
        except DataError as error:
            first = first or error
        else:
            return height, width
    raise first or DataError("a recording without frames has no size")


def boxes_by_frame(
    frames: NDArray[np.int64],
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    num_frames: int,
    size: tuple[int, int],
    where: Callable[[int], str],
    problems: Problems,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
    """Groups boxes by frame, without those that cannot be right; those that end up to 1 px outside are clipped.

    Args:
        frames: position of the frame of each box, ascending, [N].
        boxes: ``x1, y1, x2, y2`` in px, [N, 4].
        labels: [N].
        num_frames: of the recording; boxes of frames beyond it are passed over.
        size: height and width of its frames in px.
        where: gives the line or row of box i, for messages.
        problems: told of every box left out.

    Returns:
        Per frame the boxes, float32 [M, 4], and the labels, int64 [M].
    """
    height, width = size
    clipped = boxes.clip(0, np.array([width, height, width, height], np.float64))
    filled: NDArray[np.bool_] = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    near: NDArray[np.bool_] = np.all(np.abs(boxes - clipped) <= OVERSHOOT, axis=1)
    keep = filled & near & np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    for i in np.flatnonzero(~keep):
        text = ",".join(f"{value:g}" for value in boxes[i])
        fault = f"reaches outside the {width}x{height} image" if filled[i] else "has no area (x2 <= x1 or y2 <= y1)"
        problems.report(where(int(i)), f"box {text} {fault}", "Correct or delete the box")
    bounds = np.searchsorted(frames[keep], np.arange(1, num_frames + 1))
    return (
        np.split(clipped[keep].astype(np.float32), bounds)[:-1],
        np.split(labels[keep], bounds)[:-1],
    )


def aligned_files(root: Path, recording: Recording, pattern: str, count: int) -> list[tuple[Path, ...] | None] | None:
    """Stored registered frames ``root/matches/SEQUENCE/STEM/pattern``, oldest first; see :class:`Sequence`.

    One directory listing per sequence: a frame's folder is taken as complete, since asking for every one of its files
    takes long on a shared disk. Who reads a file that is missing after all gets a DataError that names it.

    Args:
        root: of the data set.
        recording: whose frames are asked about.
        pattern: such as ``"match_{}.png"``, numbered from 1.
        count: registered frames per frame.
    """
    matches = root / "matches"
    if not matches.is_dir():
        return None
    folder = matches / recording.name
    present: set[str] = set()
    if folder.is_dir():
        with os.scandir(folder) as entries:
            present = {entry.name for entry in entries}
    names = [pattern.format(k) for k in range(1, count + 1)]
    return [
        tuple(folder / path.stem / name for name in names) if path.stem in present else None for path in recording.paths
    ]
