"""COCO JSON with frames: COCO-VID (mmtracking's keys), TAO's variant of it, and plain COCO whose names tell the order.

Layout::

    root/annotations/instances_train.json, instances_val.json    (or another usual place, see ``JSON_FILES``)
    root/images/SEQUENCE/000000.png                              (where ``file_name`` says, see ``IMAGE_FOLDERS``)

    images       {id, file_name, height, width, video_id, frame_id}    frame_id from 0; TAO: frame_index
    annotations  {id, image_id, category_id, bbox: [x, y, w, h], iscrowd}    without bbox: that of segmentation
    videos       {id, name}
    categories   {id, name}

Without video keys recordings and numbers come from the names (:mod:`tdcnet.data.names`): a recording is the folder of
``file_name``, or in a folder of several what the names of its frames share. Category ids start at 0 or at 1 depending
on who wrote the file: labels are counted in order of id. Only frames that the file lists belong to a recording, and a
gap in their numbers cuts it: a clip does not reach over it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, foreign
from tdcnet.data.formats.coco_shapes import box_of, in_corners
from tdcnet.data.formats.recordings import Frame, build_sequences
from tdcnet.data.names import REMEDY, Key, Place, places
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import inside
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the file's own categories; :func:`class_names` reads those."""

SPELLINGS = {"train": ("train",), "val": ("val", "valid", "validation")}
JSON_FILES = (
    "annotations/instances_{}.json",
    "annotations/instances_{}2017.json",
    "annotations/{}.json",
    "annotations/{}_coco.json",
    "instances_{}.json",
    "instances_{}2017.json",
    "{}.json",
    "{}_coco.json",
    "{}/_annotations.coco.json",
)
IMAGE_FOLDERS = ("", "images", "{}", "images/{}", "{}/images", "{}2017", "images/{}2017", "data")


