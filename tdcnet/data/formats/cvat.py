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
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, pool
from tdcnet.data.formats.pool import SIDES, SPLIT_FILE, Files, Labelled, Pool
from tdcnet.data.formats.shapes import KeyFrame, around, by_frame, turned
from tdcnet.data.formats.video_csv import Row, Table
from tdcnet.data.frames import VIDEO_SUFFIXES, open_source, pick_images
from tdcnet.data.names import Place, numbers
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import walk
from tdcnet.files import read_xml
from tdcnet.shown import shown

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the labels of the task; :func:`class_names` reads those."""

DRAWN = ("box", "polygon", "mask", "ellipse")
"""Shapes that are read."""
PASSED = ("polyline", "points", "cuboid", "skeleton", "tag")
"""Shapes that are not, with one line that says how many."""


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
        root: the folder that holds the exported tasks.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad shapes, images and videos; stops at the first if None.
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
    """The labels of the tasks in their order: what labels index into."""
    return load(Path(root), Problems("skip"), None).names()


def load(root: Path, problems: Problems, cache_dir: Path | None) -> Pool:
    """All tasks."""
    files = walk(root) if root.is_dir() else []
    pooled = Pool(root, videos=Table(root))
    names: dict[str, None] = {}
    passed: Counter[str] = Counter()
    tasks = [path for path in files if path.suffix.lower() == ".xml"]
    images = pick_images(path for path in files if path.suffix.lower() not in (".xml", ".json", *VIDEO_SUFFIXES))
    for path in tasks:
        try:
            content = read_xml(path)
        except DataError as error:
            problems.report(path, f"cannot be used ({error})", "Export it again")
            continue
        if content.tag != "annotations":
            problems.report(path, f"its root is <{shown(content.tag)[1:-1]}>, expected <annotations>", "Move it out")
            continue
        names |= dict.fromkeys(
            name for each in content.iter("label") if (name := (each.findtext("name") or "").strip())
        )
        passed.update(each.tag for each in content.iter() if each.tag in PASSED)
        own = [image for image in images if len(tasks) == 1 or image.is_relative_to(path.parent)]
        if content.find("track") is None:
            _add_images(pooled, content, path, Files(own, root), problems)
        elif content.find("meta/project") is not None:
            problems.report(path, "holds the tracks of a project, whose tasks all count from 0", "Export each task")
        else:
            _add_tracks(pooled, content, path, own, problems, cache_dir)
    if not tasks:
        raise FileNotFoundError(
            f"CVAT's labels not found; looked for annotations.xml below {root.absolute()}. {common.HOW_TO_GET}"
        )
    if passed:
        which = ", ".join(f"{times} {kind}" for kind, times in passed.items())
        log.warning("%s: passed over %s; %s are read", root, which, ", ".join(DRAWN))
    pooled.classes = tuple(names) or None
    return pooled


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
                    image.boxes.append((box, shape.get("label", ""), where))
        pooled.images.append(image)


def _add_tracks(
    pooled: Pool, content: Element, path: Path, images: list[Path], problems: Problems, cache_dir: Path | None
) -> None:
    """CVAT for video: of the video beside the file, or of the images below its folder."""
    videos = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    tracks = [
        (track.get("label", ""), _keys(track, f"{path}, track {shown(track.get('id', ''))}", problems))
        for track in content.iter("track")
    ]
    if images:
        found = dict(zip(images, numbers([image.name for image in images]), strict=True))
        boxes = by_frame(tracks, max((number for number in found.values() if number is not None), default=0), path)
        key = (path.parent.relative_to(pooled.root).as_posix() if path.parent != pooled.root else "", "frames")
        taken: set[int] = set()
        for image, number in found.items():
            if number is None or number in taken:
                problems.report(image, "expected a frame number of its own in the name", "Rename or remove it")
                continue
            taken.add(number)
            pooled.images.append(Labelled(image, str(image), boxes=boxes.pop(number, []), place=Place(key, number)))
        for number, each in sorted(boxes.items()):
            problems.report(each[0][2], f"is on frame {number}, which has no image", "Copy it, or delete the box")
    elif len(videos) == 1 and pooled.videos is not None:
        try:
            last = len(open_source(videos[0], cache_dir)) - 1
        except DataError as error:
            problems.report(videos[0], f"cannot be used ({error})", "Copy it again")
            return
        name = videos[0].stem if path.parent == pooled.root else path.parent.name
        if name in pooled.files:
            problems.report(path, f"there is another recording {name}, {pooled.files[name][0]}", "Keep one of them")
            return
        pooled.files[name] = [videos[0]]
        pooled.videos.videos[name] = [
            Row(source, number, box, label, "")
            for number, each in sorted(by_frame(tracks, last, path).items())
            for box, label, source in each
        ]
    else:
        problems.report(path, f"has tracks, and {len(videos)} videos lie beside it", "Put the video or images there")


def _keys(track: Element, where: str, problems: Problems) -> Iterator[KeyFrame]:
    for shape in track:
        if shape.tag not in DRAWN:
            continue
        number, box = common.whole(shape.get("frame")), _box(shape)
        if number is None or number < 0 or box is None:
            problems.report(where, f"{shape.tag} {shown(dict(shape.attrib))} has no box", "Correct it")
            continue
        yield KeyFrame(number, box, shape.get("outside") != "1", f"{where}, frame {number}")


def _box(shape: Element) -> list[float] | None:
    """The box of a shape, None if it has none."""
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        points = [[common.number(value) for value in pair] for pair in pairs]
        if any(len(point) != 2 or None in point for point in points):
            return None
        return around([(float(x or 0), float(y or 0)) for x, y in points])
    names = {"box": ("xtl", "ytl", "xbr", "ybr"), "mask": ("left", "top", "width", "height")}
    values = [common.number(shape.get(name)) for name in names.get(shape.tag, ("cx", "cy", "rx", "ry"))]
    a, b, c, d = (value if value is not None else float("nan") for value in values)
    if None in values:
        return None
    if shape.tag == "mask":
        return [a, b, a + c, b + d]
    box = [a, b, c, d] if shape.tag == "box" else [a - c, b - d, a + c, b + d]
    return turned(box, common.number(shape.get("rotation")) or 0.0, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
