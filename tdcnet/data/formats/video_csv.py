"""A folder of videos, or of folders of images, with all boxes in one table.

Layout::

    root/videos/NAME.mp4         (avi, mkv, mov, ...) or root/videos/NAME/000000.png; or both in root itself;
                                 or NAME.tif with a page per frame
    root/labels.csv              video,frame,x1,y1,x2,y2,label
    root/split.json              {"train": ["NAME", ...], "val": [...]}

``frame`` is the position from 0, also where the names of images start at 1. Instead of corners the table may give
``x,y,w,h``; ``label`` may be absent. Frames without a row are empty, and so is a row whose box is blank. Instead of
``split.json`` the table may have a column ``split`` with ``train`` or ``val``. A column ``track`` tells which target of
the video a box is. A gap in the names of images cuts the
recording: a clip does not reach over it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.cache import decode_ahead
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.folders import running_numbers
from tdcnet.data.formats import common
from tdcnet.data.frames import VIDEO_SUFFIXES, ImageFiles, open_source
from tdcnet.data.names import segment_starts
from tdcnet.data.sequence import FrameSource, Sequence
from tdcnet.data.video import open_videos
from tdcnet.files import read_text
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the labels in the table; :func:`class_names` reads those."""

HEADER = "video,frame,x1,y1,x2,y2,label"
STACKS = (".tif", ".tiff")
"""Endings of files with a page per frame."""
CORNERS, SIDES = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h")


@dataclass
class Row:
    """One row: where it stands, frame, ``x1, y1, x2, y2`` in px (None if blank), label, side and target if told."""

    where: str
    frame: int
    box: list[float] | None
    label: str
    split: str
    target: Hashable | None = None


@dataclass
class Table:
    """The rows by video."""

    path: Path
    videos: dict[str, list[Row]] = field(default_factory=dict)
    has_split: bool = False

    def classes(self) -> tuple[str, ...]:
        """The labels in use, numbers in order of value, else by alphabet; ``CLASSES`` if none is given."""
        used = {row.label for rows in self.videos.values() for row in rows if row.label}
        if all(common.frame_number(label) is not None for label in used):
            return tuple(sorted(used, key=int)) or CLASSES
        return tuple(sorted(used))


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    labels: str = "labels.csv",
    split_file: str = "split.json",
    classes: Iterable[str] | None = None,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per video.

    Args:
        root: the folder that holds the table and the videos.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad videos, rows and frames; stops at the first if None.
        cache_dir: for decoded frames; the default cache if None.
        labels: the table, relative to root.
        split_file: the split, relative to root; goes before a column ``split``.
        classes: the labels in order; :func:`class_names` if None.

    Raises:
        FileNotFoundError: if the root, the table, or both ways to tell the split are missing.
        DataError: if the table's header or the split is not as it should be, at the first problem (policy
            ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    root, problems = Path(root), problems or Problems()
    table = read_table(root / labels, problems)
    if (root / split_file).is_file():
        sides, told_by = common.read_split_file(root / split_file), root / split_file
    elif table.has_split:
        sides, told_by = _sides_of(table, problems), table.path
    else:
        raise FileNotFoundError(
            f"split not found; looked for {(root / split_file).absolute()} and for a column 'split' in {table.path}. "
            'Write a line such as {"train": ["NAME_1", "NAME_2"], "val": ["NAME_3"]}, with the names of the videos '
            "without suffix, or have tdcnet split write it"
        )
    sources = _sources(root)
    for name in table.videos.keys() - sources.keys() - {name for side in sides.values() for name in side}:
        problems.report(table.videos[name][0].where, f"there is no video {name!r}", "Copy it or delete its rows")
    sequences = sequences_of(sides[split], sources, table, classes, problems, cache_dir)
    return common.finish(sequences, split, told_by, problems, CLASSES)


