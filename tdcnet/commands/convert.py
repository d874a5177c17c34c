"""Writes any data set that can be read as COCO JSON with video keys and PNG frames; a run that was stopped goes on.

tdcnet convert --format irstd_uav --root data/IRSTD-UAV data/converted
python train.py dataset=coco dataset.root=data/converted

OUT/annotations/instances_train.json and instances_val.json name the frames, OUT/images/SEQUENCE/000000.png. Frames are
written bit by bit as they are read: grey, 8 or 16 bit. A recording that the reader cuts becomes a video per piece, so
that no clip reaches over a cut; frames that are on neither side of the split are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tdcnet.commands.arguments import add_arguments, add_names, exit_status, parser_of
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, reader
from tdcnet.data.frames import ImageFiles
from tdcnet.data.names import naming
from tdcnet.data.sequence import Sequence
from tdcnet.files import replacing

MARKER = "convert.json"
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    parser = parser_of("convert", __doc__)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder to write")
    add_arguments(parser, on_bad_frame="error")
    add_names(parser)
    parser.add_argument(
        "--splits", nargs="+", choices=common.SPLITS, default=list(common.SPLITS), help="both by default"
    )
    parser.add_argument(
        "--link", action="store_true", help="link to frames that are image files instead of copying them"
    )
    return parser.parse_args(arguments)


# -- frames ------------------------------------------------------------------------------------------------------------


def write_frames(
    sequence: Sequence,
    shape: tuple[int, int, int],
    folder: Path,
    link: bool,
    problems: Problems,
    done: Callable[[], object] = lambda: None,
) -> dict[int, str]:
    """Writes the frames of the split that are not there yet; one of ``shape`` (see :func:`form`) is kept.

    Returns:
        Position -> file name, without the frames that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    present = set(os.listdir(folder))
    names = {}
    for at in map(int, sequence.indices):
        name = f"{at:06d}.png"
        try:
            if link and isinstance(sequence.frames, ImageFiles):
                source = sequence.frames.paths[at]
                name = f"{at:06d}{source.suffix.lower()}"
                _link(source, folder / name)
            elif name not in present or png_form(folder / name) != shape:
                _write(sequence.frames.read(at), folder / name)
            names[at] = name
        except DataError as error:
            problems.report(sequence.name, f"frame {at} cannot be used ({error})", "Copy it again")
        done()
    return names


def form(sequence: Sequence) -> tuple[int, int, int]:
    """Height and width in px, and bits per pixel, of the first frame that can be read."""
    fault = DataError(f"{sequence.name}: has no frame")
    for at in map(int, sequence.indices):
        try:
            image = sequence.frames.read(at)
        except DataError as error:
            fault = error
        else:
            return image.shape[0], image.shape[1], 8 * image.dtype.itemsize
    raise fault


def png_form(path: Path) -> tuple[int, int, int] | None:
    """Height, width and bits of a grey PNG, from its head; None if it is another thing.

    Files are moved into place when they are complete, so the head is enough.
    """
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or not head.startswith(PNG_HEAD) or path.is_symlink():
        return None
    width, height, depth, colour = struct.unpack(">IIBB", head[16:])
    return (height, width, depth) if colour == 0 else None


def _write(image: NDArray[Any], path: Path) -> None:
    ok, data = cv2.imencode(".png", image)
    if not ok:
        raise RuntimeError(f"{path}: OpenCV cannot write {image.shape} {image.dtype} as PNG")
    with replacing(path) as file:
        file.write(data.tobytes())


def _link(source: Path, path: Path) -> None:
    if not source.is_file():
        raise DataError(f"{source}: there is no such file. Copy it again")
    if path.is_symlink() and path.resolve() == source.resolve():
        return
    path.unlink(missing_ok=True)
    path.symlink_to(source.resolve())


# -- JSON --------------------------------------------------------------------------------------------------------------


