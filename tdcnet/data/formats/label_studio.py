"""Label Studio's JSON (not JSON-MIN), of images and of videos.

Layout::

    root/project-1.json       the export, a list of tasks; any name
    root/images/..            the files that its tasks name, anywhere below; videos likewise
    root/split.json           {"train": [recordings], "val": [..]}; or folders train and val of the images

What an address in a task ends in tells its file (``/data/upload/1/1a2b3c4d-a_000001.png``, with or without the hash
before the name). Of several annotations of a task that marked as ground truth is taken, else the last that was not
cancelled. A task without one is left out, an annotation without a target makes an empty frame. Rectangles count, turned
ones with the box around them, and the boxes of polygons and ellipses; of videos the frames between two entries get a
box in between.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.pool import SPLIT_FILE, Files, Film, Labelled, Pool, readers
from tdcnet.data.formats.shapes import Box, KeyFrame, around, by_frame, turned
from tdcnet.data.frames import VIDEO_SUFFIXES, pick_images
from tdcnet.data.walks import walk
from tdcnet.shown import shown

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the labels in use; ``class_names`` reads those."""

DRAWN = ("rectanglelabels", "polygonlabels", "ellipselabels", "videorectangle", "rectangle", "labels")
_HASH = re.compile(r"^[0-9a-f]{8}-")


def load(root: Path, problems: Problems) -> Pool:
    """All tasks of all exports in the folder."""
    exports = sorted(path for path in (root.glob("*.json") if root.is_dir() else ()) if path.name != SPLIT_FILE)
    if not exports:
        raise FileNotFoundError(
            f"Label Studio's export not found; looked for a .json file in {root.absolute()}. {common.HOW_TO_GET}"
        )
    files = walk(root)
    pooled = Pool(root)
    videos = Files((path for path in files if path.suffix.lower() in VIDEO_SUFFIXES), root)
    images = Files(pick_images(path for path in files if path.suffix.lower() not in (".json", *VIDEO_SUFFIXES)), root)
    left: Counter[str] = Counter()
    for path in exports:
        for at, task in enumerate(_tasks(path)):
            where = f"{path}, task {shown(task.get('id', at))}"
            results = _results(task)
            if results is None:
                left["tasks without an annotation"] += 1
                continue
            drawn = [each for each in results if isinstance(each, dict) and each.get("type") in DRAWN]
            left["shapes of other kinds"] += len(results) - len(drawn)
            file = _file(task, images, videos)
            if isinstance(file, str):
                problems.report(where, file, "Copy the file below the data set's folder, or delete the task")
            elif file.suffix.lower() in VIDEO_SUFFIXES:
                _add_video(pooled, file, drawn, where, problems)
            else:
                _add_image(pooled, file, drawn, where, problems)
    for what, times in left.items():
        if times:
            log.warning("%s: left out %d %s", root, times, what)
    return pooled


read, read_all, class_names = readers(load)


def _tasks(path: Path) -> list[dict[str, Any]]:
    content = common.read_labels(path)
    tasks = content if isinstance(content, list) else []
    if not tasks or not all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks):
        raise DataError(
            f"{path}: expected a list of tasks with 'data' and 'annotations', came {shown(content)}. Export as JSON "
            "(not JSON-MIN), and keep other JSON files out of the folder"
        )
    return tasks


def _results(task: dict[str, Any]) -> list[Any] | None:
    """The shapes of the annotation that counts; None if there is none."""
    given = task.get("annotations", task.get("completions"))
    listed = given if isinstance(given, list) else []
    done = [each for each in listed if isinstance(each, dict) and not each.get("was_cancelled")]
    done.sort(key=lambda each: each.get("ground_truth") is True)
    results = done[-1].get("result") if done else None
    return results if isinstance(results, list) else None


