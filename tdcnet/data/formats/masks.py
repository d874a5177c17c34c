"""What the readers of mask-labelled sets share: masks to boxes, kept between runs, and folders of images with masks.

A mask is an image of its frame's size in which a target is what lies above a threshold. It gives one box per blob
(8-connected), not per object: targets that touch are one, and no identity is kept from frame to frame.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats.common import HOW_TO_GET, Recording, can_be_a_path, frame_number, image_size
from tdcnet.data.frames import ImageFiles, default_cache_dir, list_images
from tdcnet.data.images import read_channels, read_grey
from tdcnet.data.names import numbers
from tdcnet.files import open_regular, read_arrays, read_text, write_arrays
from tdcnet.masks import Mask, mask_to_boxes
from tdcnet.progress import progress_bar
from tdcnet.shown import shown

log = logging.getLogger(__name__)

_LAYOUT = 2  # of the kept files; another number makes them anew
_NO_BOXES = np.zeros((0, 4), np.float32)
_STORED = ("names", "stamps", "sizes", "counts", "boxes")


# -- one mask ----------------------------------------------------------------------------------------------------------


def read_mask(path: Path, threshold: int = 0) -> Mask:
    """The target pixels of a mask image, bool [H, W].

    Args:
        path: 8 or 16 bit, grey or colour; in colour any channel counts, transparency does not.
        threshold: a pixel above it is target, on the scale of 8 bit: 0 takes every soft edge in, 127 takes what is
            more target than not. In a mask of nothing but 0 and 1, not of 0 and 255, 1 is target whatever this is.

    Raises:
        ValueError: if the threshold is not 0 to 254.
        DataError: if the file is missing, cut short or no image; if it is a JPEG and the threshold is 0, since its
            compression leaves grey specks round every target; if there are values, but none above the threshold.
    """
    if not 0 <= threshold <= 254:
        raise ValueError(f"mask threshold is {threshold}; allowed are 0 to 254")
    # Grey is a weighted sum that rounds a faint red or blue to 0, so the channels are looked at themselves.
    image = read_channels(path)
    jpeg = is_jpeg(path)
    if threshold == 0 and jpeg:
        raise DataError(
            f"{path}: is a JPEG, whose compression leaves values above 0 round every target. Take the PNG masks, or "
            "read with threshold=127"
        )
    highest = int(image.max())
    level = 0 if highest == 1 and not jpeg else threshold * (257 if image.dtype == np.uint16 else 1)
    mask: Mask = np.asarray((image > level).any(axis=2), np.bool_)
    if threshold and highest and not mask.any():
        raise DataError(
            f"{path}: has values up to {highest}, none above {level}, so a target would be lost. If the masks are "
            "faint on purpose, read with threshold=0"
        )
    return mask


def is_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG, whatever its ending."""
    with open_regular(path) as file:
        return file.read(2) == b"\xff\xd8"


def zero_and_one(paths: Iterable[Path]) -> bool:
    """Whether masks hold nothing but 0 and 1, and 1 at least once, so that 1 means target and not 1 of 255.

    Looks at them until one has more; where there is none, at all of them.

    Raises:
        DataError: if one cannot be read.
    """
    highest = 0
    for path in paths:
        highest = max(highest, int(read_channels(path).max()))
        if highest > 1:
            return False
    return highest == 1


# -- many files, parsed once -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Parsed:
    """What is known of one file: height and width in px, and the boxes of a mask, float32 [N, 4] xyxy px."""

    size: tuple[int, int]
    boxes: NDArray[np.float32]


