"""All figures of a detector from one pass over the frames, exact across processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from tdcnet.metrics import coco
from tdcnet.metrics.matching import Bools, Floats, Frames
from tdcnet.metrics.pd_fa import BUDGETS, count, gather_on_cpu, joined, pd_at_budgets, ratio, scored_hits
from tdcnet.metrics.published import scores_of
from tdcnet.metrics.rules import Rule, within

ALL_FRAMES = "_all_frames"

# A row is [kind, x1, y1, x2, y2, score, label]; the row of a frame comes before those of its boxes and holds
# [0, image id, height, width, 0, 0, 0]. float64 holds float32 boxes and ids below 2**53 exactly.
_COLUMNS = 7
_FRAME, _TARGET, _PREDICTION = 0, 1, 2


class DetectionMetrics(Metric):
    """Collects detections in ``update``, gives every figure in ``compute``.

    Each frame has an integer id, unique in the data set, and counts once however often it comes: the frames that a
    distributed sampler repeats change nothing, and any number of processes gives what one gives. All that is
    collected lies on the CPU (56 bytes per box).

    Args:
        score_threshold: for Pd, Fa and false alarms per frame.
        distance: between the centres of a hit, px of the original image, limit included.
        budgets: false alarms per frame at which Pd is told.
        within_class: a detection hits only targets of its class. COCO's figures always go by class.
        image_size: height and width in px, for targets that carry no ``size``.
        rule: what may match, in place of ``distance``; see :mod:`tdcnet.metrics.rules`.

    Attributes:
        frames: what the last ``compute`` looked at: every detection and target, each frame once.

    ``compute`` gives a flat dict of floats; ratios are fractions of 1, NaN where there is nothing to divide by:

    - ``AP50``, ``AP`` (COCO, IoU 0.5 and 0.5:0.95), ``P``, ``R``, ``F1`` (published definition, IoU 0.5): over frames
      with a target only, as published.
    - ``AP50_all_frames``, ``AP_all_frames``, ``P_all_frames``, ``R_all_frames``, ``F1_all_frames``: over all frames,
      so that detections on empty frames count against the network.
    - ``Pd``, ``Fa``, ``false_alarms_per_frame`` at the score threshold, all frames (see
      :func:`tdcnet.metrics.pd_fa.count`), with the counts ``hits``, ``false_alarms``, ``targets``, ``frames`` and
      ``empty_frames``.
    - ``Pd@b`` and ``threshold@b`` per budget b, as ``Pd@1``, ``Pd@0.1``, ``Pd@0.05``: the best Pd with at most b false
      alarms per frame over all frames, and the lowest score kept there (infinity if none can be kept).
    """

    full_state_update = False
    rows: list[Tensor] | Tensor

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
        kwargs.setdefault("dist_sync_fn", gather_on_cpu)
        super().__init__(**kwargs)
        self.score_threshold = score_threshold
        self.rule = rule or within(distance)
        self.budgets = tuple(float(b) for b in budgets)
        self.within_class = within_class
        self.image_size = image_size
        self._curves: tuple[coco.Curves, coco.Curves] | None = None
        self.frames: Frames | None = None
        # One flat state: one gather, and nothing to disagree on where a process has no box or no frame at all.
        self.add_state("rows", [], dist_reduce_fx="cat")

    def _apply(self, fn: Any, exclude_state: Sequence[str] = "") -> Any:
        # What was collected stays on the CPU and float64 wherever the module goes.
        return super()._apply(fn, (*exclude_state, "rows"))

    def update(
        self,
        preds: Sequence[Mapping[str, Tensor]],
        targets: Sequence[Mapping[str, Tensor]],
        image_ids: Sequence[int] | Tensor,
    ) -> None:
        """Collects a batch.

        Args:
            preds: per frame ``boxes`` [N, 4] xyxy px of the original image, ``scores`` [N], ``labels`` [N].
            targets: per frame ``boxes``, ``labels`` and ``size``, int64 [2] (height, width).
            image_ids: per frame an integer, unique in the data set.

        Raises:
            ValueError: if the lists disagree, a number is not finite, or a frame's size is not known.
        """
        frames = Frames.from_lists(preds, targets, image_ids, self.image_size).require_sizes()
        assert isinstance(self.rows, list)
        self.rows.append(torch.from_numpy(_pack(frames).reshape(-1)))

    def compute(self) -> dict[str, float]:
        """The figures of all frames of all processes; keys as the class tells."""
        self.frames = _unpack(joined(self.rows).reshape(-1, _COLUMNS))
        results, self._curves = self._figures(self.frames)
        return results

    def figures(self, frames: Frames) -> dict[str, float]:
        """What :meth:`compute` would give for these frames; nothing that was collected changes."""
        return self._figures(frames)[0]

    def _figures(self, frames: Frames) -> tuple[dict[str, float], tuple[coco.Curves, coco.Curves]]:
        everywhere, annotated = curves = coco.evaluate(frames)
        results: dict[str, float] = {}
        for suffix, each in (("", annotated), (ALL_FRAMES, everywhere)):
            scores = {**scores_of(each), "AP": each.ap}
            results |= {f"{key}{suffix}": scores[key] for key in ("AP50", "AP", "P", "R", "F1")}
        counts = count(frames, self.score_threshold, self.rule, self.within_class)
        results["Pd"] = ratio(counts.hits, counts.targets)
        results["Fa"] = ratio(counts.false_pixels, counts.pixels)
        results["false_alarms_per_frame"] = ratio(counts.false_alarms, counts.frames)
        swept = pd_at_budgets(
            *scored_hits(frames, self.rule, self.within_class), counts.targets, counts.frames, self.budgets
        )
        for budget, (pd, threshold) in zip(self.budgets, swept, strict=True):
            results[f"Pd@{budget:g}"] = pd
            results[f"threshold@{budget:g}"] = threshold
        for name in ("hits", "false_alarms", "targets", "frames", "empty_frames"):
            results[name] = float(getattr(counts, name))
        return results, curves

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


def _pack(frames: Frames) -> Floats:
    """Frames as rows [F + G + D, 7], those of one frame together and its own row first."""
    f, g, d = len(frames), len(frames.target_frames), len(frames.pred_frames)
    rows = np.zeros((f + g + d, _COLUMNS))
    rows[:f, 1] = frames.image_ids
    rows[:f, 2:4] = frames.sizes
    rows[f : f + g, 0] = _TARGET
    rows[f : f + g, 1:5] = frames.target_boxes
    rows[f : f + g, 6] = frames.target_labels
    rows[f + g :, 0] = _PREDICTION
    rows[f + g :, 1:5] = frames.pred_boxes
    rows[f + g :, 5] = frames.pred_scores
    rows[f + g :, 6] = frames.pred_labels
    owner = np.concatenate([np.arange(f), frames.target_frames, frames.pred_frames])
    return rows[np.argsort(owner, kind="stable")]


def _unpack(rows: Floats) -> Frames:
    """The frames in rows, each id once (its first occurrence), in ascending order of id."""
    kind = rows[:, 0]
    headers = rows[kind == _FRAME]
    occurrence = np.cumsum(kind == _FRAME) - 1
    ids, first = np.unique(headers[:, 1].astype(np.int64), return_index=True)
    # The position of each occurrence among the ids, -1 for a repeated one.
    position = np.full(len(headers), -1, dtype=np.int64)
    position[first] = np.arange(len(ids))
    owner = position[occurrence]

    def of(wanted: int) -> tuple[Floats, Any]:
        chosen: Bools = (kind == wanted) & (owner >= 0)
        # By ascending id whatever the order in which processes saw the frames: ties then break alike.
        order = np.argsort(owner[chosen], kind="stable")
        return rows[chosen][order], owner[chosen][order]

    targets, target_frames = of(_TARGET)
    preds, pred_frames = of(_PREDICTION)
    return Frames(
        image_ids=ids,
        sizes=headers[first, 2:4],
        target_frames=target_frames,
        target_boxes=targets[:, 1:5],
        target_labels=targets[:, 6].astype(np.int64),
        pred_frames=pred_frames,
        pred_boxes=preds[:, 1:5],
        pred_scores=preds[:, 5],
        pred_labels=preds[:, 6].astype(np.int64),
    )
