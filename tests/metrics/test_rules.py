from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from tdcnet.metrics import DetectionMetrics, PdFa
from tdcnet.metrics.matching import Frames, match_frames
from tdcnet.metrics.rules import RULES, centroid, hit, iou, within


def one_frame(detections, targets, scores=None) -> Frames:
    boxes, truth = torch.tensor(detections).reshape(-1, 4), torch.tensor(targets).reshape(-1, 4)
    scores = torch.ones(len(boxes)) if scores is None else torch.tensor(scores)
    return Frames.from_lists(
        [{"boxes": boxes, "scores": scores, "labels": torch.zeros(len(boxes))}],
        [{"boxes": truth, "labels": torch.zeros(len(truth))}],
        image_size=(100, 100),
    )


def square(x: float, y: float, side: float = 4.0) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def test_the_limit_is_in_within_and_not_in_centroid():
    frames = one_frame([square(13.0, 10)], [square(10.0, 10)])
    assert match_frames(frames, within(3.0)).tolist() == [0]
    assert match_frames(frames, centroid(3.0)).tolist() == [-1]
    assert match_frames(frames, centroid(3.01)).tolist() == [0]


def test_iou_is_that_of_torchvision():
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.uniform(0, 9, (200, 2, 2)), axis=1).reshape(-1, 4) for _ in range(2))
    fits, cost = iou(0.3)(a, b)
    expected = box_iou(torch.tensor(a), torch.tensor(b)).diagonal().numpy()
    np.testing.assert_allclose(1 - cost, expected, atol=1e-12)
    np.testing.assert_array_equal(fits, expected >= 0.3)


def test_iou_of_exactly_half_counts_and_boxes_without_area_do_not():
    half = one_frame([[0.0, 0, 4, 8], [0.0, 0, 0, 0]], [[0.0, 0, 8, 8]])
    assert match_frames(half, iou(0.5)).tolist() == [0, -1]


def test_hit_wants_the_centre_in_the_box():
    target = [10.0, 10, 14, 14]
    frames = one_frame([square(10.0, 13), square(14.0, 12), square(9.9, 12)], [target])
    assert match_frames(frames, hit()).tolist() == [0, -1, -1]


def test_the_larger_overlap_goes_first_though_its_score_is_lower():
    frames = one_frame([square(12.0, 10), square(10.5, 10)], [square(10.0, 10)], [0.9, 0.5])
    assert match_frames(frames, iou(0.1)).tolist() == [-1, 0]
    assert match_frames(frames, iou(0.1), order="score").tolist() == [0, -1]


@pytest.mark.parametrize("name", RULES)
def test_every_rule_takes_duplicates_once_and_nothing_for_nothing(name):
    rule = RULES[name]()
    same = square(10.0, 10)
    assert sorted(match_frames(one_frame([same, same], [same]), rule).tolist()) == [-1, 0]
    assert match_frames(one_frame([], [same]), rule).tolist() == []
    assert match_frames(one_frame([same], []), rule).tolist() == [-1]


def test_metrics_take_a_rule():
    prediction = [{"boxes": torch.tensor([square(15.0, 10, 12)]), "scores": torch.ones(1), "labels": torch.zeros(1)}]
    target = [{"boxes": torch.tensor([square(10.0, 10, 12)]), "labels": torch.zeros(1), "size": torch.tensor([50, 50])}]
    pickle.dumps(PdFa(rule=iou(0.5)))  # to other processes
    for rule, pd in ((None, 0.0), (hit(), 1.0), (iou(0.5), 0.0), (iou(0.4), 1.0)):
        metric = PdFa(rule=rule)
        metric.update(prediction, target)
        assert metric.compute()["Pd"] == pd
        suite = DetectionMetrics(rule=rule)
        suite.update(prediction, target, [0])
        assert suite.compute()["Pd@1"] == (pd if rule else 0.0)
