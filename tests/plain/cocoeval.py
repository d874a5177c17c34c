"""pycocotools' own evaluation, with IoU or any other similarity of two boxes in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tdcnet.metrics.matching import Frames

Box = list[float]


class _Eval(COCOeval):  # type: ignore[misc]
    similarity: Callable[[Box, Box], float] | None = None
    """Of a detection and a target, both x, y, w, h."""

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """The matrix of detections, best first, and targets of an image and class."""
        if self.similarity is None:
            return super().computeIoU(imgId, catId)
        targets, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not targets and not found:
            return []
        found = [found[i] for i in np.argsort([-d["score"] for d in found], kind="mergesort")]
        found = found[: self.params.maxDets[-1]]
        return np.array([[self.similarity(d["bbox"], t["bbox"]) for t in targets] for d in found])


def pycocotools_curves(
    frames: Frames, similarity: Callable[[Box, Box], float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Precision [T, 101, K] and recall [T, K] straight from COCOeval."""
    classes = np.unique(frames.target_labels).tolist()

    def coco(owner: np.ndarray, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> COCO:
        annotations = []
        for n, (image, (x1, y1, x2, y2), label, score) in enumerate(
            zip(owner.tolist(), boxes.tolist(), labels.tolist(), scores.tolist(), strict=True), start=1
        ):
            w, h = x2 - x1, y2 - y1
            annotations.append(
                {"id": n, "image_id": image, "category_id": label, "bbox": [x1, y1, w, h], "area": w * h}
                | {"score": score, "iscrowd": 0}
            )
        api = COCO()
        api.dataset = {
            "images": [{"id": i} for i in range(len(frames))],
            "categories": [{"id": c} for c in classes],
            "annotations": annotations,
        }
        api.createIndex()
        return api

    evaluation = _Eval(
        coco(frames.target_frames, frames.target_boxes, frames.target_labels, np.zeros(len(frames.target_labels))),
        coco(frames.pred_frames, frames.pred_boxes, frames.pred_labels, frames.pred_scores),
        "bbox",
    )
    evaluation.similarity = similarity
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1], evaluation.eval["recall"][:, :, 0, -1]
