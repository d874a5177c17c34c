"""CVAT XML 1.1, of images and of videos, as exported by task.

Layout::

    root/annotations.xml  root/images/..      one task, its images anywhere below; or the video beside the file
    root/TASK/annotations.xml  ..             or several tasks, each in a folder of its own
    root/split.json                           {"train": [recordings], "val": [..]}

"CVAT for images" lists images by name; the subset of an image tells its side, if it has one. "CVAT for video" lists
tracks; a task is one recording, and frames between two listed boxes of a track get a box in between. Boxes count,
turned ones with the box around them, and the boxes of polygons, masks and ellipses.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.pool import SIDES, Files, Film, Labelled, Pool, by_number, read_root, readers
from tdcnet.data.formats.shapes import Box, KeyFrame, around, by_frame, turned
from tdcnet.data.frames import VIDEO_SUFFIXES, pick_images
from tdcnet.data.walks import walk
from tdcnet.shown import shown

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the labels of the task; ``class_names`` reads those."""

DRAWN = ("box", "polygon", "mask", "ellipse")
"""Shapes that are read."""
PASSED = ("polyline", "points", "cuboid", "skeleton", "tag")
"""Shapes that are not, with one line that says how many."""


def load(root: Path, problems: Problems) -> Pool:
    """All tasks."""
    files = walk(root) if root.is_dir() else []
    pooled = Pool(root)
    names: dict[str, None] = {}
    passed: Counter[str] = Counter()
    tasks = [path for path in files if path.suffix.lower() == ".xml"]
    images = pick_images(path for path in files if path.suffix.lower() not in (".xml", ".json", *VIDEO_SUFFIXES))
    for path in tasks:
        content = read_root(path, "annotations", problems)
        if content is None:
            continue
        names |= dict.fromkeys(
            name for each in content.iter("label") if (name := (each.findtext("name") or "").strip())
        )
        passed.update(each.tag for each in content.iter() if each.tag in PASSED)
        own = [image for image in images if image.is_relative_to(path.parent)]
        if not own and len(tasks) == 1:
            own = images
        if content.find("track") is None:
            _add_images(pooled, content, path, Files(own, root), problems)
        elif content.find("meta/project") is not None:
            problems.report(path, "holds the tracks of a project, whose tasks all count from 0", "Export each task")
        else:
            _add_tracks(pooled, content, path, own, problems)
    if not tasks:
        raise FileNotFoundError(
            f"CVAT's labels not found; looked for annotations.xml below {root.absolute()}. {common.HOW_TO_GET}"
        )
    if passed:
        which = ", ".join(f"{times} {kind}" for kind, times in passed.items())
        log.warning("%s: passed over %s; %s are read", root, which, ", ".join(DRAWN))
    pooled.classes = tuple(names) or None
    return pooled


read, read_all, class_names = readers(load)


def _add_images(pooled: Pool, content: Element, path: Path, files: Files, problems: Problems) -> None:
    """CVAT for images."""
    for each in content.iter("image"):
        name = each.get("name", "")
        where = f"{path}, image {shown(name)}"
        file = files.find(name)
        if isinstance(file, str):
            problems.report(where, file, "Copy it, or delete the entry")
            continue
        height, width = common.whole(each.get("height")), common.whole(each.get("width"))
        image = Labelled(file, where, (height, width) if height and width else None)
        image.side = SIDES.get(each.get("subset", "").lower(), "")
        for shape in each:
            if shape.tag in DRAWN:
                box = _box(shape)
                if box is None:
                    problems.report(
                        where, f"{shape.tag} {shown(dict(shape.attrib))} has no box", "Correct or delete it"
                    )
                else:
                    image.boxes.append(Box(box, shape.get("label", ""), where))
        pooled.images.append(image)


def _add_tracks(pooled: Pool, content: Element, path: Path, images: list[Path], problems: Problems) -> None:
    """CVAT for video: of the video beside the file, or of the images below its folder."""
    videos = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    tracks = [
        (track.get("label", ""), _keys(track, f"{path}, track {shown(track.get('id', ''))}", problems))
        for track in content.iter("track")
    ]
    own_folder = path.parent != pooled.root
    if images:
        key = (path.parent.relative_to(pooled.root).as_posix() if own_folder else "", "frames")
        frames = by_number(images, key, problems)
        for number, boxes in sorted(by_frame(tracks, max(frames, default=0), path).items()):
            if number in frames:
                frames[number].boxes = boxes
            else:
                problems.report(
                    boxes[0].where, f"is on frame {number}, which has no image", "Copy it, or delete the box"
                )
        pooled.images += frames.values()
    elif len(videos) == 1:
        film = Film(videos[0], {label for label, _ in tracks}, lambda count, size: by_frame(tracks, count - 1, path))
        pooled.add(path.parent.name if own_folder else videos[0].stem, film, path, problems)
    else:
        problems.report(path, f"has tracks, and {len(videos)} videos lie beside it", "Put the video or images there")


def _keys(track: Element, where: str, problems: Problems) -> list[KeyFrame]:
    keys = []
    for shape in track:
        if shape.tag not in DRAWN:
            continue
        number, box = common.whole(shape.get("frame")), _box(shape)
        if number is None or number < 0 or box is None:
            problems.report(where, f"{shape.tag} {shown(dict(shape.attrib))} has no box", "Correct it")
            continue
        keys.append(KeyFrame(number, box, shape.get("outside") != "1", f"{where}, frame {number}"))
    return keys


def _box(shape: Element) -> list[float] | None:
    """The box of a shape, None if it has none."""
    if shape.tag == "polygon":
        points = [_numbers(pair.split(",")) for pair in shape.get("points", "").split(";")]
        return around([(point[0], point[1]) for point in points]) if all(len(each) == 2 for each in points) else None
    names = {"box": ("xtl", "ytl", "xbr", "ybr"), "mask": ("left", "top", "width", "height")}
    values = _numbers(shape.get(name) for name in names.get(shape.tag, ("cx", "cy", "rx", "ry")))
    if len(values) != 4:
        return None
    a, b, c, d = values
    if shape.tag == "mask":
        return [a, b, a + c, b + d]
    box = values if shape.tag == "box" else [a - c, b - d, a + c, b + d]
    return turned(box, common.number(shape.get("rotation")) or 0.0, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _numbers(texts: Iterable[str | None]) -> list[float]:
    """Those that are some."""
    return [value for text in texts if (value := common.number(text)) is not None]