# -- reading -----------------------------------------------------------------------------------------------------------


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    train: str | None = None,
    val: str | None = None,
    images: str | None = None,
    split_file: str | None = None,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per video or folder.

    Boxes marked ``iscrowd`` are left out. A recording that both sides hold is logged, and its name gets ``@train`` or
    ``@val``.

    Args:
        root: the folder that everything else is relative to.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad images, annotations and files; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.
        train: JSON of the training side; the first of ``JSON_FILES`` if None.
        val: JSON of the validation side, likewise.
        images: folder that ``file_name`` is relative to; the first of ``IMAGE_FOLDERS`` that holds frames if None.
        split_file: JSON ``{"train": [names], "val": [names]}`` of ``tdcnet split`` that deals out the recordings
            of both files anew.

    Raises:
        FileNotFoundError: if a JSON file or every image is missing.
        DataError: if a JSON file is not COCO, at the first problem (policy ``"error"``), or if the split holds no
            usable frame.
    """
    del cache_dir
    common.check_split(split)
    root, problems = Path(root), problems or Problems()
    files = {"train": train, "val": val}
    if split_file is None:
        sequences = _read_side(root, split, files, images, problems)
        return common.finish(sequences, split, _json_file(root, split, files), problems, CLASSES)
    path = root / split_file
    names = common.read_split_file(path)[split]
    pool = {s.name: s for s in read_all(root, problems=problems, train=train, val=val, images=images)}
    for name in names:
        if name not in pool:
            problems.report(path, f"names {shown(name)}, which no JSON file has", "Write it again with tdcnet split")
    return common.finish([pool[name] for name in names if name in pool], split, path, problems, CLASSES)


def read_all(
    root: Path | str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    train: str | None = None,
    val: str | None = None,
    images: str | None = None,
) -> list[Sequence]:
    """All recordings of both sides, or of the only one there is; arguments and errors as those of :func:`read`."""
    del cache_dir
    root, problems = Path(root), problems or Problems()
    files = {"train": train, "val": val}
    sides = {path: split for split in reversed(common.SPLITS) if (path := _found(root, split, files)) is not None}
    if not sides:
        _json_file(root, "train", files)
    sequences = [s for split in reversed(sides.values()) for s in _read_side(root, split, files, images, problems)]
    return common.finish(sequences, None, next(iter(sides)), problems, CLASSES)


def class_names(root: Path | str, *, train: str | None = None, val: str | None = None, **_: Any) -> tuple[str, ...]:
    """Names of the categories in order of their id: what labels index into."""
    root, files = Path(root), {"train": train, "val": val}
    path = _found(root, "train", files) or _json_file(root, "val", files)
    return tuple(name for name, _ in _categories(_load(path), path))


def _json_file(root: Path, split: str, files: dict[str, str | None]) -> Path:
    given = files[split]
    names = [given] if given else [place.format(word) for word in SPELLINGS[split] for place in JSON_FILES]
    return common.find(root, names, f"COCO JSON of the {split!r} split (dataset.read.{split}=FILE names it)")


def _found(root: Path, split: str, files: dict[str, str | None]) -> Path | None:
    try:
        return _json_file(root, split, files)
    except FileNotFoundError:
        return None


def _read_side(
    root: Path, split: str, files: dict[str, str | None], images: str | None, problems: Problems
) -> list[Sequence]:
    path = _json_file(root, split, files)
    content = _load(path)
    classes = _categories(content, path)
    other = _found(root, "val" if split == "train" else "train", files)
    other_keys: set[Key] = set()
    names = tuple(name for name, _ in classes)
    other_content = _load(other) if other is not None and other != path else None
    named = places([*_file_names(content), *(_file_names(other_content) if other_content is not None else ())])
    if other is not None and other_content is not None:
        other_keys = _keys(other_content, named)
        theirs = tuple(name for name, _ in _categories(other_content, other))
        if set(theirs) != set(names):
            problems.report(
                path,
                f"has the categories {shown(', '.join(names) or 'none')[1:-1]}, but {other.name} has "
                f"{shown(', '.join(theirs) or 'none')[1:-1]}",
                "Write the same categories into both files",
            )
        elif split == "val":
            names = theirs  # one order for both sides, that of class_names
    order = {number: names.index(name) for name, number in classes}
    recordings = _frames(content, path, _locator(root, path, split, images, content), named, problems)
    roots = [root, path.parent, *([root / images] if images is not None else [])]
    recordings = _inside(recordings, roots, problems)
    _add_annotations(content, path, order, recordings, problems)
    sizes = {number: frame.size for number, (_, frame) in recordings.items() if frame.size is not None}
    if (example := in_corners(content["annotations"], sizes, _id)) is not None:
        raise DataError(
            f"{path}: the boxes seem to be corners x1, y1, x2, y2, such as {shown(example)}, and COCO's are x, y, "
            "width, height. Write x1, y1, x2 - x1, y2 - y1"
        )
    grouped: dict[Key, list[Frame]] = {}
    for key, frame in recordings.values():
        grouped.setdefault(key, []).append(frame)
    return [replace(s, classes=names) for s in build_sequences(grouped, other_keys, split, problems)]


def _load(path: Path) -> dict[str, Any]:
    content = common.read_labels(path)
    lists = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        known = foreign.of_json(content)
        raise DataError(
            f"{path}: expected COCO's lists 'images' and 'annotations', found {shown(found)[1:-1]}. "
            + (f"{known}" if known else "Export it again")
        )
    for name in (*lists, "videos", "categories"):
        entries = content.setdefault(name, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{path}: {name!r} is not a list of objects. Export it again")
    return content


def _categories(content: dict[str, Any], path: Path) -> list[tuple[str, int]]:
    """Names and ids in order of id."""
    entries = content["categories"]
    if not entries:
        used = {common.whole(a.get("category_id")) for a in content["annotations"]} - {None}
        entries = [{"id": number} for number in used]
    names: dict[int, str] = {}
    for entry in entries:
        number, name = common.whole(entry.get("id")), entry.get("name", entry.get("id"))
        if number is None:
            raise DataError(
                f"{path}: category id {shown(entry.get('id'))} is not a whole number. Export the file again"
            )
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DataError(
                f"{path}: category {number} is called {shown(name)}, expected a name. Export the file again"
            )
        if number in names:
            raise DataError(f"{path}: two categories have the same id, {number}. Give each its own")
        names[number] = str(name)
    if len(set(names.values())) < len(names):
        twice = next(name for name, times in Counter(names.values()).items() if times > 1)
        raise DataError(f"{path}: two categories are called {shown(twice)}. Give each a name of its own")
    return [(names[number], number) for number in sorted(names)]


def _id(value: object) -> int | str | None:
    """An id of an image, video or annotation as one thing, whether a file says 3, 3.0 or "3"; None if it is none."""
    if (number := common.whole(value)) is not None and (not isinstance(value, str) or value == str(number)):
        return number
    return value if isinstance(value, str) and value else None


# -- images and annotations --------------------------------------------------------------------------------------------


def _videos(content: dict[str, Any]) -> dict[Any, Key] | None:
    """Key of each video id, or None if images name no videos."""
    if not any("video_id" in image for image in content["images"]):
        return None
    keys: dict[Any, Key] = {}
    taken: set[Key] = set()
    for video in content["videos"]:
        number, name = _id(video.get("id")), video.get("name")
        key = (name.replace("\\", "/") if isinstance(name, str) and name else f"video_{number}", "")
        # Videos of one name are told apart by their id.
        keys[number] = key = key if key not in taken else (key[0], str(number))
        taken.add(key)
    return keys


Named = dict[str, Place | None]


def _file_names(content: dict[str, Any]) -> list[str]:
    names = (image.get("file_name") for image in content["images"])
    return [name.replace("\\", "/") for name in names if isinstance(name, str) and name]


def _inside(
    frames: dict[Any, tuple[Key, Frame]], roots: list[Path], problems: Problems
) -> dict[Any, tuple[Key, Frame]]:
    """Frames whose files lie below the data set as it is written."""
    folders = {folder: inside(folder, roots) for folder in {frame.path.parent for _, frame in frames.values()}}
    for _, frame in frames.values():
        if not folders[frame.path.parent]:
            problems.report(
                frame.where,
                f"file_name leads out of {roots[0]}, to {frame.path}",
                "List paths below that folder, or name one that they are below with dataset.read.images=FOLDER",
            )
    return {number: each for number, each in frames.items() if folders[each[1].path.parent]}


def _place(image: dict[str, Any], videos: dict[Any, Key] | None, named: Named) -> tuple[Key, int] | str:
    """Recording and number of an image, or what is wrong with it."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name or not common.can_be_a_path(name):
        return f"file_name is {shown(name)}"
    place = named[name.replace("\\", "/")]
    from_name = None if place is None or common.whole(place.number) is None else (place.key, place.number)
    if videos is None:
        return from_name or f"{shown(name)} tells no frame number, and there are no video_id and frame_id ({REMEDY})"
    video = _id(image.get("video_id"))
    if video is None:
        return f"video_id is {shown(image.get('video_id'))}, but other images have one"
    told = image.get("frame_id", image.get("frame_index"))
    number = common.whole(told)
    if number is None and from_name is not None and "frame_id" not in image and "frame_index" not in image:
        number = from_name[1]
    if number is None:
        return f"frame_id is {shown(told)}, expected a whole number"
    return videos.get(video, (f"video_{video}", "")), number


