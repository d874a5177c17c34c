"""What the readers share: list files with one line per frame, folders of numbered frames, and boxes worth trusting."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdcnet.data import names
from tdcnet.data.duplicates import repeats
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats.foreign import hint
from tdcnet.data.frames import ImageFiles, list_images
from tdcnet.data.sequence import FrameSource, Sequence
from tdcnet.data.target_ids import first_untold, numbered
from tdcnet.files import LONGEST_NAME, read_json, read_text
from tdcnet.limits import MOST_JSON
from tdcnet.plain_data import NoNumber, parse_json
from tdcnet.shown import shown

log = logging.getLogger(__name__)

SPLITS = ("train", "val")
HOW_TO_GET = "data/README.md says how to get it"
OVERSHOOT = 1.0
"""Published boxes end up to this many px outside the image; they are clipped, further ones are reported."""


@dataclass
class ListedFrame:
    """One line of a list file: where it stands, its boxes ``x1, y1, x2, y2`` in px, their classes and which targets."""

    where: str
    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    targets: list[Hashable | None] = field(default_factory=list)


class Boxes(NamedTuple):
    """Per frame boxes, float32 [M, 4], labels, int64 [M], and if they are told the targets, int64 [M]."""

    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    target_ids: list[NDArray[np.int64]] | None = None


@dataclass
class Recording:
    """One folder of frames joined with the lines that list it; the fields are those of :class:`Sequence`."""

    name: str
    paths: list[Path]
    numbers: NDArray[np.int64]
    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    indices: NDArray[np.int64]
    target_ids: list[NDArray[np.int64]] | None = None

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
            target_ids=self.target_ids,
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
    absent = "" if root.exists() else "That folder itself does not exist: dataset.root=FOLDER names another. "
    raise FileNotFoundError(f"{what} not found; looked for {places}. {absent}{HOW_TO_GET}{hint(root)}")


def read_split_file(path: Path) -> dict[str, list[str]]:
    """The names in a ``split.json``: ``{"train": [...], "val": [...]}``.

    Raises:
        FileNotFoundError: if the file is missing.
        DataError: if it is of another shape, or names a recording twice.
    """
    shape = 'a line such as {"train": ["NAME_1", "NAME_2"], "val": ["NAME_3"]}'
    try:
        content = read_json(path)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"no folder {path.parent.absolute()}, where the data set should be. {HOW_TO_GET}; "
                "dataset.root=PATH names another place"
            ) from None
        raise FileNotFoundError(
            f"split not found; looked for {path.absolute()}. Write {shape}, or have tdcnet split write it"
        ) from None
    except DataError as error:
        raise DataError(f"{error}; it cannot be used as a split. It must be {shape}") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(side), list) for side in SPLITS):
        raise DataError(f"{path}: cannot be used as a split, came {shown(content)}. It must be {shape}")
    sides = {side: content[side] for side in SPLITS}
    every = [name for side in sides.values() for name in side]
    if bad := [name for name in every if not isinstance(name, str) or not name or Path(name).name != name]:
        raise DataError(f"{path}: {shown(bad[0])} is not the name of a recording. It must be {shape}")
    if twice := [name for name, times in Counter(every).items() if times > 1]:
        name = shown(twice[0])[1:-1]
        raise DataError(f"{path}: {name} listed twice; a recording belongs to one side, once. Delete one")
    return sides


def warn_shared(names: Iterable[str], others: Iterable[str], where: object) -> None:
    """Logs what both sides of a split hold: a score on it says little about anything new."""
    shared = sorted(set(names) & set(others))
    if shared:
        log.warning("%s: %d entries are on both sides of the split, such as %s", where, len(shared), shared[0])


def finish(
    sequences: list[Sequence], split: str | None, where: Path, problems: Problems, classes: tuple[str, ...]
) -> list[Sequence]:
    """What every reader gives back: checked as a whole, with the names of its classes.

    Args:
        sequences: as read.
        split: None for all recordings there are, where none may be of a split.
        where: what lists them, for messages.
        problems: of this reading.
        classes: names that labels index into, of sequences that do not tell them.

    Raises:
        DataError: if they hold no frame of the split, or their boxes are of another unit.
    """
    if split is not None and not any(len(sequence.indices) for sequence in sequences):
        raise DataError(f"{where}: the {split!r} split holds no usable frame. Check the list and that its files exist")
    _check_units(sequences, where)
    problems.tell_repeated(where)
    return [sequence if sequence.classes else replace(sequence, classes=classes) for sequence in sequences]


def _check_units(sequences: list[Sequence], where: Path) -> None:
    """Fractions of width and height, taken for px, put every target into the first pixel of its image."""
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(each for s in sequences for each in s.boxes)])
    # Of one box or two on the edge one cannot say; whole numbers are px.
    inside = (boxes <= 1).all(axis=1) & (boxes != boxes.round()).any(axis=1)
    found = int(inside.sum())
    if not found:
        return
    such = ",".join(f"{value:.4g}" for value in boxes[int(inside.argmax())])
    if found == len(boxes):
        raise DataError(
            f"{where}: all {found} boxes lie within the first pixel of their images, such as {such}. They seem to be "
            "fractions of width and height, and px are meant (or fractions were divided twice). Multiply them, or "
            "write YOLO labels, which are fractions (dataset=yolo)"
        )
    log.warning(
        "%s: %d of %d boxes lie within the first pixel of their images, such as %s; are these fractions, not px?",
        where,
        found,
        len(boxes),
        such,
    )


def read_labels(path: Path) -> Any:
    """A JSON file of labels. NaN, infinity and numbers too large for any use are given as text.

    JSON has no such numbers, but Python writes them. As text they are none either, and the reader that comes upon one
    can say which entry has it.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read as JSON.
    """
    try:
        return read_json(path)
    except DataError as error:
        if not isinstance(error.__cause__, NoNumber):
            raise
    text = read_text(path, MOST_JSON)
    quoted = _NO_NUMBER.sub(lambda found: found[0] if found[0][0] == '"' else f'"{found[0]}"', text)
    return parse_json(quoted, path)


def number(value: object) -> float | None:
    """A number of a file, finite, as such or as text; None if it is none."""
    if isinstance(value, str) and len(value) <= 40 and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return None
    return float(value)


def whole(value: object) -> int | None:
    """A whole number of a file, as such, as text or as 3.0; None if it is none, or none that fits into 63 bits."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else number(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 62:
        return None
    return int(value) if value == int(value) else None


