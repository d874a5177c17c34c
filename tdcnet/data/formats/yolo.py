"""YOLO text labels with frames that belong together (layout as Ultralytics, CVAT and Datumaro document it).

Layout::

    root/data.yaml                          path, train, val, names
    root/images/train/SEQUENCE/000000.png   (or all in images/train, as SEQUENCE_000000.png)
    root/labels/train/SEQUENCE/000000.txt   class xc yc w h, as fractions of width and height; one line per box,
                                            or class x y x y .., a polygon, of which its box is taken

``train`` and ``val`` each are a folder, a text file with one path per line, or a list of these. The label of an image
lies where the last ``/images/`` of its path is ``/labels/``; one that is empty or missing makes an empty frame.

The layout knows no order. Recordings and numbers come from the names (:mod:`tdcnet.data.names`): a recording is a
folder, or in a folder of several what the names of its frames share; a gap in the numbers cuts: a clip does not reach
over it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.coco import SPELLINGS
from tdcnet.data.formats.recordings import Frame, build_sequences
from tdcnet.data.formats.yolo_labels import Lines, add_labels, label_file, warn_without_image
from tdcnet.data.frames import IMAGE_SUFFIXES, pick_images
from tdcnet.data.names import REMEDY, Key, places
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import inside, walk
from tdcnet.files import read_text, read_yaml
from tdcnet.shown import printable, shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the ``names`` of ``data.yaml``; :func:`class_names` reads those."""

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
MOST_CLASSES = 10_000


