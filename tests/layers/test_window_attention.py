from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tdcnet.layers import CrossAttention3d, SelfAttention3d
from tdcnet.layers.windows import WindowGrid, padding_mask, shift_mask


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


WINDOW = (2, 4, 4)


def positions(size):
    return list(itertools.product(*(range(n) for n in size)))


def attended(size, q, k, v, heads, table, seen):
    """Attention position by position, each over the positions it sees and no others; q, k, v [P, C]."""
    where = positions(size)
    offset = torch.tensor([w - 1 for w in WINDOW])
    rows = []
    for i, p in enumerate(where):
        others = [j for j, o in enumerate(where) if seen(p, o)]
        apart = torch.stack([torch.tensor(p) - torch.tensor(where[j]) + offset for j in others])
        row = (apart[:, 0] * 7 + apart[:, 1]) * 7 + apart[:, 2]
        parts = []
        for h in range(heads):
            a, b, c = (x.chunk(heads, -1)[h] for x in (q[i], k[others], v[others]))
            parts.append((b @ a / len(a) ** 0.5 + table[row, h]).softmax(0) @ c)
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def same_window(p, o):
    return all(a // w == b // w for a, b, w in zip(p, o, WINDOW, strict=True))


def same_shifted_window(p, o):
    return p[0] == o[0] and all((a + 2) // 4 == (b + 2) // 4 for a, b in zip(p[1:], o[1:], strict=True))


def drawn(layer):
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.eval()


@pytest.mark.parametrize("size", [(2, 6, 7), (2, 5, 9), (2, 8, 6)])
@torch.no_grad()
def test_masked_padding_is_as_if_nothing_were_there(size):
    layer = drawn(SelfAttention3d(8, WINDOW, 2, mask_padding=True))
    clip = torch.randn(1, *size, 8)
    x = clip.reshape(-1, 8)
    for norm, attention, seen, norm_mlp, mlp in (
        (layer.norm1, layer.attn1, same_window, layer.norm2, layer.mlp1),
        (layer.norm3, layer.attn2, same_shifted_window, layer.norm4, layer.mlp2),
    ):
        q, k, v = attention.qkv(norm(x)).chunk(3, -1)
        x = x + attention.proj(attended(size, q, k, v, 2, attention.bias.table, seen))
        x = x + mlp(norm_mlp(x))
    assert_close(layer(clip).reshape(-1, 8), x, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(drawn(SelfAttention3d(8, WINDOW, 2))(clip), layer(clip), atol=1e-2), "as published"


@torch.no_grad()
def test_masked_padding_in_cross_attention_is_as_if_nothing_were_there():
    size = (2, 6, 7)
    layer = drawn(CrossAttention3d(8, WINDOW, 2, mask_padding=True))
    clips = [torch.randn(1, *size, 8) for _ in range(3)]
    q, k, v = (
        norm(x).reshape(-1, 8) for norm, x in zip((layer.norm_q, layer.norm_k, layer.norm_v), clips, strict=True)
    )
    x = clips[2].reshape(-1, 8) + layer.proj(attended(size, q, k, v, 2, layer.bias.table, same_window))
    assert_close(layer(*clips).reshape(-1, 8), x + layer.mlp(layer.norm(x)), atol=1e-4, rtol=1e-4)


def test_nothing_is_masked_where_windows_fit():
    grid = WindowGrid.of((2, 8, 12), WINDOW)
    assert padding_mask(grid, torch.device("cpu")) is None and padding_mask(grid, torch.device("cpu"), True) is None


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
