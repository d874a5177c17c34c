"""The forms of IRDST beside the lists with boxes that :mod:`tdcnet.data.formats.irdst` reads itself.

- Released, single frames (``released``)::

    root/IRDST_real/images/train/00000000.png      (root may be IRDST_real itself; validation lies in test)
    root/IRDST_real/boxes/train/00000000.txt       lines [x, y, w, h] or x y w h, in one and the same copy

  Frames are shuffled and their link to the videos is lost, so each is a clip of its own.
- Lists of the RDIAN repository (``rdian``), lines ``/41/1(297)``, and those of DTUM and DeepPro for the simulation
  (``dtum``), lines ``1/1``, both scene and stem::

    root/images/41/1(297).bmp, root/masks/41/1(297).bmp
    root/train.txt, root/test.txt  or  root/img_idx/train_IRDST-simulation.txt, test_IRDST-simulation.txt

  RDIAN's lists have every scene on both sides; DTUM's share none.
"""

from __future__ import annotations

import logging
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.masks import ParsedFolder, mask_folder, update
from tdcnet.data.frames import IMAGE_SUFFIXES, ImageFiles, frame_numbers, list_images, read_grey
from tdcnet.files import open_regular, read_text
from tdcnet.limits import MOST_LABELS
from tdcnet.shown import shown

log = logging.getLogger(__name__)

FOLDERS = {"train": ("train", "train.txt"), "val": ("test", "val", "test.txt", "val.txt")}
"""Folders of the released form; one copy in circulation has a folder called ``train.txt``."""

LISTS = {
    "rdian": {"train": ("train.txt",), "val": ("test.txt", "val.txt")},
    "dtum": {
        "train": ("img_idx/train_IRDST-simulation.txt",),
        "val": ("img_idx/test_IRDST-simulation.txt", "img_idx/val_IRDST-simulation.txt"),
    },
}


class Loaded(NamedTuple):
    """What a form gives: recordings, where their split is written down, and whether neighbours are of one video."""

    recordings: list[common.Recording]
    source: Path
    in_order: bool


# -- released ----------------------------------------------------------------------------------------------------------


def released_base(root: Path, part: str) -> Path | None:
    """The folder that holds ``images`` and ``boxes`` of the released form, if ``root`` is of that form."""
    return next((base for base in (root / f"IRDST_{part}", root) if (base / "boxes").is_dir()), None)


def load_released(root: Path, split: str, part: str, problems: Problems) -> Loaded:
    """Reads the released form: a recording per image size, of single frames that have nothing to do with each other.

    A missing or blank box file is an empty frame.

    Args:
        root: the folder that holds ``IRDST_real`` and ``IRDST_simulation``, or one of these.
        split: ``"train"`` or ``"val"``.
        part: ``"real"`` or ``"simulation"``.
        problems: what to do with bad images, lines and boxes.

    Raises:
        FileNotFoundError: if a folder is missing.
        DataError: at the first problem (policy ``"error"``).
    """
    base = released_base(root, part)
    if base is None:
        base = common.find(root, [f"IRDST_{part}/boxes", "boxes"], f"boxes of IRDST ({part}, released form)").parent
    images = common.find(base / "images", FOLDERS[split], f"folder of IRDST {split!r} frames")
    boxes = common.find(base / "boxes", FOLDERS[split], f"folder of IRDST {split!r} boxes")
    by_size: dict[tuple[int, int], list[Path]] = {}
    for path in list_images(images):
        try:
            by_size.setdefault(_size(path), []).append(path)
        except DataError as error:
            problems.report(path, str(error), f"Copy it again; {common.HOW_TO_GET}")
    stems = {path.stem for paths in by_size.values() for path in paths}
    files = {path.stem: path for path in sorted(boxes.glob("*.txt"))}
    if stems and not stems & set(files):
        problems.report(
            boxes, f"holds no box file for any of the {len(stems)} frames in {images}", f"Copy it; {common.HOW_TO_GET}"
        )
    orphans = sorted(files.keys() - {path.stem for path in list_images(images)})
    if orphans:
        problems.report(
            files[orphans[0]],
            f"has no frame in {images}, and so have {len(orphans) - 1} more box files",
            "Copy the frames or delete the files",
        )
    name = f"{base.resolve().name}_{split}"
    recordings = [
        _singles(f"{name}_{width}x{height}", paths, files, (height, width), problems)
        for (height, width), paths in by_size.items()
    ]
    return Loaded(recordings, images, in_order=False)


