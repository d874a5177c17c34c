"""What became of every target and every detection, and the figures that follow: at a threshold, curves, intervals.

Matching is done once, detections choosing in descending order of score, so that one number per target (the score at
which it is found) and one per false alarm hold every threshold. Sequences are the unit of chance: frames of one
recording are nearly the same frame, so intervals come from drawing whole sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tdcnet.metrics.matching import Bools, Floats, Frames, Ints, match_frames
from tdcnet.metrics.rules import Rule, iou

MISSED = -np.inf


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcome of every target and detection on S sequences with G targets and A false alarms.

    Attributes:
        sequences: names [S].
        frames: [S], frames of each, empty ones too.
        pixels: [S], pixels of those.
        target_sequence: [G], position in ``sequences``.
        found: [G], score of the detection that hits the target, ``-inf`` if none does.
        attributes: name -> [G], what may make a target easy or hard (side, scr, speed); NaN where unknown.
        false_sequence: [A].
        false_scores: [A].
        false_pixels: [A], area of the box inside its frame, px.
    """

    sequences: tuple[str, ...]
    frames: Ints
    pixels: Floats
    target_sequence: Ints
    found: Floats
    attributes: dict[str, Floats]
    false_sequence: Ints
    false_scores: Floats
    false_pixels: Floats

    @classmethod
    def of(
        cls,
        frames: Frames,
        sequences: Sequence[str],
        attributes: Mapping[str, Floats] | None = None,
        rule: Rule | None = None,
        within_class: bool = False,
    ) -> Outcomes:
        """Matches detections with targets.

        Args:
            frames: F frames, with their sizes.
            sequences: [F], the name of each frame's sequence.
            attributes: name -> one number per target, in the order of ``frames``.
            rule: what may match, see :mod:`tdcnet.metrics.rules`.
            within_class: a detection hits only targets of its class.

        Raises:
            ValueError: if a frame's size is not known, or lengths disagree.
        """
        frames.require_sizes()
        attributes = dict(attributes or {})
        wrong = [name for name, values in attributes.items() if len(values) != len(frames.target_boxes)]
        if wrong or len(sequences) != len(frames):
            raise ValueError(
                f"{len(sequences)} sequence names for {len(frames)} frames, and {wrong or 'no attribute'} without one "
                f"number per target ({len(frames.target_boxes)}); they must agree"
            )
        names, owner = np.unique(np.asarray(sequences, dtype=object), return_inverse=True)
        match = match_frames(frames, rule, order="score", within_class=within_class)
        found = np.full(len(frames.target_boxes), MISSED)
        hit = match >= 0
        found[match[hit]] = frames.pred_scores[hit]
        area = frames.sizes.prod(axis=1)
        return cls(
            sequences=tuple(names.tolist()),
            frames=np.bincount(owner, minlength=len(names)),
            pixels=np.bincount(owner, area, minlength=len(names)).astype(np.float64),
            target_sequence=owner[frames.target_frames],
            found=found,
            attributes={name: np.asarray(values, np.float64) for name, values in attributes.items()},
            false_sequence=owner[frames.pred_frames[~hit]],
            false_scores=frames.pred_scores[~hit],
            false_pixels=frames.areas_inside(~hit),
        )

    @classmethod
    def by_overlap(
        cls, frames: Frames, sequences: Sequence[str], attributes: Mapping[str, Floats] | None = None
    ) -> Outcomes:
        """What the published AP50 counts: hits by IoU of at least 0.5 within a class, on frames that have a target;
        detections on other frames count for nothing."""
        on_annotated = frames.keeping(frames.annotated[frames.pred_frames])
        return cls.of(on_annotated, sequences, attributes, iou(0.5), within_class=True)

    @cached_property
    def ranked(self) -> tuple[Floats, Ints, Bools, Ints]:
        """All hits and false alarms from the highest score down: scores, sequences, whether a hit, and where a run of
        equal scores ends: those are kept or dropped together."""
        hit = np.isfinite(self.found)
        scores = np.concatenate([self.found[hit], self.false_scores])
        owners = np.concatenate([self.target_sequence[hit], self.false_sequence])
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
        return scores, owners[order], order < hit.sum(), last

    def restricted(self, targets: Bools) -> Outcomes:
        """Of these targets [G] only: detections that hit others count for nothing, false alarms all stay."""
        return replace(
            self,
            target_sequence=self.target_sequence[targets],
            found=self.found[targets],
            attributes={name: values[targets] for name, values in self.attributes.items()},
        )

    @classmethod
    def joined(cls, parts: Iterable[Outcomes]) -> Outcomes:
        """The outcomes of several batches as one; a sequence may be spread over them.

        Raises:
            ValueError: if there is no part, or they do not know the same attributes.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to join; there must be at least one batch of outcomes")
        keys = set(parts[0].attributes)
        if any(set(part.attributes) != keys for part in parts):
            raise ValueError("the parts know different attributes of their targets; give all of them the same")
        names = sorted({name for part in parts for name in part.sequences})
        at = {name: i for i, name in enumerate(names)}
        places = [np.array([at[name] for name in part.sequences], dtype=np.int64) for part in parts]

        def total(column: str) -> NDArray[np.float64]:
            values = np.zeros(len(names))
            for part, place in zip(parts, places, strict=True):
                np.add.at(values, place, getattr(part, column))
            return values

        def chained(column: str) -> Floats:
            return np.concatenate([getattr(part, column) for part in parts])

        def owners(column: str) -> Ints:
            return np.concatenate([place[getattr(part, column)] for part, place in zip(parts, places, strict=True)])

        return cls(
            sequences=tuple(names),
            frames=total("frames").astype(np.int64),
            pixels=total("pixels"),
            target_sequence=owners("target_sequence"),
            found=chained("found"),
            attributes={key: np.concatenate([part.attributes[key] for part in parts]) for key in sorted(keys)},
            false_sequence=owners("false_sequence"),
            false_scores=chained("false_scores"),
            false_pixels=chained("false_pixels"),
        )


# -- figures ----------------------------------------------------------------------------------------------------------
# ``weights`` [S] says how often each sequence counts (all once if None): what the bootstrap varies.


def at_threshold(outcomes: Outcomes, threshold: float, weights: Floats | None = None) -> dict[str, float]:
    """Figures of the detections with at least this score.

    Returns:
        ``Pd`` = ``recall``, ``precision``, ``F1``, ``Fa`` (pixels of false boxes over all pixels),
        ``false_alarms_per_frame``, ``false_alarms_per_megapixel``. NaN where there is nothing to divide by.
    """
    w = _weights(outcomes, weights)
    limit = float(np.float32(threshold))
    of_targets, of_alarms = w[outcomes.target_sequence], w[outcomes.false_sequence]
    kept = outcomes.false_scores >= limit
    hits, targets = float(of_targets[outcomes.found >= limit].sum()), float(of_targets.sum())
    alarms, frames, pixels = float(of_alarms[kept].sum()), float(w @ outcomes.frames), float(w @ outcomes.pixels)
    precision, recall = _ratio(hits, hits + alarms), _ratio(hits, targets)
    return {
        "Pd": recall,
        "recall": recall,
        "precision": precision,
        "F1": _ratio(2 * hits, hits + alarms + targets),
        "Fa": _ratio(float((of_alarms * outcomes.false_pixels)[kept].sum()), pixels),
        "false_alarms_per_frame": _ratio(alarms, frames),
        "false_alarms_per_megapixel": _ratio(alarms, pixels / 1e6),
    }


def roc(outcomes: Outcomes, weights: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Pd over false alarms per frame, one point per score that occurs, from the highest score down.

    Returns:
        False alarms per frame [K], Pd [K] and thresholds [K]; the first point is (0, 0, infinity).
    """
    w = _weights(outcomes, weights)
    scores, owners, is_hit, last = outcomes.ranked
    counts = w[owners]
    alarms, hits = np.cumsum(np.where(is_hit, 0, counts))[last], np.cumsum(np.where(is_hit, counts, 0))[last]
    frames, targets = float(w @ outcomes.frames), float(w[outcomes.target_sequence].sum())
    rate = alarms / frames if frames else np.full(len(last), np.nan)
    pd = hits / targets if targets else np.full(len(last), np.nan)
    return np.append(0.0, rate), np.append(0.0, pd), np.append(np.inf, scores[last])