@dataclass(frozen=True)
class Description:
    """What ``data.yaml`` says: its path, where its paths may start, names of classes, splits, what it may name."""

    path: Path
    bases: tuple[Path, ...]
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    roots: tuple[Path, ...]


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    data: str | None = None,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per recording.

    A recording that both sides hold is logged, and its name gets ``@train`` or ``@val``.

    Args:
        root: the folder that holds ``data.yaml``.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad names, lines and files; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.
        data: the description, relative to root; the first of ``YAML_FILES`` if None.

    Raises:
        FileNotFoundError: if the root, ``data.yaml`` or a folder or list it names is missing.
        DataError: if ``data.yaml`` is not as it should be, at the first problem (policy ``"error"``), or if the split
            holds no usable frame.
    """
    del cache_dir
    common.check_split(split)
    problems = problems or Problems()
    described = describe(Path(root), data)
    images = _images(described, split, problems)
    other = "val" if split == "train" else "train"
    try:
        others = _images(described, other, None) if other in described.splits else []
    except (FileNotFoundError, DataError):
        others = []
    found = places(_below(image, described) for image in (*images, *others))
    recordings: dict[Key, list[Frame]] = {}
    labelled, lines = 0, Lines(len(described.names))
    for image in images:
        place = found[_below(image, described)]
        if place is None:
            problems.report(image, "the name tells no frame number", f"Move it out of the folder, or {REMEDY}")
            continue
        frame = Frame(image, place.number, str(image))
        told = add_labels(frame, lines, problems)
        if told is None:  # what it shows is unknown, which is not nothing
            continue
        labelled += told
        recordings.setdefault(place.key, []).append(frame)
    lines.check(described.path, problems)
    warn_without_image(images, _folders(described, split), lines.num_classes, described.path)
    if recordings and not labelled:
        first = next(iter(recordings.values()))[0].path
        problems.report(
            described.path,
            f"none of the {len(images)} images of {split!r} has a label file, {first} would have {label_file(first)}",
            "Copy the labels there",
        )
    other_keys = {place.key for image in others if (place := found[_below(image, described)]) is not None}
    sequences = build_sequences(recordings, other_keys, split, problems, fractions=True)
    return common.finish(sequences, split, described.path, problems, described.names)


def class_names(root: Path | str, *, data: str | None = None, **_: Any) -> tuple[str, ...]:
    """The ``names`` of ``data.yaml``: what labels index into."""
    return describe(Path(root), data).names


def describe(root: Path, data: str | None = None) -> Description:
    """Reads ``data.yaml``.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is no YAML, or its names or splits are not as they should be.
    """
    path = common.find(
        root, [data] if data else YAML_FILES, "description of the YOLO data set (dataset.read.data=FILE names it)"
    )
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected the keys path, train, val and names, came {shown(content)}")
    splits = {}
    for split, spellings in SPELLINGS.items():
        given = next((content[word] for word in spellings if content.get(word)), None)
        entries = given if isinstance(given, list) else [given] * (given is not None)
        if not all(isinstance(entry, str) for entry in entries):
            raise DataError(f"{path}: {split!r} is {shown(given)}; expected a folder, a text file, or a list of these")
        if entries:
            splits[split] = tuple(entries)
    # `path` is often that of the machine the set was made on, so the yaml's own folder counts as well.
    stated = content.get("path")
    base = stated if isinstance(stated, str) and common.can_be_a_path(stated) else None
    places = ([path.parent / base, root / base] if base is not None else []) + [path.parent, root]
    bases = tuple(dict.fromkeys(Path(os.path.normpath(place)) for place in places))
    return Description(path, bases, _names(content, path), splits, (path.parent, root))


def _names(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= MOST_CLASSES):
        raise DataError(f"{path}: nc is {shown(count)}; expected the number of classes, 1 to {MOST_CLASSES}")
    if names is None and count is not None:
        names = list(range(count))
    if isinstance(names, dict):
        numbers = {common.whole(number): name for number, name in names.items()}
        if sorted(numbers, key=str) != sorted(range(len(names)), key=str):
            given = shown(", ".join(map(str, names)))[1:-1]
            raise DataError(f"{path}: names has the numbers {given}; they must go from 0 up")
        names = [numbers[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(map(_is_name, names)):
        raise DataError(
            f"{path}: names is {shown(names)}; expected a list of class names, or numbers from 0 with names "
            "(YAML takes yes, no, on and off for something else: put them in quotes)"
        )
    if len(names) > MOST_CLASSES:
        raise DataError(f"{path}: has {len(names)} names, at most {MOST_CLASSES} classes are read")
    if count is not None and count != len(names):
        raise DataError(f"{path}: nc is {count}, but names has {len(names)}. Correct the one that is wrong")
    named = tuple(str(name) for name in names)
    if len(set(named)) < len(named):
        raise DataError(f"{path}: names has one name twice, {shown(names)}. Give each class its own")
    return named


def _is_name(name: object) -> bool:
    return isinstance(name, str | int | float) and not isinstance(name, bool) and 0 < len(str(name)) <= 200


# -- images ------------------------------------------------------------------------------------------------------------


def _images(described: Description, split: str, problems: Problems | None) -> list[Path]:
    """The images of a split, each once; with ``problems`` None bad lines are passed over."""
    if split not in described.splits:
        raise DataError(
            f"{described.path}: has no {split!r}. Add it: a folder of images, a text file with one path per line, or a "
            "list of these"
        )
    found: dict[Path, None] = {}
    for entry in described.splits[split]:
        place = _resolve(entry, described.bases, described)
        if place is None:
            if not common.can_be_a_path(entry):
                raise DataError(f"{described.path}: {split!r} names {shown(entry)}, which no file can be called")
            tried = ", ".join(str(path) for path in _candidates(entry, described.bases))
            raise FileNotFoundError(
                f"{described.path}: {split!r} names {entry}, which is not there; looked for {tried}. Copy it, or "
                "correct path and the entry"
            )
        if place.is_dir():
            found.update(dict.fromkeys(_walk(place)))
        elif place.suffix.lower() in IMAGE_SUFFIXES:
            found[place] = None
        else:
            found.update(dict.fromkeys(_listed(place, described, problems)))
    return list(found)


def _folders(described: Description, split: str) -> list[Path]:
    """Those of a split that are named as a whole."""
    found = [_resolve(entry, described.bases, described) for entry in described.splits[split]]
    return [place for place in found if place is not None and place.is_dir()]


def _candidates(entry: str, bases: tuple[Path, ...]) -> list[Path]:
    entry = entry.strip().replace("\\", "/")
    places = [base / entry for base in bases]
    # Exports say ../train/images from a folder that nobody has, and lists hold the paths of another machine.
    trimmed = entry
    while trimmed.startswith("../"):
        trimmed = trimmed[3:]
    if trimmed != entry:
        places += [base / trimmed for base in bases]
    before, found, after = f"/{entry}".rpartition("/images/")
    if found and before:
        places += [base / "images" / after for base in bases]
    # By text, not by following links: one image must have one path, and its labels lie beside the link.
    return list(dict.fromkeys(Path(os.path.normpath(place)) for place in places))


def _resolve(entry: str, bases: tuple[Path, ...], described: Description) -> Path | None:
    """Where an entry lies, None if nowhere.

    Raises:
        DataError: if only outside of the data set.
    """
    tried = _candidates(entry, bases) if common.can_be_a_path(entry) else []
    there = [path for path in tried if path.exists()]
    if there and not any(inside(path, described.roots) for path in there):
        raise DataError(
            f"{described.path}: {printable(entry.strip())[:200]} leads out of the data set, to {there[0]}. List paths "
            "below its folder (a link there may lead anywhere), or give dataset.root=FOLDER and dataset.read.data=FILE"
        )
    return next((path for path in there if inside(path, described.roots)), None)


def _walk(folder: Path) -> list[Path]:
    return pick_images(walk(folder))


def _listed(path: Path, described: Description, problems: Problems | None) -> list[Path]:
    bases = (path.parent, *described.bases)
    images = []
    for at, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            image = _resolve(line, bases, described)
        except DataError as error:
            if problems is not None:
                problems.report(f"{path}:{at}", str(error), "Correct or delete the line")
            continue
        if image is not None:
            images.append(image)
        elif problems is not None:
            problems.report(
                f"{path}:{at}", f"{shown(line.strip(), 120)[1:-1]} is missing", "Copy it or delete the line"
            )
    return images


def _below(image: Path, described: Description) -> str:
    """The path of an image from where the paths of the set start, as its recording is named by it."""
    base = next((base for base in described.bases if image.is_relative_to(base)), None)
    return (image if base is None else image.relative_to(base)).as_posix()
