from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from tdcnet.callbacks import EMA
from tdcnet.detection import DetectionModule
from tdcnet.models import tdcnet_nano


@pytest.fixture
def module():
    return DetectionModule(tdcnet_nano())


def trainer(step, fn="fit"):
    return SimpleNamespace(global_step=step, state=SimpleNamespace(fn=fn))


def test_average_by_hand(module):
    ema = EMA(decay=0.9, ramp=2)
    weight = module.model.head.box_pred.bias
    with torch.no_grad():
        weight.fill_(0.0)
        ema.on_fit_start(trainer(0), module)
        expected = 0.0
        for step, value in enumerate((1.0, -2.0, 4.0), start=1):
            weight.fill_(value)
            ema.on_train_batch_end(trainer(step), module, None, None, 0)
            decay = 0.9 * (1 - math.exp(-step / 2))
            expected = decay * expected + (1 - decay) * value
    assert ema.average["head.box_pred.bias"][0].item() == pytest.approx(expected)


def test_batches_without_an_optimiser_step_do_not_count(module):
    ema = EMA()
    ema.on_fit_start(trainer(0), module)
    for step in (0, 0, 1, 1, 2):
        ema.on_train_batch_end(trainer(step), module, None, None, 0)
    assert ema.updates == 2


def test_validation_sees_the_average_and_training_its_own_weights(module):
    ema = EMA(decay=0.5, ramp=1)
    weight = module.model.head.box_pred.bias
    with torch.no_grad():
        weight.fill_(0.0)
        ema.on_fit_start(trainer(0), module)
        weight.fill_(1.0)
        ema.on_train_batch_end(trainer(1), module, None, None, 0)
    average = ema.average["head.box_pred.bias"].clone()
    ema.on_validation_start(trainer(1), module)
    assert_close(weight.detach(), average)
    checkpoint = {"state_dict": {f"model.{n}": v for n, v in module.model.state_dict().items()}}
    ema.on_save_checkpoint(trainer(1), module, checkpoint)
    assert_close(checkpoint["state_dict"]["model.head.box_pred.bias"], torch.ones(4))
    assert_close(checkpoint["ema"]["average"]["head.box_pred.bias"], average)
    ema.on_validation_end(trainer(1), module)
    assert_close(weight.detach(), torch.ones(4))


def test_counters_are_not_averaged(module):
    ema = EMA()
    ema.on_fit_start(trainer(0), module)
    assert not any(name.endswith("num_batches_tracked") for name in ema.average)
    assert any(name.endswith("running_var") for name in ema.average)


@pytest.mark.parametrize(("decay", "ramp"), [(1.0, 10), (-0.1, 10), (0.9, 0)])
def test_arguments_are_checked(decay, ramp):
    with pytest.raises(ValueError, match="expected 0 <= decay < 1"):
        EMA(decay, ramp)
