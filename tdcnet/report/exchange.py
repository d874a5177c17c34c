"""Evaluated frames and detections as COCO JSON: how other detectors are scored on the very same frames.

``ground_truth.json`` lists the evaluated frames with their boxes; a detector that knows nothing of this project writes
COCO results (``[{"image_id", "category_id", "bbox": [x, y, w, h], "score"}, ...]``) for its image ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.data.formats.masks import zero_and_one
from tdcnet.data.images import read_grey
from tdcnet.data.transforms import full_scale
from tdcnet.masks import components
from tdcnet.metrics.matching import Frames
from tdcnet.results import write_json


def write_ground_truth(path: Path, frames: Frames, dataset: ClipDataset, classes: Sequence[str]) -> Path:
    """The evaluated frames and their boxes as COCO with video keys; ids count from 1, as COCO's do."""
    videos: dict[str, int] = {}
    images = []
    for at, item in enumerate(frames.image_ids.tolist()):
        sequence, t = dataset.locate(item)
        height, width = frames.sizes[at].astype(int).tolist()
        images.append(
            {
                "id": item + 1,
                "file_name": sequence.frames.where(t),
                "height": height,
                "width": width,
                "video_id": videos.setdefault(sequence.name, len(videos) + 1),
                "frame_id": t,
            }
        )
    boxes = _xywh(frames.target_boxes)
    owners = frames.image_ids[frames.target_frames] + 1
    annotations = [
        {
            "id": i + 1,
            "image_id": int(owners[i]),
            "category_id": int(frames.target_labels[i]) + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for i, box in enumerate(boxes)
    ]
    content = {
        "videos": [{"id": number, "name": name} for name, number in videos.items()],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
    }
    return write_json(path, content, indent=None)


def write_predictions(path: Path, frames: Frames) -> Path:
    """Detections as COCO results for the ids of :func:`write_ground_truth`."""
    owners = frames.image_ids[frames.pred_frames] + 1
    rows = zip(owners.tolist(), frames.pred_labels.tolist(), _xywh(frames.pred_boxes), frames.pred_scores, strict=True)
    results = [
        {"image_id": image, "category_id": label + 1, "bbox": box, "score": float(score)}
        for image, label, box, score in rows
    ]
    return write_json(path, results, indent=None)


def read_ground_truth(path: Path) -> tuple[Frames, list[str]]:
    """The frames of a ``ground_truth.json`` that this project wrote, without detections, and the sequence of each.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ids = np.array([image["id"] - 1 for image in content["images"]], dtype=np.int64)
        position = {item: at for at, item in enumerate(ids.tolist())}
        rows = [
            (position[a["image_id"] - 1], a["category_id"] - 1, *map(float, a["bbox"])) for a in content["annotations"]
        ]
        sizes = [(image["height"], image["width"]) for image in content["images"]]
        names = {video["id"]: str(video["name"]) for video in content["videos"]}
        sequences = [names[image["video_id"]] for image in content["images"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no ground_truth.json of stage=eval ({error!r}). Evaluate again") from error
    targets = np.array(rows, dtype=np.float64).reshape(-1, 6)
    targets = targets[np.argsort(targets[:, 0], kind="stable")]
    nothing = np.zeros(0, np.int64)
    frames = Frames(
        image_ids=ids,
        sizes=np.array(sizes, dtype=np.float64).reshape(-1, 2),
        target_frames=targets[:, 0].astype(np.int64),
        target_boxes=_xyxy(targets[:, 2:]),
        target_labels=targets[:, 1].astype(np.int64),
        pred_frames=nothing,
        pred_boxes=np.zeros((0, 4)),
        pred_scores=np.zeros(0),
        pred_labels=nothing,
    )
    return frames, sequences


def read_predictions(path: Path, frames: Frames, classes: Sequence[str]) -> Frames:
    """``frames`` with the detections of a COCO results file in place of their own.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is no list of COCO results, names an image that is not evaluated or an unknown category, or
            holds a number that is not finite.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error}). Export it again") from error
    if isinstance(entries, dict) and isinstance(entries.get("annotations"), list):
        entries = entries["annotations"]
    if not isinstance(entries, list):
        raise DataError(f'{path}: expected a list of {{"image_id", "category_id", "bbox", "score"}}')
    position = {item + 1: at for at, item in enumerate(frames.image_ids.tolist())}
    rows = np.array([_row(path, at, entry, position, len(classes)) for at, entry in enumerate(entries)])
    rows = rows.reshape(-1, 7)
    if bad := np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist():
        raise DataError(f"{path}, entry {bad[0]}: a box or score is not a finite number. Export it again")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return replace(
        frames,
        pred_frames=rows[:, 0].astype(np.int64),
        pred_labels=rows[:, 1].astype(np.int64),
        pred_boxes=_xyxy(rows[:, 2:6]),
        pred_scores=rows[:, 6],
    )


def read_masks(folder: Path, frames: Frames, dataset: ClipDataset, threshold: float = 0.5) -> Frames:
    """``frames`` with the detections of a detector that gives masks in place of their own.

    Each evaluated frame has a grey image ``SEQUENCE/FRAME.png`` of its own size, 8 or 16 bit, whose value over the
    largest possible is the score of a pixel, or the value itself where all masks hold 0 and 1 only; FRAME is the name
    of the frame's file, or for videos its position. A detection is an 8-connected component of the pixels above
    ``threshold``, with the highest of their scores.

    Raises:
        DataError: if a mask is missing, damaged or of another size.
    """
    rows = []
    ones = zero_and_one(sorted(folder.glob("*/*.png")))
    for at, item in enumerate(frames.image_ids.tolist()):
        sequence, t = dataset.locate(item)
        names = dict.fromkeys((Path(sequence.frames.where(t)).stem, str(t)))
        paths = [folder / sequence.name / f"{name}.png" for name in names]
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            raise DataError(
                f"{folder}: no mask of {sequence.name}, frame {t}; looked for {' and '.join(map(str, paths))}"
            )
        image = read_grey(path)
        height, width = frames.sizes[at].astype(int).tolist()
        if image.shape != (height, width):
            raise DataError(
                f"{path}: is {image.shape[1]}x{image.shape[0]}, its frame {width}x{height}. Export it at that size"
            )
        share = image.astype(np.float64) / (1.0 if ones else full_scale(image))
        found = components(share > threshold)
        scores = [float(share[found.labels == i + 1].max()) for i in range(len(found))]
        rows += [(at, *box, score) for box, score in zip(found.boxes.tolist(), scores, strict=True)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    owner = table[:, 0].astype(np.int64)
    return replace(
        frames,
        pred_frames=owner,
        pred_labels=np.zeros(len(owner), np.int64),
        pred_boxes=table[:, 1:5],
        pred_scores=table[:, 5],
    )


def _row(path: Path, at: int, entry: Any, position: dict[int, int], classes: int) -> list[float]:
    where = f"{path}, entry {at}"
    try:
        image, label = entry["image_id"], int(entry["category_id"]) - 1
        box, score = [float(v) for v in entry["bbox"]], float(entry["score"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: expected image_id, category_id, bbox and score, came {entry!r} ({error!r})"
        ) from error
    if image not in position:
        raise DataError(f"{where}: image_id {image!r} is none of the evaluated frames; ground_truth.json lists them")
    if not 0 <= label < classes or len(box) != 4:
        raise DataError(f"{where}: expected category_id 1 to {classes} and a bbox of x, y, w, h; came {entry!r}")
    return [position[image], label, *box, score]


def _xyxy(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _xywh(boxes: Any) -> list[list[float]]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
