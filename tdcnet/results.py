"""Writing results so that a reader never meets half a file, and a run that breaks keeps what it had."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from tdcnet.files import Closing, replacing, write_atomically
from tdcnet.shown import CsvWriter

CSV_COLUMNS = ("frame", "x1", "y1", "x2", "y2", "score", "label", "time", "video")
"""Position of the frame in its recording from 0, corners in px of it, score, name of the class, seconds from the first
frame (empty if not known), name of the recording."""


@dataclass(frozen=True, eq=False)
class FrameDetections:
    """What was found on one frame.

    Attributes:
        frame_index: position of the frame in its recording, from 0.
        where: where the frame comes from: a path, or ``path#index`` in a video.
        size: height and width of the stored frame in px.
        boxes: float64 [N, 4] xyxy in px of the stored frame, right and lower edge exclusive.
        scores: float64 [N].
        labels: int64 [N], indices into the classes.
        video: name of the recording.
        seconds: from the first frame of the recording; None if not known.
    """

    frame_index: int
    where: str
    size: tuple[int, int]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    video: str = "video"
    seconds: float | None = None

    @classmethod
    def make(
        cls,
        frame_index: int,
        where: str | os.PathLike[str],
        size: Sequence[int],
        detections: Mapping[str, Any],
        video: str = "video",
        seconds: float | None = None,
    ) -> FrameDetections:
        """Takes torchvision's ``{"boxes": [N, 4], "scores": [N], "labels": [N]}``, arrays or tensors on any device.

        Raises:
            ValueError: if a key is missing, the three do not fit together or a coordinate or score is not finite.
        """
        missing = {"boxes", "scores", "labels"} - set(detections)
        if missing:
            raise ValueError(f"{where}: detections lack {sorted(missing)}; expected boxes, scores and labels")
        boxes = to_numpy(detections["boxes"]).astype(np.float64)
        boxes = boxes.reshape(-1, 4) if boxes.size == 0 else boxes
        scores = to_numpy(detections["scores"]).astype(np.float64)
        labels = to_numpy(detections["labels"]).astype(np.int64)
        n = len(boxes)
        if boxes.shape != (n, 4) or scores.shape != (n,) or labels.shape != (n,):
            raise ValueError(
                f"{where}: boxes {list(boxes.shape)}, scores {list(scores.shape)} and labels {list(labels.shape)} do "
                "not fit together; expected [N, 4], [N] and [N]"
            )
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError(f"{where}: a box or a score is not finite; leave such detections out before writing them")
        height, width = (int(side) for side in size)
        return cls(int(frame_index), os.fspath(where), (height, width), boxes, scores, labels, video, seconds)


def to_numpy(values: Any) -> NDArray[Any]:
    """An array of anything like one, tensors on any device, with a gradient or in bfloat16 among them."""
    # Asks for torch's methods instead of its type, so that torch need not be imported for it.
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    return np.asarray(values)


def write_json(path: str | os.PathLike[str], data: Any, indent: int | None = 2) -> Path:
    """Writes ``data`` as JSON; the file appears whole or not at all, and folders are made.

    Scalars and arrays of numpy and torch become numbers and lists, paths become strings, and what JSON has no number
    for (NaN, infinity) becomes null.

    Raises:
        TypeError: if a value, named by its place in ``data``, is of a kind that JSON cannot hold.
    """
    text = json.dumps(_to_plain(data, "data"), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return write_atomically(path, text.encode(errors="replace"))  # names of files may be in no encoding


def write_metrics(path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> Path:
    """Writes figures by name as one flat JSON object, sorted by name; what could not be measured (NaN) is null.

    Raises:
        ValueError: if a value is not a single number; the message names it.
    """
    plain: dict[str, float | int | bool | None] = {}
    for name in sorted(metrics):
        value = _to_plain(metrics[name], name)
        if value is not None and not isinstance(value, bool | int | float):
            raise ValueError(f"metric {name!r} is {metrics[name]!r}; expected a single number")
        plain[name] = value
    return write_json(path, plain)


def coco_results(frames: Iterable[FrameDetections], classes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Detections in the layout of COCO for video.

    Args:
        frames: what was found, in any number of recordings; frames on which nothing was found count too.
        classes: names; the label of a detection is its place here.

    Returns:
        A dict of four lists:

        - ``videos``: ``id`` (from 1 in order of appearance), ``name``.
        - ``images``: ``id`` (from 1), ``file_name`` (where the frame comes from), ``width``, ``height``, ``video_id``,
          ``frame_id`` (position in the recording, from 0), ``time`` (seconds from the first frame, where known).
        - ``annotations``: ``id`` (from 1), ``image_id``, ``video_id``, ``category_id``, ``bbox`` (``x, y, w, h`` in px,
          first pixel 0, to 1/1000 px), ``area`` (px^2), ``score``. As it is, this list is what ``COCO.loadRes`` takes.
        - ``categories``: ``id`` (label + 1), ``name``.

    Raises:
        ValueError: if a label has no class.
    """
    videos: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, frame in enumerate(frames, start=1):
        _check_labels(frame, classes)
        video_id = videos.setdefault(frame.video, len(videos) + 1)
        images.append(_coco_image(frame, image_id, video_id))
        annotations += _coco_annotations(frame, image_id, video_id, len(annotations) + 1)
    return {
        "videos": [{"id": number, "name": name} for name, number in videos.items()],
        "images": images,
        "annotations": annotations,
        "categories": _coco_categories(classes),
    }


