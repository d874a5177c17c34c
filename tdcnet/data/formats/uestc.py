"""Sets that the UESTC repositories (SSTNet, Tridos, MoPKL) ship: frames in folders, labels as a text list or COCO JSON.

The list has a line per frame, ``.../images/train/data5/0.bmp x1,y1,x2,y2,class ...``; folders may be nested. The JSON
says the same as ``x, y, w, h``, and its category ids start at 1 where the list's classes start at 0.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.common import ListedFrame
from tdcnet.data.sequence import Sequence

Listed = dict[str, dict[int, ListedFrame]]
"""Folder below ``images`` (``"1"``, ``"train/data5"``) -> frame number -> frame."""

JSON_NAMES = {"train": ("train2017",), "val": ("test2017", "val2017")}
"""What circulates as ``test`` is the list that the networks validate on."""


def read_set(root: Path, split: str, name: str, num_classes: int, problems: Problems) -> list[Sequence]:
    """Reads one side of a set whose folders are one video each; empty frames count.

    A sequence is called as its folder below ``images``, with ``_`` for ``/``.

    Args:
        root: the folder that holds ``images`` and the lists.
        split: ``"train"`` or ``"val"``.
        name: of the set, as it stands in the names of the lists.
        num_classes: labels are 0 to this, exclusive.
        problems: what to do with bad lines, boxes and frames.

    Raises:
        ValueError: if there is no such split.
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: if the JSON is none, at the first problem (policy ``"error"``), or if no frame can be used.
    """
    common.check_split(split)
    images = common.find(root, ["images"], f"folder of {name} frames")
    list_file = common.find(root, list_names(name, split), f"list of the {name} {split!r} split")
    listed = read_list(list_file, num_classes, problems)
    other_side = "val" if split == "train" else "train"
    # Its faults are for whoever reads that side.
    with suppress(DataError, FileNotFoundError):
        other = common.find(root, list_names(name, other_side), "other list")
        theirs = read_list(other, num_classes, _Silent("skip"))
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
    return common.not_empty(sequences, split, list_file)


class _Silent(Problems):
    """Passes over what is bad."""

    def report(self, where: object, what: str, remedy: str) -> None:
        """Says nothing."""


def list_names(name: str, split: str) -> list[str]:
    """Where the labels of a split may lie below the root; the text list before the JSON."""
    stems = [f"instances_{year}" for year in JSON_NAMES[split]]
    files = [f"{prefix}{stem}.json" for stem in stems for prefix in ("", f"{name}_", "annotations/")]
    return [f"{split}.txt", f"coco_{split}_{name}.txt", *files]


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
    text = path.read_text(encoding="utf-8-sig", errors="replace")
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
    if not found or folder == "." or ".." in PurePosixPath(place).parts or not stem.isdecimal():
        problems.report(
            where, f"expected .../images/FOLDER/NUMBER.bmp, came {path.strip()[:80]!r}", "Correct or delete the entry"
        )
        return None
    frames = listed.setdefault(folder, {})
    if int(stem) in frames:
        problems.report(where, f"frame {place} is listed a second time", "Keep one of the entries")
        return None
    frames[int(stem)] = frame = ListedFrame(where)
    return frame


def _read_json(path: Path, num_classes: int, problems: Problems) -> Listed:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        images, annotations = list(data["images"]), list(data["annotations"])
        declared = [category["id"] for category in data.get("categories", [])]
        # By order, not value: ids start at 0 in some files and at 1 in others.
        ids = sorted(set(declared or [annotation["category_id"] for annotation in annotations]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is no COCO file with images, annotations and categories ({error!r}). Copy it again; "
            f"{common.HOW_TO_GET}"
        ) from error
    if len(ids) > num_classes:
        raise DataError(f"{path}: has the categories {ids}, expected {num_classes}. Is it the list of another set?")
    label_of = {category: label for label, category in enumerate(ids)}
    listed: Listed = {}
    frames: dict[Any, ListedFrame | None] = {}
    for at, image in enumerate(images):
        where = f"{path}, image {at}"
        try:
            frames[image["id"]] = _add(listed, str(image["file_name"]), where, problems)
        except (KeyError, TypeError) as error:
            problems.report(where, f"has no id or no file_name ({error!r})", "Correct or delete the entry")
    for at, annotation in enumerate(annotations):
        where = f"{path}, annotation {at}"
        try:
            frame, label = frames[annotation["image_id"]], label_of[annotation["category_id"]]
            x, y, w, h = (float(value) for value in annotation["bbox"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problems.report(
                where,
                f"expected a known image_id and category_id and a bbox of x, y, w, h; came {error!r}",
                "Correct or delete the entry",
            )
            continue
        if frame is not None:
            frame.boxes.append([x, y, x + w, y + h])
            frame.labels.append(label)
    return listed