def frame_number(stem: str) -> int | None:
    """The number that a name is, or None: digits, as many as fit into 63 bits."""
    return int(stem) if stem.isdecimal() and len(stem) <= 18 else None


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NO_NUMBER = re.compile(
    r'"(?:[^"\\]|\\.)*"|(?<![\w.+-])-?(?:Infinity\b|NaN\b|\d{19,}[\d.eE+-]*|\d[\d.]*[eE]\+?\d{3,})', re.ASCII
)
"""Text, and what is no number that can be used."""
LARGEST = 1e9
"""No coordinate in px is larger; what is, overflows sooner or later."""


def read_list(path: Path, num_classes: int, problems: Problems) -> dict[str, dict[int, ListedFrame]]:
    """Reads lines ``.../images/SEQUENCE/FRAME.png x1,y1,x2,y2,class ...`` into sequence -> frame number -> frame.

    A line without a box is an empty frame.
    """
    listed: dict[str, dict[int, ListedFrame]] = {}
    # A prefix in another encoding must not stop the reader: it is dropped anyway.
    text = read_text(path, errors="replace")
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{at}"
        place = place_of(line)
        if place is None:
            problems.report(
                where,
                f"expected .../images/SEQUENCE/NUMBER.png and its boxes, came {shown(line.strip())}",
                "Correct or delete the line",
            )
            continue
        name, at_frame, tokens = place
        frames = listed.setdefault(name, {})
        if at_frame in frames:
            problems.report(
                where, f"frame {at_frame} of {shown(name)} is listed a second time", "Keep one of the lines"
            )
            continue
        frames[at_frame] = frame = ListedFrame(where)
        for token in tokens:
            parsed = parse_box(token, num_classes)
            if isinstance(parsed, str):
                problems.report(where, parsed, "Correct or delete the box")
            else:
                frame.boxes.append(parsed[0])
                frame.labels.append(parsed[1])
    return listed


def place_of(line: str) -> tuple[str, int, list[str]] | None:
    """Sequence, frame number and the words after the path of a line ``.../images/SEQUENCE/FRAME.png WORD ...``.

    Paths are those of somebody else's machine: only what follows the last ``/images/`` counts, back-slashes are taken
    as slashes, and the suffix is dropped, since the same lists are used with png and with bmp.
    """
    _, found, rest = f"/{line.strip()}".replace("\\", "/").rpartition("/images/")
    tokens = rest.split()
    parts = PurePosixPath(tokens[0]).parts if found and tokens else ()
    number = frame_number(PurePosixPath(parts[1]).stem) if len(parts) == 2 else None
    if number is None or parts[0] in ("..", "/", "//") or not can_be_a_path(parts[0]):
        return None
    return parts[0], number, tokens[1:]


