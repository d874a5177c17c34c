"""The yardstick computes what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.official import convert
from tdcnet.models import tdcnet, tdcnet_nano
from tests.conftest import randomise_norms
from tests.plain.network import plain, unmasked


@torch.no_grad()
def test_agrees_with_golden(golden):
    model = tdcnet(in_channels=1)
    model.load_state_dict(convert(golden.checkpoint()))
    both = golden.image("gray_clip", (1, 1, 10, 64, 96))
    expected = golden.load("tdcnet_gray_64x96.npz")["output"]
    for deployed in (False, True):
        assert_close(plain(model.eval(), deployed).eval()(both[:, :, :5], both[:, :, 5:]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(64, 96), (160, 32)])
@torch.no_grad()
def test_fast_forms_give_the_same(size):
    torch.manual_seed(0)
    model = unmasked(randomise_norms(tdcnet_nano())).eval()
    aligned, frames = torch.rand(2, 2, 1, 5, *size).unbind(0)
    expected = plain(model).eval()(aligned, frames)
    for form in (model, reparameterize(model), plain(model, deployed=True).eval()):
        assert_close(form(aligned, frames), expected, atol=1e-4, rtol=1e-4)


def test_training_form_gives_the_same_outputs_gradients_and_statistics():
    torch.manual_seed(0)
    model = unmasked(randomise_norms(tdcnet_nano())).double().train()  # norms over tiny maps magnify rounding
    yardstick = plain(model).double().train()
    aligned, frames = torch.rand(2, 2, 1, 5, 96, 64, dtype=torch.float64).unbind(0)
    outputs = [form(aligned, frames) for form in (model, yardstick)]
    assert_close(*outputs, atol=1e-7, rtol=1e-7)
    for output in outputs:
        output.square().mean().backward()
    ours, theirs = model.backbone_3d.stem, yardstick.network.backbone_3d.stem
    assert_close(ours.conv.weight.grad, theirs[0].weight.grad.sum(1, keepdim=True) / 3, atol=1e-7, rtol=1e-6)
    assert_close(model.head.box_pred.weight.grad, yardstick.network.head.box_pred.weight.grad, atol=1e-7, rtol=1e-6)
    branches = yardstick.network.backbone_tdc.stem.norms
    running = torch.stack([norm.running_var for norm in branches], dim=1).flatten()
    assert_close(model.backbone_tdc.stem.norm.running_var, running, atol=1e-9, rtol=1e-6)