def pd_at(outcomes: Outcomes, budget: float, weights: Floats | None = None) -> float:
    """The highest Pd with at most ``budget`` false alarms per frame; NaN without targets."""
    rate, pd, _ = roc(outcomes, weights)
    if not len(outcomes.found):
        return float("nan")
    return float(pd[np.searchsorted(rate, budget, side="right") - 1])


def threshold_at(outcomes: Outcomes, budget: float) -> float:
    """The least score to keep for at most ``budget`` false alarms per frame; infinity if none can be kept."""
    rate, _, thresholds = roc(outcomes)
    return float(thresholds[np.searchsorted(rate, budget, side="right") - 1])


def roc_area(outcomes: Outcomes, limit: float = 1.0, weights: Floats | None = None) -> float:
    """Mean Pd over false alarms per frame from 0 to ``limit``: the area under :func:`roc`'s steps over ``limit``."""
    rate, pd, _ = roc(outcomes, weights)
    inside = rate < limit
    edges = np.append(rate[inside], limit)
    return float((np.diff(edges) * pd[inside]).sum() / limit)


def average_precision(outcomes: Outcomes, weights: Floats | None = None) -> float:
    """Mean over 101 recalls of the best precision at that recall or beyond; NaN without targets.

    Of :meth:`Outcomes.by_overlap` this is the published AP50 of one class; with a rule of centres, centre-distance AP.
    """
    w = _weights(outcomes, weights)
    rate, pd, _ = roc(outcomes, weights)
    targets, frames = float(w[outcomes.target_sequence].sum()), float(w @ outcomes.frames)
    if not targets:
        return float("nan")
    hits, alarms = pd[1:] * targets, rate[1:] * frames
    best = np.maximum.accumulate((hits / (hits + alarms).clip(1e-12))[::-1])[::-1]
    at = np.searchsorted(pd[1:], np.linspace(0, 1, 101), side="left")
    return float(np.append(best, 0.0)[at.clip(max=len(best))].mean())


