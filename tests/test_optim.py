from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

from tdcnet.models import tdcnet_nano
from tdcnet.optim import check_state, parameter_groups, warmup_cosine


def test_groups_hold_every_parameter_once():
    model = tdcnet_nano()
    decayed, free = parameter_groups(model, 0.1)
    assert decayed["weight_decay"] == 0.1 and free["weight_decay"] == 0.0
    ids = [id(p) for group in (decayed, free) for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    names = {id(p): n for n, p in model.named_parameters()}
    assert all(p.dim() > 1 for p in decayed["params"])
    assert not any("bias" in names[id(p)] for p in decayed["params"]), "position bias tables do not decay"


def test_frozen_parameters_are_left_out():
    model = tdcnet_nano()
    model.backbone_2d.requires_grad_(False)
    ids = {id(p) for group in parameter_groups(model, 0.1) for p in group["params"]}
    assert not ids & {id(p) for p in model.backbone_2d.parameters()}


def test_a_state_of_other_shapes_is_refused_before_a_fused_step_trusts_it():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    make, groups = functools.partial(torch.optim.AdamW, fused=True), parameter_groups(model, 0.05)
    optimizer = make(groups, lr=1e-3)
    model(torch.randn(2, 2, 8, 8)).square().sum().backward()
    optimizer.step()

    def with_state(**changes):
        state = copy.deepcopy(optimizer.state_dict())
        state["state"][0].update(changes)
        return {"optimizer_states": [state]}

    check_state(with_state(), make, groups)
    for changes, message in (
        ({"exp_avg": torch.zeros(3)}, "for parameter 0, expected"),
        ({"exp_avg": torch.zeros(3, 2, 3, 3, dtype=torch.float64)}, "for parameter 0, expected"),
        ({"more": torch.zeros(1)}, "for parameter 0, expected"),
        ({"step": torch.tensor(-5.0)}, "step of parameter 0 is below 0"),
        ({"exp_avg_sq": torch.full((3, 2, 3, 3), -1.0)}, "exp_avg_sq of parameter 0 is below 0"),
    ):
        with pytest.raises(ValueError, match=message):
            check_state(with_state(**changes), make, groups)
    unknown = with_state()
    unknown["optimizer_states"][0]["state"][99] = {}
    with pytest.raises(ValueError, match="knows a parameter 99"):
        check_state(unknown, make, groups)


@pytest.mark.parametrize(
    ("progress", "factor"), [(0.0, 0.0), (0.05, 0.25), (0.1, 1.0), (0.55, 0.505), (1.0, 0.01), (1.5, 0.01)]
)
def test_warmup_and_cosine_by_hand(progress, factor):
    assert warmup_cosine(progress, warmup=0.1, final=0.01) == pytest.approx(factor)
