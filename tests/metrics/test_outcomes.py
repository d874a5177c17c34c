from __future__ import annotations

import numpy as np
import pytest
import torch

from tdcnet.metrics import DetectionMetrics, coco
from tdcnet.metrics.matching import Frames
from tdcnet.metrics.outcomes import (
    Outcomes,
    at_threshold,
    average_precision,
    draws,
    interval,
    paired_difference,
    pd_at,
    roc,
    roc_area,
)
from tdcnet.metrics.pd_fa import pd_at_budgets, scored_hits
from tdcnet.metrics.rules import hit, iou


def frame(predictions, targets):
    """Boxes of 4 px round centres; predictions are (x, y, score)."""

    def boxes(points):
        return torch.tensor([[x - 2, y - 2, x + 2, y + 2] for x, y, *_ in points], dtype=torch.float32).reshape(-1, 4)

    return (
        {
            "boxes": boxes(predictions),
            "scores": torch.tensor([float(p[2]) for p in predictions]),
            "labels": torch.zeros(len(predictions)),
        },
        {"boxes": boxes(targets), "labels": torch.zeros(len(targets)), "size": torch.tensor([100, 200])},
    )


FRAMES = [
    ("b", [(10, 10, 0.9), (50, 50, 0.75)], [(10, 11)]),
    ("a", [(30, 30, 0.5)], [(30, 30), (80, 80)]),
    ("a", [(0, 0, 0.25)], []),
    ("b", [], [(20, 20)]),
]
SIDE = np.array([4.0, 4.0, 8.0, 12.0])


def columns(frames=FRAMES):
    pairs = [frame(p, t) for _, p, t in frames]
    return Frames.from_lists([p for p, _ in pairs], [t for _, t in pairs]), [name for name, *_ in frames]


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes.of(*columns(), {"side": SIDE})


def test_what_became_of_each(outcomes):
    assert outcomes.sequences == ("a", "b")
    assert outcomes.frames.tolist() == [2, 2]
    assert outcomes.pixels.tolist() == [40000, 40000]
    assert outcomes.target_sequence.tolist() == [1, 0, 0, 1]
    np.testing.assert_allclose(outcomes.found, [0.9, 0.5, -np.inf, -np.inf], rtol=1e-6)
    assert outcomes.false_sequence.tolist() == [1, 0]
    assert outcomes.false_pixels.tolist() == [16, 4]  # a quarter of the last box is inside


def test_figures_at_a_threshold(outcomes):
    figures = at_threshold(outcomes, 0.5)
    assert figures == pytest.approx(
        {
            "Pd": 0.5,
            "recall": 0.5,
            "precision": 2 / 3,
            "F1": 4 / 7,
            "Fa": 16 / 80000,
            "false_alarms_per_frame": 0.25,
            "false_alarms_per_megapixel": 12.5,
        }
    )
    nothing = at_threshold(outcomes, 0.99)
    assert nothing["Pd"] == 0 and np.isnan(nothing["precision"])


