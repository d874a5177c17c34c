"""Measures of how well a box fits that are fair to tiny ones: a px aside halves the IoU of a box of 3 px.

They take IoU's place in COCO's average precision; all else there stays (:mod:`tdcnet.metrics.coco`).
"""

from __future__ import annotations

import math

import numpy as np

from tdcnet.metrics.coco import IOUS, Bits, best_of, hit_bits, pairs_of
from tdcnet.metrics.matching import Bools, Floats, Frames, Ints
from tdcnet.metrics.rules import overlap, within

THRESHOLDS = IOUS
"""COCO's, of whatever similarity."""

SAFIT_SIDE = 32.0
"""px; at this side IoU and NWD count alike in SAFit, and it is NWD's constant."""

LARGEST_MEAN_SIDE = 64.0
"""px; a data set of larger targets is measured as if they were of this size: dot distance is for tiny ones."""


def nwd(detections: Floats, targets: Floats, constant: float) -> Floats:
    """Normalised Wasserstein distance of boxes taken as Gaussians, 0 to 1: [P, 4], [P, 4] -> [P]; ``constant`` in px.

    Source: Wang et al., arXiv 2110.13389.
    """
    centre = (detections[:, :2] + detections[:, 2:] - targets[:, :2] - targets[:, 2:]) / 2
    half = (detections[:, 2:] - detections[:, :2] - targets[:, 2:] + targets[:, :2]) / 2
    similarity: Floats = np.exp(-np.sqrt((centre**2).sum(1) + (half**2).sum(1)) / constant)
    return similarity


def safit(detections: Floats, targets: Floats) -> Floats:
    """Scale-adaptive fitness, 0 to 1: IoU for large targets, NWD for small ones, and a smooth way between.

    ``w * IoU + (1 - w) * NWD``, ``w = sigmoid(side / 32 - 1)``, the target's side being the root of its area.

    Args:
        detections: [P, 4] xyxy px.
        targets: [P, 4], of the same pairs.

    Source: Ying et al., "Visible-Thermal Tiny Object Detection: A Benchmark Dataset and Baselines", arXiv 2406.14482.
    """
    side = np.sqrt((targets[:, 2:] - targets[:, :2]).clip(0).prod(1))
    weight = 1 / (1 + np.exp(1 - side / SAFIT_SIDE))
    fitness: Floats = weight * overlap(detections, targets) + (1 - weight) * nwd(detections, targets, SAFIT_SIDE)
    return fitness


def dot_similarity(distance: Floats, mean_side: float) -> Floats:
    """Dot distance, 0 to 1: ``exp(-distance / mean_side)``, of centres ``distance`` px apart.

    Args:
        mean_side: px; root of the mean area of all targets of the data set, see :func:`mean_side`.

    Source: Xu et al., "Dot Distance for Tiny Object Detection in Aerial Images", CVPRW 2021; the measure of the
    challenges on small birds (SMOT4SB, arXiv 2507.12832).
    """
    similarity: Floats = np.exp(-distance / mean_side) if mean_side > 0 else np.zeros_like(distance)
    return similarity


def mean_side(areas: Floats) -> float:
    """Root of the mean area of targets, px, at most :data:`LARGEST_MEAN_SIDE`; 0 without targets."""
    return min(math.sqrt(float(np.mean(areas))), LARGEST_MEAN_SIDE) if len(areas) else 0.0


def safit_bits(frames: Frames) -> Bits:
    """What each detection hits by SAFit, bit by bit as :func:`~tdcnet.metrics.coco.overlap_bits`; [D]."""

    def fits(detections: Floats, targets: Floats) -> tuple[Bools, Floats]:
        fitness = safit(detections, targets)
        return fitness >= THRESHOLDS[0], 1 - fitness

    pred, target = pairs_of(frames, fits)
    fitness = safit(frames.pred_boxes[pred], frames.target_boxes[target])
    return hit_bits(frames.pred_scores, best_of(frames), pred, target, fitness, THRESHOLDS)


def dot_pairs(frames: Frames) -> tuple[Ints, Ints, Floats]:
    """Pairs that may be hits by dot distance, whatever the mean side of the data set will be.

    Returns:
        of each pair of a frame and class the detection, the target and the distance of their centres in px.
    """
    pred, target = pairs_of(frames, within(-math.log(THRESHOLDS[0]) * LARGEST_MEAN_SIDE))
    boxes, truth = frames.pred_boxes[pred], frames.target_boxes[target]
    apart = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    return pred, target, np.sqrt((apart**2).sum(1))


def dot_bits(scores: Floats, counted: Bools, pairs: tuple[Ints, Ints, Floats], mean_side: float) -> Bits:
    """What each detection hits by dot distance; [D].

    Args:
        scores: [D].
        counted: [D], whether COCO counts it.
        pairs: as :func:`dot_pairs` gives them.
        mean_side: of the data set, px.
    """
    pred, target, distance = pairs
    return hit_bits(scores, counted, pred, target, dot_similarity(distance, mean_side), THRESHOLDS)
