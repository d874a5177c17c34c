"""Figures of each class, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tdcnet.metrics.matching import Bools, Frames, Ints, match_frames
from tdcnet.metrics.rules import Rule
from tdcnet.metrics.suite import DetectionMetrics

FIGURES = ("targets", "AP50", "AP", "Pd", "Fa", "false_alarms_per_frame", "Pd@1", "Pd@0.1")
"""What is told of a class."""
ClassRow = dict[str, float]


def by_class(
    frames: Frames, classes: Sequence[str], threshold: float = 0.5, rule: Rule | None = None
) -> list[ClassRow]:
    """Each class against the rest: a detection of it on a target of another is a false alarm of it.

    Args:
        frames: with their detections.
        classes: names by label.
        threshold: score for Pd, Fa and false alarms per frame.
        rule: what may match; within 3 px of the centres unless given.

    Returns:
        per class :data:`FIGURES`. AP is that of COCO over frames that have a target of any class, as in the figures of
        all classes together, which are the mean of these; Pd and Fa count all frames. NaN where there is no target.
    """
    metrics = DetectionMetrics(threshold, rule=rule)
    annotated = frames.keeping(frames.annotated[frames.pred_frames])
    rows: list[ClassRow] = []
    for label in range(len(classes)):
        told = metrics.figures(_only(frames, label))
        told |= {key: metrics.figures(_only(annotated, label))[f"{key}_all_frames"] for key in ("AP50", "AP")}
        rows.append({key: told[key] for key in FIGURES})
    return rows


def confusion(frames: Frames, classes: Sequence[str], threshold: float = 0.5, rule: Rule | None = None) -> Ints:
    """Which class is taken for which: int64 [K + 1, K + 1], true class by found class.

    Detections from the threshold on are matched with targets whatever their class. The last column counts targets that
    were missed, the last row false alarms.
    """
    kept = frames.above(threshold)
    match = match_frames(kept, rule)
    hit = match >= 0
    k = len(classes)
    counts = np.zeros((k + 1, k + 1), np.int64)
    np.add.at(counts, (kept.target_labels[match[hit]], kept.pred_labels[hit]), 1)
    np.add.at(counts[k], kept.pred_labels[~hit], 1)
    missed = np.setdiff1d(np.arange(len(kept.target_labels)), match[hit])
    np.add.at(counts[:, k], kept.target_labels[missed], 1)
    return counts


def _only(frames: Frames, label: int) -> Frames:
    """The frames with targets and detections of one class, which gets label 0."""
    kept: Bools = frames.target_labels == label
    one = frames.keeping(frames.pred_labels == label)
    return replace(
        one,
        target_frames=one.target_frames[kept],
        target_boxes=one.target_boxes[kept],
        target_labels=np.zeros(int(kept.sum()), np.int64),
        pred_labels=np.zeros_like(one.pred_labels),
    )