def _keys(content: dict[str, Any], named: Named) -> set[Key]:
    videos = _videos(content)
    return {place[0] for image in content["images"] if not isinstance(place := _place(image, videos, named), str)}


def _frames(
    content: dict[str, Any], path: Path, locate: Callable[[str], Path], named: Named, problems: Problems
) -> dict[Any, tuple[Key, Frame]]:
    videos = _videos(content)
    frames: dict[Any, tuple[Key, Frame]] = {}
    names: dict[Path, set[str]] = {}  # one listing per folder: asking for every file takes long on a shared disk
    for at, image in enumerate(content["images"]):
        number = _id(image.get("id"))
        where = f"{path}, image {shown(number)}" if number is not None else f"{path}, images[{at}]"
        place = _place(image, videos, named)
        fault = place if isinstance(place, str) else None
        if number is None:
            fault = f"its id is {shown(image['id'])}" if "id" in image else "has no id"
        elif number in frames:
            fault = "its id is that of an earlier image"
        if fault or isinstance(place, str):
            problems.report(where, str(fault), "Correct or delete the image")
            continue
        file = locate(image["file_name"])
        folder = file.parent
        if folder not in names:
            names[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        if file.name not in names[folder]:
            problems.report(where, f"its file {file} is missing", "Copy it or delete the image and its annotations")
            continue
        height, width = common.whole(image.get("height")), common.whole(image.get("width"))
        size = (height, width) if height and width else None
        frames[number] = place[0], Frame(file, place[1], where, size)
    return frames


def _add_annotations(
    content: dict[str, Any],
    path: Path,
    order: dict[int, int],
    frames: dict[Any, tuple[Key, Frame]],
    problems: Problems,
) -> None:
    listed = {number for image in content["images"] if (number := _id(image.get("id"))) is not None}
    seen: set[int | str] = set()
    for at, annotation in enumerate(content["annotations"]):
        number, image, category = (_id(annotation.get(name)) for name in ("id", "image_id", "category_id"))
        where = f"{path}, annotation {shown(number)}" if number is not None else f"{path}, annotations[{at}]"
        crowd = _flag(annotation.get("iscrowd"))
        box: list[float] | str = []
        fault = None
        if number is not None:
            if number in seen:
                fault = "its id is that of an earlier annotation"
            seen.add(number)
        if image not in listed:
            fault = f"there is no image {shown(annotation.get('image_id'))}"
        elif crowd not in (0, 1):
            fault = f"iscrowd is {shown(annotation['iscrowd'])}, expected 0 or 1"
        elif not crowd and fault is None:
            box = box_of(annotation)
            if isinstance(box, str):
                fault = box
            elif category not in order:
                allowed = ", ".join(map(str, order))
                fault = f"category_id is {shown(annotation.get('category_id'))}; allowed are {shown(allowed)[1:-1]}"
        if fault:
            problems.report(where, fault, "Correct or delete the annotation")
        elif image in frames and box and isinstance(category, int) and not isinstance(box, str):
            frame = frames[image][1]
            frame.boxes.append(box)
            frame.labels.append(order[category])
            frame.sources.append(where)
            told = (_id(annotation.get(key)) for key in ("track_id", "instance_id"))
            frame.targets.append(next((target for target in told if target is not None), None))


def _flag(value: object) -> int | None:
    return int(value or 0) if value is None or isinstance(value, bool) else common.whole(value)


def _locator(root: Path, path: Path, split: str, images: str | None, content: dict[str, Any]) -> Callable[[str], Path]:
    """Which folder ``file_name`` is relative to, found by trying; names of another machine count from ``images/``."""
    given = (image.get("file_name") for image in content["images"])
    names = [name for name in given if isinstance(name, str) and name and common.can_be_a_path(name)]
    sample = names[:: max(1, len(names) // 20)]
    words = SPELLINGS[split]
    places = [images] if images is not None else list(dict.fromkeys(p.format(w) for w in words for p in IMAGE_FOLDERS))
    folders = [root / place for place in places] + ([path.parent] if images is None else [])

    def locate(name: str, folder: Path, rebase: bool) -> Path:
        name = name.replace("\\", "/")
        return folder / (f"/{name}".rpartition("/images/")[2] if rebase else name)

    for folder in folders:
        for rebase in (False, True):
            if not sample or any(locate(name, folder, rebase).is_file() for name in sample):
                return lambda name, folder=folder, rebase=rebase: locate(name, folder, rebase)  # type: ignore[misc]
    such, looked = shown(sample[0], 200)[1:-1], ", ".join(map(str, folders))
    raise FileNotFoundError(
        f"{path}: none of its images is there, such as {such}; looked in {looked}. "
        "Copy them, or name the folder that file_name is relative to with dataset.read.images=FOLDER"
    )
