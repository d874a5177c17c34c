"""All figures of a detector from one pass over the frames, exact across processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from tdcnet.metrics import coco
from tdcnet.metrics.matching import Floats, Frames
from tdcnet.metrics.outcomes import MISSED, Outcomes, average_precision, roc_area
from tdcnet.metrics.pd_fa import BUDGETS, count_by_frame, gather_on_cpu, pd_at_budgets, ratio, scored_hits
from tdcnet.metrics.published import scores_of
from tdcnet.metrics.rules import Rule, within
from tdcnet.metrics.tiny_boxes import dot_bits, dot_pairs, mean_side, safit_bits

ALL_FRAMES = "_all_frames"

# What is kept once a frame is matched.
FRAME = np.dtype(
    [
        *(("id", "<i8"), ("pixels", "<i8"), ("false_pixels", "<f8"), ("hits", "<i4"), ("false_alarms", "<i4")),
        *(("targets", "<i4"), ("detections", "<i4"), ("pairs", "<i4")),
    ]
)
DETECTION = np.dtype([("score", "<f8"), ("label", "<i4"), ("overlaps", "<u2"), ("fitness", "<u2"), ("hit", "?")])
TARGET = np.dtype([("label", "<i4"), ("area", "<f4")])
PAIR = np.dtype([("detection", "<i4"), ("target", "<i4"), ("distance", "<f4")])
"""A detection and a target near to each other, counted within their frame."""
AT_ONCE = 2048
"""Frames that wait to be matched together, because matching is calls, not arithmetic."""

Records = NDArray[np.void]


class DetectionMetrics(Metric):
    """Matches detections as they come in ``update``, gives every figure in ``compute``.

    Each frame has an integer id, unique in the data set, and counts once however often it comes: the frames that a
    distributed sampler repeats change nothing, and any number of processes gives what one gives. Boxes are forgotten
    once they are matched; what is kept, on the CPU, is what exact curves need: 44 bytes per frame, 17 per detection,
    8 per target and 12 per pair of a detection and a target within 44 px.

    Args:
        score_threshold: for Pd, Fa and false alarms per frame.
        distance: between the centres of a hit, px of the original image, limit included.
        budgets: false alarms per frame at which Pd is told.
        within_class: a detection hits only targets of its class. COCO's figures always go by class.
        image_size: height and width in px, for targets that carry no ``size``.
        rule: what may match, in place of ``distance``; see :mod:`tdcnet.metrics.rules`.

    ``compute`` gives a flat dict of floats; ratios are fractions of 1, NaN where there is nothing to divide by:

    - ``AP50``, ``AP`` (COCO, IoU 0.5 and 0.5:0.95), ``P``, ``R``, ``F1`` (published definition, IoU 0.5): over frames
      with a target only, as published.
    - ``AP50_all_frames``, ``AP_all_frames``, ``P_all_frames``, ``R_all_frames``, ``F1_all_frames``: over all frames,
      so that detections on empty frames count against the network.
    - ``Pd``, ``Fa``, ``false_alarms_per_frame``, ``false_alarms_per_megapixel``, ``precision`` and
      ``F1_at_threshold``, all at the score threshold and over all frames (see :func:`tdcnet.metrics.pd_fa.count`), with
      the counts ``hits``, ``false_alarms``, ``targets``, ``frames`` and ``empty_frames``.
    - ``Pd@b`` and ``threshold@b`` per budget b, as ``Pd@1``, ``Pd@0.1``, ``Pd@0.05``: the best Pd with at most b false
      alarms per frame over all frames, and the lowest score kept there (infinity if none can be kept); NaN where the
      frames are too few for one false alarm.
    - ``ROC_area`` and ``centre_AP``: see :mod:`tdcnet.metrics.outcomes`.
    - ``AP50_DotD``, ``AP_DotD``, ``AP50_SAFit``, ``AP_SAFit``: COCO's average precision over all frames with a measure
      that is fair to tiny boxes in IoU's place; see :mod:`tdcnet.metrics.tiny_boxes`.
    """

    full_state_update = False
    frame_rows: list[Tensor] | Tensor
    detection_rows: list[Tensor] | Tensor
    target_rows: list[Tensor] | Tensor
    pair_rows: list[Tensor] | Tensor

    def __init__(
        self,
        score_threshold: float = 0.5,
        distance: float = 3.0,
        budgets: Sequence[float] = BUDGETS,
        within_class: bool = False,
        image_size: tuple[int, int] | None = None,
        rule: Rule | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dist_sync_fn", partial(gather_on_cpu, dtype=torch.uint8))
        super().__init__(**kwargs)
        self.score_threshold = score_threshold
        self.rule = rule or within(distance)
        self.budgets = tuple(float(b) for b in budgets)
        self.within_class = within_class
        self.image_size = image_size
        self._curves: tuple[coco.Curves, coco.Curves] | None = None
        self._waiting: list[Frames] = []
        self._waiting_frames = 0
        for name in STATES:
            self.add_state(name, [], dist_reduce_fx="cat")

    def _apply(self, fn: Any, exclude_state: Sequence[str] = "") -> Any:
        # What is kept stays on the CPU wherever the module goes.
        return super()._apply(fn, (*exclude_state, *STATES))

    def update(
        self,
        preds: Sequence[Mapping[str, Tensor]],
        targets: Sequence[Mapping[str, Tensor]],
        image_ids: Sequence[int] | Tensor,
    ) -> None:
        """Counts a batch.

        Args:
            preds: per frame ``boxes`` [N, 4] xyxy px of the original image, ``scores`` [N], ``labels`` [N].
            targets: per frame ``boxes``, ``labels`` and ``size``, int64 [2] (height, width).
            image_ids: per frame an integer, unique in the data set.

        Raises:
            ValueError: if the lists disagree, a number is not finite, or a frame's size is not known.
        """
        self._waiting.append(Frames.from_lists(preds, targets, image_ids, self.image_size).require_sizes())
        self._waiting_frames += len(preds)
        if self._waiting_frames >= AT_ONCE:
            self._match_waiting()

    def reset(self) -> None:
        """Forgets everything."""
        super().reset()
        self._waiting, self._waiting_frames = [], 0

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Joins the processes; torchmetrics comes by here before every compute, also of a single one."""
        self._match_waiting()
        super().sync(*args, **kwargs)

    def compute(self) -> dict[str, float]:
        """The figures of all frames of all processes; keys as the class tells."""
        results, self._curves = self._figures(*(_records(getattr(self, name), kind) for name, kind in STATES.items()))
        return results

    def figures(self, frames: Frames) -> dict[str, float]:
        """What :meth:`compute` would give for these frames; nothing that was collected changes."""
        return self._figures(*self._matched(frames))[0]

    def curve(self, all_frames: bool = False) -> tuple[Floats, Floats]:
        """Recall [101] and interpolated precision [101] at IoU 0.5, to draw; NaN precision without targets.

        Computes first where nothing is computed yet; then, across processes, all of them must call it.

        Args:
            all_frames: also frames without a target; the published figures leave them out.
        """
        self.compute()
        assert self._curves is not None
        everywhere, annotated = self._curves
        precision, _ = (everywhere if all_frames else annotated).at_iou50()
        return coco.RECALLS.copy(), precision

    def _match_waiting(self) -> None:
        if self._waiting:
            for name, rows in zip(STATES, self._matched(Frames.joined(self._waiting)), strict=True):
                getattr(self, name).append(torch.from_numpy(rows.view(np.uint8)))
            self._waiting, self._waiting_frames = [], 0

    def _matched(self, frames: Frames) -> tuple[Records, ...]:
        """What is kept of frames, of their detections, of their targets and of pairs of these."""
        rows = np.zeros(len(frames), FRAME)
        hits, false_alarms, false_pixels = count_by_frame(
            frames.require_sizes(), self.score_threshold, self.rule, self.within_class
        )
        rows["id"], rows["pixels"] = frames.image_ids, frames.sizes.prod(axis=1)
        rows["hits"], rows["false_alarms"], rows["false_pixels"] = hits, false_alarms, false_pixels
        rows["targets"] = np.bincount(frames.target_frames, minlength=len(frames))
        rows["detections"] = np.bincount(frames.pred_frames, minlength=len(frames))
        detections = np.zeros(len(frames.pred_scores), DETECTION)
        detections["score"], detections["hit"] = scored_hits(frames, self.rule, self.within_class)
        detections["label"], detections["overlaps"] = frames.pred_labels, coco.overlap_bits(frames)
        targets = np.zeros(len(frames.target_labels), TARGET)
        detections["fitness"] = safit_bits(frames)
        targets["label"] = frames.target_labels
        targets["area"] = (frames.target_boxes[:, 2:] - frames.target_boxes[:, :2]).clip(0).prod(axis=1)
        return rows, detections, targets, _near_pairs(frames, rows)

    def _figures(
        self, frames: Records, detections: Records, targets: Records, pairs: Records
    ) -> tuple[dict[str, float], tuple[coco.Curves, coco.Curves]]:
        frames, detections, targets, pairs = _each_once(frames, detections, targets, pairs)
        kept = np.repeat(frames["targets"] > 0, frames["detections"])
        everywhere, annotated = curves = tuple(
            coco.accumulate(found["score"], found["label"], found["overlaps"], targets["label"])
            for found in (detections, detections[kept])
        )
        results: dict[str, float] = {}
        for suffix, each in (("", annotated), (ALL_FRAMES, everywhere)):
            scores = {**scores_of(each), "AP": each.ap}
            results |= {f"{key}{suffix}": scores[key] for key in ("AP50", "AP", "P", "R", "F1")}
        total = {name: frames[name].sum().item() for name in FRAME.names or ()}
        results["Pd"] = ratio(total["hits"], total["targets"])
        results["Fa"] = ratio(total["false_pixels"], total["pixels"])
        results["false_alarms_per_frame"] = ratio(total["false_alarms"], len(frames))
        results["false_alarms_per_megapixel"] = ratio(total["false_alarms"], total["pixels"] / 1e6)
        found, missed = total["hits"] + total["false_alarms"], total["targets"] - total["hits"]
        results["precision"] = ratio(total["hits"], found)
        results["F1_at_threshold"] = ratio(2 * total["hits"], found + total["hits"] + missed)
        swept = pd_at_budgets(detections["score"], detections["hit"], len(targets), len(frames), self.budgets)
        for budget, (pd, threshold) in zip(self.budgets, swept, strict=True):
            enough = budget == 0 or budget * len(frames) >= 1
            results[f"Pd@{budget:g}"] = pd if enough else math.nan
            results[f"threshold@{budget:g}"] = threshold if enough else math.nan
        outcomes = _as_outcomes(detections, len(targets), len(frames))
        results["ROC_area"], results["centre_AP"] = roc_area(outcomes), average_precision(outcomes)
        dots = _dots(frames, detections, targets, pairs)
        for name, bits in (("DotD", dots), ("SAFit", detections["fitness"])):
            curve = coco.accumulate(detections["score"], detections["label"], bits, targets["label"])
            results |= {f"AP50_{name}": curve.ap50, f"AP_{name}": curve.ap}
        for name in ("hits", "false_alarms", "targets"):
            results[name] = float(total[name])
        results["frames"], results["empty_frames"] = float(len(frames)), float((frames["targets"] == 0).sum())
        return results, curves  # type: ignore[return-value]


