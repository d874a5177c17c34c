"""COCO JSON with frames: COCO-VID (mmtracking's keys), TAO's variant of it, and plain COCO whose names tell the order.

Layout::

    root/annotations/instances_train.json, instances_val.json    (or another usual place, see ``JSON_FILES``)
    root/images/SEQUENCE/000000.png                              (where ``file_name`` says, see ``IMAGE_FOLDERS``)

    images       {id, file_name, height, width, video_id, frame_id}    frame_id from 0; TAO: frame_index
    annotations  {id, image_id, category_id, bbox: [x, y, w, h], iscrowd}
    videos       {id, name}
    categories   {id, name}

Without video keys recordings and numbers come from the names (:mod:`tdcnet.data.names`): a recording is the folder of
``file_name``, or in a folder of several what the names of its frames share. Category ids start at 0 or at 1 depending
on who wrote the file: labels are counted in order of id. Only frames that the file lists belong to a recording, and a
gap in their numbers cuts it: a clip does not reach over it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.recordings import Frame, build_sequences
from tdcnet.data.names import REMEDY, Key, Place, places
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import inside

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
        split_file: JSON ``{"train": [names], "val": [names]}`` of ``scripts/split.py`` that deals out the recordings
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
        return common.not_empty(_read_side(root, split, files, images, problems), split, _json_file(root, split, files))
    path = root / split_file
    names = common.read_split_file(path)[split]
    pool = {s.name: s for s in read_all(root, problems=problems, train=train, val=val, images=images)}
    for name in names:
        if name not in pool:
            problems.report(path, f"names {name!r}, which no JSON file has", "Write it again with scripts/split.py")
    return common.not_empty([pool[name] for name in names if name in pool], split, path)


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
    return [s for split in reversed(sides.values()) for s in _read_side(root, split, files, images, problems)]


def class_names(root: Path | str, *, train: str | None = None, val: str | None = None, **_: Any) -> tuple[str, ...]:
    """Names of the categories in order of their id: what labels index into."""
    root, files = Path(root), {"train": train, "val": val}
    path = _found(root, "train", files) or _json_file(root, "val", files)
    return tuple(_categories(_load(path), path).values())


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
    categories = _categories(content, path)
    other = _found(root, "val" if split == "train" else "train", files)
    other_keys: set[Key] = set()
    other_content = _load(other) if other is not None and other != path else None
    named = places([*_file_names(content), *(_file_names(other_content) if other_content is not None else ())])
    if other is not None and other_content is not None:
        other_keys = _keys(other_content, named)
        theirs = tuple(_categories(other_content, other).values())
        if theirs != (ours := tuple(categories.values())):
            problems.report(
                path,
                f"has the categories {', '.join(ours) or 'none'}, but {other.name} has {', '.join(theirs) or 'none'}, "
                "and labels count them in order",
                "Write the same categories into both files",
            )
    recordings = _frames(content, path, _locator(root, path, split, images, content), named, problems)
    roots = [root, path.parent, *([root / images] if images is not None else [])]
    recordings = _inside(recordings, roots, problems)
    _add_annotations(content, path, categories, recordings, problems)
    grouped: dict[Key, list[Frame]] = {}
    for key, frame in recordings.values():
        grouped.setdefault(key, []).append(frame)
    return build_sequences(grouped, other_keys, split, problems)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: is no JSON that can be read ({error}). Copy or export it again") from error
    lists = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f"{path}: expected COCO's lists 'images' and 'annotations', found {found[:80]}. Export it again"
        )
    for name in (*lists, "videos", "categories"):
        entries = content.setdefault(name, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{path}: {name!r} is not a list of objects. Export it again")
    return content


def _categories(content: dict[str, Any], path: Path) -> dict[int, str]:
    entries = content["categories"] or [{"id": a.get("category_id")} for a in content["annotations"]]
    names = {entry.get("id"): str(entry.get("name", entry.get("id"))) for entry in entries}
    if bad := [number for number in names if _integer(number) is None]:
        raise DataError(f"{path}: category id {bad[0]!r} is not a whole number. Export the file again")
    if content["categories"] and len(names) < len(entries):
        raise DataError(f"{path}: two categories have the same id. Give each its own")
    return {number: names[number] for number in sorted(names)}


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


# -- images and annotations --------------------------------------------------------------------------------------------


def _videos(content: dict[str, Any]) -> dict[Any, Key] | None:
    """Key of each video id, or None if images name no videos."""
    if not any("video_id" in image for image in content["images"]):
        return None
    keys: dict[Any, Key] = {}
    for video in content["videos"]:
        key = (str(video.get("name", f"video_{video.get('id')}")).replace("\\", "/"), "")
        # Videos of one name are told apart by their id.
        keys[video.get("id")] = key if key not in keys.values() else (key[0], str(video.get("id")))
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
    if not isinstance(name, str) or not name:
        return f"file_name is {name!r}"
    place = named[name.replace("\\", "/")]
    from_name = None if place is None else (place.key, place.number)
    if videos is None:
        return from_name or f"{name!r} tells no frame number, and there are no video_id and frame_id ({REMEDY})"
    video = image.get("video_id")
    if not isinstance(video, int | str):
        return f"video_id is {video!r}, but other images have one"
    number = _integer(image.get("frame_id", image.get("frame_index")))
    if number is None and from_name is not None and "frame_id" not in image and "frame_index" not in image:
        number = from_name[1]
    if number is None:
        return f"frame_id is {image.get('frame_id', image.get('frame_index'))!r}, expected a whole number"
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
        number = image.get("id")
        where = f"{path}, image {number!r}" if "id" in image else f"{path}, images[{at}]"
        place = _place(image, videos, named)
        fault = place if isinstance(place, str) else None
        if not isinstance(number, int | str):
            fault = "has no id"
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
        height, width = _integer(image.get("height")), _integer(image.get("width"))
        size = (height, width) if height and width else None
        frames[number] = place[0], Frame(file, place[1], where, size)
    return frames


def _add_annotations(
    content: dict[str, Any],
    path: Path,
    categories: dict[int, str],
    frames: dict[Any, tuple[Key, Frame]],
    problems: Problems,
) -> None:
    order = {number: at for at, number in enumerate(categories)}
    listed = {image["id"] for image in content["images"] if isinstance(image.get("id"), int | str)}
    seen = set()
    for at, annotation in enumerate(content["annotations"]):
        number, image, box = (annotation.get(name) for name in ("id", "image_id", "bbox"))
        where = f"{path}, annotation {number!r}" if isinstance(number, int | str) else f"{path}, annotations[{at}]"
        fault = None
        if isinstance(number, int | str):
            if number in seen:
                fault = "its id is that of an earlier annotation"
            seen.add(number)
        if not isinstance(image, int | str) or image not in listed:
            fault = f"there is no image {image!r}"
        elif not annotation.get("iscrowd") and fault is None:
            if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
                fault = f"bbox is {box!r}, expected [x, y, width, height] in px"
            elif annotation.get("category_id") not in order:
                fault = f"category_id is {annotation.get('category_id')!r}; allowed are {', '.join(map(str, order))}"
        if fault:
            problems.report(where, fault, "Correct or delete the annotation")
        elif image in frames and not annotation.get("iscrowd"):
            x, y, width, height = box
            frame = frames[image][1]
            frame.boxes.append([x, y, x + width, y + height])
            frame.labels.append(order[annotation["category_id"]])
            frame.sources.append(where)


def _locator(root: Path, path: Path, split: str, images: str | None, content: dict[str, Any]) -> Callable[[str], Path]:
    """Which folder ``file_name`` is relative to, found by trying; names of another machine count from ``images/``."""
    names = [image["file_name"] for image in content["images"] if isinstance(image.get("file_name"), str)]
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
    raise FileNotFoundError(
        f"{path}: none of its images is there, such as {sample[0]}; looked in {', '.join(map(str, folders))}. "
        "Copy them, or name the folder that file_name is relative to with dataset.read.images=FOLDER"
    )
