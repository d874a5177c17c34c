from __future__ import annotations

import copy
import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.testing import assert_close

from tdcnet.layers import attention
from tdcnet.layers.attention import (
    BAM,
    CAA,
    CBAM,
    CPCA,
    BiLevelRoutingAttention,
    CloAttention,
    ContextualTransformer,
    CoordinateAttention,
    CrissCrossAttention,
    DeformableAttention,
    DoubleAttention,
    LocallyEnhancedAttention,
    MultiHeadAttention2d,
    SqueezeExcitation,
    regional_routing_attention,
)
from tdcnet.layers.attention.shared import ChannelLayerNorm
from tests.conftest import randomise_norms

# case: (as in the golden file, published name -> ours)
GOLDEN = {
    "se": (lambda: SqueezeExcitation(32, 8), {r"fc\.": "mlp."}),
    "double": (
        lambda: DoubleAttention(24, 16, 12),
        {"convA": "features", "convB": "gather", "convV": "distribute", "conv_reconstruct": "proj"},
    ),
    "bam": (
        lambda: BAM(32, 8, 2),
        {
            r"ca\.ca\.last_fc": "channel.3",
            r"ca\.ca\.fc_(\d)": r"channel.\1.conv",
            r"ca\.ca\.bn_(\d)": r"channel.\1.norm",
            r"sa\.sa\.last_conv": "spatial.4",
            r"sa\.sa\.conv_reduce": "spatial.0.conv",
            r"sa\.sa\.bn_reduce": "spatial.0.norm",
            r"sa\.sa\.conv_(\d)": lambda m: f"spatial.{int(m[1]) + 1}.conv",
            r"sa\.sa\.bn_(\d)": lambda m: f"spatial.{int(m[1]) + 1}.norm",
        },
    ),
    "biformer": (lambda: BiLevelRoutingAttention(32, 4, 4, 3), {r"qkv\.qkv": "qkv", "wo": "proj"}),
    "attention": (lambda: MultiHeadAttention2d(32, 4), {}),
    "attention_lepe": (lambda: LocallyEnhancedAttention(32, 4), {}),
    "caa": (
        lambda: CAA(16),
        {
            r"conv1\.": "weights.1.",
            "h_conv": "weights.2",
            "v_conv": "weights.3",
            r"conv2\.": "weights.4.",
            r"\.bn\.": ".norm.",
        },
    ),
    "cbam": (
        lambda: CBAM(32, 8),
        {r"channel_attention\.se_block": "mlp", r"spatial_attention\.": ""},
    ),
    "clo": (
        lambda: CloAttention(32, 8, (4, 4), (5,), 4),
        {
            "global_q": "groups.1.q",
            "global_kv": "groups.1.kv",
            r"^convs\.0": "groups.0.qkv.1",
            r"^qkvs\.0": "groups.0.qkv.0",
            r"act_blocks\.0\.act_block": "groups.0.mlp",
        },
    ),
    "criss_cross": (lambda: CrissCrossAttention(32), {"_conv": ""}),
    "coordinate": (
        lambda: CoordinateAttention(32, 4),
        {"conv1": "squeeze.conv", "bn1": "squeeze.norm", "conv_h": "rows", "conv_w": "columns"},
    ),
    "cot": (
        lambda: ContextualTransformer(32),
        {
            r"attention_embed\.3": "scores",
            "attention_embed": "squeeze",
            "key_embed": "key",
            "value_embed": "value",
            r"\.0\.": ".conv.",
            r"\.1\.": ".norm.",
        },
    ),
    "cpca": (
        lambda: CPCA(16),
        {
            r"^conv\.": "proj.",
            r"ca\.fc1": "mlp.0",
            r"ca\.fc2": "mlp.2",
            "dconv5_5": "square",
            r"dconv1_(\d+)": lambda m: f"strips.{['7', '11', '21'].index(m[1])}.0",
            r"dconv(\d+)_1": lambda m: f"strips.{['7', '11', '21'].index(m[1])}.1",
        },
    ),
    "deformable": (
        lambda: DeformableAttention(32, 4, 2),
        {
            r"conv_offset\.1\.norm": "offset.1",
            "conv_offset": "offset",
            r"proj_([qkv])": r"\1",
            "proj_out": "proj",
            "rpe_table": "local",
        },
    ),
}