STATES = {"frame_rows": FRAME, "detection_rows": DETECTION, "target_rows": TARGET, "pair_rows": PAIR}


def _near_pairs(frames: Frames, rows: Records) -> Records:
    """Pairs by frame, with the positions of both in it; their number goes into ``rows``."""
    pred, target, distance = dot_pairs(frames)
    by_frame = np.argsort(pred, kind="stable")
    pred, target, distance = pred[by_frame], target[by_frame], distance[by_frame]
    owner = frames.pred_frames[pred]
    rows["pairs"] = np.bincount(owner, minlength=len(frames))
    pairs = np.zeros(len(pred), PAIR)
    pairs["detection"] = pred - _starts(rows["detections"])[owner]
    pairs["target"] = target - _starts(rows["targets"])[owner]
    pairs["distance"] = distance
    return pairs


def _dots(frames: Records, detections: Records, targets: Records, pairs: Records) -> coco.Bits:
    """What the detections hit by dot distance, now that the targets' mean size is known."""
    owner = np.repeat(np.arange(len(frames)), frames["pairs"])
    pred = pairs["detection"] + _starts(frames["detections"])[owner]
    target = pairs["target"] + _starts(frames["targets"])[owner]
    near = pred, target, pairs["distance"].astype(np.float64)
    return dot_bits(detections["score"], detections["overlaps"] & coco.COUNTED > 0, near, mean_side(targets["area"]))