class ParsedFolder:
    """What was found in files of one folder, kept on disk so that the next run need not decode them.

    An entry counts as long as its file has the size and time that it had when it was parsed. The kept file is replaced
    at one stroke, so several processes may use it at once; bad files are not kept and are looked at each time.

    Args:
        folder: that all of ``paths`` lie in.
        paths: the files asked for.
        parse: reads one of them; raises DataError if it is bad.
        kind: tells ``parse`` and its settings from others that read the same folder.
        cache_dir: where the file is kept (in its folder ``masks``); the default cache if None.

    Attributes:
        stale: the files that :meth:`update` will read.
    """

    def __init__(
        self, folder: Path, paths: Iterable[Path], parse: Callable[[Path], Parsed], kind: str, cache_dir: Path | None
    ) -> None:
        self._parse = parse
        key = f"{folder.resolve()}|{kind}|{_LAYOUT}".encode(errors="surrogateescape")
        name = f"{folder.parent.name}-{folder.name}-{hashlib.sha256(key).hexdigest()[:12]}.npz"
        self.file = (cache_dir or default_cache_dir()) / "masks" / name
        self._entries = self._load()
        self._faults: dict[str, DataError] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self.stale: list[Path] = []
        for path in paths:
            try:
                stat = path.stat()
                stamp = (stat.st_size, stat.st_mtime_ns)
            except OSError:  # a link to nowhere, for one: parsing says so
                stamp = (-1, -1)
            self._stamps[path.name] = stamp
            if path.name not in self._entries or self._entries[path.name][0] != stamp:
                self.stale.append(path)

    def update(self, advance: Callable[[], object] = lambda: None) -> None:
        """Reads the stale files, calls ``advance`` after each, and keeps the result."""
        fresh: dict[str, tuple[tuple[int, int], Parsed]] = {}
        try:
            for path in self.stale:
                try:
                    fresh[path.name] = self._stamps[path.name], self._parse(path)
                except DataError as error:
                    self._faults[path.name] = error
                advance()
        finally:
            self._entries |= fresh
            self.stale = []
            if fresh:
                # Read again: another process may have added files in the meantime.
                self._keep(self._load() | fresh)

    def get(self, path: Path) -> Parsed:
        """What was found in a file.

        Raises:
            DataError: if it is bad.
        """
        if path.name in self._faults:
            raise self._faults[path.name]
        return self._entries[path.name][1]

    def _load(self) -> dict[str, tuple[tuple[int, int], Parsed]]:
        try:
            found = read_arrays(self.file, _STORED, self.file.name)
            names, stamps, sizes, counts, boxes = (found[name] for name in _STORED)
            n = len(names)
            shapes = (names.shape, stamps.shape, sizes.shape, counts.shape, boxes.shape)
            if not n:
                return {}
            if (
                (counts < 0).any()
                or shapes != ((n,), (n, 2), (n, 2), (n,), (int(counts.sum()), 4))
                or names.dtype.kind != "U"
            ):
                raise DataError(f"{self.file}: holds something else")
            parts = np.split(boxes, np.cumsum(counts)[:-1])
            return {
                name: ((stamp[0], stamp[1]), Parsed((size[0], size[1]), part))
                for name, stamp, size, part in zip(names.tolist(), stamps.tolist(), sizes.tolist(), parts, strict=True)
            }
        except FileNotFoundError:
            return {}
        except (DataError, OSError) as error:
            log.warning("%s (and is made again)", error)
            return {}

    def _keep(self, entries: dict[str, tuple[tuple[int, int], Parsed]]) -> None:
        parsed = [entry for _, entry in entries.values()]
        arrays: dict[str, NDArray[Any]] = {
            "names": np.array(list(entries)),
            "stamps": np.array([stamp for stamp, _ in entries.values()], np.int64).reshape(-1, 2),
            "sizes": np.array([entry.size for entry in parsed], np.int32).reshape(-1, 2),
            "counts": np.array([len(entry.boxes) for entry in parsed], np.int64),
            "boxes": np.concatenate([_NO_BOXES, *(entry.boxes for entry in parsed)]),
        }
        try:
            write_arrays(self.file, arrays, self.file.name)
        except OSError as error:
            log.warning("what was read from masks is not kept in %s: %s", self.file, error)  # only time is lost