# Small ones of every operator and option, for what must hold for all; in eval mode, with weights as after training.
SMALL = {
    "se": lambda: SqueezeExcitation(8, 2),
    "double": lambda: DoubleAttention(8),
    "double_plain": lambda: DoubleAttention(8, reconstruct=False),
    "bam": lambda: BAM(8, 2, 2),
    "biformer": lambda: BiLevelRoutingAttention(8, 2, 2, 2, qk_dim=4),
    "biformer_avgpool": lambda: BiLevelRoutingAttention(8, 2, 3, 2, kv_downsample="avgpool", kv_ratio=2),
    "biformer_maxpool": lambda: BiLevelRoutingAttention(8, 2, 2, 2, kv_downsample="maxpool", kv_ratio=2),
    "biformer_adaptive_avg": lambda: BiLevelRoutingAttention(
        8, 2, 2, 2, kv_downsample="adaptive_avgpool", kv_per_win=2
    ),
    "biformer_adaptive_max": lambda: BiLevelRoutingAttention(
        8, 2, 2, 2, kv_downsample="adaptive_maxpool", kv_per_win=2
    ),
    "attention": lambda: MultiHeadAttention2d(8, 2),
    "attention_lepe": lambda: LocallyEnhancedAttention(8, 2),
    "caa": lambda: CAA(8, 5, 3),
    "cbam": lambda: CBAM(8, 2),
    "clo": lambda: CloAttention(8, 4, (1, 1, 2), (3, 5), 2),
    "criss_cross": lambda: CrissCrossAttention(8, 2),
    "coordinate": lambda: CoordinateAttention(8),
    "cot": lambda: ContextualTransformer(8),
    "cpca": lambda: CPCA(8),
    "deformable": lambda: DeformableAttention(8, 4, 2),
    "deformable_strided": lambda: DeformableAttention(8, 4, 2, stride=2, kernel_size=5, position=None),
    "deformable_fixed": lambda: DeformableAttention(8, 4, 2, stride=2, position="fixed", map_size=(7, 9)),
    "deformable_table": lambda: DeformableAttention(8, 4, 2, position="table", map_size=(7, 9)),
    "deformable_log_mlp": lambda: DeformableAttention(8, 4, 2, position="log_mlp"),
}

# Parameters that no output depends on: a softmax does not see what is added to all its scores, a batch norm in
# training not what is added to all its positions.
UNSEEN = {
    "caa": ["weights.3.bias"],
    "double": ["gather.bias"],
    "double_plain": ["gather.bias"],
    "criss_cross": ["key.bias"],
    "cot": ["scores.bias"],
    "deformable": ["k.bias"],
    "deformable_strided": ["k.bias"],
    "deformable_fixed": ["k.bias"],
    "deformable_table": ["k.bias"],
    "deformable_log_mlp": ["k.bias"],
}


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    layer = randomise_norms(SMALL[name]()).eval()
    if name == "criss_cross":
        nn.init.constant_(layer.gamma, 0.5)
    return layer


every = pytest.mark.parametrize("name", SMALL)


def load_published(layer: nn.Module, state: dict[str, Tensor], renames: dict) -> None:
    """Published weights into ours: linear layers into 1x1 convolutions, biases before a batch norm into its mean."""
    ours = {key: value for key, value in layer.state_dict().items() if "num_batches" not in key}
    biases, seen = {}, set()
    for name, value in state.items():
        for old, new in renames.items():
            name = re.sub(old, new, name)
        if name.endswith("conv.bias") and name not in ours:
            biases[name.removesuffix("conv.bias") + "norm.running_mean"] = value
        else:
            ours[name].copy_(value.view(ours[name].shape))
            seen.add(name)
    for name, value in biases.items():
        ours[name].sub_(value)
    assert seen == ours.keys()


@pytest.mark.parametrize("case", GOLDEN)
def test_agrees_with_golden(golden, case):
    make, renames = GOLDEN[case]
    layer = make().eval()
    load_published(layer, golden.parameters(case), renames)
    y = layer(*golden.inputs(case))
    assert_close(y.detach(), golden.output(case), atol=1e-4, rtol=0)
    folded = [module.fold() for module in layer.modules() if hasattr(module, "fold")]
    if folded:
        assert_close(layer(*golden.inputs(case)).detach(), golden.output(case), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [n for n in attention.__all__ if n[0].isupper()])
