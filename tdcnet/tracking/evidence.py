"""What a detection and a miss say for and against a target: logarithms of likelihood ratios, added up over a track.

As Blackman and Popoli, "Design and Analysis of Modern Tracking Systems" (1999), chapter 6, score tracks; after Sittler
(1964). The ratio is of "a target is here" to "all of it is false alarms".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BUDGET = 0.1
"""False alarms per frame at a detector's own threshold (``threshold@0.1`` of its validation)."""


@dataclass(frozen=True)
class Evidence:
    """How scores are read.

    Args:
        threshold: score from which on the detector has :data:`BUDGET` false alarms per frame.
        slope: e-folds of these for a unit of the score's logit.
        spread: density of targets' scores, per unit of logit; they lie anywhere over some units.
        appear: targets that come into view in a second.
    """

    threshold: float = 0.3
    slope: float = 1.0
    spread: float = 0.15
    appear: float = 0.1

    @classmethod
    def of_threshold(cls, threshold: float) -> Evidence:
        """Of a detector with that threshold, which is taken as away from 0 and 1."""
        return cls(threshold=min(max(threshold, 0.01), 0.99))

    def false_alarms(self, scores: Floats) -> Floats:
        """False alarms per frame and unit of logit at scores [N]."""
        at = logit(np.array([self.threshold]))
        return self.slope * BUDGET * np.exp(-self.slope * (logit(scores) - at))

    def of_first(self, scores: Floats, dt: float) -> Floats:
        """What the first detection of a track says [N]: nothing expected it where it is.

        Args:
            scores: [N].
            dt: seconds since the frame before.
        """
        return np.log(self.spread * self.appear * dt) - np.log(self.false_alarms(scores))

    def of_next(self, scores: Floats, density: Floats, area: float) -> Floats:
        """What a further detection says [N].

        Args:
            scores: [N].
            density: logarithm of how likely it was expected where it is, per px squared [N].
            area: of the frame, px.
        """
        return math.log(self.spread) - np.log(self.false_alarms(scores)) + density + math.log(area)


def logit(scores: Floats) -> Floats:
    """Logarithm of the odds; scores of 0 and 1 are taken as close to it."""
    clipped = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return np.log(clipped) - np.log1p(-clipped)


def score_of(logits: float) -> float:
    """The score of a logit."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, logits))))
