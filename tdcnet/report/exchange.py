"""Evaluated frames and detections as COCO JSON: how other detectors are scored on the very same frames.

``ground_truth.json`` lists the evaluated frames with their boxes; a detector that knows nothing of this project writes
COCO results (``[{"image_id", "category_id", "bbox": [x, y, w, h], "score"}, ...]``) for its image ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.data.formats.coco_shapes import in_corners
from tdcnet.data.formats.common import LARGEST, read_labels, whole
from tdcnet.data.formats.common import number as number_of
from tdcnet.data.formats.masks import zero_and_one
from tdcnet.data.images import read_grey
from tdcnet.data.transforms import full_scale
from tdcnet.masks import components
from tdcnet.metrics.matching import Frames
from tdcnet.results import write_json
from tdcnet.shown import shown


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
    content = read_labels(path)
    videos, images, annotations, categories = (
        _entries(path, content, key) for key in ("videos", "images", "annotations", "categories")
    )
    names = {_whole(path, "videos", at, video, "id"): video.get("name") for at, video in enumerate(videos)}
    labels = {_whole(path, "categories", at, each, "id"): at for at, each in enumerate(categories)}
    position: dict[int, int] = {}
    sizes: list[tuple[int, int]] = []
    sequences: list[str] = []
    for at, image in enumerate(images):
        number, video = (_whole(path, "images", at, image, key) for key in ("id", "video_id"))
        height, width = (_whole(path, "images", at, image, key) for key in ("height", "width"))
        name = names.get(video)
        if number in position or not 1 <= number < 1 << 53:
            _no_truth(path, f"images[{at}] has the id {number}, expected are whole numbers from 1, each once")
        if not (0 < height <= LARGEST and 0 < width <= LARGEST):
            _no_truth(path, f"images[{at}] is {width}x{height} px")
        if not isinstance(name, str):
            _no_truth(path, f"images[{at}] is of the video {video}, whose name is {shown(name)}")
        position[number] = at
        sizes.append((height, width))
        sequences.append(name)
    rows = []
    for at, annotation in enumerate(annotations):
        image_id, category = (_whole(path, "annotations", at, annotation, key) for key in ("image_id", "category_id"))
        box = _box(annotation.get("bbox"))
        if image_id not in position or category not in labels or box is None or min(box[2:]) <= 0:
            _no_truth(path, f"annotations[{at}] is {shown(annotation, 200)}, of an unknown image or category or no box")
        rows.append((position[image_id], labels[category], *box))
    targets = np.array(rows, dtype=np.float64).reshape(-1, 6)
    targets = targets[np.argsort(targets[:, 0], kind="stable")]
    nothing = np.zeros(0, np.int64)
    frames = Frames(
        image_ids=np.array(list(position), np.int64) - 1,
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
        DataError: if it is no list of COCO results, or names, with its entry, an image that is not evaluated, an
            unknown category, a box that is none, or a score beyond 0..1.
    """
    entries = load_predictions(path)
    position = {item + 1: at for at, item in enumerate(frames.image_ids.tolist())}
    rows = np.array([_row(path, at, entry, position, classes) for at, entry in enumerate(entries)]).reshape(-1, 7)
    sizes = {item: (height, width) for item, (height, width) in zip(position, frames.sizes.tolist(), strict=True)}
    if (example := in_corners(entries, sizes, whole)) is not None:
        at = next(at for at, entry in enumerate(entries) if entry["bbox"] is example)
        raise DataError(
            f"{path}: the boxes seem to be corners x1, y1, x2, y2, such as {rows[at, 2:6].tolist()} of entry {at}, "
            "which would end outside of its image as x, y, w, h. Write x1, y1, x2 - x1, y2 - y1"
        )
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return replace(
        frames,
        pred_frames=rows[:, 0].astype(np.int64),
        pred_labels=rows[:, 1].astype(np.int64),
        pred_boxes=_xyxy(rows[:, 2:6]),
        pred_scores=rows[:, 6],
    )


