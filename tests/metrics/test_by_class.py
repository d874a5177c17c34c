"""Figures of each class, on cases counted by hand and against those of all classes together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tdcnet.metrics import DetectionMetrics
from tdcnet.metrics.by_class import by_class, confusion
from tdcnet.metrics.matching import Frames

CLASSES = ("bird", "drone", "plane")
SIZE = torch.tensor([100, 100])


def box(x: float, y: float = 10.0) -> list[float]:
    return [x, y, x + 8, y + 8]


def frame(found: list[tuple[float, float, int]], true: list[tuple[float, int]]) -> tuple[dict, dict]:
    """Detections (x, score, class) and targets (x, class)."""
    return (
        {
            "boxes": torch.tensor([box(x) for x, *_ in found]).reshape(-1, 4),
            "scores": torch.tensor([score for _, score, _ in found]),
            "labels": torch.tensor([label for *_, label in found], dtype=torch.int64),
        },
        {
            "boxes": torch.tensor([box(x) for x, _ in true]).reshape(-1, 4),
            "labels": torch.tensor([label for _, label in true], dtype=torch.int64),
            "size": SIZE,
        },
    )


@pytest.fixture
def frames() -> Frames:
    pairs = [
        frame([(10, 0.9, 0), (40, 0.8, 0)], [(10, 0), (40, 1)]),  # a drone taken for a bird
        frame([(10, 0.7, 1), (70, 0.6, 1)], [(11, 1)]),  # a drone, and a false alarm called one
        frame([(10, 0.4, 0)], [(10, 0)]),  # found below the threshold
        frame([(50, 0.95, 1)], []),  # a false alarm on an empty frame
    ]
    return Frames.from_lists([a for a, _ in pairs], [b for _, b in pairs])


def test_each_class_by_hand(frames):
    bird, drone, plane = by_class(frames, CLASSES)
    assert (bird["targets"], drone["targets"], plane["targets"]) == (2, 2, 0)
    assert (bird["Pd"], drone["Pd"]) == (0.5, 0.5) and math.isnan(plane["Pd"])
    # Of four frames: the drone called a bird; two detections called drones where there is nothing.
    assert (bird["false_alarms_per_frame"], drone["false_alarms_per_frame"]) == (0.25, 0.5)
    assert bird["Fa"] == pytest.approx(64 / 40_000) and drone["Fa"] == pytest.approx(2 * 64 / 40_000)
    assert plane["false_alarms_per_frame"] == 0 and math.isnan(plane["AP50"])
    # Birds in order of score: hit, false, hit. Precision 1 up to recall 1/2, then 2/3; 51 and 50 of 101 points.
    assert bird["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    # Drones on frames that have a target: hit (x = 10 on 11: IoU 7/9), false; one is never found.
    assert drone["AP50"] == pytest.approx(51 / 101)


def test_ap_of_all_is_the_mean_of_the_classes(frames):
    rows = by_class(frames, CLASSES)
    for key in ("AP50", "AP"):
        each = [row[key] for row in rows if not math.isnan(row[key])]
        assert DetectionMetrics().figures(frames)[key] == pytest.approx(np.mean(each))


def test_which_is_taken_for_which_by_hand(frames):
    assert confusion(frames, CLASSES).tolist() == [
        [1, 0, 0, 1],  # birds: one found as such, one missed at the threshold
        [1, 1, 0, 0],  # drones: one found as a bird
        [0, 0, 0, 0],
        [0, 2, 0, 0],  # false alarms
    ]
    low = confusion(frames, CLASSES, 0.3)
    assert low[0].tolist() == [2, 0, 0, 0] and low.sum() == 6
    none = confusion(frames, CLASSES, 1.0)
    assert none[:, 3].tolist() == [2, 2, 0, 0] and none[:, :3].sum() == 0
