from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from tdcnet.layers import RepConv3D, TemporalConv3d, TemporalDifferenceConv3d
from tdcnet.layers.temporal_conv import temporal_conv3d
from tests.conftest import randomise_norms

PUBLISHED = {"short": "s_tdc", "mid": "m_tdc", "long": "l_tdc"}


def golden_block(golden) -> RepConv3D:
    state = golden.parameters("rep_conv3d")
    block = RepConv3D(6, 8)
    with torch.no_grad():
        block.weight.copy_(torch.stack([state[f"{p}.0.conv.weight"] for p in PUBLISHED.values()], dim=1))
        for ours in ("weight", "bias", "running_mean", "running_var"):
            stacked = torch.stack([state[f"{p}.1.{ours}"] for p in PUBLISHED.values()], dim=1).flatten()
            getattr(block.norm, ours).copy_(stacked)
    return block


@pytest.mark.parametrize("branch", ["short", "mid", "long"])
def test_branch_agrees_with_golden(golden, branch):
    conv = TemporalDifferenceConv3d(6, 8, branch)
    conv.weight.data = golden.parameters(f"tdc_{branch}")["conv.weight"]
    assert_close(conv(*golden.inputs(f"tdc_{branch}")), golden.output(f"tdc_{branch}"), atol=1e-4, rtol=0)


@pytest.mark.parametrize("branch", ["short", "mid", "long"])
def test_branch_is_a_sum_of_differences(branch):
    """The paper's formula, frame by frame, at the middle of a five-frame clip."""
    torch.manual_seed(0)
    clip = torch.rand(1, 2, 5, 6, 7)
    conv = TemporalDifferenceConv3d(2, 3, branch, pure_long=True)
    w, f = conv.weight, clip
    if branch == "short":
        terms = [(w[:, :, t], f[:, :, t] - f[:, :, t - 1]) for t in range(1, 5)]
    elif branch == "mid":
        terms = [(w[:, :, t], f[:, :, t] - f[:, :, t - 2]) for t in range(2, 5)]
    else:
        terms = [(w[:, :, t], f[:, :, 4] - f[:, :, t]) for t in range(4)]
    expected = sum(F.conv2d(difference, kernel, padding=1) for kernel, difference in terms)
    assert_close(conv(clip)[:, :, 2], expected, atol=1e-5, rtol=1e-5)


def test_rep_conv_agrees_with_golden_in_every_form(golden):
    x = golden.inputs("rep_conv3d")[0]
    block = golden_block(golden)
    kernel, bias = block.folded()
    assert_close(kernel.detach(), golden.output("rep_conv3d", "kernel"), atol=1e-4, rtol=0)
    assert_close(bias.detach(), golden.output("rep_conv3d", "bias"), atol=1e-4, rtol=0)
    assert_close(block.eval()(x).detach(), golden.output("rep_conv3d"), atol=1e-4, rtol=0)
    assert_close(
        golden_block(golden).train()(x).detach(), golden.output("rep_conv3d", "output_train"), atol=1e-4, rtol=0
    )
    block.fold()
    assert block.is_deployed
    assert_close(block(x), golden.output("rep_conv3d"), atol=1e-4, rtol=0)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("branches", [("short",), ("short", "long"), ("short", "mid", "long")])
def test_stacked_branches_equal_separate_ones(groups, branches):
    """Training form against one convolution and one batch norm per branch."""
    torch.manual_seed(0)
    block = randomise_norms(RepConv3D(4, 8, stride=(1, 2, 2), groups=groups, branches=branches)).train()
    clip = torch.rand(2, 4, 5, 8, 8)
    expected = 0
    k = len(branches)
    for i, branch in enumerate(branches):
        conv = TemporalDifferenceConv3d(4, 8, branch, (1, 2, 2), groups)
        conv.weight.data = block.weight.data[:, i]
        expected = expected + F.batch_norm(
            conv(clip), None, None, block.norm.weight[i::k], block.norm.bias[i::k], training=True
        )
    assert_close(block(clip), F.relu(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [RepConv3D, TemporalConv3d])
@pytest.mark.parametrize(("frames", "stride"), [(5, (1, 2, 2)), (5, 2), (3, 1), (1, 1)])
def test_stem_takes_its_statistics_from_the_input(frames, stride, kind):
    """A stem's shortcut in training against the stacked convolution, which runs when the input wants a gradient."""
    torch.manual_seed(0)
    short = randomise_norms(kind(2, 4, stride)).train()
    explicit = copy.deepcopy(short)
    # A bright scene that hardly changes: the differences are a thousandth of the frames.
    clip = (
        0.5 + 0.5 * torch.rand(3, 2, 1, 10, 12).expand(-1, -1, frames, -1, -1) + 1e-3 * torch.rand(3, 2, frames, 10, 12)
    )
    outputs = [short(clip), explicit(clip.clone().requires_grad_())]
    weights = torch.rand_like(outputs[0])
    for output in outputs:
        (output * weights).sum().backward()
    assert_close(outputs[0], outputs[1], atol=2e-4, rtol=1e-4)
    for (name, a), b in zip(short.named_parameters(), explicit.parameters(), strict=True):
        assert_close(a.grad, b.grad, atol=1e-3 * float(b.grad.abs().max()), rtol=0, msg=lambda m, n=name: f"{n}: {m}")
    for (name, a), b in zip(short.named_buffers(), explicit.buffers(), strict=True):
        assert_close(a, b, atol=1e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("frames", range(1, 8))
@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("groups", [1, 6])
def test_temporal_conv_equals_conv3d(frames, stride, groups):
    torch.manual_seed(0)
    x = torch.rand(2, 6, frames, 7, 9, dtype=torch.float64)
    for out in (6, 12):
        weight = torch.rand(out, 6 // groups, 5, 3, 3, dtype=torch.float64)
        bias = torch.rand(out, dtype=torch.float64)
        expected = F.conv3d(x, weight, bias, stride, (2, 1, 1), groups=groups)
        assert_close(temporal_conv3d(x, weight, bias, stride, groups), expected)


def test_temporal_conv3d_block_has_its_batch_norm():
    torch.manual_seed(0)
    block = randomise_norms(TemporalConv3d(3, 4)).eval()
    x = torch.rand(1, 3, 5, 6, 6)
    before = block(x)
    assert_close(before, block.norm(F.conv3d(x, block.conv.weight, padding=(2, 1, 1))), atol=1e-5, rtol=1e-5)
    block.fold()
    assert_close(block(x), before, atol=1e-5, rtol=1e-5)


def test_unknown_branch_is_refused():
    with pytest.raises(ValueError, match="allowed are 'short', 'mid' and 'long'"):
        RepConv3D(1, 1, branches=("tall",))
    with pytest.raises(ValueError, match="branches is empty"):
        RepConv3D(1, 1, branches=())
