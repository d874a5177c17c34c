"""Pictures of single misses and false alarms: the clip's frames, what moved in it, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.clips import BadFrame, ClipDataset
from tdcnet.data.transforms import letterbox_matrix, transform_boxes
from tdcnet.drawing import contact_sheet, draw_boxes
from tdcnet.metrics.matching import Frames, Ints

Image = NDArray[np.uint8]

SIDE = 64
"""px of the network's input that a strip shows."""
ZOOM = 3
APART = 30
"""Frames that two cases of one sequence are apart at least: the same target a moment later tells nothing new."""


@dataclass(frozen=True)
class Case:
    """One miss or one false alarm: its frame (position in :class:`Frames`), its box, and what is told about it."""

    frame: int
    box: tuple[float, float, float, float]
    text: str


def worst_misses(
    frames: Frames,
    match: Ints,
    threshold: float,
    ease: NDArray[np.float64],
    sequences: list[str],
    most: int = 12,
    moments: Sequence[int] | None = None,
) -> list[Case]:
    """Targets that were not found at the threshold, those first that were easiest to see; one per sequence at first.

    Args:
        match: [D], the target that each detection hits, see :func:`~tdcnet.metrics.matching.match_frames`.
        ease: [G], the larger the easier (signal-to-clutter ratio); NaN comes last.
        sequences: [F].
        moments: [F], position of each frame in its sequence; neighbours in time are one case. None for all apart.
    """
    found = np.full(len(frames.target_boxes), -np.inf)
    hit = match >= 0
    found[match[hit]] = frames.pred_scores[hit]
    missed = np.flatnonzero(found < threshold)
    chosen = _spread(
        missed[np.argsort(-np.nan_to_num(ease[missed], nan=-1.0), kind="stable")],
        [sequences[f] for f in frames.target_frames],
        most,
        None if moments is None else [moments[f] for f in frames.target_frames],
    )
    cases = []
    for i in chosen:
        score = f"found at {found[i]:.2f}" if np.isfinite(found[i]) else "not found at any score"
        told = f"SCR {ease[i]:.1f}, {score}" if np.isfinite(ease[i]) else score
        cases.append(Case(int(frames.target_frames[i]), _box(frames.target_boxes[i]), told))
    return cases


def worst_false_alarms(
    frames: Frames,
    match: Ints,
    threshold: float,
    sequences: list[str],
    most: int = 12,
    moments: Sequence[int] | None = None,
) -> list[Case]:
    """Detections at or above the threshold that hit nothing, surest first; arguments as :func:`worst_misses`'s."""
    false = np.flatnonzero((match < 0) & (frames.pred_scores >= threshold))
    ranked = false[np.argsort(-frames.pred_scores[false], kind="stable")]
    when = None if moments is None else [moments[f] for f in frames.pred_frames]
    chosen = _spread(ranked, [sequences[f] for f in frames.pred_frames], most, when)
    return [
        Case(int(frames.pred_frames[i]), _box(frames.pred_boxes[i]), f"score {frames.pred_scores[i]:.2f}")
        for i in chosen
    ]


def strip(case: Case, frames: Frames, dataset: ClipDataset, threshold: float) -> Image | None:
    """A row of pictures: the clip oldest first, the aligned difference, the newest frame with truth and detections.

    None if the clip cannot be read.
    """
    sample = dataset[int(frames.image_ids[case.frame])]
    if isinstance(sample, BadFrame):
        return None
    clip, aligned = (_to_uint8(sample[key].numpy()) for key in ("frames", "aligned"))
    matrix = letterbox_matrix(tuple(sample["original_size"].tolist()), dataset.size)

    def to_input(boxes: NDArray[np.float64]) -> NDArray[np.float32]:
        return transform_boxes(boxes.astype(np.float32).reshape(-1, 4), matrix)

    x1, y1, x2, y2 = to_input(np.array(case.box))[0].tolist()
    height, width = clip.shape[1:]
    left = int(np.clip((x1 + x2 - SIDE) / 2, 0, max(0, width - SIDE)))
    top = int(np.clip((y1 + y2 - SIDE) / 2, 0, max(0, height - SIDE)))
    window = (slice(top, top + SIDE), slice(left, left + SIDE))
    cut = clip[(slice(None), *window)]
    low, high = np.percentile(cut, [0.5, 99.8])
    stretched = ((cut.astype(np.float32) - low) * (255 / max(8.0, high - low))).clip(0, 255).astype(np.uint8)
    moved = np.abs(
        aligned[-1].astype(np.float32) - aligned[:-1].astype(np.float32).mean(axis=0)
        if len(aligned) > 1
        else np.zeros_like(aligned[-1], np.float32)
    )[window]
    moved = (moved * (255 / max(16.0, float(moved.max())))).astype(np.uint8)
    shift = np.array([left, top, left, top])
    kept = (frames.pred_frames == case.frame) & (frames.pred_scores >= threshold)
    truth = to_input(frames.target_boxes[frames.target_frames == case.frame]) - shift
    found, scores = to_input(frames.pred_boxes[kept]) - shift, frames.pred_scores[kept]
    seen = _inside(found)
    marked = draw_boxes(
        stretched[-1], truth=truth[_inside(truth)], predictions=found[seen], scores=scores[seen], zoom=ZOOM
    )
    tiles = [cv2.resize(each, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST) for each in (*stretched, moved)]
    return contact_sheet([*tiles, marked], columns=len(tiles) + 1)


def _inside(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.asarray(((centres >= 0) & (centres < SIDE)).all(axis=1))


def _spread(ranked: NDArray[np.int64], owners: list[str], most: int, moments: Sequence[int] | None = None) -> list[int]:
    """The first ``most``, with every sequence's best before any sequence's second, and none beside another in time."""
    taken: dict[str, list[int]] = {}
    keyed = []
    for place, i in enumerate(ranked.tolist()):
        before = taken.setdefault(owners[i], [])
        if moments is not None and any(abs(moments[i] - each) < APART for each in before):
            continue
        keyed.append((len(before), place, i))
        before.append(i if moments is None else moments[i])
    return [i for *_, i in sorted(keyed)[:most]]


def _to_uint8(clip: NDArray[np.generic]) -> Image:
    return clip if clip.dtype == np.uint8 else (clip * 255).astype(np.uint8)  # type: ignore[return-value]


def _box(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = values.tolist()
    return x1, y1, x2, y2
