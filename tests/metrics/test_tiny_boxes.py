"""AP with dot distance and SAFit: by hand, and against pycocotools with formulas of its own in IoU's place."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from tdcnet.metrics import DetectionMetrics
from tdcnet.metrics.matching import Frames
from tdcnet.metrics.tiny_boxes import LARGEST_MEAN_SIDE, mean_side, safit
from tests.plain.cocoeval import Box, pycocotools_curves

SIZE = torch.tensor([512, 640])
Data = tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]


def crowd(seed: int, scale: float) -> Data:
    """Boxes of 2 px to 20 px times ``scale`` near each other, with ties of scores, in two classes; empty frames."""
    rng = np.random.default_rng(seed)
    preds, targets = [], []
    for _ in range(40):
        n = rng.integers(0, 5)
        low = rng.uniform(0, 60 * scale, (n, 2))
        boxes = np.concatenate([low, low + scale * rng.uniform(2, 20, (n, 2))], 1)
        found = boxes.repeat(3, 0) + rng.normal(0, 3 * scale, (3 * n, 4)) * rng.integers(0, 2, (3 * n, 1))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        labels = rng.integers(0, 2, n)
        preds.append(
            {
                "boxes": torch.tensor(found).reshape(-1, 4),
                "scores": torch.tensor(rng.integers(1, 9, 3 * n) / 8),
                "labels": torch.tensor(labels.repeat(3)),
            }
        )
        targets.append({"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor(labels), "size": SIZE})
    return preds, targets


def by_safit(detection: Box, target: Box) -> float:
    """Of boxes x, y, w, h; the paper's formula, word by word."""
    (x, y, w, h), (a, b, c, d) = detection, target
    shared = max(0.0, min(x + w, a + c) - max(x, a)) * max(0.0, min(y + h, b + d) - max(y, b))
    iou = shared / (w * h + c * d - shared)
    apart = (x + w / 2 - a - c / 2) ** 2 + (y + h / 2 - b - d / 2) ** 2 + (w / 2 - c / 2) ** 2 + (h / 2 - d / 2) ** 2
    nwd = math.exp(-math.sqrt(apart) / 32)
    size = math.sqrt(c * d) / 32 - 1
    return iou / (1 + math.exp(-size)) + nwd * (1 - 1 / (1 + math.exp(-size)))


def by_dots(detection: Box, target: Box, mean: float) -> float:
    (x, y, w, h), (a, b, c, d) = detection, target
    return math.exp(-math.hypot(x + w / 2 - a - c / 2, y + h / 2 - b - d / 2) / mean)


@pytest.mark.parametrize(("seed", "scale"), [(0, 1.0), (1, 1.0), (2, 0.3), (3, 4.0)])
def test_average_precision_is_that_of_pycocotools(seed: int, scale: float, capfd: pytest.CaptureFixture[str]) -> None:
    data = crowd(seed, scale)
    metric = DetectionMetrics()
    for start in range(0, 40, 7):  # in batches, the last ones first
        some = list(range(40))[::-1][start : start + 7]
        metric.update([data[0][i] for i in some], [data[1][i] for i in some], some)
    result = metric.compute()
    frames = Frames.from_lists(*data)
    areas = [w * h for w, h in (frames.target_boxes[:, 2:] - frames.target_boxes[:, :2]).tolist()]
    mean = min(math.sqrt(sum(areas) / len(areas)), 64)
    for name, similarity in (("SAFit", by_safit), ("DotD", partial(by_dots, mean=mean))):
        precision, _ = pycocotools_curves(frames, similarity)
        assert result[f"AP50_{name}"] == pytest.approx(precision[0].mean(), abs=1e-9), name
        assert result[f"AP_{name}"] == pytest.approx(precision.mean(), abs=1e-9), name
        assert 0.02 < result[f"AP_{name}"] < result[f"AP50_{name}"] < 0.98
    capfd.readouterr()  # pycocotools prints


def test_by_hand() -> None:
    """One target of 4 px; the detection 3 px aside overlaps by 1/7, but its centre is near."""
    target, aside = [20.0, 20.0, 24.0, 24.0], [23.0, 20.0, 27.0, 24.0]
    preds = [{"boxes": torch.tensor([aside]), "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}]
    targets = [{"boxes": torch.tensor([target]), "labels": torch.tensor([0]), "size": SIZE}]
    metric = DetectionMetrics()
    metric.update(preds, targets, [0])
    result = metric.compute()
    assert result["AP50"] == 0
    # exp(-3 / 4) = 0.472 is below 0.5.
    assert result["AP50_DotD"] == 0
    # weight 1 / (1 + e^(1 - 4 / 32)) = 0.2942, NWD exp(-3 / 32) = 0.9105: 0.2942 / 7 + 0.7058 * 0.9105 = 0.6847,
    # over the thresholds 0.5, 0.55, 0.6 and 0.65 of ten.
    assert safit(np.array([aside]), np.array([target]))[0] == pytest.approx(0.6847, abs=1e-4)
    assert (result["AP50_SAFit"], result["AP_SAFit"]) == pytest.approx((1.0, 0.4))
    # With a second target of 8 px, not found, the mean side is sqrt((16 + 64) / 2) = 6.32 and exp(-3 / 6.32) = 0.622.
    targets[0]["boxes"] = torch.tensor([target, [50.0, 50.0, 58.0, 58.0]])
    targets[0]["labels"] = torch.tensor([0, 0])
    metric.reset()
    metric.update(preds, targets, [0])
    result = metric.compute()
    # Precision 1 up to recall 1/2: 51 of 101 points, at three of ten thresholds.
    assert (result["AP50_DotD"], result["AP_DotD"]) == pytest.approx((51 / 101, 0.3 * 51 / 101))


def test_a_hit_counts_for_its_class_only_and_false_ones_on_empty_frames_count() -> None:
    box = torch.tensor([[20.0, 20.0, 24.0, 24.0]])
    preds = [
        {"boxes": box, "scores": torch.tensor([0.9]), "labels": torch.tensor([1])},
        {"boxes": box, "scores": torch.tensor([0.95]), "labels": torch.tensor([0])},
        {"boxes": box, "scores": torch.tensor([0.8]), "labels": torch.tensor([0])},
    ]
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "size": SIZE}
    target = {"boxes": box, "labels": torch.tensor([0]), "size": SIZE}
    metric = DetectionMetrics()
    metric.update(preds, [target, nothing, target], [0, 1, 2])
    result = metric.compute()
    for name in ("DotD", "SAFit"):  # false, hit: precision 1/2 up to recall 1/2
        assert result[f"AP50_{name}"] == pytest.approx(0.5 * 51 / 101)


def test_mean_side_is_that_of_the_area_and_bounded() -> None:
    assert mean_side(np.array([9.0, 25.0])) == pytest.approx(math.sqrt(17))
    assert mean_side(np.array([1e6])) == LARGEST_MEAN_SIDE
    assert mean_side(np.zeros(0)) == 0


def test_nothing_to_find() -> None:
    metric = DetectionMetrics()
    metric.update([{"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}],
                  [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "size": SIZE}], [0])  # fmt: skip
    result = metric.compute()
    assert all(math.isnan(result[f"AP{at}_{name}"]) for at in ("", "50") for name in ("DotD", "SAFit"))
