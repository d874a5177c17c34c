"""AP against a case worked out by hand and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from tdcnet.metrics.coco import evaluate
from tdcnet.metrics.matching import Frames
from tests.plain.cocoeval import pycocotools_curves

Frame = tuple[dict[str, Tensor], dict[str, Tensor]]


def frame(preds: list[list[float]], targets: list[list[float]]) -> Frame:
    """Detections of [x1, y1, x2, y2, score], targets of [x1, y1, x2, y2]."""
    p, t = torch.tensor(preds).reshape(-1, 5), torch.tensor(targets).reshape(-1, 4)
    return (
        {"boxes": p[:, :4], "scores": p[:, 4], "labels": torch.zeros(len(p), dtype=torch.int64)},
        {"boxes": t, "labels": torch.zeros(len(t), dtype=torch.int64)},
    )


def frames_of(*frames: Frame) -> Frames:
    return Frames.from_lists([p for p, _ in frames], [t for _, t in frames])


def test_ap_by_hand() -> None:
    box, elsewhere = [10.0, 10.0, 20.0, 20.0], [50.0, 50.0, 60.0, 60.0]
    everywhere, annotated = evaluate(
        frames_of(
            frame([[*box, 0.9]], [box]),
            frame([[*elsewhere, 0.8], [10.0, 10.0, 20.0, 16.0, 0.7]], [box]),  # the second with IoU 0.6
            frame([[*box, 0.95]], []),
        )
    )
    # Annotated frames, IoU 0.5: hit, false, hit: precision 1 up to recall 0.5 (51 points), then 2/3 (50 points).
    assert annotated.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    # With IoU 0.65 and more (7 of 10) the second is no hit: 1 up to recall 0.5, then 0; 0.6 itself counts as a hit.
    high, low = 51 / 101, (51 + 50 * 2 / 3) / 101
    assert annotated.ap == pytest.approx((3 * low + 7 * high) / 10)
    # All frames: false, hit, false, hit: precision 1/2 all along.
    assert everywhere.ap50 == pytest.approx(0.5)
    precision, recall = annotated.at_iou50()
    assert precision[[0, 50, 51, 100]].tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert recall == 1


@pytest.mark.parametrize("crowd", [4, 130])
def test_agrees_with_torchmetrics(crowd: int) -> None:
    g = torch.Generator().manual_seed(crowd)
    preds, targets = [], []
    for i in range(12):
        m = 0 if i % 4 == 3 else 1 + i % 3
        corner = torch.rand(m, 2, generator=g) * 300
        boxes = torch.cat([corner, corner + 5 + torch.rand(m, 2, generator=g) * 20], 1)
        noise = torch.rand(crowd, 2, generator=g) * 300
        found = torch.cat([boxes + torch.randn(m, 4, generator=g), torch.cat([noise, noise + 9], 1)])
        preds.append(
            {
                "boxes": found,
                # Rounded, so that scores tie within and between frames.
                "scores": (torch.rand(len(found), generator=g) * 50).round() / 50,
                "labels": torch.randint(3, (len(found),), generator=g),  # class 2 has no target
            }
        )
        targets.append({"boxes": boxes, "labels": torch.randint(2, (m,), generator=g)})
    everywhere, annotated = evaluate(Frames.from_lists(preds, targets))
    for curves, chosen in ((everywhere, range(12)), (annotated, [i for i in range(12) if len(targets[i]["boxes"])])):
        reference = MeanAveragePrecision(backend="pycocotools")
        reference.warn_on_many_detections = False
        reference.update([preds[i] for i in chosen], [targets[i] for i in chosen])
        expected = reference.compute()
        assert curves.ap50 == pytest.approx(float(expected["map_50"]), abs=1e-6)
        assert curves.ap == pytest.approx(float(expected["map"]), abs=1e-6)
    assert 0 < everywhere.ap < annotated.ap50


@pytest.mark.parametrize("seed", range(6))
def test_every_point_of_the_curves_is_that_of_pycocotools(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Crowds on a grid of whole pixels: equal scores, equal overlaps, overlaps exactly at a threshold, duplicates."""
    rng = np.random.default_rng(seed)
    preds, targets = [], []
    for _ in range(40):
        corners = rng.integers(0, 12, (rng.integers(0, 5), 2))
        boxes = np.concatenate([corners, corners + rng.integers(4, 9, corners.shape)], axis=1)
        found = boxes.repeat(3, axis=0) + rng.integers(-2, 3, (3 * len(boxes), 4)) * rng.integers(
            0, 2, (3 * len(boxes), 1)
        )
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        preds.append(
            {
                "boxes": torch.tensor(found, dtype=torch.float32).reshape(-1, 4),
                "scores": torch.tensor(rng.integers(1, 5, len(found)) / 4, dtype=torch.float32),
                "labels": torch.tensor(rng.integers(0, 3, len(found))),
            }
        )
        targets.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(rng.integers(0, 2, len(boxes))),
            }
        )
    frames = Frames.from_lists(preds, targets)
    everywhere, _ = evaluate(frames)
    precision, recall = pycocotools_curves(frames)
    np.testing.assert_allclose(everywhere.precision, precision, atol=1e-12)
    np.testing.assert_allclose(everywhere.recall, recall, atol=1e-12)
    assert 0.05 < everywhere.ap < everywhere.ap50 < 0.95
    capfd.readouterr()  # pycocotools prints


def test_nothing_found_nothing_there_and_silence(capfd: pytest.CaptureFixture[str]) -> None:
    box = [10.0, 10.0, 20.0, 20.0]
    for curves in evaluate(frames_of(frame([], [box]), frame([], []))):
        assert (curves.ap50, curves.ap) == (0.0, 0.0)
    for frames in (frames_of(frame([[*box, 0.9]], [])), frames_of()):
        for curves in evaluate(frames):
            assert math.isnan(curves.ap50) and math.isnan(curves.ap)
            assert np.isnan(curves.at_iou50()[0]).all()
    assert capfd.readouterr() == ("", "")
