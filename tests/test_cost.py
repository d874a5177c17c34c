"""Costs against arithmetic by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tdcnet.cost import OTHER, Cost, count, following, kept, parts_of
from tdcnet.models import tdcnet_nano
from tdcnet.models.single_stream import single_stream

PASSES = [torch.enable_grad, torch.inference_mode]


def cost_of(model, *inputs):
    return count(model, lambda: model(*inputs))[OTHER]


@pytest.mark.parametrize("in_pass", PASSES)
def test_convolution(in_pass):
    with in_pass():
        cost = cost_of(nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.rand(2, 3, 10, 12))
        assert (cost.flops, cost.convolutions, cost.matmuls) == (2 * (2 * 8 * 5 * 6) * (3 * 9), 1, 0)
        assert cost.parameters == 8 * 3 * 9 + 8
        depthwise = cost_of(nn.Conv3d(6, 6, (5, 3, 3), padding=(2, 1, 1), groups=6), torch.rand(1, 6, 4, 7, 5))
        assert depthwise.flops == 2 * (6 * 4 * 7 * 5) * 45


@pytest.mark.parametrize("in_pass", PASSES)
def test_linear(in_pass):
    with in_pass():
        cost = cost_of(nn.Linear(5, 6), torch.rand(4, 7, 5))
    assert (cost.flops, cost.convolutions, cost.matmuls) == (2 * 4 * 7 * 5 * 6, 0, 1)


class Attention(nn.Module):
    """Windows [W, N, C] with a learnt bias."""

    def __init__(self, channels, n, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.rand(heads, n, n))

    def forward(self, x):
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, dim=-1))
        return self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("in_pass", PASSES)
@pytest.mark.parametrize("trained", [True, False])
def test_window_attention_whether_fused_or_step_by_step(in_pass, trained):
    windows, n, channels = 3, 8, 12
    model = Attention(channels, n, heads=2).requires_grad_(trained)
    with in_pass():
        cost = cost_of(model, torch.rand(windows, n, channels))
    products = n * n * channels  # of each window: heads times n x n times channels / heads
    assert cost.flops == 2 * windows * (n * channels * 4 * channels + 2 * products)
    assert cost.matmuls == 4


def test_kept_are_each_storage_once_and_no_parameters():
    conv = nn.Conv2d(1, 4, 3, padding=1)
    x = torch.rand(1, 1, 8, 8)

    def run():
        y = F.relu(conv(x))  # keeps x and the weight, then y
        return y.flatten() * y.flatten()  # y again

    assert count(conv, run)[OTHER].kept_bytes == kept(run, conv.parameters()) == 4 * (64 + 4 * 64)
    assert kept(run) == 4 * (64 + 4 * 64 + 36)
    with torch.no_grad():
        assert kept(run) == 0


def two_layers():
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 5)))


def test_parts_are_followed_forwards_and_backwards():
    model, seen = two_layers(), []
    with following(model, ["0", "1", "1.1"], seen.append):
        y = model(torch.rand(2, 3)).sum()
        assert seen == ["0", OTHER, "1", "1.1", "1", OTHER]
        seen.clear()
        y.backward()
    assert seen == ["1.1", "0"]
    seen.clear()
    model(torch.rand(2, 3))
    assert seen == []
    with pytest.raises(AttributeError, match="nothing"), following(model, ["nothing"], seen.append):
        pass


def test_costs_by_part():
    model = two_layers()
    x = torch.rand(2, 3)
    costs = count(model, lambda: model(x).mul(2), ["0", "1"])
    assert costs == {
        "0": Cost(parameters=16, flops=2 * 2 * 3 * 4, matmuls=1, kept_bytes=4 * 6),
        "1": Cost(parameters=25, flops=2 * 2 * 4 * 5, matmuls=1, kept_bytes=4 * 8),
        OTHER: Cost(),
    }
    assert sum(costs.values(), Cost()) == cost_of(model, x)


def test_parts_of_a_detector_make_up_the_whole():
    model = tdcnet_nano().train()
    x = torch.rand(2, 1, 5, 64, 64)
    parts = parts_of(model)
    scales = [f"fusion.scales.{i}" for i in range(3)]
    assert parts == ["backbone_tdc", "backbone_3d", "backbone_2d", *scales, "neck", "head"]
    costs = count(model, lambda: model(x, x), parts)
    assert all(cost.flops and cost.kept_bytes for name, cost in costs.items() if name != OTHER)
    assert costs[OTHER].parameters == costs[OTHER].flops == 0
    whole = sum(costs.values(), Cost())
    assert whole == cost_of(model, x, x)
    assert whole.parameters == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as theirs:
        model(x, x)
    assert whole.flops == theirs.get_total_flops()
    assert parts_of(single_stream(model, "3d")) == ["backbone_3d", "neck", "head"]