def read_all(
    root: Path | str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    labels: str = "labels.csv",
    classes: Iterable[str] | None = None,
) -> list[Sequence]:
    """All videos, of no split; arguments and errors as those of :func:`read`."""
    root, problems = Path(root), problems or Problems()
    table = read_table(root / labels, problems)
    sources = _sources(root)
    names = sorted(sources.keys() | table.videos.keys())
    sequences = sequences_of(names, sources, table, classes, problems, cache_dir)
    return common.finish(sequences, None, table.path, problems, CLASSES)


def class_names(
    root: Path | str, *, labels: str = "labels.csv", classes: Iterable[str] | None = None, **_: Any
) -> tuple[str, ...]:
    """What labels index into: ``classes``, or else the labels of the whole table in order."""
    if classes is not None:
        return tuple(map(str, classes))
    return read_table(Path(root) / labels, Problems("skip")).classes()


# -- the table ---------------------------------------------------------------------------------------------------------


def read_table(path: Path, problems: Problems) -> Table:
    """Reads the table; rows that cannot be used are reported and left out.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if its header lacks a column, or it is no text.
    """
    table = Table(common.find(path.parent, [path.name], f"table of boxes ({HEADER})"))
    try:
        with io.StringIO(read_text(path), newline="") as file:
            # What follows the last column of the header goes under None.
            reader = csv.DictReader(file, skipinitialspace=True, restval="")
            reader.fieldnames = [str(name).strip().lower() for name in reader.fieldnames or ()]
            names = set(reader.fieldnames)
            columns = next((group for group in (CORNERS, SIDES) if names.issuperset(group)), None)
            if columns is None or not names.issuperset(("video", "frame")):
                raise DataError(
                    f"{path}:1: expected the header {HEADER}, or x,y,w,h for the box, came "
                    f"{shown(','.join(reader.fieldnames))}. Write it as the first line"
                )
            table.has_split = "split" in names
            for fields in reader:
                parsed = _parse(
                    {k: v.strip() for k, v in fields.items() if k}, columns, f"{path}:{reader.line_num}", names
                )
                if isinstance(parsed, str) or None in fields:
                    fault = parsed if isinstance(parsed, str) else "has more fields than the header"
                    problems.report(f"{path}:{reader.line_num}", fault, "Correct or delete the row")
                else:
                    table.videos.setdefault(parsed[0], []).append(parsed[1])
    except csv.Error as error:
        raise DataError(f"{path}: is no table in UTF-8 ({error}). Save it as CSV, separated by commas") from error
    return table


def _parse(fields: dict[str, str], columns: tuple[str, ...], where: str, names: set[str]) -> tuple[str, Row] | str:
    video = _stem(fields["video"])
    if not video or Path(video).name != video or not common.can_be_a_path(video):
        return f"video {shown(fields['video'])} is not the name of a video or folder"
    frame = common.whole(fields["frame"])
    if frame is None or frame < 0:
        return f"frame {shown(fields['frame'])} is not a whole number from 0"
    label, split = fields.get("label", ""), fields.get("split", "")
    if "split" in names and split not in common.SPLITS:
        return f"split is {shown(split)}; allowed are 'train' and 'val'"
    given = [fields[name] for name in columns]
    row = Row(where, frame, None, label, split, _target(fields.get("track", fields.get("track_id", ""))))
    if not any(given):
        return video, row
    values = [value for text in given if (value := common.number(text)) is not None]
    if len(values) != 4:
        return f"box {shown(','.join(given))} is not {','.join(columns)}"
    x, y, width, height = values
    row.box = [x, y, x + width, y + height] if columns == SIDES else values
    if "label" in names and not label:
        return "the label is blank"
    return video, row


def _target(text: str) -> int | str | None:
    """Which target a box is; numbers are the same however they are written."""
    value = common.number(text)
    if value is not None and value.is_integer():
        return int(value)
    return None if text.lower() in ("", "nan", "none", "null") else text


def _sides_of(table: Table, problems: Problems) -> dict[str, list[str]]:
    sides: dict[str, list[str]] = {split: [] for split in common.SPLITS}
    for name, rows in table.videos.items():
        other = next((row for row in rows if row.split != rows[0].split), None)
        if other is not None:
            problems.report(
                other.where,
                f"puts {name} into {other.split!r}, {rows[0].where} into {rows[0].split!r}",
                "A video belongs to one side: correct the rows",
            )
        else:
            sides[rows[0].split].append(name)
    return sides


