"""Average precision by COCO's rules, from one run of pycocotools.

COCO's usual settings: IoU 0.5:0.05:0.95, 101 recall points, area "all", at most 100 detections per image and class.
The other areas are left out: every target here is "small", and they would cost three more matchings.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tdcnet.metrics.matching import Bools, Floats, Frames, Ints

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
IOUS = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
MAX_DETECTIONS = 100


@dataclass(frozen=True, eq=False)
class Curves:
    """What COCO's accumulation gives, for the K classes that have a target.

    Attributes:
        precision: [T, 101, K], interpolated precision at each IoU threshold and recall of :data:`RECALLS`.
        recall: [T, K], the final recall.
    """

    precision: Floats
    recall: Floats

    @property
    def ap50(self) -> float:
        """AP at the first threshold (IoU 0.5), averaged over classes; NaN without targets."""
        return float(self.precision[0].mean()) if self.precision.size else float("nan")

    @property
    def ap(self) -> float:
        """AP averaged over the IoU thresholds and classes; NaN without targets."""
        return float(self.precision.mean()) if self.precision.size else float("nan")

    def at_iou50(self) -> tuple[Floats, Floats]:
        """Precision [101] and final recall [] at the first threshold, averaged over classes; NaN without targets."""
        if not self.precision.size:
            return np.full(len(RECALLS), np.nan), np.array(np.nan)
        return self.precision[0].mean(axis=1), self.recall[0].mean()


def evaluate(frames: Frames, ious: tuple[float, ...] = IOUS) -> tuple[Curves, Curves]:
    """Evaluates all frames, and those with a target alone, matching once.

    Args:
        frames: at most 2**31 boxes.
        ious: thresholds, ascending.

    Returns:
        Curves over all frames (a detection on an empty frame is a false positive), and over annotated frames only.
    """
    classes = np.unique(frames.target_labels)
    if not len(classes):
        nothing = Curves(np.zeros((len(ious), len(RECALLS), 0)), np.zeros((len(ious), 0)))
        return nothing, nothing
    kept = _best(frames)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        images = [{"id": i} for i in range(len(frames))]
        categories = [{"id": c} for c in classes.tolist()]
        evaluation = COCOeval(
            _coco(images, categories, frames.target_frames, frames.target_boxes, frames.target_labels),
            _coco(
                images,
                categories,
                frames.pred_frames[kept],
                frames.pred_boxes[kept],
                frames.pred_labels[kept],
                frames.pred_scores[kept],
            ),
            iouType="bbox",
        )
        evaluation.params.iouThrs = np.array(ious)
        evaluation.params.areaRng = [[0.0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        everywhere = _accumulated(evaluation)
        annotated = frames.annotated
        if annotated.all():
            return everywhere, everywhere
        _keep_images(evaluation, annotated)
        return everywhere, _accumulated(evaluation)


def _best(frames: Frames) -> Bools:
    """[D], whether a detection is among the 100 best of its frame and class; COCO drops the rest, but late."""
    order = np.lexsort((-frames.pred_scores, frames.pred_labels, frames.pred_frames))
    frame, label = frames.pred_frames[order], frames.pred_labels[order]
    starts = np.flatnonzero(np.append(True, (frame[1:] != frame[:-1]) | (label[1:] != label[:-1])))[: len(order)]
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    keep = np.zeros(len(order), dtype=bool)
    keep[order] = rank < MAX_DETECTIONS
    return keep


def _coco(
    images: list[dict[str, int]],
    categories: list[dict[str, int]],
    frame: Ints,
    boxes: Floats,
    labels: Ints,
    scores: Floats | None = None,
) -> Any:
    extents = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    columns = zip(
        frame.tolist(),
        labels.tolist(),
        extents.tolist(),
        (extents[:, 2] * extents[:, 3]).tolist(),
        (np.zeros(len(frame)) if scores is None else scores).tolist(),
        strict=True,
    )
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": categories,
        # Ids from 1: COCOeval marks a detection as matched by its target's id and reads 0 as unmatched.
        "annotations": [
            {"id": n, "image_id": f, "category_id": c, "bbox": box, "area": area, "score": score, "iscrowd": 0}
            for n, (f, c, box, area, score) in enumerate(columns, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _accumulated(evaluation: Any) -> Curves:
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    present = precision[0, 0] > -1
    return Curves(precision[:, :, present], evaluation.eval["recall"][:, present, 0, 0])


def _keep_images(evaluation: Any, keep: Bools) -> None:
    """Leaves the matching of some images only, so that accumulating again needs no second matching."""
    per_class = len(evaluation.evalImgs) // len(keep)
    evaluation.evalImgs = [
        e for e, kept in zip(evaluation.evalImgs, np.tile(keep, per_class).tolist(), strict=True) if kept
    ]
    evaluation.params.imgIds = np.flatnonzero(keep).tolist()
    # COCOeval offsets into evalImgs by the length of this copy of its parameters.
    evaluation._paramsEval.imgIds = evaluation.params.imgIds