def mask_folder(folder: Path, paths: Iterable[Path], threshold: int, cache_dir: Path | None) -> ParsedFolder:
    """The masks ``paths`` in ``folder``, to be parsed with :func:`read_mask`."""

    def parse(path: Path) -> Parsed:
        mask = read_mask(path, threshold)
        # Only where there is something: targets are small, and most of the time would go into the empty rest.
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        offset = np.array([x, y, x, y], np.float32)
        boxes = mask_to_boxes(mask[y : y + h, x : x + w]) + offset if w else _NO_BOXES
        return Parsed((mask.shape[0], mask.shape[1]), boxes)

    return ParsedFolder(folder, paths, parse, f"mask>{threshold}", cache_dir)


def image_folder(folder: Path, paths: Iterable[Path], cache_dir: Path | None) -> ParsedFolder:
    """The images ``paths`` in ``folder``, of which only the size is kept."""

    def parse(path: Path) -> Parsed:
        height, width = read_grey(path).shape
        return Parsed((height, width), _NO_BOXES)

    return ParsedFolder(folder, paths, parse, "size", cache_dir)


def update(folders: Iterable[ParsedFolder], what: str = "reading masks") -> None:
    """Parses what is stale in all folders behind one progress bar; shows nothing if nothing is."""
    waiting = [folder for folder in folders if folder.stale]
    with progress_bar(not waiting) as bar:
        shown = bar.add_task(what, total=sum(len(folder.stale) for folder in waiting))
        for folder in waiting:
            folder.update(lambda: bar.advance(shown))


# -- lists -------------------------------------------------------------------------------------------------------------


def list_lines(path: Path) -> list[tuple[str, str]]:
    """``path:line`` and text of each line that is not blank, back-slashes as slashes."""
    text = read_text(path, errors="replace")
    lines = ((f"{path}:{at}", line.strip()) for at, line in enumerate(text.splitlines(), start=1))
    return [(where, line.replace("\\", "/")) for where, line in lines if line]


def read_sequence_list(path: Path, name: str, problems: Problems) -> dict[str, dict[int, str]]:
    """Sequences that a list names, each with the frame numbers it names and where; none if it lists them whole.

    A line is a sequence or the path of one of its frames, such as ``Sequence85/Mix/00001.mat``; the folder between
    them and the suffix mean nothing, since the same lists serve several kinds of frames.

    Args:
        path: the list.
        name: regular expression of a sequence's name; the first part of a line that matches it wholly is the sequence.
        problems: told of every line left out.
    """
    listed: dict[str, dict[int, str]] = {}
    whole: set[str] = set()
    for where, line in list_lines(path):
        parts = line.split("/")
        at = next((i for i, part in enumerate(parts) if re.fullmatch(name, part)), None)
        rest = parts[at + 1 :] if at is not None else []
        stem = rest[-1].partition(".")[0] if rest else ""
        number = frame_number(stem)
        if at is None or not can_be_a_path(parts[at]) or (rest and number is None):
            expected = f"expected a sequence ({name}) or SEQUENCE/.../NUMBER.png"
            problems.report(where, f"{expected}, came {shown(line)}", "Correct or delete the line")
            continue
        sequence = parts[at]
        if sequence in whole if number is None else number in listed.get(sequence, {}):
            problems.report(where, f"{shown(line)} is listed a second time", "Keep one of the lines")
            continue
        frames = listed.setdefault(sequence, {})
        if number is not None:
            frames[number] = where
        else:
            whole.add(sequence)
    return listed | {sequence: {} for sequence in whole}


# -- folders of images with masks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FolderPair:
    """A recording as two folders, whose files belong together by frame number.

    Attributes:
        name: of the sequence.
        images: folder of its frames.
        masks: folder of its masks.
        wanted: numbers of the frames in the split, and where each is listed; empty for all.
    """

    name: str
    images: Path
    masks: Path
    wanted: dict[int, str]


