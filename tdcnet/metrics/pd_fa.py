"""Probability of detection (Pd) and false alarms (Fa) of boxes, by the distance of centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from tdcnet.metrics.matching import Bools, Floats, Frames, Ints, match_frames
from tdcnet.metrics.rules import Rule, within

BUDGETS = (1.0, 0.1, 0.05)


@dataclass(frozen=True)
class Counts:
    """What Pd and Fa are made of; see :func:`count`."""

    hits: int
    targets: int
    false_alarms: int
    false_pixels: float
    pixels: int
    frames: int
    empty_frames: int


def count(frames: Frames, score_threshold: float = 0.5, rule: Rule | None = None, within_class: bool = False) -> Counts:
    """Counts hits and false alarms among the detections with a score of at least ``score_threshold``.

    A detection that hits no target is a false alarm, on an empty frame and beside an already hit target too. Its
    pixels are the area of its box inside the image; overlapping false boxes count each.

    Raises:
        ValueError: if a frame's size is not known.
    """
    hits, false_alarms, false_pixels = count_by_frame(frames, score_threshold, rule, within_class)
    return Counts(
        hits=int(hits.sum()),
        targets=len(frames.target_frames),
        false_alarms=int(false_alarms.sum()),
        false_pixels=float(false_pixels.sum()),
        pixels=int(frames.sizes.prod(axis=1).sum()),
        frames=len(frames),
        empty_frames=int((~frames.annotated).sum()),
    )


def count_by_frame(
    frames: Frames, score_threshold: float = 0.5, rule: Rule | None = None, within_class: bool = False
) -> tuple[Ints, Ints, Floats]:
    """Hits, false alarms and pixels of false boxes of each frame, [F] each; see :func:`count`."""
    frames = frames.require_sizes().above(score_threshold)
    false = match_frames(frames, rule, within_class=within_class) < 0
    owner, n = frames.pred_frames, len(frames)
    hits: Ints = np.bincount(owner[~false], minlength=n)
    false_alarms: Ints = np.bincount(owner[false], minlength=n)
    false_pixels = np.bincount(owner[false], frames.areas_inside(false), minlength=n).astype(np.float64)
    return hits, false_alarms, false_pixels


def ratio(part: float, whole: float) -> float:
    """``part / whole``, NaN where there is nothing to divide by."""
    return part / whole if whole else float("nan")


def scored_hits(frames: Frames, rule: Rule | None = None, within_class: bool = False) -> tuple[Floats, Bools]:
    """Score of every detection and whether it hits, matched so that one matching serves every threshold.

    Detections choose in descending order of score, each the cheapest target still free by ``rule``; a
    threshold then keeps the first so many of them and their hits stay what they are. (At one fixed threshold
    :class:`PdFa` takes the nearest pair first instead; where targets lie closer than two distances the two may differ.)

    Returns:
        Scores [D] and hits [D].
    """
    return frames.pred_scores, match_frames(frames, rule, order="score", within_class=within_class) >= 0


def pd_at_budgets(
    scores: Floats, hits: Bools, targets: int, frames: int, budgets: Sequence[float] = BUDGETS
) -> list[tuple[float, float]]:
    """The highest Pd that stays within each budget of false alarms per frame, and its score threshold.

    A threshold keeps all detections with at least that score, so equal scores are kept or dropped together.

    Args:
        scores: [D].
        hits: [D], from :func:`scored_hits`.
        targets: targets in all frames.
        frames: frames, empty ones too.
        budgets: false alarms per frame allowed; exactly at the budget counts.

    Returns:
        Per budget Pd (NaN if there is no target) and the lowest score kept (infinity if none can be).
    """
    order = np.argsort(-scores, kind="stable")
    kept = scores[order]
    # A threshold can only fall after the last of a run of equal scores.
    last = np.flatnonzero(np.append(kept[1:] != kept[:-1], True)) if len(kept) else np.zeros(0, dtype=np.int64)
    found = np.cumsum(hits[order])[last]
    # Divided, not the budget multiplied: 29 / 100 is the double nearest to 0.29, while 0.29 * 100 is less than 29.
    per_frame = (last + 1 - found) / max(frames, 1)
    results = []
    for budget in budgets:
        n = int(np.searchsorted(per_frame, budget, side="right"))
        results.append(
            (ratio(float(found[n - 1]) if n else 0.0, targets), float(kept[last[n - 1]]) if n else float("inf"))
        )
    return results


def gather_on_cpu(tensor: Tensor, group: Any = None, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Gathers a state that may lie on the CPU while the processes talk over NCCL, which knows only CUDA tensors.

    A process without a single update has nothing to give, and torchmetrics puts an empty float32 [0] in its place;
    the states gathered here are flat and of ``dtype``.
    """
    if tensor.numel() == 0:
        tensor = tensor.reshape(0).to(dtype)
    nccl = torch.distributed.get_backend(group) == "nccl"
    carried = tensor.cuda() if nccl else tensor
    return [t.to(tensor.device) for t in gather_all_tensors(carried, group)]


