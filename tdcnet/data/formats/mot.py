"""MOTChallenge text: a folder per recording with ``img1`` and ``gt/gt.txt``, as MOT17, CVAT and trackers write it.

Layout::

    root/train/NAME/img1/000001.jpg   root/train/NAME/gt/gt.txt       frame,id,x,y,w,h,considered,class,visibility
    root/val/NAME/..                  or test; or root/NAME/.. with split.json
    root/train/NAME/gt/labels.txt     names of the classes, one a line (CVAT writes it; may be absent)

Frames and px count from 1. Lines whose seventh value is 0 are not considered, as the challenge has it, and left out.
"""

from __future__ import annotations

from pathlib import Path

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.pool import Labelled, Pool, by_number, readers
from tdcnet.data.formats.shapes import Box
from tdcnet.data.frames import list_images
from tdcnet.data.walks import walk
from tdcnet.files import read_text
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the classes in the files; ``class_names`` reads those."""


def load(root: Path, problems: Problems, *, first_pixel: int = 1) -> Pool:
    """All recordings that have labels.

    Args:
        root: the folder that holds the recordings, or ``train`` and ``val`` with these.
        problems: told of bad lines and frames.
        first_pixel: x and y of the first pixel; 1 in the challenge, 0 in what some tools write.
    """
    found = [path for path in (walk(root) if root.is_dir() else []) if path.parts[-2:] == ("gt", "gt.txt")]
    if not found:
        raise FileNotFoundError(
            f"MOT labels not found; looked for NAME/gt/gt.txt below {root.absolute()}. {common.HOW_TO_GET}"
        )
    pooled = Pool(root, classes=_names(found))
    for path in found:
        folder = path.parent.parent
        try:
            images = list_images(folder / "img1")
        except FileNotFoundError:
            problems.report(path, f"there is no folder {folder / 'img1'} with the frames", "Copy it, or remove gt.txt")
            continue
        key = (folder.relative_to(root).as_posix() if folder != root else folder.name, "")
        frames = by_number(images, key, problems)
        if _add(frames, path, pooled.classes, problems, first_pixel):
            pooled.images += frames.values()
    return pooled


read, read_all, class_names = readers(load)


def _add(
    frames: dict[int, Labelled], path: Path, names: tuple[str, ...] | None, problems: Problems, first_pixel: int
) -> bool:
    """Reads one ``gt.txt``; False if it cannot be used."""
    try:
        text = read_text(path)
    except DataError as error:
        problems.report(path, f"cannot be used ({error})", "Correct it")
        return False
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse(line.split(","), names)
        if parsed is None:
            continue
        if not isinstance(parsed, str) and parsed[0] not in frames:
            parsed = f"is of frame {parsed[0]}, and there is none in img1"
        if isinstance(parsed, str):
            problems.report(f"{path}:{at}", parsed, "Correct or delete the line")
            continue
        number, target, (x, y, width, height), name = parsed
        x, y = x - first_pixel, y - first_pixel
        frames[number].boxes.append(Box([x, y, x + width, y + height], name, f"{path}:{at}", target))
    return True


def _parse(fields: list[str], names: tuple[str, ...] | None) -> tuple[int, int | None, list[float], str] | str | None:
    """Frame, target, ``x, y, w, h`` and class; what is wrong; or None for a line that is not considered."""
    frame = common.whole(fields[0])
    box = [value for text in fields[2:6] if (value := common.number(text)) is not None]
    considered = common.number(fields[6]) if len(fields) > 6 else 1.0
    kind = common.whole(fields[7]) if len(fields) > 7 else -1
    if frame is None or len(box) != 4 or considered is None or kind is None:
        return f"expected frame,id,x,y,w,h,considered,class, came {shown(','.join(fields))}"
    if considered == 0:
        return None
    target = common.whole(fields[1])
    target = None if target is None or target < 0 else target
    if names is not None:
        return (
            (frame, target, box, names[kind - 1])
            if 0 < kind <= len(names)
            else f"class is {kind} of {len(names)} names"
        )
    return frame, target, box, str(kind) if kind > 0 else CLASSES[0]


def _names(paths: list[Path]) -> tuple[str, ...] | None:
    """Of the first ``labels.txt``."""
    for path in paths:
        if (names := path.with_name("labels.txt")).is_file():
            lines = [line.strip() for line in read_text(names).splitlines()]
            return tuple(dict.fromkeys(line for line in lines if line)) or None
    return None
