"""YOLO's label files: one box or polygon a line as fractions, judged one by one and all together."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.recordings import Frame
from tdcnet.data.walks import walk
from tdcnet.files import read_text
from tdcnet.limits import MOST_LABELS
from tdcnet.shown import shown

log = logging.getLogger(__name__)

SLACK = 1e-3
"""Fractions this far outside 0..1 are rounding."""
FEWEST = 3
"""Boxes from which on their order tells something; one or two may be large."""
SHARE = 0.01
"""Of all boxes: so many may be odd where the others tell something, and so many must tell it."""
SMALLER = 0.1
"""As corners the boxes are smaller than as sides by this factor, where they are of small targets."""
LARGE = 0.02
"""Of the image's area; what is smaller as sides is no sign of corners."""

_NAMES = ("xc", "yc", "w", "h")


def label_file(image: Path) -> Path:
    """Where the boxes of an image are: the last ``/images/`` of its path swapped for ``/labels/``, suffix ``.txt``."""
    before, found, after = image.as_posix().rpartition("/images/")
    return Path(f"{before}/labels/{after}" if found else image).with_suffix(".txt")


@dataclass
class Lines:
    """What the lines of all label files say, those whose box is beyond 0..1 among them, which are judged together."""

    num_classes: int
    boxes: int = 0
    beyond: list[tuple[str, list[float]]] = field(default_factory=list)
    rectangles: list[list[float]] = field(default_factory=list)

    def check(self, where: Path, problems: Problems) -> None:
        """Looks at all boxes: for px, for corners in place of centre and size, and for single ones beyond 0..1.

        Raises:
            DataError: if most are px or corners, at the first of a few (policy ``"error"``).
        """
        px = [box for _, box in self.beyond if max(map(abs, box)) > 2]
        if len(px) > max(2, self.boxes // 2):
            line, box = next((line, box) for line, box in self.beyond if max(map(abs, box)) > 2)
            raise DataError(
                f"{where}: {len(px)} of {self.boxes} boxes are beyond 0..1, such as {_text(box)} at {line}. They seem "
                "to be px or percent, and fractions of width and height are meant. Divide them, or write them as a "
                "table of px (dataset=video_csv)"
            )
        self._check_corners(where, problems)
        for line, box in self.beyond:
            problems.report(line, _beyond(box), "Correct or delete the line")

    def _check_corners(self, where: Path, problems: Problems) -> None:
        boxes = np.array(self.rectangles, np.float64).reshape(-1, 4)
        outside, smaller = as_corners(boxes)
        if outside is None and smaller is None:
            return
        at = smaller if outside is None else outside
        fault = (
            f"{where}: the boxes seem to be corners x1 y1 x2 y2, such as {_text(self.rectangles[at or 0])}, and YOLO's "
            "are centre and size, xc yc w h, all as fractions. Write ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)"
        )
        if outside is not None:
            raise DataError(fault)
        # All lie in their images either way, so somebody may mean what is written.
        fault += f"; as they are, half of them take up {_median_area(boxes):.0%} of the image or more"
        if problems.policy == "error":
            raise DataError(f"{fault}. If that is right, dataset.on_bad_frame=skip goes on with them")
        log.warning("%s", fault)


def as_corners(boxes: NDArray[np.float64]) -> tuple[int | None, int | None]:
    """Whether four fractions are ``x1, y1, x2, y2`` in place of ``xc, yc, w, h``.

    Of corners the second is always further right and further down; taken for a size that is a box at least as large as
    its centre is far from the edge. If all are like that, they are corners if such sizes reach beyond the image, or are
    far larger than between the corners.

    Args:
        boxes: [N, 4], of the whole data set.

    Returns:
        A box that reaches beyond, or None; and one that is far larger, as most are, or None.
    """
    if len(boxes) < FEWEST or boxes.min() < -SLACK or boxes.max() > 1 + SLACK:
        return None, None
    first, second = boxes[:, :2], boxes[:, 2:]
    ordered = (second > first).all(axis=1)
    if ordered.mean() < 1 - SHARE:
        return None, None
    tolerance = 0.02
    reaching = ((first + second / 2 > 1 + tolerance) | (first - second / 2 < -tolerance)).any(axis=1) & ordered
    if reaching.sum() >= max(1.0, SHARE * len(boxes)):
        return int(reaching.argmax()), None
    ratio = (second - first).prod(axis=1) / second.prod(axis=1).clip(1e-12)
    told = float(np.median(ratio)) < SMALLER and _median_area(boxes) > LARGE
    return None, int(ratio.argmin()) if told else None


def add_labels(frame: Frame, lines: Lines, problems: Problems) -> bool | None:
    """Adds the boxes of a frame, as fractions; False if there is no label file, None if it cannot be used."""
    path = label_file(frame.path)
    try:
        text = read_text(path, MOST_LABELS)
    except FileNotFoundError:
        return False
    except DataError as error:
        problems.report(path, f"cannot be used ({error})", "Copy it again")
        return None
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse(line.split(), lines.num_classes)
        if isinstance(parsed, str):
            problems.report(f"{path}:{at}", parsed, "Correct or delete the line")
            continue
        values, label = parsed
        lines.boxes += 1
        if not all(-SLACK <= value <= 1 + SLACK for value in values):
            lines.beyond.append((f"{path}:{at}", values))
            continue
        if len(values) == 4:
            lines.rectangles.append(values)
        frame.boxes.append(_corners(values))
        frame.labels.append(label)
        frame.sources.append(f"{path}:{at}")
    return True


def warn_without_image(images: Iterable[Path], folders: Iterable[Path], num_classes: int, where: Path) -> None:
    """Says in one line how many label files hold boxes of images that are not there.

    Args:
        images: of the split, as listed.
        folders: of images that are named as a whole; the label files of all folders below them are looked at.
        num_classes: that labels may have.
        where: what lists them, for the message.
    """
    folders = list(folders)
    places = {label_file(image).parent: image.parent for image in images}
    files = {path: path.parent for folder in places if folder.is_dir() for path in folder.glob("*.txt")}
    own = dict(places)
    for folder in folders:
        labels = label_file(folder / "image").parent
        for path in walk(labels) if labels.is_dir() else []:
            if path.suffix.lower() == ".txt":
                files[path] = path.parent
                own.setdefault(path.parent, folder / path.parent.relative_to(labels))
    stems: dict[Path, set[str]] = {}
    lost, boxes, example = 0, 0, None
    for path, labels in sorted(files.items()):
        folder = own[labels]
        if folder not in stems:
            stems[folder] = {Path(name).stem for name in _listed(folder) if not name.lower().endswith(".txt")}
        if path.stem in stems[folder] or not (count := _boxes_in(path, num_classes)):
            continue
        lost, boxes, example = lost + 1, boxes + count, example or path
    if lost:
        log.warning(
            "%s: %d label files with %d boxes have no image, such as %s; these boxes are not used. Copy the images, or "
            "delete the files",
            where,
            lost,
            boxes,
            example,
        )


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _boxes_in(path: Path, num_classes: int) -> int:
    """Lines that are boxes; a list of classes or of images beside the labels has none."""
    try:
        text = read_text(path, MOST_LABELS, errors="replace")
    except (DataError, FileNotFoundError):
        return 0
    return sum(not isinstance(_parse(line.split(), num_classes), str) for line in text.splitlines() if line.strip())


def _parse(tokens: list[str], num_classes: int) -> tuple[list[float], int] | str:
    """The values after the class, a box or a polygon, and the class; or what is wrong."""
    label = common.whole(tokens[0])
    values = [value for token in tokens[1:] if (value := common.number(token)) is not None]
    polygon = len(values) >= 6 and len(values) % 2 == 0
    if label is None or len(values) != len(tokens) - 1 or not (len(values) == 4 or polygon):
        return f"expected class xc yc w h (or class and a polygon), came {shown(' '.join(tokens))}"
    if not 0 <= label < num_classes:
        return f"class is {label}; allowed are 0 to {num_classes - 1}"
    if len(values) == 4 and min(values[2:]) < 0:
        name, value = ("width", values[2]) if values[2] < 0 else ("height", values[3])
        return f"the {name} of box {_text(values)} is {value:g}; expected fractions of width and height, xc yc w h"
    return values, label


def _beyond(box: list[float]) -> str:
    at, value = next((i, v) for i, v in enumerate(box) if not -SLACK <= v <= 1 + SLACK)
    name = _NAMES[at] if len(box) == 4 else "xy"[at % 2]
    return f"box {_text(box)} is not within 0..1; expected fractions of width and height ({name} is {value:g})"


def _text(box: list[float]) -> str:
    return shown(" ".join(f"{value:g}" for value in box), 120)[1:-1]


def _median_area(boxes: NDArray[np.float64]) -> float:
    return float(np.median(boxes[:, 2:].prod(axis=1)))


def _corners(values: list[float]) -> list[float]:
    if len(values) == 4:
        x, y, width, height = values
        return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]