@pytest.mark.parametrize("channels", [32, 64, 128, 256, 512])
def test_defaults_suit_any_map(name, channels):
    with torch.device("meta"):
        layer = getattr(attention, name)(channels)
        assert layer(torch.rand(2, channels, 9, 12)).shape == (2, channels, 9, 12)


@every
def test_gradients_are_those_of_the_function(name):
    layer = small(name).double()
    names, values = zip(*layer.named_parameters(), strict=True)
    x = torch.randn(1, 8, 4, 3, dtype=torch.float64, requires_grad=True)
    gradcheck(
        lambda x, *p: functional_call(layer, dict(zip(names, p, strict=True)), (x,)), (x, *values), fast_mode=True
    )


@every
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 9), (13, 5)])
def test_any_size_trains_on_one_image(name, size):
    layer = small(name).train()
    x = torch.randn(1, 8, *size, requires_grad=True)
    y = layer(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    (y * torch.randn_like(y)).sum().backward()
    for key, parameter in [*layer.named_parameters(), ("x", x)]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        if size == (7, 9):
            assert (parameter.grad.abs().max() > 1e-5) == (key not in UNSEEN.get(name, ())), key
    assert layer.eval()(x).isfinite().all()


def test_single_value_leaves_running_statistics_alone():
    layer = small("bam").train()
    before = copy.deepcopy(layer.state_dict())
    x = torch.randn(1, 8, 1, 1)
    y = layer(x)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    assert_close(y, layer.eval()(x))


@every
def test_bfloat16_is_near_float32(name):
    layer = small(name)
    if hasattr(layer, "topk"):
        layer.topk = layer.n_win**2  # rounding may well choose another window
    x = torch.randn(2, 8, 7, 9)
    with torch.no_grad():
        expected = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        z = layer.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert z.dtype == torch.bfloat16
    assert_close(y.float(), expected, atol=0.05, rtol=0.05)
    assert_close(z.float(), expected, atol=0.05, rtol=0.05)


@every
def test_exported_graph_computes_the_same(name):
    layer = small(name)
    x = torch.randn(2, 8, 5, 7)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    x = torch.randn(3, 8, 5, 7)
    assert_close(program.module()(x), layer(x))


def test_squeeze_and_excitation_is_its_formula():
    layer, x = small("se"), torch.randn(2, 8, 3, 4)
    w1, w2 = (layer.mlp[i].weight[:, :, 0, 0] for i in (0, 2))
    weights = torch.sigmoid(torch.relu(x.mean((2, 3)) @ w1.T) @ w2.T)
    assert_close(layer(x), x * weights[:, :, None, None])


def test_cbam_is_its_formula():
    layer, x = small("cbam"), torch.randn(2, 8, 3, 4)
    w1, w2 = (layer.mlp[i].weight[:, :, 0, 0] for i in (0, 2))
    weights = sum(torch.relu(p @ w1.T) @ w2.T for p in (x.flatten(2).max(2).values, x.flatten(2).mean(2)))
    y = x * weights.sigmoid()[:, :, None, None]
    maps = torch.stack([y.max(1).values, y.mean(1)], dim=1)
    assert_close(layer(x), y * F.conv2d(maps, layer.conv.weight, layer.conv.bias, padding=3).sigmoid())


def test_contextual_transformer_averages_its_scores():
    layer, x = small("cot"), torch.randn(2, 8, 3, 4)
    static = layer.key(x)
    scores = layer.scores(layer.squeeze(torch.cat([static, x], 1)))
    scores = scores.view(2, 8, 9, 12).mean(2).softmax(-1).view(2, 8, 3, 4)
    assert_close(layer(x), static + scores * layer.value(x))


def test_criss_cross_visits_row_and_column():
    layer, x = small("criss_cross"), torch.randn(2, 8, 4, 5)
    q, k, v = layer.query(x), layer.key(x), layer.value(x)
    expected = x.clone()
    for b, h, w in itertools.product(range(2), range(4), range(5)):
        cross = [(h, j) for j in range(5)] + [(i, w) for i in range(4) if i != h]
        scores = torch.stack([q[b, :, h, w] @ k[b, :, i, j] for i, j in cross])
        values = torch.stack([v[b, :, i, j] for i, j in cross])
        expected[b, :, h, w] += 0.5 * (scores.softmax(0) @ values)
    assert_close(layer(x), expected)
    assert torch.equal(CrissCrossAttention(8)(x), x)


def test_clo_averages_over_what_a_window_holds():
    layer = CloAttention(8, 2, (2,), (), 4).eval()  # one global group, and nothing local
    x = torch.randn(1, 8, 5, 6)
    means = [x[..., i : i + 4, j : j + 4].mean((2, 3)) for i in (0, 4) for j in (0, 4)]
    kv = torch.stack(means, 2)[..., None]  # [1, 8, 4, 1]
    whole = layer.groups[0]
    q, (k, v) = whole.q(x), whole.kv(kv).chunk(2, 1)
    q, k, v = (y.flatten(2).view(1, 2, 4, -1).mT for y in (q, k, v))
    expected = (q @ k.mT * 4**-0.5).softmax(-1) @ v
    assert_close(layer(x), layer.proj(expected.mT.reshape(1, 8, 5, 6)))


def full_graph(batch: int, heads: int, regions: int) -> Tensor:
    return torch.stack([torch.randperm(regions) for _ in range(batch * heads * regions)]).view(
        batch, heads, regions, regions
    )


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1), (1, 7), (3, 2)])
def test_every_region_routed_is_full_attention(size):
    """Also where the map had to be padded, and for values with other channels than the keys."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, c, *size) for c in (6, 6, 4))
    regions = -(-size[0] // 2) * -(-size[1] // 3)
    y = regional_routing_attention(q, k, v, 0.7, full_graph(2, 2, regions), (2, 3))
    heads = [x.flatten(2).unflatten(1, (2, -1)).mT for x in (q, k, v)]
    expected = (heads[0] @ heads[1].mT * 0.7).softmax(-1) @ heads[2]
    assert_close(y, expected.mT.reshape(v.shape))


def test_routed_regions_alone_are_attended_to():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 4, 5, 7) for _ in range(3))
    graph = torch.stack([torch.randperm(9)[:2] for _ in range(2 * 9)]).view(1, 2, 9, 2)
    y = regional_routing_attention(q, k, v, 0.5, graph, (2, 3))
    region = (torch.arange(5)[:, None] // 2 * 3 + torch.arange(7) // 3).flatten()
    for head, position in itertools.product(range(2), range(35)):
        keys = torch.isin(region, graph[0, head, region[position]])
        qh, kh, vh = (x.flatten(2)[0, 2 * head : 2 * head + 2] for x in (q, k, v))
        expected = vh[:, keys] @ (0.5 * qh[:, position] @ kh[:, keys]).softmax(0)
        assert_close(y.flatten(2)[0, 2 * head : 2 * head + 2, position], expected)


def test_bi_level_routing_chooses_the_most_similar_windows():
    layer = small("biformer")
    x = torch.randn(1, 8, 4, 6)
    q, k, v = layer.qkv(x).split([4, 4, 8], 1)
    means = [torch.stack([w.mean((2, 3)) for p in y.split(2, 2) for w in p.split(3, 3)], 1) for y in (q, k)]
    graph = (means[0] @ means[1].mT).argsort(-1, descending=True)[..., :2]
    y = regional_routing_attention(q, k, v, 4**-0.5, graph[:, None].expand(-1, 2, -1, -1), (2, 3))
    assert_close(layer(x), layer.proj(y + layer.lepe(v)))


def test_bi_level_routing_to_all_windows_is_full_attention():
    torch.manual_seed(0)
    layer = BiLevelRoutingAttention(8, 2, 3, 9)
    plain = MultiHeadAttention2d(8, 2)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "lepe" not in k})
    with torch.no_grad():
        plain.qkv.weight[:8] *= 2**-0.5  # of the whole width against that of a head
        plain.qkv.bias[:8] *= 2**-0.5
    x = torch.randn(2, 8, 6, 9)
    v = layer.qkv(x).chunk(3, 1)[2]
    assert_close(layer(x), plain.proj(plain.attend(x) + layer.lepe(v)))


@pytest.mark.parametrize(
    ("option", "pool"),
    [
        ({"kv_downsample": "avgpool", "kv_ratio": 2}, lambda w: F.avg_pool2d(w, 2)),
        ({"kv_downsample": "maxpool", "kv_ratio": 2}, lambda w: F.max_pool2d(w, 2)),
        ({"kv_downsample": "adaptive_avgpool", "kv_per_win": 1}, lambda w: w.mean((2, 3), keepdim=True)),
        ({"kv_downsample": "adaptive_maxpool", "kv_per_win": 1}, lambda w: w.amax((2, 3), keepdim=True)),
    ],
)
def test_pooled_windows_of_bi_level_routing(option, pool):
    """With all windows routed, the keys are the pooled pixels of all of them."""
    torch.manual_seed(0)
    layer = BiLevelRoutingAttention(8, 2, 2, 4, **option)
    x = torch.randn(2, 8, 4, 8)
    q, k, v = layer.qkv(x).chunk(3, 1)
    keys, values = (
        torch.cat([pool(w).flatten(2) for p in y.split(2, 2) for w in p.split(4, 3)], 2).view(2, 2, 4, -1).mT
        for y in (k, v)
    )
    y = (q.view(2, 2, 4, -1).mT @ keys.mT * 8**-0.5).softmax(-1) @ values
    assert_close(layer(x), layer.proj(y.mT.reshape(x.shape) + layer.lepe(v)))


def test_deformable_points_rest_on_the_grid():
    """Without offsets each group reads half a pixel behind its grid, stretched; here compared pixel by pixel."""
    layer, x = small("deformable_strided"), torch.randn(1, 8, 5, 7)
    layer.offset_range = 0.0
    q = layer.q(x)
    points = layer.points(q)
    assert points.shape == (2, 3, 4, 2)
    assert_close(points[0, 1, 2], torch.tensor([1.5 / 2 * 2 - 1, 2.5 / 3 * 2 - 1]))
    y, x0 = (points[0, 1, 2] + 1) / 2 * torch.tensor([4.0, 6.0])  # in pixels: 3 and 5
    assert_close(layer.sample(x, points)[0, :, 1, 2], x[0, :, int(y), int(x0)], atol=1e-5, rtol=1e-5)


def moved(layer: DeformableAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Keys' points and scores with values per head, without a position term."""
    q = layer.q(x)
    points = layer.points(q)
    sampled = layer.sample(x, points)
    q, k, v = (y.flatten(2).unflatten(1, (4, 2)).mT for y in (q, layer.k(sampled), layer.v(sampled)))
    return points, q @ k.mT * 2**-0.5, v


