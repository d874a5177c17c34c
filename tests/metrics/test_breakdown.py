from __future__ import annotations

import numpy as np
import pytest

from tdcnet.masks import boxes_to_mask
from tdcnet.metrics.breakdown import Scored, by_attribute, by_protocol, by_sequence, ranking_figures
from tdcnet.metrics.mask_protocols import MASK_PROTOCOLS, MaskCounts
from tdcnet.metrics.outcomes import average_precision, pd_at
from tests.metrics.test_outcomes import FRAMES, SIDE, columns


@pytest.fixture
def scored() -> Scored:
    return Scored.of(*columns(), {"side": SIDE}, 0.5)


def test_sequences_are_told_as_if_alone(scored):
    a, b = by_sequence(scored)
    assert (a["sequence"], a["frames"], a["targets"], a["Pd"], a["false_alarms_per_frame"]) == ("a", 2, 2, 0.5, 0)
    assert (b["sequence"], b["targets"], b["false_alarms_per_frame"]) == ("b", 2, 0.5)
    for name, row in (("a", a), ("b", b)):
        alone = Scored.of(*columns([f for f in FRAMES if f[0] == name]), {}, 0.5)
        assert {key: row[key] for key in ranking_figures(alone)} == pytest.approx(ranking_figures(alone))


def test_bins_hold_their_targets_against_all_false_alarms(scored):
    bins = by_attribute(scored, "side", [2, 8, 10, 20, 30])
    assert [row["targets"] for row in bins] == [2, 1, 1, 0]
    assert [row["Pd"] for row in bins[:3]] == [1.0, 0.0, 0.0] and np.isnan(bins[3]["Pd"])
    # The first bin's targets are hit at 0.9 and 0.5; the false alarms are at 0.75 (between) and 0.25, on four frames.
    assert [bins[0][key] for key in ("Pd@1", "Pd@0.1")] == [1.0, 0.5]
    assert bins[0]["centre AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert np.isnan(bins[3]["AP50"]) and np.isnan(bins[3]["ROC area"])


def test_a_bin_of_all_is_the_whole(scored):
    (row,) = by_attribute(scored, "side", [0, np.inf])
    whole = ranking_figures(scored)
    assert {key: row[key] for key in whole} == pytest.approx(whole)
    assert whole["AP50"] == average_precision(scored.overlaps)
    assert whole["Pd@0.1"] == pd_at(scored.outcomes, 0.1)


def test_detectors_are_compared_at_equal_false_alarms():
    frames, names = columns()
    # Scores 0.9 (hit), 0.75 (false), 0.5 (hit), 0.25 (false) on four frames.
    assert Scored.of(frames, names, {}, None).threshold == pytest.approx(0.9), "one false alarm would be 0.25 a frame"
    only_false, _ = columns([("a", [(50, 50, 0.9)], [(10, 10)])])
    assert Scored.of(only_false, ["a"], {}, None).threshold == np.inf


def test_ways_of_counting():
    frames, _ = columns(
        [
            ("a", [(10, 10, 0.9), (42.5, 40, 0.8), (70, 70, 0.7)], [(10, 10), (40, 40)]),
            ("a", [(10, 13, 0.9), (20, 20, 0.1)], [(10, 10)]),
            ("a", [], []),
        ]
    )
    rows = {row["protocol"]: row for row in by_protocol(frames, 0.5)}
    # 2.5 px and exactly 3 px off, boxes of 4 px: overlaps of 6 of 26 and 4 of 28; 3 px off is outside the box.
    assert {name: rows[name]["hits"] for name in ("within", "centroid", "iou", "hit")} == {
        "within": 3,
        "centroid": 2,
        "iou": 1,
        "hit": 1,
    }
    assert rows["within"]["Fa"] == pytest.approx(16 / 60000)
    assert {rows[name]["on"] for name in MASK_PROTOCOLS} == {"filled boxes"}
    pictures = [((100, 200), frames.above(0.5).pred_boxes[:3], frames.target_boxes[:2])]
    pictures += [((100, 200), frames.above(0.5).pred_boxes[3:], frames.target_boxes[2:])]
    for name, protocol in MASK_PROTOCOLS.items():
        expected = sum((protocol(boxes_to_mask(p, s), boxes_to_mask(t, s)) for s, p, t in pictures), MaskCounts())
        assert (rows[name]["targets"], rows[name]["hits"]) == (3, expected.hits)
        assert rows[name]["Fa"] == pytest.approx(expected.false_pixels / 60000)
    assert rows["dnanet"]["Fa"] < rows["basicirstd"]["Fa"], "a false alarm as large as a hit vanishes"


def test_ways_of_counting_nothing():
    frames, _ = columns([("a", [], [])])
    assert all(row["Fa"] == 0 and np.isnan(row["Pd"]) for row in by_protocol(frames, 0.5))
