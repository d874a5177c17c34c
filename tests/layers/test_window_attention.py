from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tdcnet.layers import CrossAttention3d, SelfAttention3d
from tdcnet.layers.windows import WindowGrid, shift_mask


def ours(name: str) -> str:
    return (
        name.replace("relative_position_bias_table", "bias.table")
        .replace("norm1_", "norm_")
        .replace("attn.proj", "proj")
        .replace("attn.bias", "bias")
    )


@pytest.mark.parametrize("case", ["self_attention", "self_attention_one_frame"])
def test_self_attention_agrees_with_golden(golden, case):
    layer = SelfAttention3d(32, (2, 4, 4), 4).eval()
    layer.load_state_dict({ours(name): value for name, value in golden.parameters(case).items()})
    assert_close(layer(*golden.inputs(case)).detach(), golden.output(case), atol=1e-4, rtol=0)


def test_cross_attention_agrees_with_golden(golden):
    layer = CrossAttention3d(32, (2, 4, 4), 4).eval()
    state = {ours(n): v for n, v in golden.parameters("cross_attention").items() if ".qkv." not in n}
    layer.load_state_dict({n.replace("norm2.", "norm."): v for n, v in state.items()})
    assert_close(layer(*golden.inputs("cross_attention")).detach(), golden.output("cross_attention"), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 8, 8), (2, 8, 8), (3, 10, 13), (4, 5, 7)])
def test_split_and_join_are_inverse(size):
    grid = WindowGrid.of(size, (2, 4, 4))
    x = torch.rand(2, *size, 3)
    windows = grid.split(x)
    assert windows.shape[1] == grid.window[0] * grid.window[1] * grid.window[2]
    assert torch.equal(grid.join(windows), x)


@pytest.mark.parametrize("size", [(2, 10, 13), (1, 9, 8), (3, 4, 5)])
def test_mask_separates_regions(size):
    """Region numbers position by position, from the definition."""
    configured = (2, 4, 4)
    grid = WindowGrid.of(size, configured)

    def band(position: int, length: int, window: int) -> int:
        bands = [range(length)[0:-window], range(length)[-window : -(window // 2)], range(length)[-(window // 2) :]]
        return max(i for i, b in enumerate(bands) if position in b)

    region = torch.zeros(1, *grid.padded, 1)
    for position in itertools.product(*(range(n) for n in grid.padded)):
        bands = [band(p, n, w) for p, n, w in zip(position, grid.padded, configured, strict=True)]
        region[(0, *position, 0)] = bands[0] * 9 + bands[1] * 3 + bands[2]
    flat = replace(grid, size=grid.padded).split(region)[..., 0]
    expected = (flat[:, :, None] != flat[:, None, :]) * -100.0
    assert torch.equal(shift_mask(grid, torch.device("cpu"))[:, 0], expected)


def test_two_frames_never_meet_in_the_second_attention():
    """A change of the older frame must not reach the newer one when only the second attention looks."""
    torch.manual_seed(0)
    layer = SelfAttention3d(8, (2, 4, 4), 2).eval()
    torch.nn.init.zeros_(layer.attn1.proj.weight)  # the first attention may cross the frames; silence it
    torch.nn.init.normal_(layer.attn2.bias.table)
    x = torch.rand(1, 2, 8, 8, 8)
    other = x.clone()
    other[:, 0] += 1
    assert_close(layer(x)[:, 1], layer(other)[:, 1])


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 8, 8), (3, 9, 5), (1, 1, 1)])
def test_every_parameter_gets_a_gradient_at_any_size(size):
    layer = SelfAttention3d(8, (2, 4, 4), 2).train()
    layer(torch.rand(2, *size, 8)).square().sum().backward()
    assert [n for n, p in layer.named_parameters() if p.grad is None] == []


def test_mask_is_made_once_per_size():
    shift_mask.cache_clear()
    layer = SelfAttention3d(8, (2, 4, 4), 2)
    for _ in range(3):
        layer(torch.rand(1, 2, 8, 8, 8))
    assert shift_mask.cache_info().misses == 1


def test_mask_made_in_inference_mode_serves_training():
    shift_mask.cache_clear()
    layer = SelfAttention3d(8, (2, 4, 4), 2)
    x = torch.rand(1, 2, 8, 8, 8)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()


def test_wrong_heads_and_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot split channels into heads: 8 is no multiple of 3"):
        SelfAttention3d(8, (2, 4, 4), 3)
    with pytest.raises(ValueError, match="differ in shape"):
        CrossAttention3d(8, (2, 4, 4), 2)(*(torch.rand(1, t, 4, 4, 8) for t in (1, 2, 2)))
