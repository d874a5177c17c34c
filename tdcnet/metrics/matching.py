"""Which detection found which target, one to one, by one of the rules of ``rules.py``.

The functions work on :class:`Frames`, the detections and targets of many frames in columns, because a loop over
frames with one target and a handful of detections each spends its time on calls and not on counting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tdcnet.metrics.rules import Rule, within

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Pairs of one chunk: about 50 MB of working arrays, whatever the number of frames.
_PAIRS_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class Frames:
    """Detections and targets of F frames in columns; boxes are xyxy, px of the original image.

    Attributes:
        image_ids: [F].
        sizes: [F, 2], height and width in px; NaN where nobody told.
        target_frames: [G], position in ``image_ids``, ascending.
        target_boxes: [G, 4].
        target_labels: [G].
        pred_frames: [D], position in ``image_ids``, ascending.
        pred_boxes: [D, 4].
        pred_scores: [D].
        pred_labels: [D].
    """

    image_ids: Ints
    sizes: Floats
    target_frames: Ints
    target_boxes: Floats
    target_labels: Ints
    pred_frames: Ints
    pred_boxes: Floats
    pred_scores: Floats
    pred_labels: Ints

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def annotated(self) -> Bools:
        """[F], whether a frame has a target."""
        return np.bincount(self.target_frames, minlength=len(self)) > 0

    @classmethod
    def from_lists(
        cls,
        preds: Sequence[Mapping[str, Tensor]],
        targets: Sequence[Mapping[str, Tensor]],
        image_ids: Sequence[int] | Tensor | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> Frames:
        """Joins torchvision's lists of dicts, one dict per frame.

        Args:
            preds: ``boxes`` [N, 4] xyxy px of the original image, ``scores`` [N], ``labels`` [N].
            targets: ``boxes``, ``labels``, and, if known, ``size``, int64 [2]: height and width in px.
            image_ids: an integer per frame; counted from 0 if None.
            image_size: height and width in px of the frames whose target has no ``size``.

        Raises:
            ValueError: if the lists differ in length, a dict lacks a key, shapes disagree or a number is not finite.
        """
        listed = image_ids.tolist() if isinstance(image_ids, Tensor) else image_ids
        ids = np.arange(len(preds)) if listed is None else np.asarray(list(listed), dtype=np.int64)
        if not len(preds) == len(targets) == len(ids):
            raise ValueError(
                f"expected one prediction, target and image id per frame; "
                f"got {len(preds)} predictions, {len(targets)} targets, {len(ids)} image ids"
            )
        pred_frames = _frame_of_each(preds, ("boxes", "scores", "labels"), "prediction", ids)
        target_frames = _frame_of_each(targets, ("boxes", "labels"), "target", ids)
        frames = cls(
            image_ids=ids,
            sizes=_sizes(targets, image_size),
            target_frames=target_frames,
            target_boxes=_column(targets, "boxes").reshape(-1, 4),
            target_labels=_column(targets, "labels").astype(np.int64),
            pred_frames=pred_frames,
            pred_boxes=_column(preds, "boxes").reshape(-1, 4),
            pred_scores=_column(preds, "scores"),
            pred_labels=_column(preds, "labels").astype(np.int64),
        )
        for what, where, values in (
            ("prediction", pred_frames, np.column_stack([frames.pred_boxes, frames.pred_scores])),
            ("target", target_frames, frames.target_boxes),
        ):
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                raise ValueError(
                    f"image_id {ids[where[bad][0]]}: a {what}'s box or score is not finite: {values[bad][0].tolist()}; "
                    "expected finite numbers. Clip boxes to the image and look for a diverged network"
                )
        return frames

    @classmethod
    def joined(cls, parts: Sequence[Frames]) -> Frames:
        """The frames of several batches, one batch after the other."""
        before = np.cumsum([0, *(len(part) for part in parts)])[:-1].tolist()

        def chained(column: str) -> NDArray[Any]:
            shift = before if column.endswith("_frames") else [0] * len(parts)
            return np.concatenate([getattr(part, column) + n for part, n in zip(parts, shift, strict=True)])

        return cls(**{field.name: chained(field.name) for field in fields(cls)})

    def require_sizes(self) -> Frames:
        """Itself.

        Raises:
            ValueError: if a frame's size is not known; Fa counts pixels.
        """
        unknown = np.isnan(self.sizes).any(axis=1)
        if unknown.any():
            raise ValueError(
                f"image_id {self.image_ids[unknown][0]}: Fa needs the size of every frame, expected "
                "targets[i]['size'] = tensor([height, width]) in px of the original image. "
                "Add it, or give the metric image_size=(height, width) if all frames are alike"
            )
        return self

    def areas_inside(self, chosen: Bools) -> Floats:
        """Area of the chosen detections [D] inside their frames, px."""
        limit = self.sizes[self.pred_frames[chosen]][:, [1, 0, 1, 0]]
        x1, y1, x2, y2 = np.clip(self.pred_boxes[chosen], 0.0, limit).T
        area: Floats = np.maximum(x2 - x1, 0.0) * np.maximum(y2 - y1, 0.0)
        return area

    def above(self, score_threshold: float) -> Frames:
        """Without the detections under the threshold; one exactly at it stays.

        The threshold is rounded to float32, as ``scores >= threshold`` in torch does: else a score of float32 0.7
        would miss a threshold of 0.7.
        """
        return self.keeping(self.pred_scores >= float(np.float32(score_threshold)))

    def keeping(self, keep: Bools) -> Frames:
        """With these detections [D] only."""
        return replace(
            self,
            pred_frames=self.pred_frames[keep],
            pred_boxes=self.pred_boxes[keep],
            pred_scores=self.pred_scores[keep],
            pred_labels=self.pred_labels[keep],
        )


def match_centres(
    pred_boxes: Tensor,
    target_boxes: Tensor,
    distance: float = 3.0,
    *,
    scores: Tensor | None = None,
    pred_labels: Tensor | None = None,
    target_labels: Tensor | None = None,
) -> Tensor:
    """Pairs the detections of one frame with its targets, nearest pair first, each used at most once.

    A pair is a hit when its centres are within ``distance``; exactly at the limit counts. (The mask protocols of the
    field want strictly less.) Of pairs equally far apart the higher score goes first, then the lower index.

    Args:
        pred_boxes: [N, 4], xyxy px.
        target_boxes: [M, 4], xyxy px.
        distance: limit in px.
        scores: [N]; decides only between pairs equally far apart.
        pred_labels: [N]; with ``target_labels``, only pairs of one class match. Without, class does not matter.
        target_labels: [M].

    Returns:
        int64 [N] on the CPU: the index of the target that each detection hits, -1 for none.

    Raises:
        ValueError: if only one of the two sets of labels is given, or shapes disagree.
    """
    if (pred_labels is None) != (target_labels is None):
        raise ValueError("expected both pred_labels and target_labels (match within class) or neither; got one")
    n, m = len(pred_boxes), len(target_boxes)
    frames = Frames.from_lists(
        [
            {
                "boxes": pred_boxes,
                "scores": torch.zeros(n) if scores is None else scores,
                "labels": torch.zeros(n) if pred_labels is None else pred_labels,
            }
        ],
        [{"boxes": target_boxes, "labels": torch.zeros(m) if target_labels is None else target_labels}],
    )
    return torch.from_numpy(match_frames(frames, within(distance), within_class=pred_labels is not None))


def match_frames(
    frames: Frames,
    rule: Rule | None = None,
    order: Literal["nearest", "score"] = "nearest",
    within_class: bool = False,
) -> Ints:
    """Pairs detections with targets in every frame, one-to-one.

    Args:
        frames: F frames with D detections and G targets.
        rule: which pairs may match, and at what cost; ``within(3.0)`` unless given.
        order: ``"nearest"`` takes the cheapest pair first. ``"score"`` lets the detections choose in descending order
            of score, each the cheapest target still free: then a higher threshold never changes the hits above it.
            Equal scores choose cheapest pair first.
        within_class: only pairs of one class match.

    Returns:
        [D], the index (0..G-1) of the target that each detection hits, -1 for none.
    """
    chunks = list(candidate_pairs(frames, rule or within(), within_class))
    match = np.full(len(frames.pred_frames), -1, dtype=np.int64)
    if not chunks:
        return match
    pred, target, cost = (np.concatenate(column) for column in zip(*chunks, strict=True))
    descending = -frames.pred_scores[pred]
    # np.lexsort sorts by its last key first.
    keys = (target, pred, descending, cost) if order == "nearest" else (target, pred, cost, descending)
    ranked = np.lexsort(keys)
    pred, target = pred[ranked], target[ranked]
    won = first_come(pred, target)
    match[pred[won]] = target[won]
    return match


def first_come(preds: Ints, targets: Ints) -> Bools:
    """Which pairs win when they are taken in order, and each detection and each target at most once: [P], [P] -> [P].

    A pair that is the first left of both its detection and its target wins; pairs that share one with a winner go;
    and so on with what is left, a few rounds over columns instead of one step per pair.
    """
    won = np.zeros(len(preds), dtype=bool)
    left = np.arange(len(preds))
    while len(left):
        p, t = preds[left], targets[left]
        first = np.zeros((2, len(left)), dtype=bool)
        for row, column in zip(first, (p, t), strict=True):
            row[np.unique(column, return_index=True)[1]] = True
        winners = first.all(axis=0)
        won[left[winners]] = True
        left = left[~(np.isin(p, p[winners]) | np.isin(t, t[winners]))]
    return won


def candidate_pairs(frames: Frames, rule: Rule, within_class: bool) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Detection, target and cost of the pairs of one frame that may match, some frames at a time."""
    first = np.searchsorted(frames.target_frames, frames.pred_frames, side="left")
    count = np.searchsorted(frames.target_frames, frames.pred_frames, side="right") - first
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_PAIRS_AT_ONCE, total, _PAIRS_AT_ONCE), side="right")
    for some in np.split(np.arange(len(count)), cuts):
        pred = np.repeat(some, count[some])
        if not len(pred):
            continue
        before = np.repeat(ends[some] - count[some] - (ends[some[0]] - count[some[0]]), count[some])
        target = first[pred] + np.arange(len(pred)) - before
        fits, cost = rule(frames.pred_boxes[pred], frames.target_boxes[target])
        if within_class:
            fits &= frames.pred_labels[pred] == frames.target_labels[target]
        yield pred[fits], target[fits], cost[fits]