def _size(path: Path) -> tuple[int, int]:
    """Height and width in px, from the header where it is a common one: tens of thousands of files are asked."""
    try:
        with open_regular(path) as file:
            head = file.read(26)
    except OSError:
        head = b""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
    elif head.startswith(b"BM") and len(head) == 26:
        width, height = struct.unpack_from("<ii", head, 18)
    else:
        height, width = read_grey(path).shape
    return abs(height), width  # a bitmap stored from the top down has a negative height


def _singles(
    name: str, paths: list[Path], files: dict[str, Path], size: tuple[int, int], problems: Problems
) -> common.Recording:
    owners: list[tuple[int, str]] = []
    raw: list[list[float]] = []
    for at, path in enumerate(paths):
        file = files.get(path.stem)
        if file is None:
            continue
        for number, line in enumerate(_text(file, problems).splitlines(), start=1):
            if not line.strip():
                continue
            box = _parse_line(line)
            if box is None:
                problems.report(
                    f"{file}:{number}",
                    f"expected [x, y, w, h] or x y w h, came {shown(line.strip())}",
                    "Correct or delete the line",
                )
                continue
            owners.append((at, f"{file}:{number}"))
            raw.append(box)
    boxes, labels = _grouped(owners, raw, len(paths), size, problems)
    return common.Recording(name, paths, frame_numbers(paths), boxes, labels, np.arange(len(paths), dtype=np.int64))


def _parse_line(line: str) -> list[float] | None:
    """``x1, y1, x2, y2`` from either spelling, or None."""
    line = line.strip()
    if line.startswith("[") != line.endswith("]"):
        return None
    values = [common.number(token) for token in re.split(r"\s*,\s*|\s+", line.strip("[] \t"))]
    known = [value for value in values if value is not None]
    if not len(values) == len(known) == 4:
        return None
    x, y, w, h = known
    return [x, y, x + w, y + h]


def _text(path: Path, problems: Problems) -> str:
    try:
        return read_text(path, MOST_LABELS, errors="replace")
    except (DataError, OSError) as error:
        problems.report(path, f"cannot be used ({error})", f"Copy it again; {common.HOW_TO_GET}")
        return ""


# -- lists of frames with masks ----------------------------------------------------------------------------------------


def load_masks(form: str, root: Path, split: str, problems: Problems, cache_dir: Path | None) -> Loaded:
    """Reads a form of lists and masks: a recording per scene, a box round each 8-connected blob of values other than 0.

    Masks of frames that are in the scene but not in the split are read too: cuts are told by the boxes of neighbours.

    Args:
        form: ``"rdian"`` or ``"dtum"``.
        root: the folder that holds ``images``, ``masks`` and the lists.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines, masks and frames.
        cache_dir: of parsed masks; the default cache if None.

    Raises:
        FileNotFoundError: if a folder or the list is missing.
        DataError: at the first problem (policy ``"error"``).
    """
    lists = LISTS[form]
    images = common.find(root, ["images"], "folder of IRDST frames")
    masks = common.find(root, ["masks"], "folder of IRDST masks")
    list_file = common.find(root, lists[split], f"list of the IRDST {split!r} split")
    listed = _read_frame_list(list_file, problems)
    other = next(
        (root / name for name in lists["val" if split == "train" else "train"] if (root / name).is_file()), None
    )
    if other is not None:
        shared = listed.keys() & {match[1] for line in _lines(other) if (match := _FRAME.match(line))}
        if shared:
            log.warning(
                "%d of the %d scenes of %s are in %s too: the score says little about a new scene, and clips of one "
                "side show frames of the other",
                len(shared),
                len(listed),
                list_file,
                other.name,
            )
    tables = {name: _masks(masks / name, cache_dir) for name in listed}
    update(table for table, _ in tables.values())
    recordings = [_scene(images / name, *tables[name], stems, problems) for name, stems in listed.items()]
    return Loaded([recording for recording in recordings if recording is not None], list_file, in_order=True)


