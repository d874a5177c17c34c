"""Sets that the UESTC repositories (SSTNet, Tridos, MoPKL) ship: frames in folders, labels as a text list or COCO JSON.

The list has a line per frame, ``.../images/train/data5/0.bmp x1,y1,x2,y2,class ...``; folders may be nested. The JSON
says the same as ``x, y, w, h``, and its category ids start at 1 where the list's classes start at 0.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.common import ListedFrame
from tdcnet.data.sequence import Sequence
from tdcnet.files import read_text
from tdcnet.shown import shown

Listed = dict[str, dict[int, ListedFrame]]
"""Folder below ``images`` (``"1"``, ``"train/data5"``) -> frame number -> frame."""

JSON_NAMES = {"train": ("train2017",), "val": ("val2017", "test2017")}
"""What circulates as ``test`` is the list that the networks validate on, where there is no other."""

VARIANTS = ("", "-R", "-H")
"""Behind the name of a set in those of its lists: MoPKL's DAUB-R and IRDST-H."""


def read_set(root: Path, split: str, name: str, classes: tuple[str, ...], problems: Problems) -> list[Sequence]:
    """Reads one side of a set whose folders are one video each; empty frames count.

    A sequence is called as its folder below ``images``, with ``_`` for ``/``.

    Args:
        root: the folder that holds ``images`` and the lists.
        split: ``"train"`` or ``"val"``.
        name: of the set, as it stands in the names of the lists.
        classes: names that labels index into.
        problems: what to do with bad lines, boxes and frames.

    Raises:
        ValueError: if there is no such split.
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: if the JSON is none, at the first problem (policy ``"error"``), or if no frame can be used.
    """
    common.check_split(split)
    images = common.find(root, ["images"], f"folder of {name} frames")
    list_file = common.find(root, list_names(name, split), f"list of the {name} {split!r} split")
    listed = read_list(list_file, len(classes), problems)
    other_side = "val" if split == "train" else "train"
    # Its faults are for whoever reads that side.
    with suppress(DataError, FileNotFoundError):
        other = common.find(root, list_names(name, other_side), "other list")
        theirs = read_list(other, len(classes), _Silent("skip"))
        # By the last folder: train/data5 and test/data5 are one video.
        ours, others = ({PurePosixPath(folder).name for folder in side} for side in (listed, theirs))
        common.warn_shared(ours, others, name)
    sequences = []
    for folder, frames in listed.items():
        recording = common.load_recording(images, folder, frames, list_file, problems)
        if recording is not None:
            recording = replace(recording, name=folder.replace("/", "_"))
            # A number that is missing leaves a gap in the video, not a cut.
            sequences.append(recording.sequence(np.zeros(len(recording.paths), np.int64), None))
    return common.finish(sequences, split, list_file, problems, classes)


class _Silent(Problems):
    """Passes over what is bad."""

    def report(self, where: object, what: str, remedy: str) -> None:
        """Says nothing."""


def list_names(name: str, split: str) -> list[str]:
    """Where the labels of a split may lie below the root; the text list before the JSON."""
    stems = [f"instances_{year}" for year in JSON_NAMES[split]]
    files = [f"{prefix}{stem}.json" for stem in stems for prefix in ("", f"{name}_", "annotations/")]
    return [*text_names(name, split), *files]


def text_names(name: str, split: str) -> list[str]:
    """Names of the text list of a split."""
    return [f"{split}.txt", *(f"coco_{split}_{name}{variant}.txt" for variant in VARIANTS)]


def read_list(path: Path, num_classes: int, problems: Problems) -> Listed:
    """Reads a text list or, by its suffix, a COCO JSON.

    Paths are those of somebody else's machine: only what follows the last ``/images/`` counts. A line without a box, or
    an image without an annotation, is an empty frame.

    Raises:
        DataError: if a JSON is not one, or at the first problem (policy ``"error"``).
    """
    return (_read_json if path.suffix == ".json" else _read_text)(path, num_classes, problems)


