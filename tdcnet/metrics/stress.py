"""How a detector degrades: its figures on the same clips as they are and made harder in many ways, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tdcnet.metrics.breakdown import EQUAL, Row
from tdcnet.metrics.matching import Floats, Frames
from tdcnet.metrics.outcomes import Outcomes, average_precision, draws, pd_at, percentiles
from tdcnet.metrics.pd_fa import BUDGETS
from tdcnet.metrics.rules import Rule

PLAIN = "plain"
"""Name of the clips as they are."""
MEAN = "mean"
"""Name of the one figure: Pd at :data:`EQUAL` false alarms per frame, mean of the ways, each the mean of its steps."""


@dataclass(frozen=True, eq=False)
class Step:
    """A detector on the clips made harder in one way, by one step.

    Attributes:
        way: its name; :data:`PLAIN` for the clips as they are.
        strength: of the step; NaN where there is nothing to tell.
        outcomes: by centres.
        overlaps: as AP50 counts.
    """

    way: str
    strength: float
    outcomes: Outcomes
    overlaps: Outcomes

    @classmethod
    def of(
        cls,
        way: str,
        strength: float,
        frames: Frames,
        sequences: Sequence[str],
        rule: Rule | None = None,
        within_class: bool = False,
    ) -> Step:
        """Matches detections with targets; the last arguments as :meth:`Outcomes.of` has them."""
        outcomes = Outcomes.of(frames, sequences, None, rule, within_class)
        return cls(way, strength, outcomes, Outcomes.by_overlap(frames, sequences))


def stress_row(name: str, step: Step, plain: Step, samples: int = 300) -> Row:
    """Figures of a step with 95 % intervals over sequences, and by how much they differ from the clips as they are.

    Args:
        name: of the detector.
        step: of it.
        plain: on the clips as they are.
        samples: of the bootstrap; all steps see the same draws.
    """
    names, weights = plain.outcomes.sequences, _weights(plain, samples)
    row: Row = {"detector": name, "way": step.way, "strength": step.strength}
    row |= {"frames": int(step.outcomes.frames.sum()), "targets": len(step.outcomes.found)}
    found = {key: _drawn(figure, step.outcomes.sequences, names, weights) for key, figure in _figures(step).items()}
    for key, values in found.items():
        row[key], (row[f"{key} low"], row[f"{key} high"]) = float(values[0]), percentiles(values[1:])
    lost = found[f"Pd@{EQUAL:g}"] - _equal(plain, names, weights)
    row["to plain"], (row["to plain low"], row["to plain high"]) = float(lost[0]), percentiles(lost[1:])
    return row


def mean_row(name: str, steps: Sequence[Step], first: Sequence[Step] | None = None, samples: int = 300) -> Row:
    """The one figure of a detector, with its 95 % interval.

    Args:
        name: of the detector.
        steps: of it; the clips as they are come first.
        first: those of the detector that it is compared with: ``to first`` is by how much it exceeds that one, on the
            same sequences.
        samples: of the bootstrap.

    Raises:
        ValueError: if the first step is not of the clips as they are.
    """
    if not steps or steps[0].way != PLAIN:
        raise ValueError("the first step must be of the clips as they are, whose sequences are drawn")
    values = _means(steps, samples)
    row: Row = {"detector": name, MEAN: float(values[0])}
    row[f"{MEAN} low"], row[f"{MEAN} high"] = percentiles(values[1:])
    if first is not None:
        more = values - _means(first, samples)
        row["to first"], (row["to first low"], row["to first high"]) = float(more[0]), percentiles(more[1:])
    return row


def _means(steps: Sequence[Step], samples: int) -> Floats:
    """The one figure, then that of each draw: [1 + samples]."""
    names, weights = steps[0].outcomes.sequences, _weights(steps[0], samples)
    of_way: dict[str, list[Floats]] = {}
    for step in steps:
        if step.way != PLAIN:
            of_way.setdefault(step.way, []).append(_equal(step, names, weights))
    if not of_way:
        return np.full(1 + samples, np.nan)
    return np.asarray(np.mean([np.mean(values, axis=0) for values in of_way.values()], axis=0))


def _figures(step: Step) -> dict[str, Callable[[Floats], float]]:
    found = {f"Pd@{budget:g}": partial(pd_at, step.outcomes, budget) for budget in BUDGETS}
    return {**found, "AP50": partial(average_precision, step.overlaps)}


def _equal(step: Step, names: Sequence[str], weights: Floats) -> Floats:
    return _drawn(partial(pd_at, step.outcomes, EQUAL), step.outcomes.sequences, names, weights)


def _weights(plain: Step, samples: int) -> Floats:
    """How often each sequence counts: once, then as drawn: [1 + samples, S]."""
    count = len(plain.outcomes.sequences)
    return np.concatenate([np.ones((1, count)), draws(count, samples)])


def _drawn(
    figure: Callable[[Floats], float], sequences: Sequence[str], names: Sequence[str], weights: Floats
) -> Floats:
    """A figure for each row of weights [N, S] of the sequences ``names``, of which some may have lost all frames."""
    place = {name: at for at, name in enumerate(names)}
    kept = weights[:, [place[name] for name in sequences]]
    return np.array([figure(w) if w.any() else np.nan for w in kept])