def _column(dicts: Sequence[Mapping[str, Tensor]], key: str) -> Floats:
    if not dicts:
        return np.zeros(0)
    # Joined before the transfer: one copy from the device per batch instead of one per frame.
    return torch.cat([d[key].detach().reshape(-1) for d in dicts]).cpu().double().numpy()


def _sizes(targets: Sequence[Mapping[str, Tensor]], image_size: tuple[int, int] | None) -> Floats:
    """[F, 2], height and width, NaN where unknown."""
    default = torch.tensor((float("nan"), float("nan")) if image_size is None else image_size)
    sized = [t if "size" in t else {"size": default} for t in targets]
    if any(t["size"].numel() != 2 for t in sized):
        wrong = next(t["size"] for t in sized if t["size"].numel() != 2)
        raise ValueError(f"expected targets[i]['size'] = tensor([height, width]); got {wrong.tolist()}")
    return _column(sized, "size").reshape(-1, 2)


def _frame_of_each(dicts: Sequence[Mapping[str, Tensor]], keys: tuple[str, ...], what: str, ids: Ints) -> Ints:
    """[N], the frame of each row of all dicts together, after checking that their shapes agree."""
    counts = []
    for image_id, d in zip(ids, dicts, strict=True):
        missing = [key for key in keys if key not in d]
        if missing:
            raise ValueError(f"image_id {image_id}: a {what} needs {', '.join(keys)}; {', '.join(missing)} is missing")
        n = len(d["boxes"])
        # torch.tensor([]), an empty list of boxes without its second axis, is what many loaders give.
        boxes_fit = tuple(d["boxes"].shape) == (n, 4) or d["boxes"].numel() == 0
        if not boxes_fit or any(tuple(d[key].shape) != (n,) for key in keys[1:]):
            shapes = ", ".join(f"{key} {list(d[key].shape)}" for key in keys)
            raise ValueError(
                f"image_id {image_id}: a {what} needs boxes [N, 4] and {', '.join(keys[1:])} [N]; got {shapes}"
            )
        counts.append(n)
    return np.repeat(np.arange(len(dicts)), np.array(counts, dtype=np.int64))
