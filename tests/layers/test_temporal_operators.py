"""TAdaConv, SIFA, plain differences and divided space-time attention."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from tdcnet.layers import (
    SIFA,
    DifferencePlusConv3d,
    DividedSpaceTimeAttention,
    PlainDifferenceConv3d,
    TAdaConv2dV2,
    TAdaConvBlock,
)
from tests.conftest import randomise_norms

OPERATORS = {
    "tadaconv": lambda c: TAdaConv2dV2(c),
    "tadaconv out": lambda c: TAdaConv2dV2(c, calibrate="out", groups=2),
    "tadaconv block": lambda c: TAdaConvBlock(c),
    "sifa": lambda c: SIFA(c),
    "difference": lambda c: PlainDifferenceConv3d(c, c),
    "difference plus": lambda c: DifferencePlusConv3d(c, c, groups=c),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    torch.manual_seed(0)
    block = randomise_norms(OPERATORS[request.param](8))
    for module in block.modules():
        if isinstance(module, SIFA):
            nn.init.normal_(module.to_offset.weight, std=0.3)
    return block


def test_tadaconv_agrees_with_golden(golden):
    state = golden.parameters("tadaconv")
    ours = {
        "conv.weight": state["weight"][0, 0],
        "bias": state["bias"][0, 0],
        "calibration.reduce.weight": state["rf_func.a.weight"],
        "calibration.reduce.bias": state["rf_func.a.bias"],
        "calibration.qkv.weight": state["rf_func.qkv_proj.weight"],
        "calibration.qkv.bias": state["rf_func.qkv_proj.bias"],
        "calibration.proj.weight": state["rf_func.attn_out.weight"],
        "calibration.proj.bias": state["rf_func.attn_out.bias"],
        "calibration.to_kernel.weight": state["rf_func.b.weight"],
        "calibration.to_bias.weight": state["rf_func.b_bias.weight"],
    }
    for i in ("weight", "bias"):
        ours[f"calibration.norm.{i}"] = state[f"rf_func.norm.{i}"]
        ours[f"calibration.norm_attention.{i}"] = state[f"rf_func.norm_transformer.{i}"]
    for norm in "ab":
        for i in ("weight", "bias", "running_mean", "running_var"):
            ours[f"norm_{norm}.{i}"] = state[f"bn_{norm}.{i}"]
        ours[f"norm_{norm}.num_batches_tracked"] = torch.tensor(0)
    block = TAdaConv2dV2(32).eval()
    block.load_state_dict(ours)
    assert_close(block(*golden.inputs("tadaconv")), golden.output("tadaconv"), atol=1e-4, rtol=0)


def test_sifa_agrees_with_golden(golden):
    block = SIFA(8)
    block.load_state_dict({"to_offset.weight": golden.parameters("sifa")["conv_offset.weight"][:, :, 0]})
    (x,) = golden.inputs("sifa")
    older = torch.cat((x[:, :, :1], x[:, :, :-1]), dim=2)
    offsets = block.offsets(*(clip[0].transpose(0, 1) for clip in (x, older))).transpose(0, 1)[None]
    assert_close(offsets, golden.output("sifa", "offset"), atol=1e-4, rtol=0)
    assert_close(block(x), golden.output("sifa"), atol=1e-4, rtol=0)


def test_sifa_without_offsets_is_attention_to_the_neighbours():
    """Position by position: the mean product with each of nine neighbours of the next frame weighs that neighbour."""
    torch.manual_seed(0)
    x = torch.rand(2, 4, 3, 3, 5)
    expected = x.clone()
    padded = F.pad(x, (1, 1, 1, 1))
    for t in range(2):
        for i in range(3):
            for j in range(5):
                for a in range(3):
                    for b in range(3):
                        other = padded[:, :, t + 1, i + a, j + b]
                        expected[:, :, t, i, j] += (x[:, :, t, i, j] * other).mean(1, keepdim=True) * other
    assert_close(SIFA(4)(x), expected)


def test_tadaconv_starts_as_a_convolution_of_each_frame():
    torch.manual_seed(0)
    block = TAdaConv2dV2(4, 6, stride=(2, 1, 2), start_at_one=True).eval()
    x = torch.rand(2, 4, 5, 7, 9)
    expected = F.conv3d(x, block.conv.weight[:, :, None], None, (2, 1, 2), (0, 1, 1)) / (1 + 1e-5) ** 0.5
    assert_close(block(x), expected)


def test_tadaconv_calibrates_each_frame():
    """The formula with a kernel formed for every frame."""
    torch.manual_seed(0)
    for calibrate in ("in", "out"):
        block = randomise_norms(TAdaConv2dV2(8, calibrate=calibrate)).eval()
        x = torch.rand(2, 8, 3, 4, 5)
        kernel, bias = block.calibration(x)
        y = torch.empty_like(x)
        for b in range(2):
            for t in range(3):
                factor = kernel[b, :, t, 0, 0].view((1, -1, 1, 1) if calibrate == "in" else (-1, 1, 1, 1))
                y[b, :, t] = F.conv2d(
                    x[b, :, t], block.conv.weight * factor, block.bias * bias[b, :, t, 0, 0], padding=1
                )
        around = F.pad(y, (0, 0, 0, 0, 1, 1))
        mean = (around[:, :, :-2] + y + around[:, :, 2:]) / 3
        assert_close(block(x), block.norm_a(y) + block.norm_b(mean))


@pytest.mark.parametrize("stride", [1, 2, (1, 2, 2)])
@pytest.mark.parametrize("groups", [1, 4])
def test_plain_difference_subtracts_the_frame_before(stride, groups):
    torch.manual_seed(0)
    block = randomise_norms(PlainDifferenceConv3d(4, 8, stride, groups)).eval()
    x = torch.rand(2, 4, 5, 7, 9)
    before = torch.cat((torch.zeros_like(x[:, :, :1]), x[:, :, :-1]), dim=2)
    step = (stride,) * 3 if isinstance(stride, int) else stride
    y = F.conv3d(x - before, block.conv.conv.weight[:, :, None], None, step, (0, 1, 1), groups=groups)
    norm = block.conv.norm
    y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert_close(block(x), F.relu(y), atol=1e-5, rtol=1e-5)
    block.conv.fold()
    assert_close(block(x), F.relu(y), atol=1e-5, rtol=1e-5)


def test_difference_plus_conv3d_is_the_sum_of_both():
    torch.manual_seed(0)
    block = randomise_norms(DifferencePlusConv3d(4, 6)).train()
    x = torch.rand(2, 4, 5, 7, 9)
    before = torch.cat((torch.zeros_like(x[:, :, :1]), x[:, :, :-1]), dim=2)
    parts = (
        F.conv3d(x - before, block.difference[:, :, None], None, 1, (0, 1, 1)),
        F.conv3d(x, block.weight, None, 1, (2, 1, 1)),
    )
    expected = sum(
        F.batch_norm(y, None, None, block.norm.weight[i::2], block.norm.bias[i::2], training=True)
        for i, y in enumerate(parts)
    )
    assert_close(block(x), F.relu(expected), atol=1e-5, rtol=1e-4)


def test_folding_keeps_the_output():
    torch.manual_seed(0)
    block = randomise_norms(DifferencePlusConv3d(4, 8, 2, 4)).eval()
    folded = copy.deepcopy(block)
    folded.fold()
    folded.fold()  # once more does nothing
    x = torch.rand(2, 4, 5, 7, 9)
    block.fold_in_eval = False
    assert_close(folded(x), block(x), atol=1e-5, rtol=1e-5)
    assert folded.is_deployed and {n for n, _ in folded.named_parameters()} == {"weight", "bias"}


@pytest.mark.parametrize("size", [(5, 7, 9), (1, 1, 1), (2, 1, 5), (7, 3, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_any_size(operator, size, training):
    operator.train(training)
    x = torch.rand(1 if size != (1, 1, 1) or not training else 2, 8, *size, requires_grad=True)
    y = operator(x)
    assert y.shape == x.shape and y.isfinite().all()
    y.square().sum().backward()
    if training:  # two processes wait for a gradient of each
        assert [n for n, p in operator.named_parameters() if p.grad is None] == []
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(operator.eval()(x).float(), operator(x.detach()).float(), atol=0.2, rtol=0.2)


def test_gradients(operator):
    operator.double().eval()
    x = torch.rand(1, 8, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: operator(x), (x, *operator.parameters()), fast_mode=True)


def test_exports(operator):
    operator.eval()
    x = torch.rand(2, 8, 3, 5, 7)
    program = torch.export.export(operator, (x,), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},))
    other = torch.rand(5, 8, 3, 5, 7)
    assert_close(program.module()(other), operator(other))


def timesformer(block: DividedSpaceTimeAttention, clip: torch.Tensor) -> torch.Tensor:
    """Divided attention of one clip [B, T, C, H, W], as its paper has it."""

    def attend(attention, x):  # [N, L, C]
        heads = attention.num_heads
        q, k, v = attention.qkv(x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return attention.proj((weights @ v).transpose(1, 2).flatten(2))

    b, t, c, h, w = clip.shape
    x = clip.permute(0, 3, 4, 1, 2).reshape(b * h * w, t, c)
    x = x + attend(block.time, block.norm_time(x))
    x = x.view(b, h * w, t, c).transpose(1, 2).reshape(b * t, h * w, c)
    x = x + attend(block.space, block.norm_space(x))
    x = x + block.mlp(block.norm(x))
    return x.view(b, t, h, w, c).permute(0, 1, 4, 2, 3)


@torch.no_grad()
def test_divided_attention_of_equal_clips_is_that_of_the_joined_clip():
    torch.manual_seed(0)
    block = DividedSpaceTimeAttention(16, 4)
    a, b = torch.rand(2, 2, 16, 5, 3), torch.rand(2, 3, 16, 5, 3)
    found = torch.cat(block(a, b), dim=1)
    assert_close(found, timesformer(block, torch.cat((a, b), dim=1)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_divided_attention_follows_the_order_of_frames():
    torch.manual_seed(0)
    block = DividedSpaceTimeAttention(16, 4)
    search, template = torch.rand(2, 2, 16, 9, 9), torch.rand(2, 3, 16, 4, 4)
    order = [2, 0, 1]
    a, b = block(search, template)
    c, d = block(search, template[:, order])
    assert_close(c, a)
    assert_close(d, b[:, order])
    assert not torch.allclose(b, b[:, order])


@pytest.mark.parametrize(
    ("search", "template"), [((1, 18, 18), (2, 8, 8)), ((1, 1, 1), (3, 5, 2)), ((4, 3, 7), (1, 1, 1))]
)
def test_divided_attention_of_any_sizes(search, template):
    torch.manual_seed(0)
    block = DividedSpaceTimeAttention(8, 2)
    clips = [torch.rand(1, t, 8, h, w, requires_grad=True) for t, h, w in (search, template)]
    outputs = block(*clips)
    assert [y.shape for y in outputs] == [x.shape for x in clips]
    sum(y.square().sum() for y in outputs).backward()
    assert all(x.grad.abs().sum() > 0 for x in clips) and all(p.grad is not None for p in block.parameters())
    program = torch.export.export(block.eval(), tuple(clips))
    for found, expected in zip(program.module()(*clips), outputs, strict=True):
        assert_close(found, expected)


def test_divided_attention_resamples_the_other_clip():
    """A template of constant frames is the same at any size."""
    torch.manual_seed(0)
    block = DividedSpaceTimeAttention(8, 2).eval()
    search, template = torch.rand(1, 1, 8, 6, 4), torch.rand(1, 2, 8, 1, 1)
    assert_close(block(search, template.expand(-1, -1, -1, 3, 9))[0], block(search, template)[0])
    assert torch.autograd.gradcheck(
        block.double(), (torch.rand(1, 1, 8, 2, 3).double().requires_grad_(), torch.rand(1, 2, 8, 1, 2).double())
    )


def test_wrong_arguments_are_told_at_once():
    for build, message in (
        (lambda: TAdaConv2dV2(8, calibrate="both"), "calibrate"),
        (lambda: TAdaConv2dV2(8, groups=3), "groups"),
        (lambda: TAdaConv2dV2(8, hidden=12, head_dim=8), "head_dim"),
        (lambda: SIFA(8, kernel_size=2), "kernel_size must be odd"),
        (lambda: DividedSpaceTimeAttention(8, 3), "cannot split channels into heads: 8 is no multiple of 3"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    with pytest.raises(ValueError, match="as many channels are needed"):
        DividedSpaceTimeAttention(8, 2)(torch.rand(1, 1, 8, 2, 2), torch.rand(1, 1, 4, 2, 2))
