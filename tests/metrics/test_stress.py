"""The figures of a detector under stress, on outcomes made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tdcnet.metrics.outcomes import Outcomes
from tdcnet.metrics.stress import PLAIN, Step, mean_row, stress_row


def outcomes(found: dict[str, list[bool]]) -> Outcomes:
    """Sequences with a frame per target, found or not, and no false alarm."""
    names = tuple(sorted(found))
    counts = [len(found[name]) for name in names]
    hits = np.concatenate([found[name] for name in names])
    return Outcomes(
        names,
        np.array(counts),
        np.array(counts, float) * 100,
        np.repeat(np.arange(len(names)), counts),
        np.where(hits, 0.9, -np.inf),
        {},
        np.zeros(0, np.int64),
        np.zeros(0),
        np.zeros(0),
    )


def step(way: str, strength: float, **found: list[bool]) -> Step:
    made = outcomes(found)
    return Step(way, strength, made, made)


PLAIN_STEP = step(PLAIN, math.nan, a=[True, True], b=[True, True])
STEPS = [
    PLAIN_STEP,
    step("noise", 2, a=[True, True], b=[True, False]),
    step("noise", 4, a=[True, False], b=[False, False]),
    step("dropped", 0.5, b=[True, True]),  # of sequence a no frame is left
]


def test_each_way_counts_once_however_many_steps_it_has():
    row = mean_row("x", STEPS)
    assert row["mean"] == pytest.approx(((0.75 + 0.25) / 2 + 1) / 2)
    assert row["mean low"] <= row["mean"] <= row["mean high"]


def test_steps_are_held_against_the_clips_as_they_are():
    rows = [stress_row("x", each, PLAIN_STEP) for each in STEPS]
    assert [row["Pd@0.1"] for row in rows] == [1, 0.75, 0.25, 1]
    assert [row["to plain"] for row in rows] == [0, -0.25, -0.75, 0]
    assert [row["targets"] for row in rows] == [4, 4, 4, 2]
    # All targets of a draw are in a, in b, or half of them in each: .5, 0 or .25 is found at noise 4.
    assert (rows[2]["Pd@0.1 low"], rows[2]["Pd@0.1 high"]) == (0, 0.5)
    assert (rows[2]["to plain low"], rows[2]["to plain high"]) == (-1, -0.5)


def test_detectors_are_compared_on_the_same_draws():
    worse = [PLAIN_STEP, step("noise", 2, a=[True, False], b=[False, False])]
    better = [PLAIN_STEP, step("noise", 2, a=[True, True], b=[True, False])]
    row = mean_row("x", better, worse)
    assert (row["to first"], row["to first low"], row["to first high"]) == (0.5, 0.5, 0.5), "the same in both sequences"


def test_draws_of_lost_sequences_alone_tell_nothing():
    row = stress_row("x", STEPS[3], PLAIN_STEP)
    assert row["Pd@0.1 low"] == row["Pd@0.1 high"] == 1, "where nothing of b is drawn there is nothing to find"


def test_the_clips_as_they_are_come_first():
    with pytest.raises(ValueError, match="first step must be of the clips as they are"):
        mean_row("x", STEPS[1:])
    assert math.isnan(mean_row("x", STEPS[:1])["mean"])