@pytest.mark.parametrize("position", [None, "fixed", "table", "log_mlp"])
def test_position_terms_of_deformable_attention(position):
    torch.manual_seed(0)
    height, width = 3, 4
    layer = DeformableAttention(8, 4, 2, position=position, map_size=(height, width))
    x = torch.randn(2, 8, height, width)
    points, scores, v = moved(layer, x)
    queries = [(2 * h / 2 - 1, 2 * w / 3 - 1) for h in range(height) for w in range(width)]
    bias = torch.zeros_like(scores)
    for b, head, i, j in itertools.product(range(2), range(4), range(12), range(12)):
        dy, dx = torch.tensor(queries[i]) - points.flatten(1, 2)[2 * b + head // 2, j]
        if position == "fixed":
            bias[b, head, i, j] = layer.bias.table[head].flatten(0, 1).flatten(1)[i, j]
        elif position == "table":
            where = torch.stack([dx, dy]).view(1, 1, 1, 2) / 2
            table = layer.bias.table[head // 2, head % 2][None, None]
            bias[b, head, i, j] = F.grid_sample(table, where, align_corners=True)
        elif position == "log_mlp":
            d = 4 * torch.stack([dy, dx])
            bias[b, head, i, j] = layer.bias.out(layer.bias.hidden(d.sign() * torch.log2(1 + d.abs()) / 3).relu())[
                head % 2
            ]
    if position is not None:
        assert bias.abs().max() > 0.005
    expected = ((scores + bias).softmax(-1) @ v).mT.reshape(x.shape)
    assert_close(layer(x), layer.proj(expected))


def test_depthwise_position_term_is_added_behind():
    layer, x = small("deformable"), torch.randn(2, 8, 3, 4)
    _, scores, v = moved(layer, x)
    y = (scores.softmax(-1) @ v).mT.reshape(x.shape)
    assert_close(layer(x), layer.proj(y + layer.local(layer.q(x))))


def test_fixed_positions_of_another_size_are_resized():
    """A table that is linear in the query's row stays so on a map of twice the size, but at its border."""
    layer = DeformableAttention(8, 4, 2, position="fixed", map_size=(4, 3))
    layer.bias.table.data = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 4, 3, 4, 3).clone()  # by query's row
    table = layer.bias(torch.zeros(8, 6, 2), torch.zeros(2, 8, 6, 2))
    assert table.shape == (1, 4, 48, 48)
    rows = table.view(4, 8, 6, 48)
    assert_close(rows[:, :, 0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]).expand(4, 8))
    assert_close(rows, rows[:, :, :1, :1].expand_as(rows))