def parse_box(token: str, num_classes: int) -> tuple[list[float], int] | str:
    """Box and class of ``x1,y1,x2,y2,class``, or what is wrong with it."""
    parts = token.split(",")
    box, label = [number(part) for part in parts[:-1]], whole(parts[-1])
    if len(box) != 4 or label is None or None in box:
        return f"box {shown(token)} is not x1,y1,x2,y2,class"
    if not 0 <= label < num_classes:
        return f"box {shown(token)} has class {label}; allowed are 0 to {num_classes - 1}"
    return [value for value in box if value is not None], label


def can_be_a_path(name: str) -> bool:
    """Whether files may be called so; asking a file system for others ends in errors of its own."""
    parts = name.split("/")
    return "\0" not in name and len(parts) < 100 and all(len(part.encode()) <= LONGEST_NAME for part in parts)


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
    position = {int(each): i for i, each in enumerate(numbers)}
    indices: list[int] = []
    owners: list[tuple[int, str]] = []
    raw: list[list[float]] = []
    classes: list[int] = []
    targets: list[Hashable | None] = []
    for wanted, frame in sorted(listed.items()):
        at = position.get(wanted)
        if at is None:
            problems.report(
                frame.where, f"frame {wanted} of {folder} is listed, its file is missing", "Copy it or delete the line"
            )
            continue
        indices.append(at)
        owners += [(at, frame.where)] * len(frame.boxes)
        raw += frame.boxes
        classes += frame.labels
        targets += frame.targets
    boxes, labels, target_ids = boxes_by_frame(
        np.array([at for at, _ in owners], np.int64),
        np.array(raw, np.float64).reshape(-1, 4),
        np.array(classes, np.int64),
        len(paths),
        size,
        lambda i: owners[i][1],
        problems,
        targets,
    )
    return Recording(name, paths, numbers, boxes, labels, np.array(indices, np.int64), target_ids)


def _numbered_images(folder: Path, problems: Problems) -> tuple[list[Path], NDArray[np.int64]]:
    kept: dict[int, Path] = {}
    paths = list_images(folder)
    by_pattern = names.numbers([path.name for path in paths]) if names.given() else [None] * len(paths)
    for path, named in zip(paths, by_pattern, strict=True):
        at = frame_number(path.stem) if named is None else named
        if at is None:
            problems.report(path, "the name is not a frame number", "Move the file out of the folder")
            continue
        if at in kept:
            problems.report(path, f"is frame {at}, and so is {kept[at].name}", "Keep one of them")
            continue
        kept[at] = path
    paths = [kept[at] for at in sorted(kept)]
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
    targets: Listed[Hashable | None] = (),
) -> Boxes:
    """Groups boxes by frame, without those that cannot be right; those that end up to 1 px outside are clipped.

    A box that repeats another of its frame and class counts once (:mod:`tdcnet.data.duplicates`).

    Args:
        frames: position of the frame of each box, ascending, [N].
        boxes: ``x1, y1, x2, y2`` in px, [N, 4].
        labels: [N].
        num_frames: of the recording; boxes of frames beyond it are passed over.
        size: height and width of its frames in px.
        where: gives the line or row of box i, for messages.
        problems: told of every box left out.
        targets: which target each box is, if that is told, [N].
    """
    height, width = size
    clipped = boxes.clip(0, np.array([width, height, width, height], np.float64))
    filled: NDArray[np.bool_] = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    near: NDArray[np.bool_] = np.all(np.abs(boxes - clipped) <= OVERSHOOT, axis=1)
    keep = filled & near & np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    for i in np.flatnonzero(~keep):
        text = ",".join(f"{value:g}" for value in boxes[i])
        fault = f"reaches outside the {width}x{height} image" if filled[i] else "has no area (x2 <= x1 or y2 <= y1)"
        if not np.isfinite(boxes[i]).all():
            fault = "is not of finite numbers"
        problems.report(where(int(i)), f"box {text} {fault}", "Correct or delete the box")
    usable = np.flatnonzero(keep)
    for i in usable[repeats(frames[keep], clipped[keep], labels[keep])].tolist():
        keep[i] = False
        problems.repeat(where(i))
    bounds = np.searchsorted(frames[keep], np.arange(1, num_frames + 1))
    ids = None
    if len(targets) == len(frames):
        left = np.flatnonzero(keep).tolist()
        of_boxes = [targets[i] for i in left]
        ids = numbered(of_boxes, frames[keep])
        at = first_untold(of_boxes, frames[keep])
        if at is not None and any(target is not None for target in targets):
            log.warning(
                "%s: its target is not told, or is on the frame twice; which boxes of its recording are one target is "
                "told by distance (stage=track alone asks)",
                where(left[at]),
            )
    return Boxes(
        np.split(clipped[keep].astype(np.float32), bounds)[:-1],
        np.split(labels[keep], bounds)[:-1],
        None if ids is None else np.split(ids, bounds)[:-1],
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
