"""Average precision by COCO's rules.

COCO's usual settings: IoU 0.5:0.05:0.95, 101 recall points, area "all", at most 100 detections per image and class.
The other areas are left out: every target here is "small". The rules are those of pycocotools' ``COCOeval``, ties
included, and the tests hold the figures against it; here they work on columns, so that what is left of a detection is
its score and a bit per threshold, and frames can be forgotten as soon as they are matched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdcnet.metrics.matching import Bools, Floats, Frames, Ints, candidate_pairs, first_come
from tdcnet.metrics.rules import Rule, iou, overlap

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
IOUS = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
MAX_DETECTIONS = 100

COUNTED = 1 << 15
"""Bit of a detection that COCO counts: one of the 100 best of its frame and class."""
Bits = NDArray[np.uint16]


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
        frames: in the order that breaks ties of scores between frames, as COCO's image ids do.
        ious: thresholds, ascending; at most 15.

    Returns:
        Curves over all frames (a detection on an empty frame is a false positive), and over annotated frames only.
    """
    bits = overlap_bits(frames, ious)
    everywhere = accumulate(frames.pred_scores, frames.pred_labels, bits, frames.target_labels, len(ious))
    kept = frames.annotated[frames.pred_frames]
    if kept.all():
        return everywhere, everywhere
    scores, labels = frames.pred_scores[kept], frames.pred_labels[kept]
    return everywhere, accumulate(scores, labels, bits[kept], frames.target_labels, len(ious))


def overlap_bits(frames: Frames, ious: tuple[float, ...] = IOUS) -> Bits:
    """What each detection hits: bit i at threshold i, and :data:`COUNTED`; [D].

    At each threshold the detections of a frame and class choose in descending order of score, the earlier first of
    equal ones; each takes the target of the largest overlap that is still free, the later one of equals.
    """
    pred, target = pairs_of(frames, iou(min(ious)))
    shared = overlap(frames.pred_boxes[pred], frames.target_boxes[target])
    return hit_bits(frames.pred_scores, best_of(frames), pred, target, shared, ious)


def pairs_of(frames: Frames, rule: Rule) -> tuple[Ints, Ints]:
    """Detection and target of the pairs of one frame and class that may match by a rule: [P], [P]."""
    chunks = list(candidate_pairs(frames, rule, within_class=True))
    if not chunks:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    pred, target, _cost = (np.concatenate(column) for column in zip(*chunks, strict=True))
    return pred, target


def hit_bits(
    scores: Floats, counted: Bools, pred: Ints, target: Ints, similarity: Floats, thresholds: Sequence[float]
) -> Bits:
    """The same of any similarity, for pairs that are known.

    Args:
        scores: [D].
        counted: [D], whether COCO counts a detection, see :func:`best_of`.
        pred: [P], the detection of a pair; ``target`` its target and ``similarity`` of the two.
        thresholds: ascending; at most 15.
    """
    bits = np.zeros(len(scores), dtype=np.uint16)
    bits[counted] |= COUNTED
    ranked = np.lexsort((-target, -similarity, pred, -scores[pred]))
    ranked = ranked[counted[pred[ranked]]]
    pred, target, similarity = pred[ranked], target[ranked], similarity[ranked]
    for i, threshold in enumerate(thresholds):
        enough = similarity >= threshold
        bits[pred[enough][first_come(pred[enough], target[enough])]] |= 1 << i
    return bits


def accumulate(scores: Floats, labels: Ints, bits: Bits, target_labels: Ints, thresholds: int = len(IOUS)) -> Curves:
    """Precision over recall of every threshold and class.

    Args:
        scores: [D].
        labels: [D].
        bits: [D], see :func:`overlap_bits`.
        target_labels: [G].
        thresholds: how many bits there are.
    """
    classes, targets = np.unique(target_labels, return_counts=True)
    precision = np.zeros((thresholds, len(RECALLS), len(classes)))
    recall = np.zeros((thresholds, len(classes)))
    for k, (label, total) in enumerate(zip(classes.tolist(), targets.tolist(), strict=True)):
        chosen = np.flatnonzero((labels == label) & (bits & COUNTED > 0))
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        rank = np.arange(1, len(chosen) + 1)
        for i in range(thresholds if len(chosen) else 0):
            hits = np.cumsum(bits[chosen] >> i & 1)
            best = np.maximum.accumulate((hits / rank)[::-1])[::-1]
            at = np.searchsorted(hits / total, RECALLS, side="left")
            precision[i, :, k] = np.append(best, 0.0)[at]
            recall[i, k] = hits[-1] / total
    return Curves(precision, recall)


def best_of(frames: Frames) -> Bools:
    """[D], whether a detection is among the 100 best of its frame and class."""
    keep = np.ones(len(frames.pred_scores), dtype=bool)
    if len(keep) == 0 or np.bincount(frames.pred_frames).max() <= MAX_DETECTIONS:
        return keep
    order = np.lexsort((-frames.pred_scores, frames.pred_labels, frames.pred_frames))
    frame, label = frames.pred_frames[order], frames.pred_labels[order]
    starts = np.flatnonzero(np.append(True, (frame[1:] != frame[:-1]) | (label[1:] != label[:-1])))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    keep[order] = rank < MAX_DETECTIONS
    return keep