def test_channel_layer_norm_takes_any_spatial_dims():
    norm = ChannelLayerNorm(6)
    nn.init.normal_(norm.weight)
    for shape in [(2, 6), (2, 6, 3), (2, 6, 3, 4), (2, 6, 2, 3, 4)]:
        x = torch.randn(shape)
        centred = x - x.mean(1, keepdim=True)
        expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        assert_close(norm(x), expected * norm.weight.view(1, 6, *[1] * (x.ndim - 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SqueezeExcitation(8, 16), "reduction must be from 1 to the 8 channels, got 16"),
        (lambda: CBAM(8, 0), "reduction must be from 1"),
        (lambda: CBAM(8, 2, 4), "kernel_size must be odd and positive, got 4; choose 5"),
        (lambda: BAM(8, 2, 0), "dilation must be at least 1, got 0"),
        (lambda: DoubleAttention(8, 4, reconstruct=False), "c_m must be the 8 channels of the map, got 4"),
        (lambda: DoubleAttention(8, 0), "c_m must be at least 1"),
        (lambda: MultiHeadAttention2d(12, 8), "channels into heads: 12 is no multiple of 8"),
        (lambda: LocallyEnhancedAttention(8, 0), "channels into heads"),
        (lambda: BiLevelRoutingAttention(8, 4, qk_dim=6), "channels of queries and keys into heads"),
        (lambda: BiLevelRoutingAttention(8, 4, 2, 5), "topk must be at most the 4 windows"),
        (lambda: BiLevelRoutingAttention(8, 4, kv_downsample="mean"), "unknown kv_downsample 'mean'; choose one of"),
        (lambda: BiLevelRoutingAttention(8, 4, n_win=0), "n_win must be at least 1"),
        (lambda: CAA(8, 10), "kernel_h must be odd"),
        (lambda: CloAttention(8, 4, (2, 1)), "group_split must sum to num_heads=4"),
        (lambda: CloAttention(8, 4, (2, 2), (3, 5)), "one entry for each of the 1 local groups"),
        (lambda: CloAttention(8, 4, (4, 0)), r"group_split\[1\] must be at least 1, got 0"),
        (lambda: CloAttention(8, 4, (2, 2), (4,)), r"kernel_sizes\[0\] must be odd"),
        (lambda: CrissCrossAttention(4), "reduction must be from 1 to the 4 channels, got 8"),
        (lambda: CoordinateAttention(8, 0), "reduction must be at least 1"),
        (lambda: ContextualTransformer(6), "channels into groups: 6 is no multiple of 4"),
        (lambda: CPCA(2), "reduction must be from 1"),
        (lambda: DeformableAttention(8, 4, 3), "heads into groups"),
        (lambda: DeformableAttention(8, 4, 2, position="sine"), "unknown position 'sine'"),
        (lambda: DeformableAttention(8, 4, 2, position="table"), "needs map_size"),
        (lambda: DeformableAttention(8, 4, 2, offset_range=-1), "offset_range must not be negative"),
        (
            lambda: regional_routing_attention(*[torch.rand(1, 4, 4, 4)] * 3, 1.0, full_graph(1, 2, 5), (2, 3)),
            "a map of 4x4 has 4 regions",
        ),
        (
            lambda: regional_routing_attention(*[torch.rand(1, 4, 4, 4)] * 3, 1.0, full_graph(1, 3, 4), (2, 2)),
            "channels into heads",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