def _file(task: dict[str, Any], images: Files, videos: Files) -> Path | str:
    """The file that the data of a task name, or what is wrong."""
    fault = f"its data name no image or video, {shown(task['data'])}"
    for value in task["data"].values():
        if not isinstance(value, str) or not value or len(value) > 3000:
            continue
        try:
            address = urlsplit(value)
        except ValueError:  # brackets that are no address
            continue
        name = next(iter(parse_qs(address.query).get("d", [])), unquote(address.path))
        folder, _, last = name.replace("\\", "/").rpartition("/")
        for each in dict.fromkeys((name, f"{folder}/{_HASH.sub('', last)}")):
            for files in (images, videos):
                found = files.find(each)
                if isinstance(found, Path):
                    return found
        fault = str(images.find(name)).replace("image", "file", 1)
    return fault


def _add_image(pooled: Pool, file: Path, drawn: list[dict[str, Any]], where: str, problems: Problems) -> None:
    image = Labelled(file, where)
    for at, each in enumerate(drawn):
        value = each.get("value")
        size = [common.whole(each.get(key)) for key in ("original_width", "original_height")]
        name = _class(value)
        if not all(size) or name is None or not isinstance(value, dict):
            problems.report(f"{where}, result {at}", f"expected a size and a class, came {shown(each)}", "Correct it")
            continue
        width, height = (side or 0 for side in size)
        box = _box(value, width, height)
        if box is None:
            problems.report(f"{where}, result {at}", f"has no box, came {shown(value)}", "Correct or delete it")
            continue
        image.size = height, width
        image.boxes.append(Box(box, name, f"{where}, result {at}"))
    pooled.images.append(image)


def _add_video(pooled: Pool, file: Path, drawn: list[dict[str, Any]], where: str, problems: Problems) -> None:
    tracks: list[tuple[str, list[Any], str]] = []
    for at, each in enumerate(drawn):
        source, value = f"{where}, result {at}", each.get("value")
        name = _class(value)
        entries = value.get("sequence") if isinstance(value, dict) else None
        if name is None or not isinstance(entries, list):
            problems.report(source, f"expected a class and a sequence, came {shown(each)}", "Correct it")
            continue
        tracks.append((name, entries, source))

    def boxes(count: int, size: tuple[int, int]) -> dict[int, list[Box]]:
        keys = ((name, _keys(entries, size, source, problems)) for name, entries, source in tracks)
        return by_frame(keys, count - 1, where, stays=True)

    pooled.add(file.stem, Film(file, {name for name, *_ in tracks}, boxes), where, problems)


def _keys(entries: list[Any], size: tuple[int, int], where: str, problems: Problems) -> list[KeyFrame]:
    keys, (height, width) = [], size
    for entry in entries:
        number = common.whole(entry.get("frame")) if isinstance(entry, dict) else None
        box = _box(entry, width, height) if isinstance(entry, dict) else None
        if number is None or number < 1 or box is None:
            problems.report(where, f"has no box, came {shown(entry)}", "Correct or delete it")
            continue
        keys.append(KeyFrame(number - 1, box, entry.get("enabled", True) is not False, where))
    return keys


def _class(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    for key in ("rectanglelabels", "polygonlabels", "ellipselabels", "labels"):
        names = value.get(key)
        if isinstance(names, list) and names and isinstance(names[0], str) and 0 < len(names[0]) <= 200:
            return names[0]
    return CLASSES[0]


def _box(value: dict[str, Any], width: int, height: int) -> list[float] | None:
    """``x1, y1, x2, y2`` in px of a shape in percent; None if it is none."""
    if isinstance(points := value.get("points"), list):
        pairs = [[common.number(each) for each in pair] for pair in points if isinstance(pair, list)]
        if len(pairs) < 3 or any(len(pair) != 2 or None in pair for pair in pairs):
            return None
        return around([(width * (x or 0) / 100, height * (y or 0) / 100) for x, y in pairs])
    names = ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    given = [common.number(value.get(name)) for name in names]
    if None in given:
        return None
    x, y, w, h = (float(each or 0) * side / 100 for each, side in zip(given, (width, height) * 2, strict=True))
    degrees = common.number(value.get("rotation")) or 0.0
    if "radiusX" in value:
        return turned([x - w, y - h, x + w, y + h], degrees, (x, y))
    return turned([x, y, x + w, y + h], degrees, (x, y))