def _coco_image(frame: FrameDetections, image_id: int, video_id: int) -> dict[str, Any]:
    height, width = frame.size
    image = {
        "id": image_id,
        "file_name": frame.where,
        "width": width,
        "height": height,
        "video_id": video_id,
        "frame_id": frame.frame_index,
    }
    return image if frame.seconds is None else {**image, "time": round(frame.seconds, 6)}


def _coco_annotations(frame: FrameDetections, image_id: int, video_id: int, first_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for (x1, y1, x2, y2), score, label in zip(frame.boxes, frame.scores, frame.labels, strict=True):
        w, h = round(float(x2 - x1), 3), round(float(y2 - y1), 3)
        found.append(
            {
                "id": first_id + len(found),
                "image_id": image_id,
                "video_id": video_id,
                "category_id": int(label) + 1,
                "bbox": [round(float(x1), 3), round(float(y1), 3), w, h],
                "area": round(w * h, 3),
                "score": round(float(score), 6),
            }
        )
    return found


def _coco_categories(classes: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": label + 1, "name": name} for label, name in enumerate(classes)]


def csv_rows(
    frame_index: int,
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    names: Sequence[str],
    seconds: float | None,
    video: str,
) -> Iterator[list[Any]]:
    """The rows of a frame in the order of :data:`CSV_COLUMNS`."""
    for box, score, name in zip(boxes, scores, names, strict=True):
        corners = [f"{value:.3f}" for value in box]
        yield [frame_index, *corners, f"{score:.6f}", name, "" if seconds is None else f"{seconds:.6f}", video]


class DetectionWriter(Closing):
    """Writes the detections of one recording while they are made, as ``NAME.csv`` and ``NAME.json``.

    The CSV file (:data:`CSV_COLUMNS`) grows row by row as ``NAME.partial.csv`` and is on disk after each frame,
    whatever happens next. When the writer is closed, the JSON file (:func:`coco_results`) is written, and the other
    gets its name. When the block of its ``with`` ends in an exception, both stay partial by name and hold the frames up
    to there: half a recording must not be taken for a result. The parts of the JSON file wait on disk, so that memory
    does not grow with the recording.

    Args:
        path: of the two files, without their endings; folders are made. Files of an earlier run are replaced when these
            are whole.
        classes: names by label.
        video: name of the recording; None takes the file's.
    """

    def __init__(self, path: str | os.PathLike[str], classes: Sequence[str], video: str | None = None) -> None:
        path = Path(path)
        # Not with_suffix: a recording called "clip.2" is not to lose its "2".
        self.csv_path = path.with_name(f"{path.name}.csv")
        self.json_path = path.with_name(f"{path.name}.json")
        self.classes = tuple(classes)
        self.video = path.name if video is None else video
        self.partial_csv, self.partial_json = (path.with_name(f"{path.name}.partial.{e}") for e in ("csv", "json"))
        self._images, self._annotations = _Parts(), _Parts()
        path.parent.mkdir(parents=True, exist_ok=True)
        # One of an earlier run beside this run's CSV would contradict it if this run is killed.
        self.partial_json.unlink(missing_ok=True)
        self._file: TextIO | None = self.partial_csv.open("w", newline="", encoding="utf-8")
        self._rows = CsvWriter(self._file)
        self._rows.writerow(CSV_COLUMNS)
        self._file.flush()

    def add(
        self,
        frame_index: int,
        where: str | os.PathLike[str],
        size: Sequence[int],
        detections: Mapping[str, Any],
        seconds: float | None = None,
    ) -> None:
        """Appends one frame; one on which nothing was found counts in the JSON file.

        Args:
            frame_index: position in the recording, from 0.
            where: where the frame comes from.
            size: height and width of the stored frame in px.
            detections: ``boxes`` [N, 4] xyxy px of the stored frame, ``scores`` [N], ``labels`` [N].
            seconds: from the first frame of the recording.

        Raises:
            ValueError: if the detections are malformed, a label has no class, or the writer is closed.
        """
        if self._file is None:
            raise ValueError(f"{self.csv_path}: the writer is closed; add frames inside its with block")
        frame = FrameDetections.make(frame_index, where, size, detections, self.video, seconds)
        _check_labels(frame, self.classes)
        image_id = self._images.count + 1
        self._images.add([_coco_image(frame, image_id, 1)])
        self._annotations.add(_coco_annotations(frame, image_id, 1, self._annotations.count + 1))
        names = [self.classes[label] for label in frame.labels]
        for row in csv_rows(frame_index, frame.boxes, frame.scores, names, seconds, self.video):
            self._rows.writerow(row)
        self._file.flush()

    def close(self, complete: bool = True) -> None:
        """Finishes both files; unless ``complete``, they keep the names of partial ones. A second call does nothing."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        self._write_json(self.json_path if complete else self.partial_json)
        if complete:
            os.replace(self.partial_csv, self.csv_path)

    def _write_json(self, path: Path) -> None:
        known = {"videos": [{"id": 1, "name": self.video}] if self._images.count else []}
        with replacing(path) as file:
            file.write(json.dumps(known, ensure_ascii=False).encode(errors="replace")[:-1])
            for name, parts in (("images", self._images), ("annotations", self._annotations)):
                file.write(f', "{name}": ['.encode(errors="replace"))
                parts.copy(file)
                file.write(b"]")
            classes = json.dumps(_coco_categories(self.classes), ensure_ascii=False)
            file.write(f', "categories": {classes}}}\n'.encode(errors="replace"))


class _Parts:
    """Entries of a list of JSON, kept in a file without a name."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this is

    def add(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
            self._file.write((", " if self.count else "").encode(errors="replace") + text.encode(errors="replace"))
            self.count += 1

    def copy(self, file: BinaryIO) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)
        self._file.close()


def _check_labels(frame: FrameDetections, classes: Sequence[str]) -> None:
    wrong = frame.labels[(frame.labels < 0) | (frame.labels >= len(classes))]
    if len(wrong):
        raise ValueError(
            f"{frame.where}: label {int(wrong[0])} has no class; there are {len(classes)}: {', '.join(classes)}"
        )


def _to_plain(value: Any, place: str) -> Any:
    """``value`` in the types that JSON knows; ``place`` says where it stands, for the message."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
    raise TypeError(f"{place} is a {type(value).__name__}; JSON holds numbers, text, lists and dicts of these")