def load_recordings(
    pairs: Iterable[FolderPair], problems: Problems, *, threshold: int = 0, cache_dir: Path | None = None
) -> list[Recording]:
    """Joins frames with the boxes of their masks; a recording without a frame that can be used is left out.

    A frame whose mask is missing, unreadable or of another size does not belong to the split (it may still be
    history); an empty frame is one whose mask is all zero.

    Args:
        pairs: the folders.
        problems: told of everything left out.
        threshold: see :func:`read_mask`.
        cache_dir: of parsed masks; the default cache if None.

    Raises:
        ValueError: if the threshold is not 0 to 254.
        DataError: at the first problem, if the policy is ``"error"``.
    """
    found: list[tuple[FolderPair, dict[int, Path], dict[int, Path], ParsedFolder]] = []
    for pair in pairs:
        images = _by_number(pair.images, "image", problems)
        masks = _by_number(pair.masks, "mask", problems) if images else {}
        if images and masks:
            asked = [masks[n] for n in images if n in masks and (not pair.wanted or n in pair.wanted)]
            found.append((pair, images, masks, mask_folder(pair.masks, asked, threshold, cache_dir)))
    update(table for *_, table in found)
    recordings = (_join(*each, problems) for each in found)
    return [recording for recording in recordings if recording is not None]


def _by_number(folder: Path, what: str, problems: Problems) -> dict[int, Path]:
    try:
        paths = list_images(folder)
    except (FileNotFoundError, NotADirectoryError):
        paths = []
    numbered: dict[int, Path] = {}
    for path, number in zip(paths, numbers([path.name for path in paths]), strict=True):
        if number is None:
            problems.report(path, "has no frame number in its name", "Move the file out of the folder")
            continue
        if number in numbered:
            problems.report(path, f"is frame {number}, and so is {numbered[number].name}", "Keep one of them")
            continue
        numbered[number] = path
    if not numbered:
        problems.report(folder, f"holds no {what}" if folder.is_dir() else "there is no such folder", HOW_TO_GET)
    return dict(sorted(numbered.items()))


def _join(
    pair: FolderPair, images: dict[int, Path], masks: dict[int, Path], table: ParsedFolder, problems: Problems
) -> Recording | None:
    try:
        size = image_size(ImageFiles(images.values()))
    except DataError as error:
        problems.report(pair.images, f"holds no image that can be read ({error})", f"Copy it again; {HOW_TO_GET}")
        return None
    boxes, indices = [_NO_BOXES] * len(images), []
    for at, (number, image) in enumerate(images.items()):
        if pair.wanted and number not in pair.wanted:
            continue
        if number not in masks:
            problems.report(image, f"has no mask in {pair.masks}", "Copy it; an empty frame has one too, all zero")
        elif (found := checked(table, masks[number], size, problems)) is not None:
            boxes[at] = found
            indices.append(at)
    for number, where in pair.wanted.items():
        if number not in images:
            missing = f"frame {number} of {pair.images} is listed, its file is missing"
            problems.report(where, missing, "Copy it or delete the line")
    for number, mask in masks.items():
        if number not in images and not pair.wanted:
            problems.report(mask, f"is the mask of frame {number}, which is not in {pair.images}", "Copy the frame")
    labels = [np.zeros(len(each), np.int64) for each in boxes]
    paths = list(images.values())
    numbers = np.array(list(images), np.int64)
    return Recording(pair.name, paths, numbers, boxes, labels, np.array(indices, np.int64))


def checked(table: ParsedFolder, mask: Path, size: tuple[int, int], problems: Problems) -> NDArray[np.float32] | None:
    """Boxes [N, 4] of a mask, xyxy px; None, reported, if it is bad or not of its image's ``size`` (height, width)."""
    try:
        found = table.get(mask)
    except DataError as error:
        problems.report(mask, f"cannot be used ({error})", f"Copy it again; {HOW_TO_GET}")
        return None
    if found.size != size:
        problems.report(
            mask,
            f"is {found.size[1]}x{found.size[0]}, its image {size[1]}x{size[0]}; they must be of one size",
            "Copy both from one release; resizing a mask moves or loses small targets",
        )
        return None
    return found.boxes
