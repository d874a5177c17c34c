from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from tdcnet.boxes import corners
from tdcnet.losses import DetectionLoss


def test_loss_and_gradient_agree_with_golden(golden):
    data = golden.load("loss.npz")
    raw = data["raw"].requires_grad_()
    targets = []
    for i in range(len(raw)):
        labels = data[f"labels_{i}"]
        targets.append({"boxes": corners(labels[:, :4]), "labels": labels[:, 4].long()})
    losses = DetectionLoss(1)(raw, targets)
    losses["loss"].backward()
    assert_close(losses["loss"].detach().double(), data["loss"], atol=1e-4, rtol=0)
    assert_close(raw.grad, data["grad"], atol=1e-5, rtol=0)
    parts = losses["loss_box"] + losses["loss_objectness"] + losses["loss_class"]
    assert_close(parts, losses["loss"])


def empty(n=1):
    return [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)} for _ in range(n)]


def test_without_targets_only_objectness_counts():
    raw = torch.zeros(2, 6, 4, 4, requires_grad=True)
    losses = DetectionLoss(1)(raw, empty(2))
    assert_close(losses["loss"].detach(), torch.tensor(2 * 16 * math.log(2)))
    losses["loss"].backward()
    assert raw.grad is not None and raw.grad[:, 4].ne(0).all()


def test_images_do_not_disturb_each_other():
    """The loss of a batch times its matched cells is the sum over its images one by one."""
    torch.manual_seed(0)
    raw = torch.randn(3, 7, 8, 8)
    boxes = [torch.tensor([[10.0, 10, 16, 15], [12, 9, 20, 18]]), torch.zeros(0, 4), torch.tensor([[40.0, 40, 43, 44]])]
    targets = [{"boxes": b, "labels": torch.arange(len(b)) % 2} for b in boxes]
    loss = DetectionLoss(2)
    whole = loss(raw, targets)
    single = [loss(raw[i : i + 1], targets[i : i + 1]) for i in range(3)]
    assert_close(whole["loss"] * whole["matched"], sum(s["loss"] * s["matched"] for s in single) - 0)


def test_perfect_prediction_costs_no_box_loss():
    """One cell predicts the box exactly, all others predict far away."""
    raw = torch.full((1, 6, 4, 4), -8.0)
    raw[0, :4, 1, 2] = torch.tensor([0.5, 0.5, 0.0, 0.0])  # centre (20, 12), 8 x 8 px
    raw[0, 4:, 1, 2] = 8.0
    losses = DetectionLoss(1)(raw, [{"boxes": torch.tensor([[16.0, 8, 24, 16]]), "labels": torch.tensor([0])}])
    assert losses["matched"] == 1
    assert_close(losses["loss_box"], torch.tensor(0.0), atol=1e-5, rtol=0)


def test_tiny_box_between_cell_centres_is_assigned():
    """A 2 px target holds no cell centre; the centre radius finds it cells all the same."""
    losses = DetectionLoss(1)(
        torch.zeros(1, 6, 8, 8), [{"boxes": torch.tensor([[15.0, 15, 17, 17]]), "labels": torch.tensor([0])}]
    )
    assert losses["matched"] >= 1


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected raw output \[1, 6, h, w\]"):
        DetectionLoss(1)(torch.zeros(1, 7, 4, 4), empty())
