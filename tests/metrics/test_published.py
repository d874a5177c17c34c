"""The published P, R, F1 and AP50 against a direct computation without pycocotools."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tdcnet.metrics.published import published_scores


def direct(preds: list[dict[str, Tensor]], targets: list[dict[str, Tensor]]) -> dict[str, float]:
    """From the words of the protocol, one class, plain Python."""
    ranked = []
    for p, t in zip(preds, targets, strict=True):
        free = t["boxes"].tolist()
        for i in sorted(range(len(p["scores"])), key=lambda i: -p["scores"][i].item()):
            x1, y1, x2, y2 = p["boxes"][i].tolist()
            ious = []
            for a1, b1, a2, b2 in free:
                common = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
                ious.append(common / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - common))
            hit = bool(ious) and max(ious) >= 0.5
            if hit:
                free.pop(ious.index(max(ious)))
            ranked.append((p["scores"][i].item(), hit))
    ranked.sort(key=lambda pair: -pair[0])
    total = sum(len(t["boxes"]) for t in targets)
    points, hits = [], 0
    for n, (_, hit) in enumerate(ranked, start=1):
        hits += hit
        points.append((hits / total, hits / n))
    precision = [max((p for r, p in points if r >= k / 100), default=0.0) for k in range(101)]
    recall = hits / total
    p = sum(precision[: int(100 * recall)]) / int(100 * recall)
    return {"AP50": sum(precision) / 101, "P": p, "R": recall, "F1": 2 * p * recall / (p + recall)}


def clips() -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    g = torch.Generator().manual_seed(5)
    preds, targets = [], []
    for i in range(53):
        m = 0 if i % 6 == 5 else 1 + i % 2
        corner = torch.rand(m, 2, generator=g) * 500
        boxes = torch.cat([corner, corner + 8], 1)
        noise = torch.rand(i % 3, 2, generator=g) * 500
        found = torch.cat([boxes + 1.5 * torch.randn(m, 4, generator=g), torch.cat([noise, noise + 8], 1)])
        preds.append(
            {"boxes": found, "scores": torch.rand(len(found), generator=g), "labels": torch.zeros(len(found)).long()}
        )
        targets.append({"boxes": boxes, "labels": torch.zeros(m).long()})
    return preds, targets


@pytest.mark.parametrize("only_annotated", [True, False])
def test_agrees_with_a_direct_computation(only_annotated: bool) -> None:
    preds, targets = clips()
    result = published_scores(preds, targets, only_annotated)
    chosen = [i for i in range(len(preds)) if len(targets[i]["boxes"]) or not only_annotated]
    assert result == pytest.approx(direct([preds[i] for i in chosen], [targets[i] for i in chosen]), abs=1e-9)
    assert 0.1 < result["R"] < 0.95


def test_empty_frames_count_only_when_asked() -> None:
    preds, targets = clips()
    published, everywhere = published_scores(preds, targets), published_scores(preds, targets, only_annotated=False)
    assert everywhere["AP50"] < published["AP50"]
    assert everywhere["P"] < published["P"]
    assert everywhere["R"] == published["R"]


def test_by_hand() -> None:
    boxes = torch.tensor([[10.0, 10, 20, 20], [50, 50, 60, 60]])
    preds = [{"boxes": boxes[[0]], "scores": torch.tensor([0.9]), "labels": torch.zeros(1).long()}]
    result = published_scores(preds, [{"boxes": boxes, "labels": torch.zeros(2).long()}])
    # Precision 1 at recalls 0..0.5, that is 51 points of 101; P is over the first 50.
    assert result == pytest.approx({"AP50": 51 / 101, "P": 1.0, "R": 0.5, "F1": 2 / 3})


def test_nothing_found_is_zero_and_nothing_to_find_is_nan() -> None:
    none = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}
    target = {"boxes": torch.tensor([[0.0, 0, 5, 5]]), "labels": torch.zeros(1).long()}
    assert published_scores([none], [target]) == {"AP50": 0, "P": 0, "R": 0, "F1": 0}
    assert all(math.isnan(v) for v in published_scores([none], [none]).values())