class PdFa(Metric):
    """Pd and Fa at one score threshold.

    Detections and targets are matched one-to-one, nearest pair first, and hit when their centres are within
    ``distance`` px, the limit included. Every frame given counts: frames that a distributed sampler repeats count
    twice here (:class:`~tdcnet.metrics.suite.DetectionMetrics` knows them by their id).

    Args:
        score_threshold: detections below it do not exist.
        distance: px of the original image.
        within_class: a detection hits only targets of its class.
        image_size: height and width in px, for targets that carry no ``size``.
        rule: what may match, in place of ``distance``; see :mod:`tdcnet.metrics.rules`.

    ``compute`` gives tensors: ``Pd`` = hits / targets over all frames together; ``Fa`` = pixels of false boxes / all
    pixels; ``false_alarms_per_frame``; and the counts ``targets``, ``hits``, ``false_alarms``, ``frames``,
    ``empty_frames``. A ratio with nothing to divide by is NaN.
    """

    full_state_update = False
    hits: Tensor
    targets: Tensor
    false_alarms: Tensor
    false_pixels: Tensor
    pixels: Tensor
    frames: Tensor
    empty_frames: Tensor

    def __init__(
        self,
        score_threshold: float = 0.5,
        distance: float = 3.0,
        within_class: bool = False,
        image_size: tuple[int, int] | None = None,
        rule: Rule | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.score_threshold = score_threshold
        self.rule = rule or within(distance)
        self.within_class = within_class
        self.image_size = image_size
        for name in ("hits", "targets", "false_alarms", "pixels", "frames", "empty_frames"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("false_pixels", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]]) -> None:
        """Counts a batch; see :meth:`Frames.from_lists` for the format and the errors."""
        frames = Frames.from_lists(preds, targets, image_size=self.image_size)
        counts = count(frames, self.score_threshold, self.rule, self.within_class)
        self.hits += counts.hits
        self.targets += counts.targets
        self.false_alarms += counts.false_alarms
        # A module cast to half precision takes its states along; a sum over a data set does not fit there.
        self.false_pixels = self.false_pixels.double() + counts.false_pixels
        self.pixels += counts.pixels
        self.frames += counts.frames
        self.empty_frames += counts.empty_frames

    def compute(self) -> dict[str, Tensor]:
        """The figures of all frames and processes."""
        return {
            "Pd": self.hits.double() / self.targets,
            "Fa": self.false_pixels / self.pixels,
            "false_alarms_per_frame": self.false_alarms.double() / self.frames,
            "targets": self.targets,
            "hits": self.hits,
            "false_alarms": self.false_alarms,
            "frames": self.frames,
            "empty_frames": self.empty_frames,
        }


class PdAtFalseAlarms(Metric):
    """The highest Pd within given budgets of false alarms per frame, the score threshold swept.

    Matching and ties are those of :func:`scored_hits` and :func:`pd_at_budgets`. ``compute`` gives, per budget b,
    ``Pd@b`` and ``threshold@b`` as float64 tensors. Frames that a distributed sampler repeats count twice.

    Args:
        budgets: false alarms per frame.
        distance: px of the original image.
        within_class: a detection hits only targets of its class.
        rule: what may match, in place of ``distance``; see :mod:`tdcnet.metrics.rules`.
    """

    full_state_update = False
    scored: list[Tensor] | Tensor
    targets: Tensor
    frames: Tensor

    def __init__(
        self,
        budgets: Sequence[float] = BUDGETS,
        distance: float = 3.0,
        within_class: bool = False,
        rule: Rule | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dist_sync_fn", gather_on_cpu)
        super().__init__(**kwargs)
        self.budgets = tuple(float(b) for b in budgets)
        self.rule = rule or within(distance)
        self.within_class = within_class
        self.add_state("scored", [], dist_reduce_fx="cat")
        self.add_state("targets", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("frames", torch.tensor(0), dist_reduce_fx="sum")

    def _apply(self, fn: Any, exclude_state: Sequence[str] = "") -> Any:
        # What was collected stays on the CPU and float64 wherever the module goes.
        return super()._apply(fn, (*exclude_state, "scored"))

    def update(self, preds: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]]) -> None:
        """Matches a batch; see :meth:`Frames.from_lists` for the format and the errors."""
        frames = Frames.from_lists(preds, targets)
        scores, hits = scored_hits(frames, self.rule, self.within_class)
        assert isinstance(self.scored, list)
        self.scored.append(torch.from_numpy(np.column_stack([scores, hits]).reshape(-1)))
        self.targets += len(frames.target_frames)
        self.frames += len(frames)

    def compute(self) -> dict[str, Tensor]:
        """The figures of all frames and processes."""
        scores, hits = joined(self.scored).reshape(-1, 2).T
        swept = pd_at_budgets(scores, hits > 0, int(self.targets), int(self.frames), self.budgets)
        results: dict[str, Tensor] = {}
        for budget, (pd, threshold) in zip(self.budgets, swept, strict=True):
            results[f"Pd@{budget:g}"] = torch.tensor(pd, dtype=torch.float64)
            results[f"threshold@{budget:g}"] = torch.tensor(threshold, dtype=torch.float64)
        return results


def joined(state: list[Tensor] | Tensor) -> Floats:
    """A list state as one flat array: a list before the processes are joined, a tensor after, maybe empty."""
    parts = state if isinstance(state, list) else [state]
    return torch.cat([p.cpu().double() for p in parts]).numpy() if parts else np.zeros(0)
