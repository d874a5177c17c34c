from __future__ import annotations

import pytest

from tdcnet.models import tdcnet_nano
from tdcnet.optim import parameter_groups, warmup_cosine


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


@pytest.mark.parametrize(
    ("progress", "factor"), [(0.0, 0.0), (0.05, 0.25), (0.1, 1.0), (0.55, 0.505), (1.0, 0.01), (1.5, 0.01)]
)
def test_warmup_and_cosine_by_hand(progress, factor):
    assert warmup_cosine(progress, warmup=0.1, final=0.01) == pytest.approx(factor)