# -- the videos --------------------------------------------------------------------------------------------------------


def _stem(name: str) -> str:
    return name[: name.rfind(".")] if name.lower().endswith((*VIDEO_SUFFIXES, *STACKS)) else name


def _sources(root: Path) -> dict[str, list[Path]]:
    """Videos and folders by name; several of one name are for the caller to complain about."""
    folder = root / "videos" if (root / "videos").is_dir() else root
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in (*VIDEO_SUFFIXES, *STACKS)):
            found.setdefault(_stem(path.name) if path.is_file() else path.name, []).append(path)
    return found


def sequences_of(
    names: Iterable[str],
    sources: dict[str, list[Path]],
    table: Table,
    classes: Iterable[str] | None,
    problems: Problems,
    cache_dir: Path | None,
) -> list[Sequence]:
    """The recordings of some names, whose boxes a table holds.

    Args:
        names: of the recordings.
        sources: videos and folders by name.
        table: the boxes.
        classes: the labels in order; those of the table if None.
        problems: what to do with bad videos, rows and frames.
        cache_dir: for decoded frames; the default cache if None.
    """
    order = {name: at for at, name in enumerate(map(str, classes) if classes is not None else table.classes())}
    sequences = []
    # Only decoding tells how many frames there are; done for all at once it takes all processors.
    names = list(names)
    files = (path for name in names for path in sources.get(name, []) if path.is_file())
    decode_ahead(open_videos((path for path in files if path.suffix.lower() not in STACKS), cache_dir))
    for name in names:
        paths = sources.get(name, [])
        if len(paths) != 1:
            fault = f"there are {' and '.join(path.name for path in paths)}" if paths else "no video or folder has it"
            problems.report(f"{table.path.parent}, video {name!r}", fault, "Keep or copy one of that name")
            continue
        try:
            frames = open_source(paths[0], cache_dir)
            size = common.image_size(frames)
        except DataError as error:
            problems.report(paths[0], f"cannot be used ({error})", "Copy it again")
            continue
        sequences.append(_sequence(name, frames, size, table, order, problems))
    return sequences


def _sequence(
    name: str, frames: FrameSource, size: tuple[int, int], table: Table, order: dict[str, int], problems: Problems
) -> Sequence:
    n = len(frames)
    kept: list[tuple[Row, list[float], int]] = []
    for row in sorted(table.videos.get(name, []), key=lambda row: row.frame):
        fault = None
        if row.frame >= n:
            damage = getattr(frames, "fault", "")
            fault = f"frame {row.frame} is beyond the {n} frames of {name} (they count from 0)"
            fault += f", which {damage}" if damage else ""
        elif row.box is not None and row.label and row.label not in order:
            fault = f"label is {shown(row.label)}; allowed are {', '.join(map(str, order))[:200]}"
        if fault:
            problems.report(row.where, fault, "Correct or delete the row")
        elif row.box is not None:
            kept.append((row, row.box, order.get(row.label, 0)))
    boxes, labels, target_ids = common.boxes_by_frame(
        np.array([row.frame for row, _, _ in kept], np.int64),
        np.array([box for _, box, _ in kept], np.float64).reshape(-1, 4),
        np.array([label for _, _, label in kept], np.int64),
        n,
        size,
        lambda i: kept[i][0].where,
        problems,
        [row.target for row, _, _ in kept],
    )
    return Sequence(
        name=name,
        frames=frames,
        boxes=boxes,
        labels=labels,
        indices=np.arange(n, dtype=np.int64),
        segment_start=segment_starts(_numbers(frames)),
        classes=tuple(order),
        target_ids=target_ids,
    )


def _numbers(frames: FrameSource) -> NDArray[np.int64]:
    """Numbers in the names of images; positions where a video has no names."""
    return running_numbers(frames.paths) if isinstance(frames, ImageFiles) else np.arange(len(frames), dtype=np.int64)
