"""All figures of an evaluation, overall, by sequence, by what makes a target hard, and by the way of counting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdcnet.masks import boxes_to_mask, components
from tdcnet.metrics.mask_protocols import MASK_PROTOCOLS, MaskCounts
from tdcnet.metrics.matching import Floats, Frames
from tdcnet.metrics.outcomes import Outcomes, at_threshold, average_precision, pd_at, roc_area, threshold_at
from tdcnet.metrics.pd_fa import BUDGETS, count, ratio
from tdcnet.metrics.rules import RULES, Rule

Row = dict[str, Any]

EQUAL = 0.1
"""False alarms per frame at which detectors are compared."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A detector's outcomes, by the chosen rule and as AP50 counts, and the score of all that needs a threshold."""

    outcomes: Outcomes
    overlaps: Outcomes
    threshold: float

    @classmethod
    def of(
        cls,
        frames: Frames,
        sequences: Sequence[str],
        attributes: dict[str, Floats],
        threshold: float | None,
        rule: Rule | None = None,
        within_class: bool = False,
    ) -> Scored:
        """Matches twice; arguments as :meth:`Outcomes.of` has them.

        Args:
            threshold: None for the score at which there are :data:`EQUAL` false alarms per frame: scores of different
                detectors mean different things.
        """
        outcomes = Outcomes.of(frames, sequences, attributes, rule, within_class)
        return cls(
            outcomes,
            Outcomes.by_overlap(frames, sequences, attributes),
            threshold_at(outcomes, EQUAL) if threshold is None else threshold,
        )


def ranking_figures(scored: Scored, weights: Floats | None = None) -> dict[str, float]:
    """What needs no threshold: ``Pd@b``, ``ROC area``, ``centre AP`` (by the chosen rule) and ``AP50``.

    ``AP50`` ranks the detections of all classes together (COCO's figure is the mean over classes), on frames that have
    a target.
    """
    return {
        **{f"Pd@{budget:g}": pd_at(scored.outcomes, budget, weights) for budget in BUDGETS},
        "ROC area": roc_area(scored.outcomes, 1.0, weights),
        "centre AP": average_precision(scored.outcomes, weights),
        "AP50": average_precision(scored.overlaps, weights),
    }


def by_sequence(scored: Scored) -> list[Row]:
    """Every figure of each sequence, with its frames and targets."""
    rows: list[Row] = []
    outcomes = scored.outcomes
    targets = np.bincount(outcomes.target_sequence, minlength=len(outcomes.sequences))
    for i, name in enumerate(outcomes.sequences):
        weights = np.zeros(len(outcomes.sequences))
        weights[i] = 1
        told = at_threshold(outcomes, scored.threshold, weights)
        del told["recall"]  # is Pd
        rows.append(
            {"sequence": name, "frames": int(outcomes.frames[i]), "targets": int(targets[i])}
            | told
            | ranking_figures(scored, weights)
        )
    return rows


def by_attribute(scored: Scored, attribute: str, edges: Sequence[float]) -> list[Row]:
    """Figures of the targets in each bin of an attribute: ``targets``, ``Pd`` at the threshold, and what needs none.

    Other targets and what hits them count for nothing. False alarms belong to no bin: each bin is held against all.

    Args:
        edges: ascending; bin i holds the values from edge i up to, but not including, edge i + 1.

    Raises:
        KeyError: if the attribute is not known.
    """
    rows: list[Row] = []
    for low, high in itertools.pairwise(edges):
        values = scored.outcomes.attributes[attribute]
        inside = (values >= low) & (values < high)
        part = Scored(scored.outcomes.restricted(inside), scored.overlaps.restricted(inside), scored.threshold)
        pd = at_threshold(part.outcomes, scored.threshold)["Pd"]
        rows.append(
            {"from": float(low), "to": float(high), "targets": int(inside.sum()), "Pd": pd} | ranking_figures(part)
        )
    return rows


def by_protocol(frames: Frames, threshold: float, within_class: bool = False) -> list[Row]:
    """Pd and Fa at a threshold by every rule for boxes, and by every published way of counting on masks.

    For the latter the boxes are filled; touching boxes become one component, so ``targets`` may differ.

    Raises:
        ValueError: if a frame's size is not known.
    """
    rows: list[Row] = []
    for name, rule in RULES.items():
        counts = count(frames, threshold, rule(), within_class)
        rows.append(_row(name, "boxes", counts.targets, counts.hits, counts.false_pixels, counts.pixels))
    totals = dict.fromkeys(MASK_PROTOCOLS, MaskCounts())
    kept = frames.require_sizes().above(threshold)
    edges = np.arange(1, len(kept))
    found = np.split(kept.pred_boxes, np.searchsorted(kept.pred_frames, edges))
    wanted = np.split(kept.target_boxes, np.searchsorted(kept.target_frames, edges))
    for size, predictions, targets in zip(kept.sizes.astype(int).tolist(), found, wanted, strict=False):
        if len(predictions) or len(targets):
            masks = [components(boxes_to_mask(boxes, size)) for boxes in (predictions, targets)]
            for name, protocol in MASK_PROTOCOLS.items():
                totals[name] += protocol(*masks)
    pixels = int(frames.sizes.prod(axis=1).sum())
    for name, total in totals.items():
        rows.append(_row(name, "filled boxes", total.targets, total.hits, total.false_pixels, pixels))
    return rows


def _row(name: str, on: str, targets: int, hits: int, false_pixels: float, pixels: int) -> Row:
    return {
        **{"protocol": name, "on": on, "targets": targets, "hits": hits},
        **{"Pd": ratio(hits, targets), "Fa": ratio(false_pixels, pixels)},
    }
