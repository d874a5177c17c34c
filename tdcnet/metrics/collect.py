"""Every detection and target of an evaluation, for what needs their boxes: reports, files, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from tdcnet.metrics.matching import Bools, Floats, Frames
from tdcnet.metrics.pd_fa import gather_on_cpu, joined

# A row is [kind, x1, y1, x2, y2, score, label]; the row of a frame comes before those of its boxes and holds
# [0, image id, height, width, 0, 0, 0]. float64 holds float32 boxes and ids below 2**53 exactly.
_COLUMNS = 7
_FRAME, _TARGET, _PREDICTION = 0, 1, 2


class FrameCollector(Metric):
    """Keeps all frames, 56 bytes per box; :meth:`frames` gives them as :class:`~tdcnet.metrics.matching.Frames`.

    Each id once, in ascending order, whatever the number of processes and the order in which they saw them.
    """

    full_state_update = False
    rows: list[Tensor] | Tensor

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("dist_sync_fn", gather_on_cpu)
        super().__init__(**kwargs)
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
        """Collects a batch; see :meth:`Frames.from_lists` for the format and the errors."""
        assert isinstance(self.rows, list)
        self.rows.append(torch.from_numpy(_pack(Frames.from_lists(preds, targets, image_ids)).reshape(-1)))

    def compute(self) -> dict[str, Any]:
        """The columns of the frames of all processes: torchmetrics passes on no frozen dataclass."""
        return vars(_unpack(joined(self.rows).reshape(-1, _COLUMNS)))

    def frames(self) -> Frames:
        """The frames of all processes; all of them must call it."""
        return Frames(**self.compute())


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
