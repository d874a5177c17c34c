"""MOTChallenge text: a folder per recording with ``img1`` and ``gt/gt.txt``, as MOT17, CVAT and trackers write it.

Layout::

    root/train/NAME/img1/000001.jpg   root/train/NAME/gt/gt.txt       frame,id,x,y,w,h,considered,class,visibility
    root/val/NAME/..                  or test; or root/NAME/.. with split.json
    root/train/NAME/gt/labels.txt     names of the classes, one a line (CVAT writes it; may be absent)

Frames and px count from 1. Lines whose seventh value is 0 are not considered, as the challenge has it, and left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, pool
from tdcnet.data.formats.pool import SPLIT_FILE, Labelled, Pool
from tdcnet.data.frames import list_images
from tdcnet.data.names import Place, numbers
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import walk
from tdcnet.files import read_text
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the classes in the files; :func:`class_names` reads those."""


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    split_file: str = SPLIT_FILE,
    first_pixel: int = 1,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per recording.

    Args:
        root: the folder that holds the recordings, or ``train`` and ``val`` with these.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines and frames; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.
        split_file: names of recordings by side, relative to root.
        first_pixel: x and y of the first pixel; 1 in the challenge, 0 in what some tools write.

    Raises:
        FileNotFoundError: if there is no recording, or nothing tells the sides.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    problems = problems or Problems()
    return pool.sequences_of(load(Path(root), problems, first_pixel), split, problems, cache_dir, split_file)


def read_all(
    root: Path | str, *, problems: Problems | None = None, cache_dir: Path | None = None, first_pixel: int = 1, **_: Any
) -> list[Sequence]:
    """All recordings, of no split; arguments and errors as those of :func:`read`."""
    problems = problems or Problems()
    return pool.sequences_of(load(Path(root), problems, first_pixel), None, problems, cache_dir)


def class_names(root: Path | str, **_: Any) -> tuple[str, ...]:
    """The names in ``labels.txt``; else the numbers of the classes, or ``target`` where there are none."""
    return load(Path(root), Problems("skip"), 1).names()


def load(root: Path, problems: Problems, first_pixel: int) -> Pool:
    """All recordings that have labels."""
    found = [path for path in (walk(root) if root.is_dir() else []) if path.parts[-2:] == ("gt", "gt.txt")]
    if not found:
        raise FileNotFoundError(
            f"MOT labels not found; looked for NAME/gt/gt.txt below {root.absolute()}. {common.HOW_TO_GET}"
        )
    pooled = Pool(root, classes=_names(found))
    for path in found:
        folder = path.parent.parent
        try:
            frames = list_images(folder / "img1")
        except FileNotFoundError:
            problems.report(path, f"there is no folder {folder / 'img1'} with the frames", "Copy it, or remove gt.txt")
            continue
        by_number: dict[int, Labelled] = {}
        key = (folder.relative_to(root).as_posix() if folder != root else folder.name, "")
        for image, number in zip(frames, numbers([image.name for image in frames]), strict=True):
            if number is None:
                problems.report(image, "expected a frame number as name, such as 000001.jpg", "Rename or remove it")
            elif number in by_number:
                problems.report(
                    image, f"is frame {number}, and so is {by_number[number].path.name}", "Keep one of them"
                )
            else:
                by_number[number] = Labelled(image, str(image), place=Place(key, number))
        _add(by_number, path, pooled.classes, problems, first_pixel)
        pooled.images += by_number.values()
    return pooled


def _add(
    frames: dict[int, Labelled], path: Path, names: tuple[str, ...] | None, problems: Problems, first_pixel: int
) -> None:
    """Reads one ``gt.txt``."""
    try:
        text = read_text(path)
    except DataError as error:
        problems.report(path, f"cannot be used ({error})", "Correct it")
        return
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
        number, (x, y, width, height), name = parsed
        x, y = x - first_pixel, y - first_pixel
        frames[number].boxes.append(([x, y, x + width, y + height], name, f"{path}:{at}"))


def _parse(fields: list[str], names: tuple[str, ...] | None) -> tuple[int, list[float], str] | str | None:
    """Frame, ``x, y, w, h`` and class; what is wrong; or None for a line that is not considered."""
    frame = common.whole(fields[0])
    box = [value for text in fields[2:6] if (value := common.number(text)) is not None]
    considered = common.number(fields[6]) if len(fields) > 6 else 1.0
    kind = common.whole(fields[7]) if len(fields) > 7 else -1
    if frame is None or len(box) != 4 or considered is None or kind is None:
        return f"expected frame,id,x,y,w,h,considered,class, came {shown(','.join(fields))}"
    if considered == 0:
        return None
    if names is not None:
        return (frame, box, names[kind - 1]) if 0 < kind <= len(names) else f"class is {kind} of {len(names)} names"
    return frame, box, str(kind) if kind > 0 else CLASSES[0]


def _names(paths: list[Path]) -> tuple[str, ...] | None:
    """Of the first ``labels.txt``."""
    for path in paths:
        if (names := path.with_name("labels.txt")).is_file():
            lines = [line.strip() for line in read_text(names).splitlines()]
            return tuple(dict.fromkeys(line for line in lines if line)) or None
    return None
