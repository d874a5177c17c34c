"""Anti-UAV, infrared: one drone per video, absent at times. Three sets of one kind, told apart by what lies on disk.

- Anti-UAV410 (Huang et al., TPAMI 2023) and Anti-UAV600 (arXiv 2306.15767)::

    root/train/SEQUENCE/000001.jpg ..      (from 1)
    root/train/SEQUENCE/IR_label.json
    root/train/list.txt                    (names of sequences; may be absent)

- Anti-UAV300 (Jiang et al., TMM 2021) and its challenge of 2020::

    root/train/SEQUENCE/infrared.mp4 or IR.mp4, or extracted: infrared/infraredI0000.jpg ..   (from 0)
    root/train/SEQUENCE/infrared.json or IR_label.json; in older copies label.json

beside ``root/train`` the other side by one of several names, see ``val_split``. A label file is
``{"exist": [1, 0, ...], "gt_rect": [[x, y, w, h], ...]}``, one entry per frame.

Known faults: an absent target is written ``[]``, ``[0]`` or ``[0, 0, 0, 0]``, depending on the release; some boxes end
one pixel outside (clipped), a few have no width or height (reported); 57 of the 90 validation sequences of Anti-UAV410
are other parts of recordings in train (a warning counts them).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.frames import ImageFiles, VideoFrames, frame_numbers, list_images, natural_sort
from tdcnet.data.sequence import FrameSource, Sequence
from tdcnet.files import read_text
from tdcnet.shown import shown

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("drone",)
VAL_SPLITS = ("val", "validation", "test", "test-dev")
LABELS = ("IR_label.json", "infrared.json", "label.json")
FRAME_FOLDERS = ("infrared", "IR", ".")
VIDEOS = ("infrared.mp4", "IR.mp4")

Row = list[float] | None
"""``x, y, w, h`` in px; empty for an absent target; None where the file does not make sense."""


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    val_split: str | None = None,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per folder, called ``train_NAME`` and so on.

    ``exist`` says whether the target is there; the box of an absent one is not looked at. A frame whose target is there
    but whose box cannot be used belongs to no split, since it is neither empty nor labelled.

    Args:
        root: the folder that holds ``train`` and the other side.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad videos, labels and boxes; stops at the first if None.
        cache_dir: for decoded videos; the default cache if None.
        val_split: folder of the ``"val"`` side; None for the first that is there of val, validation, test, test-dev.

    Raises:
        FileNotFoundError: if the folder of the split is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    root, problems = Path(root), problems or Problems()
    val_names = VAL_SPLITS if val_split is None else (val_split,)
    folder = common.find(root, ["train"] if split == "train" else val_names, f"folder of the Anti-UAV {split!r} split")
    if folder.name != split:
        log.info("the %r split of Anti-UAV is %s", split, folder)
    names = sequence_names(folder)
    other_names = val_names if split == "train" else ("train",)
    other = next((root / name for name in other_names if (root / name).is_dir()), None)
    if other is not None:
        _warn_if_shared(names, sequence_names(other), folder, other)
    sequences = []
    for name in names:
        sequence = _read_sequence(folder, name, problems, cache_dir)
        if sequence is not None:
            sequences.append(sequence)
    return common.finish(sequences, split, folder, problems, CLASSES)


def sequence_names(folder: Path) -> list[str]:
    """The sequences of a split: those that its ``list.txt`` names, or else all its folders, in natural order."""
    listing = folder / "list.txt"
    if listing.is_file():
        lines = read_text(listing, errors="replace").splitlines()
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return [path.name for path in natural_sort(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def recording_of(name: str) -> str:
    """What the parts of one recording share in their names.

    ``02_6319_1500-2999`` is ``02_6319``, ``20190925_101846_1_4`` is ``20190925_101846``, ``3700000000002_162623_1`` is
    ``3700000000002_162623``, ``wg2022_ir_020_split_03`` is ``wg2022_ir_020``.
    """
    return re.sub(r"(_\d+-\d+|_split_\d+|(_\d{1,2}){1,2})$", "", name)


def _warn_if_shared(ours: Iterable[str], theirs: Iterable[str], folder: Path, other: Path) -> None:
    known = {recording_of(name) for name in theirs}
    ours = list(ours)
    shared = [name for name in ours if recording_of(name) in known]
    if shared:
        log.warning(
            "%s: %d of %d sequences are parts of recordings that are in %s too, such as %s",
            folder,
            len(shared),
            len(ours),
            other.name,
            shared[0],
        )


def _read_sequence(split: Path, name: str, problems: Problems, cache_dir: Path | None) -> Sequence | None:
    folder = split / name
    if Path(name).name != name or not common.can_be_a_path(name):
        problems.report(split / "list.txt", f"{shown(name)} is not the name of a folder", "Correct or delete the line")
        return None
    labels = next((folder / label for label in LABELS if (folder / label).is_file()), None)
    if labels is None:
        problems.report(folder, f"holds no {', '.join(LABELS[:-1])} or {LABELS[-1]}", f"Copy it; {common.HOW_TO_GET}")
        return None
    try:
        frames, numbers = _open_frames(folder, problems, cache_dir)
        size = frames.shape if isinstance(frames, VideoFrames) else common.image_size(frames)
        rows = read_labels(labels, problems)
    except DataError as error:
        problems.report(folder, f"cannot be used ({error})", f"Copy it again; {common.HOW_TO_GET}")
        return None
    n = len(frames)
    if n != len(rows):
        problems.report(
            labels,
            f"has {len(rows)} entries for the {n} frames in {folder}",
            "Copy both again; frames without an entry can only be left out",
        )
    of_frame = _rows_of_frames(frames, numbers, len(rows))
    inside = np.flatnonzero((of_frame >= 0) & (of_frame < len(rows))).tolist()
    known = {at: row for at in inside if (row := rows[of_frame[at]]) is not None}
    present = [(at, row) for at, row in known.items() if row]
    xywh = np.array([row for _, row in present], np.float64).reshape(-1, 4)
    boxes, classes, _ = common.boxes_by_frame(
        np.array([at for at, _ in present], np.int64),
        np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        np.zeros(len(present), np.int64),
        n,
        size,
        lambda i: f"{labels}, entry {of_frame[present[i][0]]}",
        problems,
    )
    lost = {at for at, _ in present if not len(boxes[at])}
    return Sequence(
        name=f"{split.name}_{name}",
        frames=frames,
        boxes=boxes,
        labels=classes,
        indices=np.array([at for at in known if at not in lost], np.int64),
        segment_start=np.zeros(n, np.int64),
    )


def _open_frames(
    folder: Path, problems: Problems, cache_dir: Path | None
) -> tuple[FrameSource, NDArray[np.int64] | None]:
    """The frames of a sequence and, if they are images, their numbers. Images go before a video: they are read faster.

    Raises:
        DataError: if there are neither, or the video cannot be opened.
    """
    for place in FRAME_FOLDERS:
        paths = list_images(folder / place) if (folder / place).is_dir() else []
        if not paths:
            continue
        kept: dict[int, Path] = {}
        for path, number in zip(paths, frame_numbers(paths).tolist(), strict=True):
            if number in kept:
                problems.report(path, f"is frame {number}, and so is {kept[number].name}", "Keep one of them")
            kept.setdefault(number, path)
        numbers = sorted(kept)
        return ImageFiles([kept[number] for number in numbers]), np.array(numbers, np.int64)
    for name in VIDEOS:
        if (folder / name).is_file():
            return VideoFrames(folder / name, cache_dir), None
    raise DataError(
        f"{folder}: holds no frames; looked for images in it and in its {FRAME_FOLDERS[0]} and {FRAME_FOLDERS[1]}, and "
        f"for {' and '.join(VIDEOS)}"
    )


def _rows_of_frames(frames: FrameSource, numbers: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """Which label entry each frame has; may be out of range where images are missing or too many."""
    if numbers is None:
        return np.arange(len(frames))
    if len(numbers) == count and numbers[-1] - numbers[0] == count - 1:
        return np.asarray(numbers - numbers[0], np.int64)
    # With files missing only the numbers tell; extracted videos count from 0, published images from 1.
    from_zero = numbers[0] == 0 or Path(frames.where(0)).stem.startswith("infraredI")
    first = 0 if from_zero else 1
    return np.asarray(numbers - first, np.int64)


def read_labels(path: Path, problems: Problems) -> list[Row]:
    """Reads a label file, a row per frame.

    Raises:
        DataError: if the file is not as expected, or at the first problem (policy ``"error"``).
    """
    expected = 'expected {"exist": [...], "gt_rect": [[x, y, w, h], ...]}'
    try:
        data = common.read_labels(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: is not there, {expected}") from error
    except DataError as error:
        raise DataError(f"{error}; {expected}") from error
    exist, rects = (data.get(key) if isinstance(data, dict) else None for key in ("exist", "gt_rect"))
    if not isinstance(exist, list) or not isinstance(rects, list):
        raise DataError(f"{path}: {expected}, came {shown(data)}")
    if len(exist) != len(rects):
        problems.report(
            path, f"has {len(exist)} of exist and {len(rects)} of gt_rect", "They must be one per frame; copy it again"
        )
    return [
        _row(there, rect, f"{path}, entry {at}", problems)
        for at, (there, rect) in enumerate(zip(exist, rects, strict=False))
    ]


def _row(there: object, rect: object, where: str, problems: Problems) -> Row:
    if there == 0:
        return []
    given = [common.number(value) for value in rect] if isinstance(rect, list) and len(rect) == 4 else []
    numbers = [value for value in given if value is not None]
    if there == 1 and len(numbers) == 4:
        return numbers
    problems.report(
        where,
        f"expected exist 0, or 1 and a box x, y, w, h; came {shown(there)} and {shown(rect)}",
        "Correct the entry",
    )
    return None
