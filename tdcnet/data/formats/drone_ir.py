"""Infrared videos of the Drone-detection-dataset (Svanstrom et al., Data in Brief 2021).

Layout::

    root/videos/NAME.mp4 and NAME_LABELS.mat     (or both in root itself, as in the published Data/Video_IR)
    root/split.json                              {"train": ["IR_DRONE_001", ...], "val": [...]}, or another such file

The labels are a MATLAB ``groundTruth`` object with one row per frame. Only mat-io reads it right; scipy gives raw
bytes, and the decoder that the data set names shifts and loses rows.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.cache import cache_file, decode_ahead
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common
from tdcnet.data.frames import VideoFrames
from tdcnet.data.sequence import Sequence
from tdcnet.data.video import open_videos
from tdcnet.files import read_arrays, read_bytes, write_arrays
from tdcnet.limits import MOST_MAT
from tdcnet.shown import shown

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("AIRPLANE", "BIRD", "DRONE", "HELICOPTER")


class Rows(NamedTuple):
    """The boxes of one video: ``boxes`` float64 [M, 4], ``x1, y1, x2, y2`` in px with first pixel 0, ``labels`` int64
    [M], and ``frames`` int64 [M], the row of each, ascending. ``num_rows`` rows in all, empty ones too."""

    num_rows: int
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    split_file: Path | str = "split.json",
) -> list[Sequence]:
    """Reads one side of the split, a sequence per video.

    Args:
        root: the folder that holds ``split.json`` and the videos.
        split_file: the split, relative to root.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad videos, labels and boxes; stops at the first if None.
        cache_dir: for decoded frames and parsed labels; the default cache if None.

    Raises:
        FileNotFoundError: if the root or the split is missing.
        DataError: if the split is not as it should be, at the first problem (policy ``"error"``), or if the split
            holds no usable frame.
    """
    common.check_split(split)
    root, problems = Path(root), problems or Problems()
    path = root / split_file
    names = common.read_split_file(path)[split]
    return common.finish(_sequences(root, names, problems, cache_dir), split, path, problems, CLASSES)


def read_all(root: Path | str, *, problems: Problems | None = None, cache_dir: Path | None = None) -> list[Sequence]:
    """All videos, whether or not there is a ``split.json``; arguments as those of :func:`read`."""
    root, problems = Path(root), problems or Problems()
    folder = root / "videos" if (root / "videos").is_dir() else root
    names = sorted(path.stem for path in folder.glob("*.mp4"))
    return common.finish(_sequences(root, names, problems, cache_dir), None, folder, problems, CLASSES)


def _sequences(root: Path, names: list[str], problems: Problems, cache_dir: Path | None) -> list[Sequence]:
    folder = root / "videos" if (root / "videos").is_dir() else root
    sequences = []
    # Only decoding tells how many frames there are; done for all at once it takes all processors.
    paths = (folder / f"{name}.mp4" for name in names if common.can_be_a_path(f"{name}.mp4"))
    decode_ahead(open_videos((path for path in paths if path.is_file()), cache_dir))
    for name in names:
        if not common.can_be_a_path(f"{name}_LABELS.mat"):
            problems.report(root / "split.json", f"no file can be called {shown(name)}", "Correct or delete the name")
            continue
        video, labels = folder / f"{name}.mp4", folder / f"{name}_LABELS.mat"
        missing = [path.name for path in (video, labels) if not path.is_file()]
        if missing:
            problems.report(folder, f"has no {' and no '.join(missing)}", f"Copy it; {common.HOW_TO_GET}")
            continue
        try:
            frames, rows = VideoFrames(video, cache_dir), label_rows(labels, cache_dir)
            len(frames)  # raises where not one can be decoded
        except DataError as error:
            problems.report(video, f"cannot be used ({error})", "Copy both files again")
            continue
        sequences.append(_sequence(name, frames, rows, labels, problems))
    return sequences


def _sequence(name: str, frames: VideoFrames, rows: Rows, labels_file: Path, problems: Problems) -> Sequence:
    n = len(frames)
    if rows.num_rows != n:
        problems.report(
            labels_file,
            f"has {rows.num_rows} rows for the {n} frames of {frames.path.name}"
            + (f", which {frames.fault}" if frames.fault else ""),
            "Copy both files again; frames without a row can only be left out",
        )
    boxes, labels, _ = common.boxes_by_frame(
        rows.frames,
        rows.boxes,
        rows.labels,
        n,
        frames.shape,
        lambda i: f"{labels_file}, row {rows.frames[i] + 1}",
        problems,
    )
    return Sequence(
        name=name,
        frames=frames,
        boxes=boxes,
        labels=labels,
        indices=np.arange(min(n, rows.num_rows), dtype=np.int64),
        segment_start=np.zeros(n, np.int64),
    )


def label_rows(path: Path, cache_dir: Path | None = None) -> Rows:
    """The boxes in a ``_LABELS.mat`` file; parsing takes a while, so the result is kept in the cache.

    Raises:
        DataError: if the file cannot be read or is not built as expected.
    """
    kept = cache_file(path, ".labels.npz", cache_dir)
    try:
        return _kept_rows(kept)
    except FileNotFoundError:
        pass
    except (DataError, OSError) as error:
        log.warning("%s (and is made again)", error)
    rows = _parse(load_label_data(path), path)
    arrays = {"frames": rows.frames, "boxes": rows.boxes, "labels": rows.labels}
    try:
        write_arrays(kept, {"num_rows": np.array(rows.num_rows), **arrays}, kept.name)
    except OSError as error:
        # Only time is lost; the videos, which do need the cache, complain themselves.
        log.warning("parsed labels of %s are not kept: %s", path, error)
    return rows


def _kept_rows(path: Path) -> Rows:
    found = read_arrays(path, ("num_rows", "frames", "boxes", "labels"), path.name)
    num_rows, frames, boxes, labels = (found[name] for name in ("num_rows", "frames", "boxes", "labels"))
    kinds = "".join(found[name].dtype.char for name in found)
    if kinds != "lldl" or num_rows.shape or boxes.shape != (len(frames), 4):
        raise DataError(f"{path}: is of another kind. Remove it to have it made again")
    return Rows(int(num_rows), frames, boxes, labels)


def load_label_data(path: Path) -> NDArray[Any]:
    """The ``LabelData`` table of a ``groundTruth`` object: a struct array with a field per class, each cell k x 4.

    Raises:
        DataError: if it is too large, or mat-io cannot read it.
    """
    read_bytes(path, MOST_MAT)
    try:
        # Importing mat-io sets a pandas option that warns; on older objects it warns of parts that are not used here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matio

            table: NDArray[Any] = matio.load_from_mat(str(path))["gTruth"].properties["any"][0, 0]["LabelData"]
    except ImportError:
        raise
    except Exception as error:  # mat-io documents none; on bytes that are cut short or foreign almost any can come
        raise DataError(
            f"{path}: mat-io finds no groundTruth table in it ({type(error).__name__}: {error}). Copy the file again"
        ) from error
    return table


def _parse(table: NDArray[Any], path: Path) -> Rows:
    fields = getattr(getattr(table, "dtype", None), "names", None) or ()
    if not set(CLASSES) <= set(fields):
        raise DataError(f"{path}: expected columns {', '.join(CLASSES)}, found {', '.join(fields) or 'none'}")
    rows = table.ravel()
    frames: list[int] = []
    boxes: list[NDArray[np.float64]] = []
    labels: list[int] = []
    for at, row in enumerate(rows):
        for label, name in enumerate(CLASSES):
            cell = row[name]
            if not np.size(cell):
                continue
            cell = np.asarray(cell)
            if cell.ndim != 2 or cell.shape[1] != 4 or cell.dtype.kind not in "fiu":
                raise DataError(
                    f"{path}, row {at + 1}: {name} is {cell.shape} {cell.dtype}, expected k x 4 numbers. Copy it again"
                )
            frames += [at] * len(cell)
            labels += [label] * len(cell)
            boxes.append(cell.astype(np.float64))
    xywh = np.concatenate(boxes) if boxes else np.zeros((0, 4))
    first = xywh[:, :2] - 1.0  # MATLAB counts pixels from 1
    xyxy = np.concatenate([first, first + xywh[:, 2:]], axis=1)
    return Rows(len(rows), np.array(frames, np.int64), xyxy, np.array(labels, np.int64))