def _masks(folder: Path, cache_dir: Path | None) -> tuple[ParsedFolder, dict[str, Path]]:
    """The masks of a scene, to be parsed, and their files by stem."""
    paths = list_images(folder) if folder.is_dir() else []
    return mask_folder(folder, paths, 0, cache_dir), {path.stem: path for path in paths}


_FRAME = re.compile(r"^/?([^/\s\0]{1,200})/([^/\0]*\d[^/\0]*)$")


def is_frame_list(path: Path) -> bool:
    """Whether the first line that is not blank names a scene and a stem, and no box."""
    first = next(iter(_lines(path)), "")
    return "," not in first and _FRAME.match(first) is not None


def _lines(path: Path) -> list[str]:
    text = read_text(path, errors="replace").replace("\\", "/")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_frame_list(path: Path, problems: Problems) -> dict[str, dict[str, str]]:
    """Scene -> stem -> where it is listed."""
    listed: dict[str, dict[str, str]] = {}
    for at, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        line = line.strip().replace("\\", "/")
        if not line:
            continue
        where, match = f"{path}:{at}", _FRAME.match(line)
        if match is None or match[1] == ".." or not common.can_be_a_path(f"{match[1]}/{match[2]}.png"):
            problems.report(
                where,
                f"expected SCENE/FRAME without suffix, such as /41/1(297), came {shown(line)}",
                "Correct the line",
            )
            continue
        stem = Path(match[2]).stem if match[2].lower().endswith(IMAGE_SUFFIXES) else match[2].rstrip(".")
        frames = listed.setdefault(match[1], {})
        if stem in frames:
            problems.report(where, f"frame {line} is listed a second time", "Keep one of the lines")
        frames.setdefault(stem, where)
    return listed


def _scene(
    folder: Path, table: ParsedFolder, mask_of: dict[str, Path], listed: dict[str, str], problems: Problems
) -> common.Recording | None:
    by_stem = {path.stem: path for path in (list_images(folder) if folder.is_dir() else [])}
    paths = list(by_stem.values())
    try:
        numbers = frame_numbers(paths)
        size = common.image_size(ImageFiles(paths))
    except DataError as error:
        problems.report(
            folder,
            f"holds no usable image, but {len(listed)} of its frames are listed ({error})",
            f"Copy it; {common.HOW_TO_GET}",
        )
        return None
    for stem in listed.keys() - by_stem.keys():
        problems.report(listed[stem], f"{folder / stem} is listed, its file is missing", "Copy it or delete the line")
    indices: list[int] = []
    owners: list[tuple[int, str]] = []
    raw: list[list[float]] = []
    for at, path in enumerate(paths):
        found = _boxes(table, mask_of.get(path.stem), size)
        if isinstance(found, str):
            if path.stem in listed:
                problems.report(
                    listed[path.stem], f"mask of {path}: {found}", f"Copy it or delete the line; {common.HOW_TO_GET}"
                )
            continue
        if path.stem in listed:
            indices.append(at)
        raw += found.tolist()
        owners += [(at, str(mask_of[path.stem]))] * len(found)
    boxes, labels = _grouped(owners, raw, len(paths), size, problems)
    return common.Recording(folder.name, paths, numbers, boxes, labels, np.array(indices, np.int64))


def _boxes(table: ParsedFolder, mask: Path | None, size: tuple[int, int]) -> NDArray[np.float32] | str:
    if mask is None:
        return "there is none"
    try:
        found = table.get(mask)
    except DataError as error:
        return str(error)
    if found.size != size:
        return f"{mask} is {found.size[1]}x{found.size[0]}, the frame {size[1]}x{size[0]}"
    return found.boxes


def _grouped(
    owners: list[tuple[int, str]], raw: list[list[float]], count: int, size: tuple[int, int], problems: Problems
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
    boxes, labels, _ = common.boxes_by_frame(
        np.array([at for at, _ in owners], np.int64),
        np.array(raw, np.float64).reshape(-1, 4),
        np.zeros(len(owners), np.int64),
        count,
        size,
        lambda i: owners[i][1],
        problems,
    )
    return boxes, labels
