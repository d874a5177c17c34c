"""Pd and Fa, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tdcnet.metrics.pd_fa import PdAtFalseAlarms, PdFa, pd_at_budgets

SIZE = torch.tensor([100, 200])  # height, width


def boxes(*centres: tuple[float, float]) -> Tensor:
    """Boxes of 4 x 2 px round the centres."""
    c = torch.tensor(centres).reshape(-1, 2)
    return torch.cat([c - torch.tensor([2.0, 1.0]), c + torch.tensor([2.0, 1.0])], 1)


def prediction(*found: tuple[float, float, float]) -> dict[str, Tensor]:
    """Detections of (x, y, score)."""
    return {
        "boxes": boxes(*((x, y) for x, y, _ in found)),
        "scores": torch.tensor([s for _, _, s in found]),
        "labels": torch.zeros(len(found), dtype=torch.int64),
    }


def target(*centres: tuple[float, float]) -> dict[str, Tensor]:
    return {"boxes": boxes(*centres), "labels": torch.zeros(len(centres), dtype=torch.int64), "size": SIZE}


def test_counts_by_hand() -> None:
    metric = PdFa(score_threshold=0.5, distance=3.0)
    metric.update(
        [
            prediction((53, 50, 0.5), (50, 51, 0.9), (150, 20, 0.49)),  # a hit, a second one on the same target
            prediction((10, 10, 0.8)),  # on an empty frame
        ],
        [target((50, 50), (150, 20)), target()],
    )
    metric.update([prediction((200, 99.5, 0.9)), prediction()], [target((20, 20)), target((20, 20))])
    result = metric.compute()
    counts = {k: int(v) for k, v in result.items() if k not in ("Pd", "Fa", "false_alarms_per_frame")}
    assert counts == {"targets": 4, "hits": 1, "false_alarms": 3, "frames": 4, "empty_frames": 1}
    assert result["Pd"].item() == 1 / 4
    assert result["false_alarms_per_frame"].item() == 3 / 4
    # Two boxes of 8 px; of the third, 198..202 x 98.5..100.5, 2 x 1.5 px lie in the image.
    assert result["Fa"].item() == (8 + 8 + 3) / (4 * 100 * 200)


def test_the_limit_itself_counts() -> None:
    metric = PdFa(distance=3.0)
    metric.update([prediction((53, 50, 0.9))], [target((50, 50))])
    assert metric.compute()["hits"] == 1


def test_no_targets_is_nan_without_a_warning() -> None:
    metric = PdFa()
    metric.update([prediction((10, 10, 0.8)), prediction()], [target(), target()])
    result = metric.compute()
    assert result["Pd"].isnan()
    assert result["Fa"].item() == 8 / 40_000
    assert result["empty_frames"] == 2


def test_size_may_come_from_the_constructor_but_must_come() -> None:
    bare = {k: v for k, v in target().items() if k != "size"}
    metric = PdFa(image_size=(10, 20))
    metric.update([prediction((5, 5, 0.9))], [bare])
    assert metric.compute()["Fa"].item() == 8 / 200
    with pytest.raises(ValueError, match="image_size"):
        PdFa().update([prediction()], [bare])


def test_within_class() -> None:
    preds, targets = prediction((50, 50, 0.9)), target((50, 50))
    targets["labels"] = targets["labels"] + 1
    for within_class, hits in ((False, 1), (True, 0)):
        metric = PdFa(within_class=within_class)
        metric.update([preds], [targets])
        assert metric.compute()["hits"] == hits


def test_false_pixels_survive_a_cast_to_half() -> None:
    metric = PdFa().to(torch.bfloat16)
    for _ in range(100):
        metric.update([prediction((10, 10, 0.8))], [target()])
    assert metric.compute()["Fa"].item() == 8 / 20_000


def test_pd_at_budgets_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.6, 0.5])
    hits = np.array([1, 0, 1, 0, 0, 1]) > 0
    # Thresholds 0.9, 0.8, 0.7, 0.6, 0.5: false alarms 0, 1, 2, 3, 3 and hits 1, 1, 2, 2, 3 of 4.
    assert pd_at_budgets(scores, hits, 4, 10, (0.3, 0.29, 0.2, 0.19, 0.1, 0.0)) == [
        (3 / 4, 0.5),
        (2 / 4, 0.7),
        (2 / 4, 0.7),
        (1 / 4, 0.8),  # the false alarm at 0.7 takes the hit at 0.7 with it
        (1 / 4, 0.8),
        (1 / 4, 0.9),
    ]


def test_a_budget_too_small_for_anything() -> None:
    assert pd_at_budgets(np.array([0.9]), np.array([False]), 4, 10, (0.05,)) == [(0.0, math.inf)]
    assert pd_at_budgets(np.zeros(0), np.zeros(0, dtype=bool), 4, 10, (0.05,)) == [(0.0, math.inf)]


def test_a_budget_is_met_exactly_in_spite_of_floating_point() -> None:
    # 0.29 * 100 is 28.999999999999996.
    assert pd_at_budgets(np.full(29, 0.5), np.zeros(29, dtype=bool), 1, 100, (0.29,)) == [(0.0, 0.5)]


def test_pd_at_false_alarms_from_boxes() -> None:
    metric = PdAtFalseAlarms(budgets=(1, 0.5))
    assert not metric.to(torch.bfloat16).update(
        [
            # In order of score: takes target 0; nothing left within 3 px for the second; a false alarm.
            prediction((51.75, 50, 0.9), (50.5, 50, 0.8), (100, 50, 0.3)),
            prediction((10, 10, 0.85)),
        ],
        [target((50, 50), (54, 50)), target()],
    )
    metric.update([prediction((20, 20, 0.82)), prediction()], [target((20, 20)), target((60, 60))])
    result = metric.compute()
    # 4 frames, 4 targets; descending: hit .9, false .85, hit .82, false .8, false .3
    assert {k: round(v.item(), 6) for k, v in result.items()} == {
        "Pd@1": 0.5,
        "threshold@1": 0.3,
        "Pd@0.5": 0.5,
        "threshold@0.5": 0.8,
    }


def test_pd_at_false_alarms_without_targets() -> None:
    metric = PdAtFalseAlarms(budgets=(1,))
    metric.update([prediction((10, 10, 0.5))], [target()])
    result = metric.compute()
    assert result["Pd@1"].isnan()
    assert result["threshold@1"] == 0.5