def load_predictions(path: Path) -> list[Any]:
    """The entries of a COCO results file, which need not be right.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is no JSON, or no list of entries.
    """
    entries = read_labels(path)
    if isinstance(entries, dict) and isinstance(entries.get("annotations"), list):
        entries = entries["annotations"]
    if not isinstance(entries, list):
        raise DataError(
            f'{path}: expected a list of {{"image_id", "category_id", "bbox", "score"}}, came {shown(entries)}'
        )
    return entries


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
        path = _mask_file(folder, dataset, item)
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


def check_masks(folder: Path, dataset: ClipDataset) -> None:
    """Sees to it that each evaluated frame has its mask, before hours are spent on what it is compared with.

    Raises:
        DataError: naming the first that is missing, and what is there instead.
    """
    for item in range(len(dataset)):
        _mask_file(folder, dataset, item)


def _mask_file(folder: Path, dataset: ClipDataset, item: int) -> Path:
    sequence, t = dataset.locate(item)
    names = dict.fromkeys((Path(sequence.frames.where(t)).stem, str(t)))
    paths = [folder / sequence.name / f"{name}.png" for name in names]
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        looked = " and ".join(map(str, paths))
        below = paths[0].parent if paths[0].parent.is_dir() else folder
        there = [entry.name for entry, _ in zip(sorted(below.iterdir()), range(3), strict=False)]
        raise DataError(
            f"{folder}: no mask of {sequence.name}, frame {t}; looked for {looked}. {below} holds "
            f"{', '.join(map(shown, there)) or 'nothing'}; name the masks as the frames are"
        )
    return path


def _row(path: Path, at: int, entry: Any, position: dict[int, int], classes: Sequence[str]) -> list[float]:
    where = f"{path}, entry {at}"
    if not isinstance(entry, dict) or not {"image_id", "category_id", "bbox", "score"} <= entry.keys():
        raise DataError(f"{where}: expected image_id, category_id, bbox and score, came {shown(entry, 200)}")
    image, category, score = entry["image_id"], entry["category_id"], entry["score"]
    # Text is no id: the names of files are, too, and would be taken for other images.
    number = None if isinstance(image, str) else whole(image)
    if number not in position:
        raise DataError(
            f"{where}: image_id {shown(image)} is none of the evaluated frames; it must be the id of an image in "
            "ground_truth.json, a number that has nothing to do with the names of files"
        )
    label = None if isinstance(category, str) else whole(category)
    if label is None or not 1 <= label <= len(classes):
        names = shown(", ".join(f"{i} {name}" for i, name in enumerate(classes, start=1)), 200)[1:-1]
        raise DataError(
            f"{where}: category_id is {shown(category)}, expected category_id 1 to {len(classes)} ({names}). Some "
            "tools count from 0: write the ids of ground_truth.json"
        )
    box = _box(entry["bbox"])
    if box is None:
        raise DataError(
            f"{where}: bbox is {shown(entry['bbox'])}, expected x, y, w, h in px: four numbers, w and h not negative"
        )
    value = None if isinstance(score, str) else number_of(score)
    if value is None or not 0 <= value <= 1:
        raise DataError(f"{where}: score is {shown(score)}, expected a number from 0 to 1 (divide per cent by 100)")
    return [position[number], label - 1, *box, value]


def _box(value: object) -> list[float] | None:
    given = value if isinstance(value, list) and not any(isinstance(v, str) for v in value) else []
    box = [side for v in given if (side := number_of(v)) is not None]
    return box if len(box) == len(given) == 4 and min(box[2:]) >= 0 else None


def _entries(path: Path, content: Any, key: str) -> list[dict[str, Any]]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _no_truth(path, f"it has no list {key!r} of objects")
    return entries


def _whole(path: Path, key: str, at: int, entry: dict[str, Any], name: str) -> int:
    value = entry.get(name)
    found = None if isinstance(value, str) else whole(value)
    if found is None:
        _no_truth(path, f"{name} of {key}[{at}] is {shown(value)}, expected a whole number")
    return found


def _no_truth(path: Path, fault: str) -> NoReturn:
    raise DataError(f"{path}: is no ground_truth.json of stage=eval ({fault}). Evaluate again")


def _xyxy(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _xywh(boxes: Any) -> list[list[float]]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
