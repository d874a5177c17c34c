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
from tdcnet.data.formats import common, pool
from tdcnet.data.formats.pool import SPLIT_FILE, Files, Labelled, Pool
from tdcnet.data.formats.shapes import KeyFrame, around, by_frame, turned
from tdcnet.data.formats.video_csv import Row, Table
from tdcnet.data.frames import VIDEO_SUFFIXES, open_source, pick_images
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import walk
from tdcnet.shown import shown

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the labels in use; :func:`class_names` reads those."""

DRAWN = ("rectanglelabels", "polygonlabels", "ellipselabels", "videorectangle", "rectangle", "labels")
_HASH = re.compile(r"[0-9a-f]{8}-")


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    split_file: str = SPLIT_FILE,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per recording.

    Args:
        root: the folder that holds the export and the files.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad tasks, shapes and files; stops at the first if None.
        cache_dir: for decoded videos; the default cache if None.
        split_file: names of recordings by side, relative to root.

    Raises:
        FileNotFoundError: if root holds no such file, or nothing tells the sides.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    problems = problems or Problems()
    return pool.sequences_of(load(Path(root), problems, cache_dir), split, problems, cache_dir, split_file)


def read_all(
    root: Path | str, *, problems: Problems | None = None, cache_dir: Path | None = None, **_: Any
) -> list[Sequence]:
    """All recordings, of no split; arguments and errors as those of :func:`read`."""
    problems = problems or Problems()
    return pool.sequences_of(load(Path(root), problems, cache_dir), None, problems, cache_dir)


def class_names(root: Path | str, **_: Any) -> tuple[str, ...]:
    """The labels in use, by alphabet: what labels index into."""
    return load(Path(root), Problems("skip"), None).names()


def load(root: Path, problems: Problems, cache_dir: Path | None) -> Pool:
    """All tasks of all exports in the folder."""
    exports = sorted(path for path in (root.glob("*.json") if root.is_dir() else ()) if path.name != SPLIT_FILE)
    if not exports:
        raise FileNotFoundError(
            f"Label Studio's export not found; looked for a .json file in {root.absolute()}. {common.HOW_TO_GET}"
        )
    files = walk(root)
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    pooled = Pool(root, videos=Table(exports[0]))
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
            file = _file(task, images, Files(videos, root))
            if isinstance(file, str):
                problems.report(where, file, "Copy the file below the data set's folder, or delete the task")
            elif file.suffix.lower() in VIDEO_SUFFIXES:
                _add_video(pooled, file, drawn, where, problems, cache_dir)
            else:
                _add_image(pooled, file, drawn, where, problems)
    for what, times in left.items():
        if times:
            log.warning("%s: left out %d %s", root, times, what)
    return pooled


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
        address = urlsplit(value)
        name = next(iter(parse_qs(address.query).get("d", [])), unquote(address.path))
        folder, _, last = name.replace("\\", "/").rpartition("/")
        for each in dict.fromkeys((name, f"{folder}/{_HASH.sub('', last, count=1)}")):
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
        image.boxes.append((box, name, f"{where}, result {at}"))
    pooled.images.append(image)


def _add_video(
    pooled: Pool, file: Path, drawn: list[dict[str, Any]], where: str, problems: Problems, cache_dir: Path | None
) -> None:
    try:
        frames = open_source(file, cache_dir)
        height, width = common.image_size(frames)
    except DataError as error:
        problems.report(file, f"cannot be used ({error})", "Copy it again")
        return
    tracks = []
    for at, each in enumerate(drawn):
        source, value = f"{where}, result {at}", each.get("value")
        name = _class(value)
        entries = value.get("sequence") if isinstance(value, dict) else None
        if name is None or not isinstance(entries, list):
            problems.report(source, f"expected a class and a sequence, came {shown(each)}", "Correct it")
            continue
        keys = []
        for entry in entries:
            number = common.whole(entry.get("frame")) if isinstance(entry, dict) else None
            box = _box(entry, width, height) if isinstance(entry, dict) else None
            if number is None or number < 1 or box is None:
                problems.report(source, f"has no box, came {shown(entry)}", "Correct or delete it")
                continue
            keys.append(KeyFrame(number - 1, box, entry.get("enabled", True) is not False, source))
        tracks.append((name, keys))
    if file.stem in pooled.files:
        problems.report(
            where, f"there is another recording {file.stem}, {pooled.files[file.stem][0]}", "Keep one of them"
        )
        return
    pooled.files[file.stem] = [file]
    assert pooled.videos is not None
    pooled.videos.videos[file.stem] = [
        Row(source, number, box, label, "")
        for number, each in sorted(by_frame(tracks, len(frames) - 1, where, stays=True).items())
        for box, label, source in each
    ]


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