# -- chance -----------------------------------------------------------------------------------------------------------


def draws(sequences: int, samples: int = 1000, seed: int = 0) -> Floats:
    """How often each sequence is drawn in each bootstrap sample, with replacement: [samples, S]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(sequences, np.full(sequences, 1 / sequences), size=samples).astype(np.float64)


def interval(
    outcomes: Outcomes,
    figure: Callable[[Outcomes, Floats], float],
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of a figure over sequences, by percentiles.

    Args:
        figure: of outcomes and weights [S], such as ``lambda o, w: pd_at(o, 0.1, w)``.
    """
    values = np.array([figure(outcomes, w) for w in draws(len(outcomes.sequences), samples, seed)])
    return percentiles(values, level)


def paired_difference(
    first: Outcomes,
    second: Outcomes,
    figure: Callable[[Outcomes, Floats], float],
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """By how much ``first`` exceeds ``second`` on the same sequences: the difference and its bootstrap interval.

    Both get the same draws, so what is hard in a sequence for both does not widen the interval.

    Raises:
        ValueError: if the two are not of the same sequences and frames.
    """
    if first.sequences != second.sequences or not np.array_equal(first.frames, second.frames):
        raise ValueError(
            f"the outcomes are of different frames ({len(first.sequences)} and {len(second.sequences)} sequences, "
            f"{first.frames.sum()} and {second.frames.sum()} frames); compare detectors on the same ones"
        )
    ones = np.ones(len(first.sequences))
    drawn = draws(len(first.sequences), samples, seed)
    values = np.array([figure(first, w) - figure(second, w) for w in drawn])
    return figure(first, ones) - figure(second, ones), *percentiles(values, level)


def percentiles(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The middle ``level`` of bootstrap values, those apart that are not finite."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _weights(outcomes: Outcomes, weights: Floats | None) -> Floats:
    return np.ones(len(outcomes.sequences)) if weights is None else weights


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