class Writer:
    """Collects the entries of one COCO file; ids count from 1, ``frame_id`` from 0."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.content: dict[str, list[dict[str, Any]]] = {
            "videos": [],
            "images": [],
            "annotations": [],
            "categories": [
                {"id": at, "name": name, "supercategory": "none"} for at, name in enumerate(classes, start=1)
            ],
        }

    def add(self, sequence: Sequence, names: dict[int, str], size: tuple[int, int]) -> None:
        """Adds the frames ``names`` of a recording, a video for each of its pieces."""
        starts = sequence.segment_start
        cut = bool(starts.any())
        videos, images = self.content["videos"], self.content["images"]
        current = -1
        for at, name in sorted(names.items()):
            start = int(starts[at])
            if start != current:
                current = start
                title = f"{sequence.name}_{start:06d}" if cut else sequence.name
                videos.append({"id": len(videos) + 1, "name": title})
            image = {
                "id": len(images) + 1,
                "file_name": f"images/{sequence.name}/{name}",
                "height": size[0],
                "width": size[1],
                "video_id": len(videos),
                "frame_id": at - start,
            }
            images.append(image)
            self._add_boxes(image, sequence.boxes[at], sequence.labels[at])

    def _add_boxes(self, image: dict[str, Any], boxes: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        annotations = self.content["annotations"]
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            # In double precision differences and sums of single precision px are exact.
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "video_id": image["video_id"],
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )

    def save(self, path: Path) -> None:
        """Writes the file at one stroke."""
        with replacing(path) as file:
            file.write(json.dumps(self.content).encode())


# -- the whole ---------------------------------------------------------------------------------------------------------


def convert(given: argparse.Namespace) -> None:
    """Writes what ``given`` asks for.

    Raises:
        DataError: if the folder holds a conversion of something else, or at the first bad frame or label.
    """
    module, options = reader(given.format), dict(given.set)
    problems = Problems(given.on_bad_frame)
    sides = {split: module.read(given.root, split, problems=problems, **options) for split in given.splits}
    names = getattr(module, "class_names", None)
    classes = names(given.root, **options) if names is not None else module.CLASSES
    source = {"format": given.format, "root": str(given.root.resolve()), "options": options}
    _mark(given.output, source | ({"names": given.names.text} if given.names is not None else {}))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    for split, sequences in sides.items():
        writer = Writer(classes)
        with Progress(*columns) as progress:
            task = progress.add_task(f"{split}: frames", total=sum(len(s.indices) for s in sequences))
            for sequence in (s for s in sequences if len(s.indices)):
                folder = given.output / "images" / sequence.name
                try:
                    shape = form(sequence)
                except DataError as error:
                    problems.report(sequence.name, f"has no frame that can be read ({error})", "Copy it again")
                    continue
                files = write_frames(sequence, shape, folder, given.link, problems, partial(progress.advance, task))
                writer.add(sequence, files, shape[:2])
        path = given.output / "annotations" / f"instances_{split}.json"
        writer.save(path)
        counts = ", ".join(f"{len(writer.content[name])} {name}" for name in ("videos", "images", "annotations"))
        unused = sum(len(s) - len(s.indices) for s in sequences)
        print(f"{path}: {counts}" + (f"; {unused} frames of other splits or of none are not in it" if unused else ""))
    if problems.found:
        print(f"{len(problems.found)} bad entries were left out, the first: {problems.found[0]}")


def _mark(output: Path, source: dict[str, Any]) -> None:
    path = output / MARKER
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before != source:
            raise DataError(f"{output}: holds a conversion of {before}, asked for is {source}. Give another folder")
    with replacing(path) as file:
        file.write(json.dumps(source).encode())


def main(arguments: list[str] | None = None) -> int:
    """Converts; returns the exit status."""
    given = parse_arguments(arguments)
    with naming(given.names):
        return exit_status(partial(convert, given), "stopped; the same command goes on from here")