def _read_text(path: Path, num_classes: int, problems: Problems) -> Listed:
    listed: Listed = {}
    # A prefix in another encoding must not stop the reader: it is dropped anyway.
    text = read_text(path, errors="replace")
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        _, found, rest = f"/{line.strip()}".replace("\\", "/").rpartition("/images/")
        tokens = rest.split()
        frame = _add(listed, f"/images/{tokens[0]}" if found and tokens else line, f"{path}:{at}", problems)
        if frame is None:
            continue
        for token in tokens[1:]:
            parsed = common.parse_box(token, num_classes)
            if isinstance(parsed, str):
                problems.report(frame.where, parsed, "Correct or delete the box")
            else:
                frame.boxes.append(parsed[0])
                frame.labels.append(parsed[1])
    return listed


def _add(listed: Listed, path: str, where: str, problems: Problems) -> ListedFrame | None:
    """Enters the frame of ``path``; None if that is not one, or is there already."""
    _, found, place = f"/{path.strip()}".replace("\\", "/").rpartition("/images/")
    folder, stem = str(PurePosixPath(place).parent), PurePosixPath(place).stem
    number, parts = common.frame_number(stem), PurePosixPath(place).parts
    leads_out = ".." in parts or PurePosixPath(place).is_absolute()
    if not found or folder == "." or leads_out or number is None or not common.can_be_a_path(place):
        problems.report(
            where, f"expected .../images/FOLDER/NUMBER.bmp, came {shown(path.strip())}", "Correct or delete the entry"
        )
        return None
    frames = listed.setdefault(folder, {})
    if number in frames:
        problems.report(where, f"frame {place} is listed a second time", "Keep one of the entries")
        return None
    frames[number] = frame = ListedFrame(where)
    return frame


def _read_json(path: Path, num_classes: int, problems: Problems) -> Listed:
    data = common.read_labels(path)
    images, annotations, categories = (
        data.get(key, []) if isinstance(data, dict) else None for key in ("images", "annotations", "categories")
    )
    if not (isinstance(images, list) and isinstance(annotations, list) and isinstance(categories, list) and images):
        raise DataError(
            f"{path}: is no COCO file with images, annotations and categories, came {shown(data)}. Copy it again; "
            f"{common.HOW_TO_GET}"
        )
    declared = [_number(entry, "id") for entry in categories] or [_number(a, "category_id") for a in annotations]
    if categories and None in declared:
        raise DataError(f"{path}: a category has no whole number as id. Copy it again; {common.HOW_TO_GET}")
    # By order, not value: ids start at 0 in some files and at 1 in others.
    ids = sorted({number for number in declared if number is not None})
    if len(ids) > num_classes:
        raise DataError(
            f"{path}: has the categories {shown(ids)}, expected {num_classes}. Is it the list of another set?"
        )
    label_of = {category: label for label, category in enumerate(ids)}
    listed: Listed = {}
    frames: dict[int, ListedFrame | None] = {}
    for at, image in enumerate(images):
        where = f"{path}, image {at}"
        number, name = _number(image, "id"), image.get("file_name") if isinstance(image, dict) else None
        if number is None or not isinstance(name, str):
            problems.report(where, f"has no id or no file_name, came {shown(image)}", "Correct or delete the entry")
        elif number in frames:
            problems.report(where, f"its id {number} is that of an earlier image", "Correct or delete the entry")
        else:
            frames[number] = _add(listed, name, where, problems)
    for at, annotation in enumerate(annotations):
        image_id, category = _number(annotation, "image_id"), _number(annotation, "category_id")
        box = annotation.get("bbox") if isinstance(annotation, dict) else None
        given = [common.number(value) for value in box] if isinstance(box, list) else []
        values = [value for value in given if value is not None]
        if image_id not in frames or category not in label_of or not len(given) == len(values) == 4:
            problems.report(
                f"{path}, annotation {at}",
                f"expected a known image_id and category_id and a bbox of x, y, w, h; came {shown(annotation, 200)}",
                "Correct or delete the entry",
            )
            continue
        frame = frames[image_id]
        if frame is not None:
            x, y, w, h = values
            frame.boxes.append([x, y, x + w, y + h])
            frame.labels.append(label_of[category])
    return listed


def _number(entry: object, key: str) -> int | None:
    return common.whole(entry.get(key)) if isinstance(entry, dict) else None