def test_roc_by_hand(outcomes):
    rate, pd, thresholds = roc(outcomes)
    np.testing.assert_allclose(thresholds, [np.inf, 0.9, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(rate, [0, 0, 0.25, 0.25, 0.5])
    np.testing.assert_allclose(pd, [0, 0.25, 0.25, 0.5, 0.5])
    assert pd_at(outcomes, 0.0) == 0.25 and pd_at(outcomes, 0.24) == 0.25 and pd_at(outcomes, 0.25) == 0.5
    # 0.25 up to a rate of 0.25, from there on 0.5.
    assert roc_area(outcomes, 1.0) == pytest.approx(0.25 * 0.25 + 0.75 * 0.5)
    assert roc_area(outcomes, 0.2) == pytest.approx(0.25)


def test_agrees_with_the_budgets_of_the_metric_classes():
    rng = np.random.default_rng(0)
    frames = []
    for i in range(200):
        targets = [tuple(rng.uniform(10, 90, 2)) for _ in range(rng.integers(0, 3))]
        predictions = [(x + rng.normal(0, 2), y, round(rng.random(), 1)) for x, y in targets]
        predictions += [(*rng.uniform(0, 100, 2), round(rng.random(), 1)) for _ in range(rng.integers(0, 3))]
        frames.append((f"s{i % 7}", predictions, targets))
    together, names = columns(frames)
    whole = Outcomes.of(together, names)
    budgets = (1.0, 0.5, 0.1)
    expected = pd_at_budgets(*scored_hits(together), len(whole.found), len(together), budgets)
    assert [pd_at(whole, b) for b in budgets] == pytest.approx([pd for pd, _ in expected])
    parts = Outcomes.joined(Outcomes.of(*columns(frames[i : i + 13])) for i in range(0, 200, 13))
    assert parts.sequences == whole.sequences and parts.frames.tolist() == whole.frames.tolist()
    for a, b in zip(roc(parts), roc(whole), strict=True):
        np.testing.assert_allclose(a, b)


def test_average_precision_is_that_of_coco():
    rng = np.random.default_rng(3)
    frames = []
    for i in range(300):
        targets = [tuple(rng.uniform(10, 90, 2)) for _ in range(rng.integers(0, 3))]
        predictions = [(x + rng.normal(0, 0.8), y, rng.random()) for x, y in targets]
        predictions += [(*rng.uniform(0, 100, 2), rng.random() ** 2) for _ in range(rng.integers(0, 3))]
        frames.append((f"s{i % 5}", predictions, targets))
    together, names = columns(frames)
    everywhere, _ = coco.evaluate(together)
    assert 0.3 < everywhere.ap50 < 0.9
    assert average_precision(Outcomes.of(together, names, rule=iou(0.5))) == pytest.approx(everywhere.ap50, abs=1e-6)
    assert average_precision(Outcomes.of(together, names)) > everywhere.ap50  # by centres more of them are hits


def test_by_overlap_is_the_published_ap50():
    """A false alarm above all hits, on an empty frame, costs the published figure nothing and the other one a lot."""
    frames, names = columns([*FRAMES, ("c", [(5, 5, 0.95)], [])])
    published = average_precision(Outcomes.by_overlap(frames, names))
    found = DetectionMetrics().figures(frames)
    assert published == pytest.approx(found["AP50"])
    everywhere = average_precision(Outcomes.of(frames, names, {}, iou(0.5), within_class=True))
    assert everywhere == pytest.approx(found["AP50_all_frames"]) and everywhere < published - 0.1
    assert Outcomes.by_overlap(frames, names).sequences == ("a", "b", "c")


def test_weights_are_as_good_as_repeated_sequences(outcomes):
    double = [*FRAMES, *[("c", p, t) for name, p, t in FRAMES if name == "a"]]
    repeated = Outcomes.of(*columns(double))
    weighted = np.array([2.0, 1.0])
    assert at_threshold(outcomes, 0.2, weighted) == pytest.approx(at_threshold(repeated, 0.2))
    assert pd_at(outcomes, 0.3, weighted) == pytest.approx(pd_at(repeated, 0.3))


def test_intervals(outcomes):
    drawn = draws(5, 2000)
    assert (drawn.sum(axis=1) == 5).all() and drawn.mean() == pytest.approx(1, abs=1e-9)

    def pd(o, w):
        return at_threshold(o, 0.6, w)["Pd"]

    # One sequence has Pd 0.5, the other 0: a sample of two holds 0, 0.25 or 0.5.
    assert interval(outcomes, pd, samples=500) == (0.0, 0.5)
    assert interval(outcomes, pd, samples=500) == interval(outcomes, pd, samples=500)
    assert paired_difference(outcomes, outcomes, pd, samples=50) == (0.0, 0.0, 0.0)


def test_a_paired_interval_is_narrower_than_the_two_apart():
    rng = np.random.default_rng(1)
    good, bad = [], []
    for s in range(30):
        share = rng.random()  # some sequences are hard for both
        for _ in range(20):
            seen = rng.random() < share
            good.append((f"s{s}", [(10, 10, 0.9)] if seen else [], [(10, 10)]))
            bad.append((f"s{s}", [(10, 10, 0.9)] if seen and rng.random() < 0.9 else [], [(10, 10)]))
    first, second = Outcomes.of(*columns(good)), Outcomes.of(*columns(bad))

    def pd(o, w):
        return at_threshold(o, 0.5, w)["Pd"]

    difference, low, high = paired_difference(first, second, pd, samples=300)
    alone = interval(first, pd, samples=300)
    assert 0 < low < difference < high and high - low < 0.5 * (alone[1] - alone[0])


def test_detectors_on_different_frames_are_not_compared(outcomes):
    other = Outcomes.of(*columns(FRAMES[:2]))
    with pytest.raises(ValueError, match="different frames"):
        paired_difference(outcomes, other, lambda o, w: 0.0)


def test_nothing_at_all():
    empty = Outcomes.of(*columns([("a", [], [])]))
    assert np.isnan(pd_at(empty, 1.0)) and np.isnan(at_threshold(empty, 0.5)["Pd"])
    assert at_threshold(empty, 0.5)["false_alarms_per_frame"] == 0


def test_rules_and_lengths():
    frames, names = columns([("a", [(10, 10, 0.5)], [(11.5, 10)])])
    assert np.isfinite(Outcomes.of(frames, names, rule=hit()).found).all()
    with pytest.raises(ValueError, match="must agree"):
        Outcomes.of(frames, names, {"side": np.zeros(3)})
