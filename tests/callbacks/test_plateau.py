from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from tdcnet.callbacks import Plateau
from tdcnet.losses import DetectionLoss


def run(callback: Plateau, shares: list[float], first: int = 1, per_step: int = 1) -> None:
    """Steps in which objectness costs so much of what a constant score would; ``per_step`` batches each."""
    trainer = SimpleNamespace(global_step=first - 1, is_global_zero=True, callback_metrics={})
    callback.on_train_start(trainer, None)
    for step, share in enumerate(shares, start=first):
        for batch in range(per_step):
            trainer.global_step = step if batch == per_step - 1 else step - 1
            trainer.callback_metrics = {
                "train/loss_objectness": torch.tensor(6.0 * share),
                "train/loss_constant": torch.tensor(6.0),
            }
            callback.on_train_batch_end(trainer, None, None, None, batch)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage().partition(":")[0] for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize("per_step", [1, 3])
def test_a_run_that_learns_nothing_is_told_and_told_again(per_step, caplog) -> None:
    run(Plateau(steps=20, every=10), [0.95] * 85, per_step=per_step)
    assert warnings_of(caplog) == ["step 20", "step 40", "step 80"]
    assert "loss=small_targets" in caplog.text and "95 %" in caplog.text


def test_one_that_learns_is_left_alone_and_one_that_begins_late_is_told(caplog) -> None:
    caplog.set_level(logging.INFO)
    run(Plateau(steps=20, every=10), [1.0] * 10 + [0.7] * 30)
    assert not caplog.records
    run(Plateau(steps=20, every=10), [1.0] * 20 + [0.7] * 20)
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == ["step 20", "step 30"]
    assert "has begun" in caplog.text


def test_a_resumed_run_counts_from_its_step(caplog) -> None:
    run(Plateau(steps=20, every=10), [0.9] * 25, first=101)
    assert warnings_of(caplog) == ["step 110"]


def test_no_targets_and_losses_of_ones_own_say_nothing(caplog) -> None:
    callback = Plateau(steps=1, every=1)
    trainer = SimpleNamespace(global_step=5, is_global_zero=True, callback_metrics={"train/loss": torch.tensor(1.0)})
    callback.on_train_start(trainer, None)
    callback.on_train_batch_end(trainer, None, None, None, 0)
    zero = torch.tensor(0.0)
    trainer.callback_metrics = {"train/loss_objectness": torch.tensor(3.0), "train/loss_constant": zero}
    trainer.global_step = 9
    callback.on_train_batch_end(trainer, None, None, None, 0)
    assert not caplog.records


def test_the_loss_of_a_constant_score_is_the_least_that_one_can_have() -> None:
    torch.manual_seed(0)
    raw = torch.zeros(2, 6, 6, 8)
    raw[:, 4] = torch.randn(2, 6, 8) - 3
    targets = [
        {"boxes": torch.tensor([[10.0, 10.0, 22.0, 20.0], [40.0, 30.0, 46.0, 35.0]]), "labels": torch.tensor([0, 0])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()},
    ]
    losses = DetectionLoss()(raw, targets)
    cells, matched = 2 * 48, int(losses["matched"])
    goal = torch.zeros(cells)
    goal[:matched] = 1
    each = [
        F.binary_cross_entropy_with_logits(torch.full((cells,), score), goal, reduction="sum").item() / matched
        for score in torch.linspace(-8, 4, 400).tolist()
    ]
    assert losses["loss_constant"].item() == pytest.approx(min(each), rel=1e-3)
    best = math.log(matched / (cells - matched))
    raw[:, 4] = best  # the same matches or not, its loss is that of the constant
    again = DetectionLoss()(raw, targets)
    if int(again["matched"]) == matched:
        assert again["loss_objectness"].item() == pytest.approx(again["loss_constant"].item(), rel=1e-5)
    nothing = DetectionLoss()(raw, [targets[1], targets[1]])
    assert nothing["loss_constant"].item() == 0