def _starts(counts: Any) -> Any:
    return np.cumsum(counts) - counts


def _as_outcomes(detections: Records, targets: int, frames: int) -> Outcomes:
    """All frames as one sequence."""
    hit = detections["hit"]
    scores, false_scores = detections["score"][hit], detections["score"][~hit]
    found = np.concatenate([scores, np.full(targets - len(scores), MISSED)])
    nothing = np.zeros(len(false_scores))
    zeros = np.zeros(len(found), np.int64), np.zeros(len(false_scores), np.int64)
    return Outcomes(("",), np.array([frames]), np.zeros(1), zeros[0], found, {}, zeros[1], false_scores, nothing)


def _records(state: list[Tensor] | Tensor, kind: np.dtype[Any]) -> Records:
    """A state as records: a list before the processes are joined, a tensor after, maybe empty."""
    parts = state if isinstance(state, list) else [state]
    rows = torch.cat([p.cpu().to(torch.uint8) for p in parts]).numpy() if parts else np.zeros(0, np.uint8)
    return rows.view(kind)


def _each_once(frames: Records, detections: Records, targets: Records, pairs: Records) -> tuple[Records, ...]:
    """Each id once, the first time it came, in ascending order: ties of scores break alike however frames came."""
    ids, first = np.unique(frames["id"], return_index=True)
    position = np.full(len(frames), -1)
    position[first] = np.arange(len(ids))

    def of(rows: Records, counts: Any) -> Records:
        owner = np.repeat(position, counts)
        kept = owner >= 0
        return rows[kept][np.argsort(owner[kept], kind="stable")]

    parts = {"detections": detections, "targets": targets, "pairs": pairs}
    return frames[first], *(of(rows, frames[name]) for name, rows in parts.items())
